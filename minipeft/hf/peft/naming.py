"""A model as PEFT's configurations name it.

PEFT's layers are `modules` in which ours lie side by side: GPT-2's c_attn is q, k and v.
"""

import re
from itertools import accumulate

from ...storage.json import CheckpointError, Settings, brief


class Theirs:
    """A model in their names: {module: [our paths]}, and what a configuration says of them."""

    def __init__(self, model, family, settings):
        self.layers, self.family, self.settings = dict(model.modules()), family, settings
        self.network, self.model = type(model), model
        self.modules = {}
        for path, layer in self.layers.items():
            if layer.tensors():
                self.modules.setdefault(family.theirs(path, self.network), []).append(path)
        self.head = family.scores.get(self.network)

    def whole(self, module):
        """What it is called in all of their network; beside spans either way that there is."""
        path = self.modules[module][0]
        return [self.family.full(path, self.network, self.model.config), self.family.trunk + module]

    def fits(self, module, said, field):
        """Does a list of endings, or a pattern of whole names, name the module?"""
        whole = self.whole(module)
        if isinstance(said, str):
            return any(self.settings.matches(field, said, name) for name in whole)
        return any(f".{name}".endswith(f".{ending}") for name in whole for ending in said)

    def matrix(self, module):
        """Is it one of those that "all-linear" names?"""
        path = self.modules[module][0]
        return self.family.linear(path) and path not in ("head", "score")

    def shape(self, module):
        """(in, out) of its matrix."""
        layer = self.layers[self.modules[module][0]]
        if not hasattr(layer, "shape"):
            own = " of its own" * ("W" in layer.tensors())  # a tied head has another's
            raise CheckpointError(f"{self.settings.path}: {module} has not a matrix{own} to change")
        return layer.shape

    def named(self, field, default=()):
        """The modules that a field names."""
        said = self.settings.names(field, default, pattern=True)
        if said == "all-linear":
            return [m for m in self.modules if self.matrix(m)]
        return [m for m in self.modules if self.fits(m, said, field)]

    def targets(self, default=()):
        """The modules that are adapted."""
        out = {*self.named("exclude_modules"), *self.saved()}
        layers = self.layers_to_transform()
        found = [
            m
            for m in self.named("target_modules", default)
            if m not in out and (not layers or self.number(m) in layers)
        ]
        if not found:
            said = self.settings.get("target_modules")
            raise CheckpointError(
                f"{self.settings.path}: no layer matches target_modules={said!r:.80}; the model "
                f"has {', '.join(self.modules)}"
            )
        return found

    def layers_to_transform(self):
        said, L = self.settings.get("layers_to_transform"), self.model.config.layers
        layers = [] if said is None else said if isinstance(said, list) else [said]
        if not all(type(n) is int and 0 <= n < L for n in layers):
            told = f"layers_to_transform={brief(said)} must be numbers of layers, 0 to {L - 1}"
            raise CheckpointError(f"{self.settings.path}: {told}")
        known = self.family.blocks.rpartition(".")[2]
        if layers and (other := {*self.patterns()} - {known}):
            told = f"layers_pattern={other.pop()!r} is not supported, only {known!r}"
            raise CheckpointError(f"{self.settings.path}: {told}")
        return layers

    def patterns(self):
        """`layers_pattern`, which is one name or several."""
        said = self.settings.names("layers_pattern", pattern=True)
        return [said] if isinstance(said, str) else said

    def number(self, module):
        block = re.match(rf"{re.escape(self.family.blocks)}\.(\d+)\.", module)
        return int(block[1]) if block else None

    def saved(self):
        """The modules that are kept whole, the head among them; with "mlp" all that are in it."""
        names = tuple(self.settings.names("modules_to_save"))
        around = lambda name: accumulate(name.split("."), "{}.{}".format)  # a, a.b, a.b.c
        ends = lambda m: any(o.endswith(names) for name in self.whole(m) for o in around(name))
        return [m for m in self.modules if m == self.head or ends(m)]

    def of(self, module, field, default, kind):
        """What rank_pattern or alpha_pattern says of a module."""
        said = Settings(self.settings.get(field) or {}, f"{self.settings.path}, {field}")
        key = next((k for k in said if self.fits(module, rf"(.*\.)?(?:{k})", field)), None)
        return said.field(key, default, kind)

    def pattern(self, paths):
        """`targets` of these paths and no others: without their blocks, if that is so."""
        short = dict.fromkeys(re.sub(r"^blocks\.\d+\.", "", path) for path in paths)
        found = f"({'|'.join(map(re.escape, short))})$"
        if {p for p in self.layers if re.search(found, p)} == {*paths}:
            return found
        return f"^({'|'.join(map(re.escape, paths))})$"
