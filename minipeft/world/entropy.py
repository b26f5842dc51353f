"""How well can the world's text be predicted?  python -m minipeft.world.entropy

In perplexity, e to the mean loss of a token, of documents that the bases were pretrained without:
by how common each token is, by the one before it, by the built-in base; and, of opinions and tales,
by the grammar itself.
"""

from itertools import islice
from unittest.mock import patch

import numpy as np

from .. import hf
from ..data.batches import pad
from ..training.parallel import answers
from . import language
from .corpus import documents
from .pretrain import DOCUMENTS, HELD
from .vocabulary import END

COUNT = 5.0  # a token seen less often after another is predicted rather by how common it is


def ngrams(read, held, V):
    """The loss of held-out texts by unigrams (add one), and by bigrams that lean on these."""
    ones = np.bincount(np.concatenate(read), minlength=V) + 1.0
    ones /= ones.sum()
    twos = np.zeros((V, V))
    for ids in read:
        np.add.at(twos, (ids[:-1], ids[1:]), 1)
    twos = (twos + COUNT * ones) / (twos.sum(1, keepdims=True) + COUNT)
    pairs = np.concatenate([np.stack([ids[:-1], ids[1:]], 1) for ids in held])
    return -np.log(ones[pairs[:, 1]]).mean(), -np.log(twos[pairs[:, 0], pairs[:, 1]]).mean()


def model_loss(model, held):
    """The model's."""

    def says(part):
        ids, mask = pad([held[i] for i in part])
        loss = float(model.loss(ids, ids, mask=mask, count=1))
        return [loss / len(part)] * len(part)

    return sum(answers(says, held, size=32)) / sum(len(ids) - 1 for ids in held)


def surprise(rng):
    """A document of opinions, and -log p of all that was chosen to make it, at least -log p of it:

    the same text may come about in other ways, too.
    """
    nats, pick = [], language.pick

    def counted(rng, items):
        item = pick(rng, items)
        nats.append(np.log(len(items) / list(items).count(item)))
        return item

    with patch.object(language, "pick", counted):
        return language.document(rng), sum(nats)


def coded(texts, tokenizer):
    """Each between two ends."""
    end = tokenizer.token_to_id(END)
    return [np.array([end, *code.ids, end]) for code in tokenizer.encode_batch([*texts])]


def main():
    model, tokenizer = hf.load(), hf.load_tokenizer()
    texts = coded(islice(documents(np.random.default_rng(0)), DOCUMENTS), tokenizer)
    rng, V = np.random.default_rng(1), tokenizer.get_vocab_size()
    opinions, nats = zip(*[surprise(rng) for _ in range(HELD)])
    opinions = coded(opinions, tokenizer)
    tokens = sum(len(ids) - 1 for ids in opinions)
    print(f"{'perplexity':16} {'all text':>9} {'opinions':>9}")
    rows = {name: [] for name in ("unigrams", "bigrams", "the base")}
    for held in (texts[-HELD:], opinions):
        losses = *ngrams(texts[:-HELD], held, V), model_loss(model, held)
        for row, loss in zip(rows.values(), losses):
            row.append(loss)
    for name, (everything, some) in rows.items():
        print(f"{name:16} {np.exp(everything):9.2f} {np.exp(some):9.2f}")
    print(f"{'the grammar':16} {'':9} {np.exp(sum(nats) / tokens):9.2f}  at most")


if __name__ == "__main__":
    main()
