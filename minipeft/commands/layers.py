"""minipeft layers: the layers of a model, and the parameters that a method adds to each."""

import re
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from .. import hf
from ..adaptation.method import Method
from ..autograd.nn import replace, sizes
from ..data.words import count
from ..hf.models import family_of
from ..methods import method
from .common import Command, Config, Json, Model, optional
from .tables import make_table, print_table

BLOCK = re.compile(r"((?:encoder\.|decoder\.)?blocks)\.(\d+)")  # the stack's blocks, a number


@dataclass
class Layers(Command):
    """Show the layers of a model, and which of them a method or a pattern adapts."""

    model: Model = None
    method: optional(str, "METHOD") = None
    """A method of `minipeft train`: show how many parameters it trains in each layer."""
    targets: optional(str, "PATTERN") = None
    """Regular expression: adapt the layers whose paths it matches, not the method's own."""
    config: Config = None
    json: Json = False

    def run(self):
        model = hf.load(self.model)
        trained, seen, layers = self.trained(model), set(), []
        for path, layer in list(model.modules())[1:]:  # the first is the model itself
            tensors = layer.tensors()
            new = {id(t): t.data.size for t in tensors.values() if id(t) not in seen}
            seen |= set(new)
            layers.append(
                {
                    "path": path,
                    "hugging_face": hugging_face_name(model, path, layer),
                    "class": type(layer).__name__,
                    "shapes": {name: t.shape for name, t in tensors.items()},
                    "params": sum(new.values()),
                    "adapted": path in trained,
                    "trained_params": trained.get(path, 0),
                }
            )
        paths = {layer["path"] for layer in layers}
        for path in [path for path in trained if path not in paths]:  # a reparametrisation network
            layer = {"path": path, "hugging_face": None, "class": self.method, "shapes": {}}
            layer |= {"params": 0, "adapted": True, "trained_params": trained[path]}
            layers.append(layer)
        self.output(layers)

    def trained(self, model):
        """Return {path: number of trained parameters} of the adapted layers, 0 without a method."""
        if self.method is None and self.targets is None:
            return {}
        fields = {} if self.targets is None else {"targets": self.targets}
        if self.method is None:
            pattern = replace(Method(), **fields)
            at = {path: {} for path, _ in pattern.places(model)}
            return dict.fromkeys(pattern.bind(at, model).at, 0)
        adaptation = method(self.method, **fields).attach(model, np.random.default_rng(0))
        return sizes(adaptation)

    def show(self, layers):
        adapting = self.method or self.targets is not None
        columns = ["path", "shapes", "Hugging Face name", ">params"]
        if adapting:
            columns.append(">trained" if self.method else ">matches")
        table = make_table(*columns)
        for layer in merge_blocks(layers):
            shapes = (f"{n} {'×'.join(map(str, s))}" for n, s in layer["shapes"].items())
            row = [layer["path"], ", ".join(shapes), layer["hugging_face"] or ""]
            row.append(format_count(layer["params"]))
            if adapting:
                trained = format_count(layer["trained_params"]) or "yes"
                row.append(trained if layer["adapted"] else "")
            table.add_row(*row)
        total = sum(layer["params"] for layer in layers)
        trained = sum(layer["trained_params"] for layer in layers)
        blocks = sum(bool(BLOCK.fullmatch(layer["path"])) for layer in layers)
        table.add_section()
        row = ["total", count(blocks, "block"), "", f"{total:,}", format_count(trained)]
        table.add_row(*row[: len(columns)])
        print_table(table, "Hugging Face names in a block are relative to that of the block.")


def hugging_face_name(model, path, layer):
    """Return the name that PEFT's `target_modules` has for a layer or a block, or None."""
    family = family_of(model.config)
    full = lambda path: family.full_hf_name(path, type(model), model.config)
    if BLOCK.fullmatch(path):
        return full(f"{path}.ln1").removesuffix(f".{family.layers['ln1']}")
    return full(path) if layer.tensors() else None


def merge_blocks(layers):
    """Yield the layers with tensors; layers that are alike in all blocks once, as blocks.N."""
    paths = [layer["path"] for layer in layers]
    has_layers = lambda path: any(other.startswith(f"{path}.") for other in paths)
    layers = [x for x in layers if x["shapes"] or x["adapted"] or has_layers(x["path"])]
    block_of = lambda layer: (match := BLOCK.match(layer["path"])) and match.groups()
    runs = [(block, list(run)) for block, run in groupby(layers, block_of)]
    blocks = [block for block, _ in runs if block]
    alike = lambda run: run[0] and [renumber(layer, "N") for layer in run[1]]
    for _, equal_runs in groupby(runs, alike):
        (first, run), *others = equal_runs
        if not first:
            yield from run
            continue
        stack, n = first
        merged = [first, *(block for block, _ in others)]
        span = f"{n}-{others[-1][0][1]}" if others else n
        span = "N" if merged == [block for block in blocks if block[0] == stack] else span
        yield from (renumber(layer, span) for layer in run)


def renumber(layer, number):
    """Return a layer of a block with another number of the block in its path.

    The Hugging Face name of a layer in a block is made relative to that of the block.
    """
    path, name = BLOCK.sub(rf"\1.{number}", layer["path"]), layer["hugging_face"]
    pattern, new = (r"\d+$", number) if BLOCK.fullmatch(layer["path"]) else (r".*?\.\d+\.", "")
    return layer | {"path": path, "hugging_face": name and re.sub(pattern, new, name, count=1)}


def format_count(n):
    """Return a number as text, an empty one for 0."""
    return f"{n:,}" if n else ""
