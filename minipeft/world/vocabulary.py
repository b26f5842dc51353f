"""The tokens of the small world: byte-level BPE, as GPT-2's, so any text can be written in them."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

END = "<|endoftext|>"  # its id is 0
PAD, CLS, SEP, MASK = ADDED = "[PAD]", "[CLS]", "[SEP]", "[MASK]"


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """At most `size` tokens: the end of a text, the 256 bytes, then the pairs most often joined.

    `save("tokenizer.json")` writes what `tokenizers` and transformers' GPT-2 tokenizer both read.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def for_encoder(tokenizer: Tokenizer) -> Tokenizer:
    """The same with four tokens more: it writes [CLS] a [SEP], or [CLS] a [SEP] b [SEP] of a pair.

    The first text and its [SEP] are of type 0, the second and its of type 1.
    """
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.add_special_tokens(list(ADDED))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (CLS, SEP)],
    )
    return tokenizer
