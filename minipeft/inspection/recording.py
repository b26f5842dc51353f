"""A forward pass that is recorded, of an adaptation that may be scaled layer by layer.

B batch   T rows   S keys   P virtual tokens   H heads   K key heads   d width of a head   D width
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..adaptation.adaptation import Adaptation, Front, check_model
from ..adaptation.cache import Cache
from ..adaptation.chain import Chain, Composite
from ..adaptation.forward import Forward
from ..autograd.backend import host
from ..autograd.functional import split_heads
from ..autograd.nn import replace
from ..autograd.ops import narrow
from ..autograd.tensor import Tensor, no_grad
from ..model.encoder_decoder import EncoderDecoder
from ..model.heads import Classifier, SpanClassifier
from ..model.inputs import Inputs, check_inputs

BLOCK = re.compile(r"((?:encoder\.|decoder\.)?blocks\.\d+)(?:\.|$)")
LOWEST = -1e30  # added to the score of a key that has no weight


def place(path: str) -> str:
    """Return the block of a path, such as blocks.0, or the path of a layer outside the blocks."""
    return match[1] if (match := BLOCK.match(path)) else path


# -- scaling


class Scaled(Chain):
    """y + s (γ(y) - y): an adaptation whose change of each layer is scaled.

    scale: returns s for a path.  Virtual tokens are scaled elsewhere, in `Recorder.bias`.
    """

    def __init__(self, γ: Adaptation, scale: Callable):
        super().__init__(γ)
        self.scale = scale

    def map_parts(self, f):
        return Scaled(f(self.parts[0]), self.scale)

    def __call__(self, layer, x):
        s = self.scale(layer.path)
        s = 1.0 if np.ndim(s) else s  # an array is of virtual tokens
        if s == 1 or not self.adapts(layer.path) or self.pseudo_tokens(1):
            return super().__call__(layer, x)
        y = layer(x)
        return y if s == 0 else y + s * (super().__call__(layer, x) - y)


def scaled(γ: Adaptation, scale: Callable) -> Adaptation:
    """Return a resolved γ in which every method is Scaled."""
    return γ.map_parts(lambda m: scaled(m, scale)) if isinstance(γ, Composite) else Scaled(γ, scale)


# -- recording


@dataclass
class Attended:
    """What an attention computed: queries (H, T, d), keys and values (H, S, d), and the scores.

    scores (H, T, S): scaled, with biases; LOWEST where masked.  virtual: the columns of virtual
    tokens among the S keys.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    scores: np.ndarray
    virtual: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Softmax of the scores, (H, T, S)."""
        e = np.exp(self.scores - self.scores.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)


class Recorder(Forward):
    """Forward pass of one text that keeps the input and the output of every layer, as arrays.

    inputs, outputs: {path: array}.  attended: {path of an attention: Attended}.
    ids (T,): token ids, below 0 of pseudo-tokens.  virtual (P + T,): which rows are virtual.
    scale: returns s for the path of an attention.  exp(score) of virtual tokens is multiplied by s
    where the text attends to them, and so are the odds λ / (1 - λ) of its attention to them.
    An array is s of each of the last virtual tokens, for all rows that attend to them.
    known: {path of a block: its output}, blocks that are not computed.
    source: the Recorder of the encoder, for a decoder beside one.
    brief: leave out `attended`.
    """

    def __init__(
        self, cache, model, inputs: Inputs, *, scale=None, known=None, source=None, brief=False
    ):
        super().__init__(cache, model, inputs.real, all_rows=True)
        self.scale, self.known, self.read = scale or (lambda path: 1.0), known or {}, source
        self.brief = brief
        self.ids, self.inputs, self.outputs, self.attended = inputs.ids[0], {}, {}, {}
        self.virtual = np.concatenate([np.ones(self.prompt, bool), self.ids < 0])  # rows

    def __call__(self, layer, x):
        if layer.path in self.known:
            return Tensor(self.known[layer.path])
        attends = layer.composite and hasattr(layer, "q")
        if attends:
            self.attention = layer.path
        y = super().__call__(layer, x)
        self.inputs[layer.path], self.outputs[layer.path] = host(getattr(x, "data", x))[0], y.data
        if attends and not self.brief:
            self.attended[layer.path] = self.attend(layer)
        return y

    def extend(self, layer, k, v):
        return self.keep_keys(super().extend(layer, k, v), self.virtual)

    def source(self, layer, project):
        return self.keep_keys(super().source(layer, project), self.read.virtual)

    def keep_keys(self, keys, virtual):
        """Keep keys and values, and which are virtual: a prefix, and those of virtual rows."""
        prefix = np.ones(keys[0].shape[1] - len(virtual), bool)
        self.keys, self.virtual_keys = keys, np.concatenate([prefix, virtual])
        return keys

    def bias(self, positions, real):
        """Return the bias of the scores, and log s where rows attend to virtual tokens."""
        bias, s = super().bias(positions, real), self.scale(self.attention)
        if np.all(s == 1) or not self.virtual_keys.any():
            return bias
        each, rows = np.ones(self.virtual_keys.sum()), ~self.virtual
        each[-np.size(s) if np.ndim(s) else 0 :] = s
        log_s = np.log(each, out=np.full(len(each), LOWEST), where=each > 0)
        gate = np.zeros((len(self.virtual), len(self.virtual_keys)))
        gate[np.ix_(rows | (np.ndim(s) > 0), self.virtual_keys)] = log_s
        like = self.keys[0].data
        gate = Tensor(np.asarray(gate[None, None, None], like.dtype, like=like))
        return gate if bias is None else bias + gate

    def attend(self, layer) -> Attended:
        """Return what an attention computed, from its recorded queries and its keys and values."""
        k, v, real = self.keys
        q = layer.positions.turn(Tensor(self.outputs[f"{layer.path}.q"]), self)
        q, k, v = (host(split_heads(z, layer.K, layer.d).data) for z in (q, k, v))
        scores = q @ k.swapaxes(-1, -2) * layer.scale  # (1, K, G, T, S)
        if (bias := self.bias(layer.positions, real)) is not None:
            scores = scores + host(bias.data)
        if (masked := self.mask(real, self.keys[0].data, layer.causal)) is not None:
            scores = np.where(host(masked), LOWEST, scores)
        groups = q.shape[1:3]  # heads of a group share keys and values
        arrays = [np.broadcast_to(z[0], (*groups, *z.shape[3:])) for z in (q, k, v, scores)]
        q, k, v, scores = (z.reshape(-1, *z.shape[2:]) for z in arrays)
        return Attended(q, k, v, scores, self.virtual_keys)


# -- one pass of a model


class Pass:
    """Recorded forward pass of one text.

    stacks: {name: Recorder}: "" of a model of one stack; "encoder" and "decoder".
    logits (R, C): of each token; of a text, R = 1; of a span's start and end, (2, T); or None for
    a model without a head.
    """

    def __init__(self, model, ids, γ: Adaptation, written=None, *, at=None, **options):
        """Read ids (T,) with a resolved γ; written (U,): what the decoder of an encoder reads.

        at: the row of the logits to compute, without attention weights; None: all.
        options: scale and known, of a Recorder.
        """
        if scale := options.get("scale"):
            γ = scaled(γ, scale)
        inputs, cache = check_inputs(model.config, ids[None], γ), Cache(γ, keep=False)
        check_model(γ, model)
        trunk = getattr(model, "encoder", model)
        options["brief"] = at is not None
        first = Recorder(cache, trunk, inputs, **options)
        self.stacks = {"": first}
        with no_grad():
            h = trunk.compute(inputs, first)
            if isinstance(model, EncoderDecoder):
                cache = replace(Cache(γ, keep=False), source=Front([h], first.real, None))
                inputs = model.check_decoder_ids(written[None])
                second = Recorder(cache, model.decoder, inputs, **options, source=first)
                self.stacks = {"encoder": first, "decoder": second}
                h = model.decoder.compute(inputs, second)
            self.last = [*self.stacks.values()][-1]
            h = narrow(h, self.last.prompt, None, axis=1)
            if isinstance(model, Classifier):
                h = model.pool_states(h, inputs.real, self.last)
            elif at is not None and not isinstance(model, SpanClassifier):
                h = narrow(h, at, at + 1, axis=1)
            self.logits = None
            if hasattr(model, "logits"):
                z = host(model.logits(h, self.last).data)
                self.logits = z if z.ndim == 2 else z[0]
                if isinstance(model, SpanClassifier):
                    self.logits = z[0].T

    def before(self, here: str) -> dict:
        """Return {path: output} of the blocks that run before a place; none if it is no block."""
        order = [p for r in self.stacks.values() for p in r.outputs if BLOCK.fullmatch(p)]
        first = order[: order.index(here)] if here in order else []
        outputs = {p: y for r in self.stacks.values() for p, y in r.outputs.items()}
        return {path: outputs[path] for path in first}
