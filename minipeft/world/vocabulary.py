"""The tokens of the small world: byte-level BPE, as GPT-2's, so any text can be written in them."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"  # its id is 0


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
