"""How a model is measured: by the loss of a token of a text, or by the labels it gives to texts."""

import json

import numpy as np

from .. import hf
from ..adaptation.method import PLAIN
from ..autograd.backend import host
from ..autograd.tensor import no_grad
from ..data.batches import pad
from ..data.files import READERS, DataError
from ..model.transformer import Decoder
from ..tasks.base import cutting
from ..training.parallel import Pool, answers
from .common import watching

SIZE = 16  # texts at a time
LABELS = "labels.json"  # beside an adaptation: the names of the classes of its head


def check_labels(path):
    """Does the file hold examples with labels, or one text?"""
    return path.suffix.lower() in READERS


def causal(model):
    """The model, if it writes: a ValueError for one that reads both ways, or has another head."""
    if not isinstance(model, Decoder):
        kind = type(model).__name__ if model.causal else "encoder"
        what = f"{'an' if kind == 'encoder' else 'a'} {kind}"
        raise ValueError(f"--model is {what}, so it writes no text: bring examples with labels")
    return model


def added(model, adaptation, layout):
    """How many positions the adaptation takes beside a text."""
    adaptation = adaptation.now()
    adaptation.serves(1)
    prompt = adaptation.before(model.tokens, 1)
    ahead = int(adaptation.shift(model.blocks[0].attn, 1)[0]) + (prompt[1].size if prompt else 0)
    return ahead + len(layout([]))


def fits(model, adaptation, layout, tokens, what):
    """A ValueError if the model has no positions for so many tokens beside the adaptation."""
    ahead, have = added(model, adaptation, layout), model.config.length
    if ahead + tokens > have:
        own = f", {ahead} of them for what the adaptation adds" if ahead else ""
        raise ValueError(
            f"{what}: that takes {ahead + tokens} positions{own}; the model has {have}"
        )


def windows(ids, length, source):
    """The passages (N, length) of a text, one after the other."""
    rows = np.array(ids[: len(ids) // length * length]).reshape(-1, length)
    if not len(rows):
        raise DataError(
            f"{source}: {len(ids)} tokens are too few for one passage of {length}: "
            "bring more text, or a shorter --passage"
        )
    return rows


def pieces(work, count):
    """work(slice) for every SIZE of `count`, in threads."""
    pool, slices = Pool(), [slice(at, at + SIZE) for at in range(0, count, SIZE)]
    with pool.alone(), watching("measuring", len(slices)) as each:
        return list(each(pool.map(work, slices)))


def loss(model, adaptation, layout, rows):
    """The mean loss of a token of passages (N, T)."""
    ids, labels = layout.language(rows)

    def summed(own):
        with no_grad():
            return float(model.loss(ids[own], labels[own], adaptation)) * len(rows[own])

    return sum(pieces(summed, len(rows))) / len(rows)


def predicted(model, adaptation, rows):
    """The likeliest class of each of the texts, lists of token ids."""

    def says(part):
        ids, mask = pad([rows[i] for i in part])
        return host(model(ids, adaptation, mask=mask).data.argmax(-1))

    with watching("measuring", -(-len(rows) // SIZE)) as each:
        return answers(says, rows, SIZE, each)


def encoded(texts, tokenizer, model):
    """Their token ids as in training, and how many were cut."""
    codes = cutting(tokenizer, model).encode_batch(texts)
    return [code.ids for code in codes], sum(bool(code.overflowing) for code in codes)


def writer(folder, model):
    """The adaptation of a language model in a folder; without a folder, none."""
    if folder is None:
        return PLAIN
    if (folder / LABELS).exists():
        raise DataError(
            f"{folder} gives labels to texts: name it to `minipeft evaluate`, and as --data "
            "examples, .jsonl, .csv or .tsv"
        )
    return hf.load_adaptation(folder, model)


def labels_of(folder):
    """The names of the classes that the adaptation in a folder tells apart."""
    path = folder / LABELS
    try:
        labels = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{folder} is no classifier's: it has no {LABELS}, which `minipeft train` writes "
            "when --data has labels"
        ) from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(labels, list) or {type(label) for label in labels} != {str}:
        raise DataError(f"{path} must hold a list of names")
    return labels
