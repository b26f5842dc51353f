"""The layers of a model by the names that PEFT's configurations give them.

PEFT adapts modules of transformers, in which several layers of ours may lie side by side: GPT-2's
`c_attn` is q, k and v.
"""

import re
from collections.abc import Iterable
from itertools import accumulate

from ...adaptation.patterns import matches
from ...model.heads import Query
from ...storage.json import CheckpointError, Settings, short_repr

WITH_HEAD = {  # task types whose head PEFT trains in full: how its name may end
    "SEQ_CLS": ("classifier", "score"),
    "TOKEN_CLS": ("classifier", "score"),
    "QUESTION_ANS": ("qa_outputs",),
}


def with_whole_head(modules: list[str], family) -> list[str]:
    """Return names of modules with that of the head for its layers, as PEFT trains it as a whole.

    For RoBERTa's classifier.dense and classifier.out_proj it is classifier.
    """
    layers = family.head_pooler, *family.head_names.values()
    return [*dict.fromkeys(m.partition(".")[0] if m in layers else m for m in modules)]


STACK = r"(?:(?:en|de)coder\.)?"  # beginning of a name in an encoder–decoder


class PeftNames:
    """The modules of a model, {module: [our paths]}, and what a configuration says of them."""

    def __init__(self, model, family, settings: Settings):
        self.model, self.family, self.settings = model, family, settings
        self.network, self.layers = type(model), dict(model.modules())
        self.modules = {}
        for path, layer in self.layers.items():
            if layer.tensors() and not isinstance(layer, Query):  # which transformers has not
                self.modules.setdefault(family.hf_name(path, self.network), []).append(path)
        self.head = family.head_names.get(self.network)

    def error(self, message: str) -> CheckpointError:
        """Return an error that names the configuration's file."""
        return CheckpointError(f"{self.settings.path}: {message}")

    def tensors(self, module: str) -> dict:
        """Return {name: tensor} of the first of a module's layers."""
        return self.layers[self.modules[module][0]].tensors()

    # -- what a field names

    def full_name(self, module: str) -> str:
        """Return the name of a module in the whole network of transformers."""
        return self.family.full_hf_name(self.modules[module][0], self.network, self.model.config)

    def is_named(self, module: str, names, field: str) -> bool:
        """Return whether a list of endings, or a pattern of full names, names the module."""
        name = self.full_name(module)
        if not isinstance(names, str):
            return any(f".{name}".endswith(f".{ending}") for ending in names)
        try:
            return matches(field, names, name, whole=True)
        except ValueError as error:
            raise self.error(str(error)) from None

    def named_by(self, field: str, default=()) -> list[str]:
        """Return the modules that a field names."""
        names = self.settings.names(field, default, pattern=True)
        if names == "all-linear":
            return [m for m in self.modules if self.is_linear(m)]
        return [m for m in self.modules if self.is_named(m, names, field)]

    def is_linear(self, module: str) -> bool:
        """Return whether "all-linear" includes the module."""
        path = self.modules[module][0]
        return self.family.is_linear(path) and path != "head"

    def targets(self, default=()) -> list[str]:
        """Return the modules that are adapted.

        As in PEFT, layers_to_transform selects among the endings in target_modules: a full name
        there is adapted in any case.
        """
        excluded = {*self.named_by("exclude_modules"), *self.modules_to_save()}
        names = self.settings.names("target_modules", pattern=True)
        blocks = self.layers_to_transform()
        if blocks and isinstance(names, str):
            raise self.error(
                f"layers_to_transform={short_repr(blocks)} needs a list of target_modules: write "
                "the numbers of layers into the pattern"
            )
        found = [
            m
            for m in self.named_by("target_modules", default)
            if m not in excluded
            and (not blocks or self.full_name(m) in names or self.block_number(m) in blocks)
        ]
        if self.model.config.tied_head and self.settings.field("ensure_weight_tying", False, bool):
            tied = [m for m in self.modules if self.modules[m][0] in ("tokens", "head")]
            found += [m for m in tied if m not in found and not {*tied}.isdisjoint(found)]
        if not found:
            raise self.error(
                f"no layer matches target_modules={self.settings.get('target_modules')!r:.80}; the "
                f"model has {', '.join(map(self.full_name, self.modules))}"
            )
        return found

    def layers_to_transform(self) -> list[int]:
        """Return the numbers of the blocks that are adapted, [] for all."""
        value, c = self.settings.get("layers_to_transform"), self.model.config
        L = max(c.layers, c.decoder_layers)
        blocks = [] if value is None else value if isinstance(value, list) else [value]
        if not all(type(n) is int and 0 <= n < L for n in blocks):
            raise self.error(
                f"layers_to_transform={short_repr(value)} must be numbers of layers, 0 to {L - 1}"
            )
        patterns = self.settings.names("layers_pattern", pattern=True)
        patterns = [patterns] if isinstance(patterns, str) else patterns
        known = self.family.blocks.rpartition(".")[2]
        if blocks and (other := [p for p in patterns if p != known]):
            raise self.error(f"layers_pattern={other[0]!r} is not supported, only {known!r}")
        return blocks

    def block_number(self, module: str) -> int | None:
        """Return the number of the block that a module is in."""
        block = re.match(rf"{STACK}{re.escape(self.family.blocks)}\.(\d+)\.", module)
        return int(block[1]) if block else None

    def modules_to_save(self) -> list[str]:
        """Return the modules that are trained in full: a task's head, and `modules_to_save`."""
        return [m for m in self.modules if self.is_saved(self.full_name(m))]

    def is_saved(self, name: str) -> bool:
        """Return whether what has this full name is a task's head, or `modules_to_save` names it.

        A name includes what it contains: "mlp" is all modules in an MLP.
        """
        head = WITH_HEAD.get(self.settings.field("task_type", "", str), ())
        endings = (*head, *self.settings.names("modules_to_save"))
        containers = accumulate(name.split("."), "{}.{}".format)  # a, a.b, a.b.c
        return any(container.endswith(endings) for container in containers)

    def of_module(self, module: str, field: str, default, kind: type):
        """Return the value of a module in `rank_pattern` or `alpha_pattern`, or the default."""
        values = Settings(self.settings.get(field) or {}, f"{self.settings.path}, {field}")
        key = next((k for k in values if self.is_named(module, rf"(.*\.)?(?:{k})", field)), None)
        return values.field(key, default, kind)

    # -- shapes and paths

    def shape(self, module: str) -> tuple[int, int]:
        """Return (inputs, outputs) of the matrix of the first of a module's layers."""
        layer = self.layers[self.modules[module][0]]
        if not hasattr(layer, "shape"):
            raise self.error(f"{module} has no matrix that could be adapted")
        return layer.shape

    def pattern(self, paths: Iterable[str]) -> str:
        """Return `targets` that match these paths alone, without block numbers if possible."""
        short = dict.fromkeys(re.sub(rf"^{STACK}blocks\.\d+\.", "", path) for path in paths)
        pattern = f"({'|'.join(map(re.escape, short))})$"
        if {p for p in self.layers if re.search(pattern, p)} == {*paths}:
            return pattern
        return f"^({'|'.join(map(re.escape, paths))})$"
