"""minipeft layers: the paths of a model, and what is adapted there."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rich.table import Table

from .. import hf
from ..adapt import Adaptation
from ..methods import METHODS, method
from ..nn import but
from .common import Command, Config, Json, Model, optional, out


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
        adapted, seen, layers = self.adapted(model), set(), []
        for path, layer in model.modules():
            tensors = layer.tensors()
            own = {id(t): t.data.size for t in tensors.values() if id(t) not in seen}
            seen |= set(own)
            row = {"path": path, "kind": type(layer).__name__}
            row |= {"shapes": {name: t.shape for name, t in tensors.items()}}
            row |= {"parameters": sum(own.values()), "adapted": path in adapted}
            layers += [row | {"trained": adapted.get(path, 0)}] if path else []
        there = {layer["path"] for layer in layers}
        own = {"kind": self.method, "shapes": {}, "parameters": 0, "adapted": True}
        for path in adapted:  # a network of the method's own, which makes its rows
            layers += [{"path": path, **own, "trained": adapted[path]}] if path not in there else []
        self.tell(layers)

    def adapted(self, model):
        """{path: how many numbers the method trains there}, 0 by a pattern alone."""
        own = {} if self.targets is None else {"targets": self.targets}
        if self.method is None and not own:
            return {}
        if self.method is None:
            pattern = but(Adaptation(), **own)
            return pattern.lay({path: 0 for path, _ in pattern.places(model)}, model).at
        adapt, seen, found = method(self.method, **own), set(), Counter()
        for name, p in adapt.attach(model, np.random.default_rng(0)).named_parameters():
            found[name.rpartition(".")[0]] += 0 if id(p) in seen else p.data.size
            seen.add(id(p))
        return found

    def show(self, layers):
        table = Table("path", "kind", "shapes")
        asked = self.method or self.targets is not None
        for name in ("parameters", *(["adapted"] if asked else [])):
            table.add_column(name, justify="right")
        for layer in layers:
            shapes = (f"{n} {'×'.join(map(str, s))}" for n, s in layer["shapes"].items())
            row = [layer["path"], layer["kind"], ", ".join(shapes), number(layer["parameters"])]
            mark = number(layer["trained"]) or "yes" if layer["adapted"] else ""
            table.add_row(*row, *([mark] if asked else []))
        total = sum(layer["parameters"] for layer in layers)
        trained = sum(layer["trained"] for layer in layers)
        table.caption = f"{total:,} parameters" + (f", {trained:,} trained" if trained else "")
        out.print(table)


def number(n):
    return f"{n:,}" if n else ""
