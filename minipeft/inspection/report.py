"""An inspection as plain numbers and texts, for JSON and for the page."""

import numpy as np

from .. import __version__
from ..autograd.nn import size, sizes
from ..methods.table import docstring_parts
from ..model.heads import Headed
from .measures import MEASURES, catalogue, method_id, where
from .reader import Reader
from .recording import LOWEST, place
from .results import Inspection, View

IDS = "words", "base_words", "lens", "base_lens"  # fields that are ids


def report(inspection: Inspection, names: dict[str, int], labels=None) -> dict:
    """Return an inspection as a dict of JSON; numbers have seven digits; NaN and -∞ are None.

    names: {name of each adaptation: its bytes on disk}.
    labels: names of the classes of a head; None: their numbers, or words of the vocabulary.
    """
    model = inspection.model
    if isinstance(model, Headed):
        labels = labels or list(map(str, range(model.score.shape[1])))
    views = [
        {"name": name, "bytes": n}
        | one(view, Reader(model, view.adaptation, inspection.ids), labels)
        for view, (name, n) in zip(inspection.views, names.items(), strict=True)
    ]
    return {
        "minipeft": __version__,
        "model": outline(model),
        "new": inspection.new,
        "views": views,
        "together": inspection.together,
        "formulas": {
            kind: f._asdict() | {"function": where(f.function)} for kind, f in MEASURES.items()
        },
        "equations": catalogue(
            [f.id for f in MEASURES.values()] + [m["id"] for v in views for m in v["methods"]]
        ),
    }


def outline(model) -> dict:
    """Return the name of a network, its sizes, and its layers outside of blocks and its blocks."""
    parts: dict[str, int] = {}
    for path, n in sizes(model).items():
        parts[place(path)] = parts.get(place(path), 0) + n
    c = model.config
    shape = {"layers": c.layers, "width": c.width, "heads": c.heads, "vocabulary": c.vocabulary}
    return {"class": type(model).__name__, "params": size(model), "parts": parts} | shape


def one(view: View, reader: Reader, labels=None) -> dict:
    """Return what one adaptation does, with texts in place of ids."""
    name = reader.word if labels is None else lambda i: labels[i]

    def texts(ids):
        return [texts(row) for row in ids] if np.ndim(ids) else name(ids)

    def named(part):
        is_ids = lambda field, x: field in IDS and x is not None
        return part and {n: texts(x) if is_ids(n, x) else x for n, x in vars(part).items()}

    return plain(
        {
            "methods": [described(m) for m in view.adaptation.leaves()],
            "params": view.params,
            "at": view.at,
            "stacks": {n: named(s) for n, s in view.stacks.items()},
            "outputs": named(view.outputs),
            "causes": named(view.causes),
            "slider": named(view.slider),
            "panels": [vars(p) | {"place": place(p.path)} for p in view.panels],
        }
    )


def described(leaf) -> dict:
    """Return the equation of a method, its start and paper, and where it is written."""
    method = leaf.method
    equation, start, paper, *_ = [*docstring_parts(type(method)), "", "", ""]
    return {
        "method": str(method),
        "equation": equation,
        "start": start,
        "paper": paper,
        "where": where(type(method)),
        "id": method_id(method),
    }


def plain(x):
    """Return nested arrays, tuples and dicts as lists and dicts of texts and numbers."""
    if isinstance(x, dict):
        return {name: plain(value) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return [plain(value) for value in x]
    if isinstance(x, np.ndarray | np.generic):
        return plain(x.tolist())
    if isinstance(x, float):
        return float(f"{x:.7g}") if abs(x) < -LOWEST / 2 else None  # neither NaN nor masked
    return x
