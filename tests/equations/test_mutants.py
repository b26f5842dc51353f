"""The library, broken on purpose in one place: the equations that must fail."""

import dataclasses

import numpy as np
import pytest

from minipeft import methods
from minipeft.adaptation.adaptation import Adaptation, Front
from minipeft.adaptation.each import Each
from minipeft.adaptation.forward import Forward, attention_mask
from minipeft.adaptation.method import PSEUDO
from minipeft.autograd import functional, ops, tensor
from minipeft.data import objectives
from minipeft.equations import EQUATIONS
from minipeft.feedback import dpo, ranking, returns
from minipeft.feedback.demonstrations import Demonstrations
from minipeft.methods import lstm
from minipeft.methods.encoded import Encoded
from minipeft.methods.template import Layout
from minipeft.model import blocks, encoder_decoder, ensemble, heads, positions
from minipeft.training import optim
from tests.support.mutants import PROMPTING, mutant

ATTENTION = "minipeft.model.blocks.attention", "minipeft.equations.attention.attention"
ATTENTION_MASK = "minipeft.adaptation.forward.attention_mask"
CROSS_ENTROPY = "minipeft.model.transformer.cross_entropy", "minipeft.model.heads.cross_entropy"
RMS_NORM = "minipeft.equations.llama.rms_norm", "minipeft.autograd.nn.rms_norm"


def unscaled(q, k, v, bias=None, masked=None, scale=1.0):
    return functional.attention(q, k, v, bias, masked)


def not_shifted(self, layer, B, prepended=Adaptation.prepended):
    front = prepended(self, layer, B)
    return front and front._replace(shift=np.zeros_like(front.shift))


def filler_is_real(self, layer, B, prepended=Each.prepended):
    front = prepended(self, layer, B)
    return front and front._replace(real=np.ones_like(front.real))


def one_dropout(self, layer, B, prepended=Adaptation.prepended):
    front = prepended(self, layer, 1)
    if front is None:
        return None
    rows = [ops.broadcast_to(r, (B, *r.shape[1:])) for r in front.rows]
    return Front(rows, np.repeat(front.real, B, axis=0), np.repeat(front.shift, B))


def in_float32(t):
    return type(t)(t.data.astype(np.float32).astype(float))


def reversed_columns(W):
    return type(W)(W.data[:, ::-1].copy())


def source_without_prefix(self, layer, project):
    (h,), real, _ = self.cache.source
    return *project(h), real


def without_b2(self, *sizes, network=Encoded.network):
    return {name: p for name, p in network(self, *sizes).items() if name != "b2"}


def without_bias_correction(self, grads, lr=None):
    for p, g in zip(self.parameters, grads):
        p.data -= self.lr * (1 - self.betas[0]) * g


def one_more_row(self, layer, rng, start=methods.PromptTuning.start):
    P = start(self, layer, rng)["P"]
    return {"P": np.concatenate([P, P[:1]])}


def uniform_from_0(self, layer, rng):
    return {"P": rng.uniform(0, 0.5, (self.length, layer.W.shape[1]))}


def reversed_ids(self, layer, ids, h, apply=methods.PseudoTokens.apply):
    return apply(self, layer, np.where(ids < 0, 2 * PSEUDO + 1 - self.length - ids, ids), h)


def added_to_a_word(self, layer, ids, h, apply=methods.PseudoTokens.apply):
    return apply(self, layer, ids, h + layer(np.zeros((1, 1), int)))


def by_product(P, W, n=1):
    z = getattr(P, "data", P) @ W.data.T
    ids = np.argsort(-z, axis=1)[:, :n]
    return ids, np.take_along_axis(z, ids, 1)


def one_more_column(self, layer, rng, start=methods.LoRA.start):
    A, B = start(self, layer, rng).values()
    return {"A": np.hstack([A, A[:, :1]]), "B": np.vstack([B, B[:1]])}


def one_number_for_c(self, layer, rng, start=methods.Adapter.start):
    parameters = start(self, layer, rng)
    return parameters | {"c": parameters["c"][:, :1]}


def always_masked(x, words, mask, rng):
    _, labels = objectives.mask_tokens(x, words, mask, rng)
    return np.where(labels < 0, x, mask), labels


def without_last_sentinel(*arguments):
    inputs, targets = objectives.corrupt_spans(*arguments)
    return inputs, targets[:-1]


def everything(self, pairs, collate=Demonstrations.collate):
    return collate(dataclasses.replace(self, answer_only=False), pairs)


def with_ties(self, ranks, mask=None, targets=ranking.Ranked.targets):
    weights, Δ = np.moveaxis(targets(self, ranks), 1, 0)
    return np.stack([np.where(Δ == 0, weights.max(), weights), Δ], 1)


def score_at_the_start(score, kl, mask, beta):
    r = -beta * kl
    r[:, 0] += score
    return r


def unclipped(log_p, old, A, mask, *, epsilon=0.2):
    return ops.sum(ops.exp(log_p - old) * np.where(mask, -A, 0.0)) / mask.sum()


def scaled_mean(x, mask, shift_mean=True):
    scale = np.sqrt(x[mask].var() + 1e-8)
    return (x - x[mask].mean() * shift_mean) / scale


MUTANTS = {
    "attention without √d": mutant(
        "AT-1 AT-2 AT-3 AT-5 PF-1 PF-2 PF-3 PF-4 PF-7 PR-1 AD-3", unscaled, *ATTENTION
    ),
    "no causal mask": mutant(
        "AT-4 PF-3 PF-15 PR-2 PB-4 PLM-1 PLM-4",
        lambda real, T, causal, *rest: attention_mask(real, T, False, *rest),
        ATTENTION_MASK,
    ),
    "keys and values swapped": mutant(
        "PF-1 PF-2 PF-3 PF-4 PF-5 PF-7 PF-8 PF-11 PF-13 PF-15 PF-16 PR-2 EQ-LIGHT",
        lambda self, layer, P_key, P_value: (P_value, P_key),
        (methods.PrefixTuning, "prepend"),
    ),
    "a prefix of zeros has no effect": mutant(
        "PF-6",
        lambda self, layer, P_key, P_value, **g: (P_key, P_value) if P_key.data.any() else None,
        (methods.PrefixTuning, "prepend"),
    ),
    "a gate that is open at the start": mutant(
        "PF-17",
        lambda self, layer, rng, start=methods.PrefixTuning.start: {
            name: p if p.any() else p + 1 for name, p in start(self, layer, rng).items()
        },
        (methods.PrefixTuning, "start"),
    ),
    "no prefix": mutant(
        "EQ-LIGHT EQ-ERM AT-4", lambda *_, **parameters: None, (methods.PrefixTuning, "prepend")
    ),
    "positions not shifted": mutant(
        "PF-1 PF-10 PF-11 PF-15", not_shifted, (Adaptation, "prepended")
    ),
    "filler counted as real": mutant("PF-13 PR-11", filler_is_real, (Each, "prepended")),
    "layers from the last to the first": mutant(
        "PF-8 PF-9",
        lambda self, E, W1, b1, W2, b2: ops.tanh(E @ W1 + b1) @ reversed_columns(W2) + b2,
        (Encoded, "encode"),
    ),
    "folded in float32": mutant(
        "PF-8", lambda γ: γ.resolve().map(in_float32), "minipeft.equations.prefix_use.fold"
    ),
    "prompt in float32": mutant(
        "PR-1 PR-2 PR-3 PR-4 PR-11",
        lambda self, layer, P: [in_float32(P)],
        (methods.PromptTuning, "prepend"),
    ),
    "pseudo-tokens from the last to the first": mutant(
        "PF-14 PR-6 PT-1 PT-3 PT-4 PT-5", reversed_ids, (methods.PseudoTokens, "apply")
    ),
    "pseudo-tokens added to a word": mutant(
        "PF-14 PR-6 PT-1 PT-3 PT-4 PT-5", added_to_a_word, (methods.PseudoTokens, "apply")
    ),
    "an LSTM that reads one way": mutant(
        "PT-2",
        lambda x, forth, back: lstm.bidirectional(x, forth, forth),
        "minipeft.methods.ptuning.bidirectional",
    ),
    "one dropout mask for all texts": mutant("P2-1", one_dropout, (Adaptation, "prepended")),
    "[CLS] is the last token": mutant("P2-2", heads.last, (heads.POOLS, "cls")),
    "an MLP without a bias": mutant("P2-3", without_b2, (Encoded, "network")),
    "gradient of the last task only": mutant(
        "P2-4",
        lambda ys, wrt: tensor.grad(ys[-1] if isinstance(ys, list) else ys, wrt),
        "minipeft.equations.ptuning2.grad",
    ),
    "prompt before [CLS]": mutant(
        "PR-6", lambda self, row: [*self.front, *row, *self.back], (Layout, "__call__")
    ),
    "a tie goes to the first class": mutant(
        "PR-8",
        lambda p: np.array([np.bincount(row, minlength=3).argmax() for row in p.argmax(-1).T]),
        "minipeft.equations.prompt.majority_vote",
    ),
    "votes of one member": mutant(
        "PR-8",
        lambda model, γs, ids: ensemble.ensemble(model, γs[:1] * len(γs), ids),
        "minipeft.equations.prompt.ensemble",
    ),
    "nearest by product": mutant("PR-9", by_product, "minipeft.equations.prompt.nearest"),
    "U[0, ½)": mutant("PR-3 PR-5", uniform_from_0, (methods.PromptTuning, "start")),
    "one more row": mutant("PR-7", one_more_row, (methods.PromptTuning, "start")),
    "no positions": mutant("PB-4 PR-4", lambda self, h, forward: h, (positions.Learned, "embed")),
    "adapter without its residual": mutant(
        "AD-1 AD-3",
        lambda self, layer, x, D, b, U, c: functional.gelu(layer(x) @ D + b) @ U + c,
        (methods.Adapter, "apply"),
    ),
    "adapters alike": mutant(
        "AD-8",
        lambda q, k, v, attention=functional.attention: attention(q * 0.0, k, v),
        "minipeft.methods.fusion.attention",
    ),
    "one number for c": mutant("AD-2", one_number_for_c, (methods.Adapter, "start")),
    "linear adapter": mutant(
        "AD-1 AD-7 HE-1",
        lambda self, layer, x, D, b, U, c: layer(x) + (layer(x) @ D + b) @ U + c,
        (methods.Adapter, "apply"),
    ),
    "sequential adapter": mutant(
        "AD-4 AD-5 AD-6 HE-1",
        lambda self, layer, x, W_down, W_up: (
            layer(x) + functional.relu(layer(x) @ W_down) @ (self.scale * W_up)
        ),
        (methods.ParallelAdapter, "apply"),
    ),
    "LoRA without α/r": mutant(
        "LO-1 HE-1", lambda self, layer, x, A, B: layer(x) + x @ A @ B, (methods.LoRA, "apply")
    ),
    "one more column": mutant("LO-2 1.15", one_more_column, (methods.LoRA, "start")),
    "(IA)³ scales inputs": mutant(
        "IA-1",
        lambda self, layer, x, l: layer(x) * l if x.shape[-1] != l.shape[-1] else layer(x * l),
        (methods.IA3, "apply"),
    ),
    "a bias subtracted": mutant(
        "BF-1", lambda self, layer, x, delta: layer(x) - delta, (methods.BitFit, "apply")
    ),
    "tuned weights in another order": mutant(
        "LN-1",
        lambda self, layer, **θ: dict(zip(θ, reversed(θ.values()))),
        (methods.FullFineTuning, "weights"),
    ),
    "every update -lr g": mutant("EQ-FT", without_bias_correction, (optim.AdamW, "step")),
    "labels not counted": mutant(
        "EQ-ERM PB-1 PLM-1 PLM-2",
        lambda z, target, count: functional.cross_entropy(z, target, 1),
        *CROSS_ENTROPY,
    ),
    "padding pooled last": mutant(
        "PB-2", lambda mask: heads.last(np.ones_like(mask)), (heads.POOLS, "last")
    ),
    "one token type": mutant(
        "PB-2", lambda self, h, token_types, forward: h, (blocks.TokenTypes, "embed")
    ),
    "padding pooled in the mean": mutant(
        "PB-3", lambda mask: heads.mean(np.ones_like(mask)), (heads.POOLS, "mean")
    ),
    "a probe without its hidden layer's relu": mutant(
        "PB-5",
        lambda self, layer, x, V, a, W, b: (x @ V + a) @ W + b,
        (methods.Probe, "apply"),
    ),
    "padding pooled by attention": mutant(
        "PB-6",
        lambda self, h, weights, forward, pooled=heads.Query.pooled: pooled(
            self, h, weights * 0 + 1, forward
        ),
        (heads.Query, "pooled"),
    ),
    "centred norm": mutant(
        "LL-1 LL-6",
        lambda x, g, eps: functional.layer_norm(x, g, tensor.Tensor(0 * g.data), eps=eps),
        *RMS_NORM,
    ),
    "no rotation": mutant(
        "LL-2 LL-5 LL-6", lambda x, cos, sin: x, "minipeft.model.positions.rotate"
    ),
    "no rope scaling": mutant(
        "LL-3",
        lambda ω, *scaling: np.ones_like(ω),
        "minipeft.model.positions.frequency_scale",
    ),
    "linear gate": mutant(
        "LL-4 LL-6",
        lambda self, x, forward: forward(self.down, forward(self.gate, x) * forward(self.up, x)),
        (blocks.GatedMlp, "__call__"),
    ),
    "no random word": mutant("PLM-2", always_masked, "minipeft.equations.pretraining.mask_tokens"),
    "no last sentinel": mutant(
        "PLM-3", without_last_sentinel, "minipeft.equations.pretraining.corrupt_spans"
    ),
    "a decoder that reads what it writes": mutant(
        "PLM-3 PLM-4", lambda self, labels: labels, (encoder_decoder.EncoderDecoder, "shift_right")
    ),
    "no relative positions": mutant(
        "ED-2", lambda self, real, forward: None, (positions.Relative, "bias")
    ),
    "buckets of the other direction": mutant(
        "ED-1",
        lambda distance, *sizes: positions.bucket(-distance, *sizes),
        "minipeft.equations.encoder_decoder.library_bucket",
    ),
    "positions of BART without their offset": mutant(
        "ED-3 PF-12",
        lambda self, h, forward: h + forward(self, forward.position_ids),
        (positions.Learned, "embed"),
    ),
    "a cross-attention without its prefix": mutant(
        "PF-12", source_without_prefix, (Forward, "source")
    ),
    "prompts learned too": mutant("RL-1", everything, (Demonstrations, "collate")),
    "ties are pairs": mutant("RL-2", with_ties, (ranking.Ranked, "targets")),
    "score at the first token": mutant("RL-3", score_at_the_start, (returns, "token_rewards")),
    "padding is worth something": mutant(
        "RL-4",
        lambda r, V, mask, *γλ, gae=returns.gae: gae(r, V, np.ones_like(mask), *γλ),
        (returns, "gae"),
    ),
    "ratios not clipped": mutant("RL-5", unclipped, "minipeft.equations.feedback.policy_loss"),
    "the mean of the rewards scaled": mutant("RL-6", scaled_mean, (returns, "whiten")),
    "k₂ for k₃": mutant("RL-7", returns.k2, (returns, "k3")),
    "β without a limit": mutant(
        "RL-8",
        lambda β, kl, n, target, horizon=10_000: β * (1 + (kl / target - 1) * n / horizon),
        (returns, "adapt_beta"),
    ),
    "no reference": mutant(
        "RL-9",
        lambda self, ids, γ=None, *, mask=None, rng=None: self.beta * self.answer_log_p(ids, γ),
        (dpo.DPO, "scores"),
    ),
    "the mean of all as a baseline": mutant(
        "RL-10", lambda r: r - r.mean(-1, keepdims=True), (returns, "rloo")
    ),
    "a window longer by one": mutant(
        "LL-5",
        lambda real, T, causal, window, *rest: attention_mask(
            real, T, causal, window and window + 1, *rest
        ),
        ATTENTION_MASK,
    ),
} | PROMPTING


def until_it_fails(equation):
    """Return the result on the first of eight draws that fails, or on the last."""
    for seed in range(8):
        if not (result := equation.verify([seed])).ok:
            break
    return result


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_library_is_noticed(name, monkeypatch):
    broken = MUTANTS[name]
    for place in broken.places:
        if isinstance(place, str):
            monkeypatch.setattr(place, broken.mutated)
        elif isinstance(place[0], dict):
            monkeypatch.setitem(*place, broken.mutated)
        else:
            monkeypatch.setattr(*place, broken.mutated)
    results = [until_it_fails(e) for e in EQUATIONS if e.id in broken.noticed_by.split()]
    # a claim must fail; an exception would notice less than the equation
    assert not [r for r in results if r.ok or ", claim " not in r.why]


def test_every_equation_notices_some_mutant():
    ids = {id for broken in MUTANTS.values() for id in broken.noticed_by.split()}
    assert ids == {e.id for e in EQUATIONS}
