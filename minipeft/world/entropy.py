"""How predictable is the world's text?  python -m minipeft.world.entropy

Prints the perplexity per token (e to the mean loss) of documents that the bases were not trained
on: of unigrams, of bigrams, of the built-in decoder and, on opinions, of the grammar itself.
"""

from itertools import islice
from unittest.mock import patch

import numpy as np

from .. import hf
from ..data.batches import pad
from ..training.parallel import map_batches
from . import language
from .corpus import documents
from .pretrain import DOCUMENTS, HELD_OUT
from .vocabulary import END

SMOOTHING = 5.0  # counts of a bigram below which its unigram matters more


def ngram_losses(train: list, held_out: list, V: int) -> tuple[float, float]:
    """Return the mean loss of unigrams (add-one smoothing) and of bigrams (smoothed by them)."""
    unigrams = np.bincount(np.concatenate(train), minlength=V) + 1.0
    unigrams /= unigrams.sum()
    bigrams = np.zeros((V, V))
    for ids in train:
        np.add.at(bigrams, (ids[:-1], ids[1:]), 1)
    bigrams = (bigrams + SMOOTHING * unigrams) / (bigrams.sum(1, keepdims=True) + SMOOTHING)
    first, second = np.concatenate([[ids[:-1], ids[1:]] for ids in held_out], axis=1)
    return -np.log(unigrams[second]).mean(), -np.log(bigrams[first, second]).mean()


def model_loss(model, held_out: list) -> float:
    """Return the mean loss of a model."""

    def losses(indices):
        ids, mask = pad([held_out[i] for i in indices])
        loss = float(model.loss(ids, ids, mask=mask, count=1))
        return [loss / len(indices)] * len(indices)

    return sum(map_batches(losses, held_out, size=32)) / sum(len(ids) - 1 for ids in held_out)


def document_and_surprise(rng) -> tuple[str, float]:
    """Return a document of opinions, and -log p of all choices that the grammar made for it.

    This is at least -log p of the document, which other choices may produce, too.
    """
    nats, pick = [], language.pick

    def counting_pick(rng, items):
        item = pick(rng, items)
        nats.append(np.log(len(items) / list(items).count(item)))
        return item

    with patch.object(language, "pick", counting_pick):
        return language.document(rng), sum(nats)


def encode(texts, tokenizer) -> list[np.ndarray]:
    """Return the token ids of each text, between two END tokens."""
    end = tokenizer.token_to_id(END)
    return [np.array([end, *e.ids, end]) for e in tokenizer.encode_batch([*texts])]


def main():
    model, tokenizer = hf.load(), hf.load_tokenizer()
    texts = encode(islice(documents(np.random.default_rng(0)), DOCUMENTS), tokenizer)
    rng, V = np.random.default_rng(1), tokenizer.get_vocab_size()
    opinions, nats = zip(*[document_and_surprise(rng) for _ in range(HELD_OUT)])
    opinions = encode(opinions, tokenizer)
    train, columns = texts[:-HELD_OUT], []
    for held_out in (texts[-HELD_OUT:], opinions):
        columns.append([*ngram_losses(train, held_out, V), model_loss(model, held_out)])
    print(f"{'perplexity':16} {'all text':>9} {'opinions':>9}")
    for name, everything, some in zip(("unigrams", "bigrams", "the base"), *columns):
        print(f"{name:16} {np.exp(everything):9.2f} {np.exp(some):9.2f}")
    bound = np.exp(sum(nats) / sum(len(ids) - 1 for ids in opinions))
    print(f"{'the grammar':16} {'':9} {bound:9.2f}  at most")


if __name__ == "__main__":
    main()
