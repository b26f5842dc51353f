"""Attention over adapters: Pfeiffer et al. 2021, "AdapterFusion: Non-Destructive Task Composition".

B batch   T tokens   N adapters   D width of the output of a layer
"""

from dataclasses import dataclass, replace

import numpy as np

from ..adaptation.adaptation import Adaptation, check_model
from ..adaptation.chain import LayerProxy
from ..adaptation.method import Method, check_attach
from ..autograd import nn
from ..autograd.backend import host
from ..autograd.functional import attention
from ..autograd.ops import concat, reshape
from ..autograd.tensor import Tensor, no_grad


@dataclass(frozen=True)
class Fusion(Method):
    """Σ_n s_n V z_n,  s = softmax_n(Q h · K z_n)        V = 1        Pfeiffer et al. 2021, §3.2

    h is the output of a layer of the frozen network, z_n that with adapter n.  Q, K and V of each
    layer are trained.  The adapters were trained before, by any methods without virtual tokens, and
    a copy of them stays as it is: Fusion([ann, bob]).attach(model, rng).
    """

    adapters: tuple  # adaptations; of a method, one that starts anew and stays like that
    targets: str = r"(^|\.)blocks\."  # a regular expression; of these, layers with an adapter

    lr = 1e-3

    def __post_init__(self):
        super().__post_init__()
        listed = self.adapters if isinstance(self.adapters, tuple) else ()
        if not listed or not all(isinstance(γ, Adaptation | Method) for γ in listed):
            raise ValueError(f"Fusion needs adaptations, such as [ann, bob]; got {self.adapters!r}")
        object.__setattr__(self, "adapters", tuple(map(frozen, listed)))

    def attach(self, model, rng=None):
        check_attach(model, rng)
        adapters = [γ.attach(model, rng) if isinstance(γ, Method) else γ for γ in self.adapters]
        for γ in adapters:
            check_fusible(γ, model)
        fusion = replace(self, adapters=adapters)
        γ = super(Fusion, fusion).attach(model, rng)
        methods = replace(self, adapters=[γ.method for γ in adapters])
        return Fused(methods, γ.at, γ.made_for, fusion.adapters)

    def places(self, model):
        places = super().places(model)
        return [place for place in places if any(γ.adapts(place[0]) for γ in self.adapters)]

    def start(self, layer, rng):
        D = layer.width if layer.composite else [*layer.tensors().values()][-1].shape[-1]
        return {"Q": rng.normal(0, 0.02, (D, D)), "K": rng.normal(0, 0.02, (D, D)), "V": np.eye(D)}

    def queries_keys_values(self, h, z, Q, K, V):
        """Return q (B, T, 1, 1, D) and k, v (B, T, 1, N, D) for h and a list of z_n (B, T, D)."""
        rows = lambda y: reshape(y, (*y.shape[:2], 1, 1, y.shape[2]))
        k, v = (concat(*[rows(z_n @ W) for z_n in z], axis=3) for W in (K, V))
        return rows(h @ Q), k, v


def frozen(γ):
    """Return an adaptation with a copy of its parameters that is not trained; a method as it is."""
    if isinstance(γ, Method) or not any(p.requires_grad for p in γ.parameters()):
        return γ
    return γ.map(lambda p: Tensor(p.data.copy()))


def check_fusible(γ: Adaptation, model) -> None:
    """Raise ValueError for a bank, a mixture, virtual tokens, or an adaptation of another model."""
    check_model(γ, model)
    resolved = γ.resolve()
    at = [layer for path, layer in model.modules() if resolved.adapts(path)]
    if not γ.shared or γ.pseudo_tokens(1) or any(resolved.prepended(layer, 1) for layer in at):
        raise ValueError(
            f"{γ} can't be fused: a bank, a mixture and virtual tokens have no single output of a "
            "layer, which Fusion attends to"
        )


class Fused(Adaptation):
    """Adaptation of a Fusion.  `adapters` are frozen adaptations, and `at` has Q, K and V."""

    recorded: dict | None = None  # {path: s}, in `fusion_weights`

    def __init__(self, method, at, made_for, adapters):
        super().__init__(method, at, made_for)
        self.adapters = adapters

    def __call__(self, layer, x):
        if layer.path not in self.at:
            return layer(x)
        h = layer(x)  # which the adapters share: an attention with a cache must run only once
        layer = LayerProxy(layer, lambda layer, y: h if y is x else layer(y))
        z = [γ(layer, x) for γ in self.adapters]
        q, k, v = self.method.queries_keys_values(h, z, **self.at[layer.path])
        if self.recorded is not None:
            one_hot = np.asarray(np.eye(len(z)), h.dtype, like=h.data)[None, None, None]
            s = attention(q, k, Tensor(one_hot)).data
            self.recorded[layer.path] = host(s).reshape(*h.shape[:2], len(z))
        return reshape(attention(q, k, v), h.shape)

    def fusion_weights(self, model, ids, **options) -> dict[str, np.ndarray]:
        """Return {path: s (B, T, N)}, the weights of the adapters at each token of ids (B, T).

        options: of a call of the model, such as mask=mask.
        """
        recording = nn.replace(self, recorded={})
        with no_grad():
            model(ids, recording, **options)
        return recording.recorded

    def signature(self):
        return *super().signature(), *[id(p.data) for _, p in self.named_frozen()]

    def named_parameters(self, frozen=False):
        yield from super().named_parameters()
        yield from self.named_frozen() if frozen else ()

    def named_frozen(self):
        """Yield (name, tensor) of the adapters."""
        for i, γ in enumerate(self.adapters):
            for name, p in γ.named_parameters(frozen=True):
                yield f"{i}.{name}", p

    def replace_parameters(self, new):
        frozen = {id(p): Tensor(new.get(id(p), p).data) for _, p in self.named_frozen()}
        γ = super().replace_parameters(new)
        return γ.with_adapters(lambda γ: γ.replace_parameters(frozen))

    def with_adapters(self, f):
        """Return a copy with f(γ) in place of each adapter γ."""
        return nn.replace(self, adapters=tuple(map(f, self.adapters)))

    def astype(self, dtype):
        return super().astype(dtype).with_adapters(lambda γ: γ.astype(dtype))

    def to(self, device):
        return super().to(device).with_adapters(lambda γ: γ.to(device))
