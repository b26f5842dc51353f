"""Token ids of texts with pseudo-tokens and a slot between them."""

from ..adaptation.method import PSEUDO

SLOT = -1  # id in the place of [MASK]
MASKS = "[MASK]", "<mask>"  # names of the mask token


def encode(tokenizer, segments) -> list[int]:
    """Return the token ids of segments, with the special tokens of a text around them.

    segments: strings, ranges of pseudo-tokens, and SLOT.  Strings are encoded together, and the
    space before the slot is left out: it is part of the answer.
    """
    ids, begun = [], False  # whether words or the slot came before
    parts = merge_strings(segments)
    for part, following in zip(parts, [*parts[1:], None]):
        if isinstance(part, range):
            ids += [PSEUDO - i for i in part]
        elif part == SLOT:
            ids.append(SLOT)
        elif text := part.rstrip() if following == SLOT else part.rstrip(" "):
            ids += continuation(tokenizer, text) if begun else plain(tokenizer, text.lstrip())
        begun |= isinstance(part, int) or isinstance(part, str) and part.strip() != ""
    first, last = special_tokens(tokenizer)
    return first + ids + last


def merge_strings(segments) -> list:
    """Return segments with neighbouring strings as one."""
    merged: list = []
    for part in segments:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def plain(tokenizer, text: str) -> list[int]:
    """Return the token ids of a text without special tokens."""
    return tokenizer.encode(text, add_special_tokens=False).ids


def continuation(tokenizer, text: str) -> list[int]:
    """Return the ids of a text that continues another: without bos, or a space of its own."""
    word, both = plain(tokenizer, "x"), plain(tokenizer, "x" + text)
    return both[len(word) :] if both[: len(word)] == word else plain(tokenizer, text)


def special_tokens(tokenizer) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer adds before and after a text, such as [CLS] and [SEP]."""
    code = tokenizer.encode("x")
    first, last = code.special_tokens_mask.index(0), code.special_tokens_mask[::-1].index(0)
    return code.ids[:first], code.ids[len(code.ids) - last :]


def mask_id(tokenizer) -> int:
    """Return the id of the mask token; raise ValueError if the tokenizer has none."""
    for name in MASKS:
        if (i := tokenizer.token_to_id(name)) is not None:
            return i
    raise ValueError(
        f"the template has a slot, [MASK], and the tokenizer no mask token, {' or '.join(MASKS)}: "
        "a decoder reads such a template in a PromptClassifier"
    )
