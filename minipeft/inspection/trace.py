"""Each step of one forward pass: its equation, its inputs and value, and where it is computed.

B batch   T queries   S keys   D width   H heads   d width of a head
"""

import re
from dataclasses import dataclass, field

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.chain import LayerProxy
from ..adaptation.method import Method, as_adaptation
from ..autograd.backend import host
from ..autograd.functional import attention, join_heads
from ..autograd.ops import transpose
from ..autograd.tensor import Tensor, no_grad
from ..model.bert import Pooler, Transform
from ..model.blocks import Attention, GatedMlp, Mlp, PostNormBlock
from ..model.encoder_decoder import EncoderDecoder
from ..model.heads import Classifier, Query
from ..model.positions import Relative, Rotary
from ..model.transformer import Transformer
from .source import docstring_of, place_of
from .tracer import Recall, Tracer

FIRST = re.compile(r"(encoder\.|decoder\.|)(ln|blocks\.0)")  # the first layer of a stack
INDICES = {"tokens": "ids", "positions": "position_ids", "types": "token_types"}


@dataclass(frozen=True)
class Step:
    """Step of a forward pass: a layer, or what is computed inside or between layers.

    name: path of the layer, or that path and what it is: "blocks.0.attn.softmax".
    equation, paper: those of the docstring of the layer, or of the methods that adapt it.
    value: an array whose first axis is the batch, (B, T, D) of most layers.
    inputs: {name of an earlier step, or of a parameter: its value}.
    file, line: where the value is computed.
    """

    name: str
    equation: str
    paper: str
    value: np.ndarray = field(repr=False)
    inputs: dict[str, np.ndarray] = field(repr=False)
    file: str
    line: int


def trace(model, ids, adaptation: Adaptation | None = None, **inputs) -> dict[str, Step]:
    """Return {name: Step} of the forward pass model(ids, adaptation, **inputs), in its order.

    ids (B, T): token ids.  inputs: what else the model reads, such as mask or decoder_ids.
    A layer that the adaptation changes has a step before it, PATH.base: the output of the frozen
    layer for the same input.  Values inside an attention are computed from the recorded outputs of
    its layers.  Raises ValueError as the model does.
    """
    tracer = Tracer(as_adaptation(adaptation).resolve())
    with no_grad():
        model(ids, tracer, **inputs)
        return Steps(model, tracer).all()


class Steps:
    """Steps of the calls of a model's layers that a Tracer has recorded.

    names: {id of a tensor: name of the step whose value it is}.
    """

    def __init__(self, model, tracer):
        self.model, self.leaves, self.calls = model, [*tracer.leaves()], tracer.calls
        self.modules, self.names, self.steps = dict(model.modules()), {}, {}

    def all(self) -> dict[str, Step]:
        """Return {name: Step}, in their order."""
        for path, call in self.calls.items():
            self.add_layer(path, call)
            self.names[id(call.y)] = path
        return self.steps

    def add(self, name, value, inputs, equation, place, paper="") -> str:
        """Add a step and return its name; inputs: names of steps, or {name: value}."""
        if not isinstance(inputs, dict):
            inputs = {n: self.steps[n].value for n in inputs}
        inputs = {n: array(x) for n, x in inputs.items()}
        self.steps[name] = Step(name, equation, paper, array(value), inputs, *place)
        return name

    # -- layers

    def add_layer(self, path, call):
        """Add the output of a layer, and before it that of the frozen layer, if they differ."""
        layer = call.layer.layer if isinstance(call.layer, LayerProxy) else call.layer
        kind = next(c for c in type(layer).__mro__ if "__call__" in vars(c))
        equation, paper = docstring_of(kind)
        equation = equation if "b" in layer.tensors() else equation.removesuffix(" + b")
        text = equation, place_of(kind.__call__), paper
        x = {self.input_name(path, call.x): call.x}
        inputs = x | layer.tensors()
        if call.y is not call.base and (methods := self.adapting(path, "apply")):
            name = self.add(f"{path}.base", call.base, inputs, *text)
            inputs, text = x | {name: call.base}, self.described(path, "apply")
            for m in methods:
                inputs |= m.at[path]
        self.add(path, call.y, inputs, *text)

    def adapting(self, path, function) -> list[Adaptation]:
        """Return the adaptations of the layer at a path whose methods define apply or prepend."""
        own = lambda m: getattr(type(m.method), function) is not getattr(Method, function)
        return [m for m in self.leaves if m.adapts(path) and own(m)]

    def described(self, path, function):
        """Return equation, place and paper of the methods that define `function` at a path."""
        kinds = [*dict.fromkeys(type(m.method) for m in self.adapting(path, function))]
        equations, papers = zip(*map(docstring_of, kinds))
        return "; ".join(equations), place_of(getattr(kinds[-1], function)), "; ".join(papers)

    # -- between layers

    def input_name(self, path, x) -> str:
        """Return the name of the step whose value x the layer at `path` reads; add it if needed."""
        if not isinstance(x, Tensor):
            relative = isinstance(self.modules[path], Relative)
            return "buckets" if relative else INDICES[last_name(path)]
        parent = path.rpartition(".")[0]
        if id(x) not in self.names and parent in self.calls:
            self.input_name(parent, self.calls[parent].x)  # what is around begins with it
        if id(x) not in self.names:
            self.names[id(x)] = self.add_input(path, parent, x)
        return self.names[id(x)]

    def add_input(self, path, parent, x) -> str:
        """Add x, which the layer at `path` in that at `parent` reads; return the step's name."""
        if first := FIRST.fullmatch(path):
            return self.add_embeddings(first[1], x)
        layer, last = self.modules[parent], [*self.steps][-1]
        if isinstance(layer, Attention) and last_name(path) == "o":
            return self.add_heads(parent, layer, self.calls[parent])
        if parent not in self.calls:
            return self.add_head_input(path, last, x)
        if not last.startswith(f"{parent}."):  # a method has changed the input of what is around
            inputs = [self.names[id(self.calls[parent].x)]]
            return self.add(f"{parent}.input", x, inputs, *self.described(parent, "apply"))
        if isinstance(layer, Mlp | Transform):
            return self.add_activation(parent, layer, x)
        return self.add_residual(last, layer, x)

    def add_activation(self, path, layer, x):
        """Add x = σ(what a layer returns) in the composite layer at `path`."""
        if isinstance(layer, GatedMlp):
            equation, inputs = f"{layer.σ.__name__}(gate) ⊙ up", [f"{path}.gate", f"{path}.up"]
            place = place_of(GatedMlp.__call__, "self.σ")
            return self.add(f"{path}.activation", x, inputs, equation, place)
        name = "up" if isinstance(layer, Mlp) else "dense"
        equation, paper = docstring_of(layer.σ)
        equation = f"{equation.removeprefix('Return ').rstrip('.')},  x = {name}"
        place = place_of(layer.σ)
        return self.add(f"{path}.activation", x, [f"{path}.{name}"], equation, place, paper)

    def add_residual(self, path, block, x):
        """Add x = h + f(h) of the sub-layer f at `path`."""
        h = self.names[id(self.calls[path].x)]
        if not isinstance(block, PostNormBlock):
            h = self.names[id(self.calls[h].x)]  # what the norm before the sub-layer reads
        place = place_of(type(block).__call__, f"self.{last_name(path)},")
        fewer = x.shape[1] < self.steps[path].value.shape[1]
        equation = f"{h} + {path}{', at the positions that are needed' * fewer}"
        return self.add(f"{path}.residual", x, [h, path], equation, place)

    def add_embeddings(self, stack, x):
        """Add x, what the first block of a stack reads."""
        tokens, *others = [f"{stack}{n}" for n in INDICES if f"{stack}{n}" in self.steps]
        inputs = {n: self.steps[n].value for n in (tokens, *others)}
        equation, paper = tokens, ""
        place = place_of(Transformer.compute, "self.positions.embed")
        if front := self.calls[f"{stack}blocks.0"].forward.fronts.get(tokens):
            inputs = {"P": front.rows[0]} | inputs
            equation, place, paper = self.described(tokens, "prepend")
        equation = " + ".join([equation, *others])
        return self.add(f"{stack}embeddings", x, inputs, equation, place, paper)

    def add_head_input(self, path, last, x):
        """Add x, computed from that of the step `last`, which the head of a network reads."""
        name, model = f"{path}.input", self.model
        if isinstance(model, EncoderDecoder):
            place = place_of(EncoderDecoder.logits, "width**-0.5")
            return self.add(name, x, [last], f"{last} / √D", place)
        if last == "pooler":
            place = place_of(Pooler.pooled, "self.σ")
            return self.add(name, x, [last], f"{model.config.pooler}(pooler)", place)
        if last == "query":
            equation, paper = docstring_of(Query)
            place = place_of(Query.pooled, "attention(")
            return self.add(name, x, ["ln", last], equation, place, paper)
        place = place_of(Classifier.pooled)
        return self.add(name, x, [last], f"pool(h), pool = {model.pool!r}", place)

    # -- attention

    def add_heads(self, path, attn, call):
        """Add the steps from q, k and v to the heads, which W_o reads; return the last name."""
        q, k, v, bias, masked = attn.operands(call.x, Recall(call.forward, self.calls))
        self.add_operands(path, attn, q, k, v, call.forward.fronts.get(path))
        scores = attn.scale * q @ transpose(k)
        scores = array(scores if bias is None else scores + bias)
        scores = scores if masked is None else np.where(host(masked), -np.inf, scores)
        one = Tensor(np.asarray(np.eye(k.shape[3])[None, None, None], k.dtype, like=k.data))
        weights = attention(q, k, one, bias, masked=masked, scale=attn.scale)
        name = lambda *names: [f"{path}.{n}" for n in names]
        inputs = {n: self.steps[n].value for n in name("queries", "keys")}
        inputs |= {} if bias is None else {"bias": bias}
        equation = f"queries keysᵀ{' / √d' * (attn.scale != 1)}{' + bias' * (bias is not None)}"
        equation += ", -∞ where masked" * (masked is not None)
        self.add(*name("scores"), by_head(scores), inputs, equation, place_of(attention, "swap(k)"))
        place = place_of(attention, "np.exp(e")
        self.add(*name("softmax"), by_head(weights), name("scores"), "softmax(scores)", place)
        equation, inputs = (
            "[head_1; …; head_H],  head_i = softmax_i values_i",
            name("softmax", "values"),
        )
        place = place_of(attention, "@ v")
        return self.add(*name("heads"), join_heads(weights @ v), inputs, equation, place)

    def add_operands(self, path, attn, q, k, v, front):
        """Add queries, keys and values of each head; front: the prefix or None."""
        turned = " rotated by its position" * isinstance(attn.positions, Rotary)
        place = place_of(Attention.operands, "self.positions.turn")
        self.add(f"{path}.queries", by_head(q), [f"{path}.q"], f"q{turned}, by head", place)
        place, paper = place_of(type(attn).keys_and_values), ""
        if front:
            _, place, paper = self.described(path, "prepend")
        for i, (n, x, how) in enumerate([("key", k, turned), ("value", v, "")]):
            inputs = {f"P_{n}": front.rows[i]} if front else {}
            inputs |= {f"{path}.{n[0]}": self.steps[f"{path}.{n[0]}"].value}
            equation = f"{n[0]}{how}, by head"
            equation = f"[P_{n}; {n[0]}{how}], by head" if front else equation
            self.add(f"{path}.{n}s", by_head(x), inputs, equation, place, paper)


def array(x) -> np.ndarray:
    """Return a tensor or an array as an array on the host."""
    return host(x.data if isinstance(x, Tensor) else x)


def by_head(x):
    """Return x (B, K, G, T, d) as an array (B, K G, T, d)."""
    return array(x).reshape(len(x), -1, *x.shape[3:])


def last_name(path) -> str:
    """Return the last name of a path: q of blocks.0.attn.q."""
    return path.rpartition(".")[2]
