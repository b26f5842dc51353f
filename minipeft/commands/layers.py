"""minipeft layers: the paths of a model, and what is adapted there."""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from rich.table import Table

from .. import hf
from ..adaptation.adaptation import Adaptation
from ..autograd.nn import replace
from ..hf.models.families import family_of
from ..methods import METHODS, method
from .common import Command, Config, Json, Model, optional, out

BLOCK = re.compile(r"blocks\.(\d+)")


@dataclass
class Layers(Command):
    """Show the layers of a model, and which of them a method or a pattern would adapt."""

    model: Model = None
    method: optional(Literal[tuple(METHODS)], "METHOD") = None
    """One of those that `minipeft train` has: how many numbers it trains, and where."""
    targets: optional(str, "PATTERN") = None
    """A regular expression: the layers whose paths it matches, in place of the method's own."""
    config: Config = None
    json: Json = False

    def run(self):
        model = hf.load(self.model)
        family = family_of(model.config)
        called = lambda path: family.full(path, type(model), model.config)
        adapted, seen, layers = self.adapted(model), set(), []
        for path, layer in model.modules():
            tensors = layer.tensors()
            own = {id(t): t.data.size for t in tensors.values() if id(t) not in seen}
            seen |= set(own)
            theirs = called(path) if tensors else None
            if BLOCK.fullmatch(path):
                theirs = called(f"{path}.ln1").removesuffix(f".{family.layers['ln1']}")
            row = {"path": path, "hugging_face": theirs, "kind": type(layer).__name__}
            row |= {"shapes": {name: t.shape for name, t in tensors.items()}}
            row |= {"parameters": sum(own.values()), "adapted": path in adapted}
            layers += [row | {"trained": adapted.get(path, 0)}] if path else []
        there = {layer["path"] for layer in layers}
        own = {"hugging_face": None, "kind": self.method, "shapes": {}}
        own |= {"parameters": 0, "adapted": True}
        for path in adapted:  # a network of the method's own, which makes its rows
            layers += [{"path": path, **own, "trained": adapted[path]}] if path not in there else []
        self.tell(layers)

    def adapted(self, model):
        """{path: how many numbers the method trains there}, 0 by a pattern alone."""
        own = {} if self.targets is None else {"targets": self.targets}
        if self.method is None and not own:
            return {}
        if self.method is None:
            pattern = replace(Adaptation(), **own)
            return pattern.lay({path: 0 for path, _ in pattern.places(model)}, model).at
        adaptation, seen, found = method(self.method, **own), set(), Counter()
        for name, p in adaptation.attach(model, np.random.default_rng(0)).named_parameters():
            found[name.rpartition(".")[0]] += 0 if id(p) in seen else p.data.size
            seen.add(id(p))
        return found

    def show(self, layers):
        labelled_positions = self.method or self.targets is not None
        table = Table()
        table.add_column("path", no_wrap=True)
        table.add_column("shapes", no_wrap=True)
        table.add_column("hugging face", overflow="fold")
        for name in ("numbers", *(["adapted"] if labelled_positions else [])):
            table.add_column(name, justify="right")
        for layer in once(layers):
            shapes = (f"{n} {'×'.join(map(str, s))}" for n, s in layer["shapes"].items())
            row = [layer["path"], ", ".join(shapes), layer["hugging_face"] or ""]
            mark = number(layer["trained"]) or "yes" if layer["adapted"] else ""
            table.add_row(
                *row, number(layer["parameters"]), *([mark] if labelled_positions else [])
            )
        total = sum(layer["parameters"] for layer in layers)
        trained = sum(layer["trained"] for layer in layers)
        blocks = sum(bool(BLOCK.fullmatch(layer["path"])) for layer in layers)
        table.caption = f"{blocks} blocks, {total:,} parameters"
        table.caption += f", {trained:,} trained" if trained else ""
        out.print(table)


def once(layers):
    """The layers that hold or do anything, as blocks.N those of all blocks, if these are alike."""
    paths = [layer["path"] for layer in layers]
    around = lambda path: any(other.startswith(f"{path}.") for other in paths)
    layers = [x for x in layers if x["shapes"] or x["adapted"] or around(x["path"])]
    of = lambda layer: (found := BLOCK.match(layer["path"])) and found[1]
    runs = [(block, [*own]) for block, own in groupby(layers, of)]
    blocks = [block for block, _ in runs if block]
    for _, alike in groupby(runs, lambda run: run[0] and [numbered(x, "N") for x in run[1]]):
        (first, own), *more = alike
        span = f"{first}-{more[-1][0]}" if more else first
        span = "N" if [first, *(block for block, _ in more)] == blocks else span
        yield from (numbered(layer, span) if first else layer for layer in own)


def numbered(layer, span):
    """A block's layer with another number in place of that; their name goes on from the block's."""
    path, theirs = BLOCK.sub(f"blocks.{span}", layer["path"]), layer["hugging_face"]
    form = r".*?\.\d+(?=\.)", "…"
    if BLOCK.fullmatch(layer["path"]):
        form = r"\d+$", span
    return layer | {"path": path, "hugging_face": theirs and re.sub(*form, theirs, count=1)}


def number(n):
    return f"{n:,}" if n else ""
