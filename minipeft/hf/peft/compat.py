"""PEFT's forward pass where it is wrong, on request: docs/differences-from-peft.md.

B batch   T tokens   P virtual tokens of a prompt   V vocabulary   C classes
"""

import dataclasses
from typing import Any

import numpy as np

from ...adaptation.adaptation import Adaptation, check_model
from ...adaptation.cache import Cache
from ...adaptation.chain import Chain, Composite
from ...adaptation.method import PLAIN, PSEUDO, Method
from ...autograd.functional import cross_entropy
from ...autograd.nn import Module, replace
from ...autograd.ops import lookup, sqrt, transpose
from ...autograd.ops import sum as sum_over
from ...autograd.tensor import Tensor
from ...methods import DoRA, PseudoTokens
from ...model.generate import generate
from ...model.heads import Classifier, SpanClassifier, pooling
from ...model.inputs import Inputs, check_inputs, check_targets
from ...model.transformer import LanguageModel
from ..models import family_of


class DetachedDoRA(DoRA):
    """DoRA whose norm has no gradient        Liu et al. 2024, §4.3"""

    def magnitude(self, layer, A, B, m):
        _, V = super().magnitude(layer, A, B, m)
        return m / Tensor(sqrt(sum_over(V * V, axis=-2, keepdims=True)).data), V


class PeftModel:
    """A model with an adaptation, which computes what PEFT and transformers compute.

    The virtual tokens of a prompt are part of the text: they have outputs, every column has a
    position, padding too, and a classifier may pool one of them.  Heads and losses see padding.

    `adaptation` is what `save` writes, and may be used elsewhere, without PEFT's behaviour.
    task_type: PEFT's, such as "QUESTION_ANS", which decides the inputs that PEFT drops.
    """

    def __init__(self, model: Module, adaptation: Adaptation, task_type: str | None = None):
        check_model(adaptation, model)
        self.model: Any = model
        self.adaptation, self.task_type = adaptation, task_type

    def __repr__(self):
        return f"PeftModel({self.adaptation})"

    def parameters(self) -> list[Tensor]:
        """Return the parameters of the adaptation."""
        return self.adaptation.parameters()

    def of(self, rows) -> "PeftModel":
        """Return the PeftModel of these users or tasks of a bank."""
        return type(self)(self.model, self.adaptation.of(rows), self.task_type)

    def __call__(self, ids, *, mask=None, token_types=None, rng=None) -> Tensor:
        """Return logits, (B, P + T, V) or (B, C), or hidden states; arguments as of the model."""
        model, inputs, γ = self.with_prompt(ids, mask, token_types, rng)
        h, forward = model.run(inputs, Cache(γ, keep=False))
        if isinstance(model, Classifier):
            has_prompt = h.shape[1] > np.shape(ids)[1]
            real = inputs.real if model.causal and not has_prompt else np.ones_like(inputs.real)
            positions, weights = pooling(model.pool, real)
            h = model.pooled(lookup(h, positions), weights, forward)
        return model.logits(h, forward) if hasattr(model, "logits") else h

    def loss(self, ids, labels, *, mask=None, token_types=None, rng=None, count=None) -> Tensor:
        """Return the mean cross-entropy of all labels that are not -100, also those of padding.

        labels: as the model takes them; those of a span count the virtual tokens.
        """
        model, z = self.model, self(ids, mask=mask, token_types=token_types, rng=rng)
        if isinstance(model, LanguageModel):
            P = z.shape[1] - np.shape(ids)[1]
            labels = np.pad(labels, ((0, 0), (P, 0)), constant_values=-100)
        elif isinstance(model, SpanClassifier):
            z = transpose(z)
        targets = model.targets(labels)
        check_targets(targets, z.shape[:-1])
        return cross_entropy(z, targets, count or max(1, (targets >= 0).sum()))

    def generate(self, ids, *, mask=None, **options) -> np.ndarray:
        """Return new tokens; for the options see minipeft.generate."""
        model, inputs, γ = self.with_prompt(ids, mask)
        return generate(model, inputs.ids, γ, mask=inputs.real, **options)

    def with_prompt(self, ids, mask=None, token_types=None, rng=None):
        """Return model, inputs and adaptation with the prompt as pseudo-tokens in front."""
        model, γ = self.model, self.adaptation.resolve(rng)
        inputs = check_inputs(model.config, ids, γ, mask, token_types)
        B = len(inputs.ids)
        front, γ = γ.prepended(model.tokens, B), change_leaves(γ, without_prompt)
        prefix = γ.prepended(model.blocks[0].attn, B)
        answers = self.task_type == "QUESTION_ANS"
        if answers or self.task_type == "FEATURE_EXTRACTION" and (front or prefix):
            inputs = inputs._replace(token_types=np.zeros_like(inputs.token_types))
        if front is None and family_of(model.config).pads_uncounted:
            return count_tokens(model, prefix), inputs, γ
        if front is None:
            return count_columns(model, prefix) if answers else model, inputs, γ
        if prefix:
            raise ValueError("PEFT has no adaptation with a prompt and a prefix: leave out compat")
        inputs, prompt = as_text(front, inputs, model.tokens, γ)
        return count_columns(model), inputs, Chain(γ, prompt)


def as_text(front, inputs: Inputs, layer, γ: Adaptation) -> tuple[Inputs, Adaptation]:
    """Return inputs with pseudo-tokens in front of the text, and the adaptation that embeds them.

    front: the virtual tokens in front of the inputs of the embedding `layer`.
    """
    if not front.real.all():
        raise ValueError(
            "rows with prompts of different lengths have outputs of different lengths with "
            "compat='peft': read them alone"
        )
    B, P = front.real.shape
    at = {layer.path: {"h": front.rows[0]}}
    pad = lambda x, values: np.hstack([np.broadcast_to(values, (B, P)), x])
    ids, real, types = inputs
    inputs = Inputs(pad(ids, PSEUDO - np.arange(P)), pad(real, True), pad(types, 0))
    return inputs, Adaptation(PseudoTokens(f"[P]*{P} {{x}}"), at, γ.made_for)


def change_leaves(γ: Adaptation, change) -> Adaptation:
    """Return γ with change(leaf) in place of every adaptation that it is made of."""
    if not isinstance(γ, Composite):
        return change(γ)
    return γ.map_parts(lambda m: change_leaves(m, change))


def without_prompt(leaf: Adaptation) -> Adaptation:
    """Return an adaptation without its prompt, and with PEFT's DoRA instead of DoRA."""
    if type(leaf.method) is DoRA:
        fields = {f.name: getattr(leaf.method, f.name) for f in dataclasses.fields(DoRA)}
        return replace(leaf, method=DetachedDoRA(**fields))
    prepends = type(leaf.method).prepend is not Method.prepend
    return PLAIN if prepends and any(path.endswith("tokens") for path in leaf.at) else leaf


def count_columns(model, prefix=None):
    """Return the model with the column of each row as its position, padding included.

    prefix: the Front of its attentions, or None; the columns start after it.
    """

    def run(inputs, cache, positions=None, position_ids=None):
        B, T = inputs.ids.shape
        start = prefix.shift[:, None] if prefix else 0
        start = start if cache.real is None else cache.real.shape[1]
        columns = np.broadcast_to(start + np.arange(T), (B, T))
        return model.run(inputs, cache, positions, columns)

    return replace(model, run=run)


def count_tokens(model, prefix=None):
    """Return an encoder whose padding has the position -1; the arguments are of `count_columns`."""

    def run(inputs, cache, positions=None, position_ids=None):
        count = inputs.real.cumsum(1) + (prefix.shift[:, None] if prefix else 0)
        return model.run(inputs, cache, positions, count * inputs.real - 1)

    return replace(model, run=run)
