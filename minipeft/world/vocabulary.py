"""Tokenizers of the built-in bases: byte-level BPE, as GPT-2's, so any text can be encoded."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

END = "<|endoftext|>"  # token 0
PAD, CLS, SEP, MASK = SPECIAL = "[PAD]", "[CLS]", "[SEP]", "[MASK]"
SENTINELS = tuple(map("<extra_id_{}>".format, range(32)))  # T5's, which has a hundred


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """Return a tokenizer of at most `size` tokens: END, the 256 bytes, then the merges.

    `tokenizers` and transformers' GPT-2 tokenizer both read what `save("tokenizer.json")` writes.
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
    """Return a copy with four special tokens, which encodes as BERT's does.

    A text is [CLS] a [SEP]; a pair is [CLS] a [SEP] b [SEP], where b and its [SEP] have type 1.
    """
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (CLS, SEP)],
    )
    return tokenizer


def for_seq2seq(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy with T5's special tokens, which ends each text with END, as T5's does.

    They are [PAD], with which the decoder's text begins, and the sentinels.
    """
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.add_special_tokens([PAD, *SENTINELS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}",
        pair=f"$A {END} $B {END}",
        special_tokens=[(END, tokenizer.token_to_id(END))],
    )
    return tokenizer
