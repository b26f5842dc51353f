"""The equations of the documents hold; and every claim of every entry would notice if not."""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipeft import equations, methods, mixture, reading
from minipeft.adaptation.adaptation import Adaptation
from minipeft.autograd import functional, ops, tensor
from minipeft.autograd.nn import replace
from minipeft.equations import EQUATIONS, OPEN, Differs, Equal, Equation, verify
from minipeft.equations.catalogue import SECTIONS
from minipeft.equations.corrections import CORRECTIONS
from minipeft.methods import lstm
from minipeft.methods.encoded import Encoded
from minipeft.methods.template import Layout
from minipeft.model import ensemble, heads, positions, transformer
from minipeft.training import optim

REQUIRED = """
    EQ-ERM EQ-FT EQ-LIGHT
    AT-1 AT-2 AT-3 AT-4 AT-5
    PF-1 PF-2 PF-3 PF-4 PF-5 PF-6 PF-7 PF-8 PF-9 PF-10 PF-11 PF-13 PF-14 PF-15 PF-16
    PR-1 PR-2 PR-3 PR-4 PR-5 PR-6 PR-7 PR-8 PR-9 PR-11
    PT-1 PT-2 PT-3 PT-4 PT-5
    P2-1 P2-2 P2-3 P2-4
    AD-1 AD-2 AD-3 AD-4 AD-5 AD-6 AD-7
    LO-1 LO-2 IA-1 BF-1 LN-1
    HE-1 1.15
    PB-1 PB-2 PB-3 PB-4
    LL-1 LL-2 LL-3 LL-4 LL-5 LL-6
""".split()

every = pytest.mark.parametrize("equation", EQUATIONS, ids=lambda e: e.id)
seeds = st.integers(0, 2**32 - 1)


def test_each_is_there_once_and_in_order():
    assert [e.id for e in EQUATIONS] == REQUIRED


def test_every_correction_is_told_where_it_matters():
    """X1 to X4 name four; a claim that no equation can show has no entry."""
    assert [*CORRECTIONS] == [f"X{n}" for n in range(1, 26)]
    told = {e.id: f"{e.formula} {e.source} {inspect.getmodule(e.entry).__doc__}" for e in EQUATIONS}
    told |= {one["id"]: one["source"] for one in OPEN}
    for name, correction in CORRECTIONS.items():
        if correction.entry:
            source = told[correction.entry].replace("X1 to X4", "X1 X2 X3 X4")
            assert re.search(rf"\b{name}\b", source), (name, correction.entry)


@every
def test_says_what_and_where_from(equation):
    assert all(line and "\n" not in line for line in (equation.formula, equation.source))


@every
@given(seeds)
@settings(max_examples=10)
def test_holds(equation, seed):
    result = equation.verify([seed])
    assert result.ok, result.why


# -- the tester, tested -----------------------------------------------------------


def spoiled(claim):
    """The library's side a millionth off; where it should differ, as if it did not."""
    if isinstance(claim, Differs):
        return replace(claim, ours=claim.literal)
    ours = np.asarray(claim.ours, float)
    return replace(claim, ours=ours + 1e-6 * (1 + abs(ours)))


@every
@given(seeds)
@settings(max_examples=5)
def test_every_claim_notices_a_millionth(equation, seed):
    claims = list(equation.claims(seed))
    assert all(claim.holds for claim in claims)
    assert not any(spoiled(claim).holds for claim in claims)


def test_what_cannot_be_compared_does_not_hold():
    for kind in (Equal, Differs):
        assert not kind(np.nan, np.nan).holds
        assert not kind(np.nan, 1.0).holds
        assert not kind(np.ones(3), np.zeros(2)).holds
        assert not kind(np.ones(3), np.zeros((3, 1))).holds
        assert not kind([], []).holds
    assert not Equal(0.0, 1e-11).holds
    assert not Equal(0.0, 1e-300, tolerance=0.0).holds
    assert not Differs(0.0, 1e-9).holds
    assert Differs(0.0, 1e-7).holds


def test_an_error_and_an_empty_entry_are_failures():
    def breaks(draw):
        yield 1.0, 1.0
        raise ZeroDivisionError("by zero")

    result = Equation("X", "x = x", "nowhere", breaks).verify([3])
    assert not result.ok and result.why == "seed 3: ZeroDivisionError: by zero"
    assert not Equation("X", "x = x", "nowhere", lambda draw: iter(())).verify([3]).ok


def test_verify_draws_again_what_it_drew():
    once, again, other = (
        [(r.id, r.worst, r.ok) for r in verify(draws=1, seed=seed)] for seed in (5, 5, 6)
    )
    assert once == again != other
    assert all(ok for _, _, ok in once + other)


def test_the_papers_side_knows_nothing_of_the_library():
    """A function that is not handed the library's model, head or γ is literal."""
    literal = [
        f
        for part in (equations.literal, *SECTIONS)
        for f in vars(part).values()
        if inspect.isfunction(f) and f.__module__ == part.__name__
        if not {"model", "head", "γ"} & set(inspect.signature(f).parameters)
    ]
    assert len(literal) > 40
    for f in literal:
        known = [f.__globals__.get(name) for name in names(f.__code__)]
        homes = {getattr(thing, "__module__", None) for thing in known} - {None}
        assert not {h for h in homes if h.startswith("minipeft")} - {
            "minipeft.equations.literal",
            f.__module__,
        }, f


def names(code):
    inner = [names(c) for c in code.co_consts if inspect.iscode(c)]
    return {*code.co_names}.union(*inner)


# -- the library, broken on purpose: which entries notice ---------------------------


def unscaled(q, k, v, bias=None, masked=None, scale=1.0):
    return functional.attention(q, k, v, bias, masked)


def sees_the_future(self, real):
    return None if real.all() else ~real[:, None, None, None, :]


def filler_is_real(self, layer, B, before=mixture.Each.before):
    found = before(self, layer, B)
    return found and (found[0], np.ones_like(found[1]))


def without_bias_correction(self, grads, lr=None):
    for p, g in zip(self.parameters, grads):
        p.data -= self.lr * (1 - self.betas[0]) * g


def one_more_row(self, layer, rng, start=methods.PromptTuning.start):
    (P,) = start(self, layer, rng)
    return [np.concatenate([P, P[:1]])]


def uniform_to_a_half(self, layer, rng):
    return [rng.uniform(0, 0.5, (self.length, layer.W.shape[1]))]


def from_the_last(self, layer, ids, h, apply=methods.PseudoTokens.apply):
    V = layer.shape[0]
    return apply(self, layer, np.where(ids < V, ids, 2 * V + self.length - 1 - ids), h)


def on_top_of_a_word(self, layer, ids, h, apply=methods.PseudoTokens.apply):
    return apply(self, layer, ids, h + layer(np.zeros((1, 1), int)))


def one_dropout(self, layer, B, before=methods.PTuningV2.before):
    found = before(self, layer, 1)
    rows, real = found or ([], None)
    stretched = [ops.broadcast_to(r, (B, *r.shape[1:])) for r in rows]
    return found and (stretched, np.repeat(real, B, axis=0))


def but_b2(θ):
    return {name: p for name, p in θ.items() if name != "b2"}


def before_cls(self, row):
    return [*self.front, *row, *self.back]


def by_product(P, W, n=1):
    z = getattr(P, "data", P) @ W.data.T
    ids = np.argsort(-z, axis=1)[:, :n]
    return ids, np.take_along_axis(z, ids, 1)


def one_column_more(self, layer, rng, start=methods.LoRA.start):
    A, B = start(self, layer, rng)
    return np.hstack([A, A[:, :1]]), np.vstack([B, B[:1]])


def one_bias_for_all(self, layer, rng, start=methods.Adapter.start):
    D, b, U, c = start(self, layer, rng)
    return D, b, U, c[:, :1]


def one_more_seen(self, real, hiding=reading.Forward.hiding):
    return hiding(replace(self, window=self.window and self.window + 1), real)


MUTANTS = {
    "attention without √d": (
        ["minipeft.model.transformer.attention", "minipeft.equations.attention.attention"],
        unscaled,
        "AT-1 AT-2 AT-3 AT-5 PF-1 PF-2 PF-3 PF-4 PF-7 PR-1 AD-3",
    ),
    "no causal mask": ([(reading.Forward, "hiding")], sees_the_future, "AT-4 PF-3 PF-15 PR-2 PB-4"),
    "values for keys": (
        [(methods.PrefixTuning, "past")],
        lambda self, layer, P_k, P_v: (P_v, P_k),
        "PF-1 PF-2 PF-3 PF-4 PF-5 PF-7 PF-8 PF-11 PF-13 PF-15 PF-16 PR-2 EQ-LIGHT",
    ),
    "a prefix of zeros is none": (
        [(methods.PrefixTuning, "past")],
        lambda self, layer, P_k, P_v: (P_k, P_v) if P_k.data.any() else None,
        "PF-6",
    ),
    "no prefix": ([(methods.PrefixTuning, "past")], lambda *_: None, "EQ-LIGHT EQ-ERM AT-4"),
    "positions not shifted": (
        [(Adaptation, "shift")],
        lambda self, layer, B: np.zeros(B, int),
        "PF-1 PF-10 PF-11 PF-15",
    ),
    "filler counted as real": ([(mixture.Each, "before")], filler_is_real, "PF-13 PR-11"),
    "layers from the last to the first": (
        [(Encoded, "encode")],
        lambda self, E, W1, b1, W2, b2: ops.tanh(E @ W1 + b1) @ reversed_columns(W2) + b2,
        "PF-8 PF-9",
    ),
    "folded in float32": (
        [(Encoded, "fold")],
        lambda self: self.now().astype(np.float32).astype(float),
        "PF-8",
    ),
    "prompt in float32": (
        [(methods.PromptTuning, "past")],
        lambda self, layer, P: [type(P)(P.data.astype(np.float32).astype(float))],
        "PR-1 PR-2 PR-3 PR-4 PR-11",
    ),
    "pseudo-tokens from the last to the first": (
        [(methods.PseudoTokens, "apply")],
        from_the_last,
        "PF-14 PR-6 PT-1 PT-3 PT-4 PT-5",
    ),
    "pseudo-tokens on top of a word": (
        [(methods.PseudoTokens, "apply")],
        on_top_of_a_word,
        "PF-14 PR-6 PT-1 PT-3 PT-4 PT-5",
    ),
    "an LSTM that reads one way": (
        ["minipeft.methods.ptuning.bidirectional"],
        lambda x, forth, back: lstm.bidirectional(x, forth, forth),
        "PT-2",
    ),
    "one dropout for all texts": ([(methods.PTuningV2, "before")], one_dropout, "P2-1"),
    "[CLS] is the last": ([(heads.POOLS, "cls")], heads.last, "P2-2"),
    "an MLP without a bias": (
        [(Encoded, "network")],
        lambda self, *sizes, network=Encoded.network: but_b2(network(self, *sizes)),
        "P2-3",
    ),
    "gradient of the last task alone": (
        ["minipeft.equations.ptuning2.grad"],
        lambda ys, wrt: tensor.grad(ys[-1] if isinstance(ys, list) else ys, wrt),
        "P2-4",
    ),
    "prompt before [CLS]": ([(Layout, "__call__")], before_cls, "PR-6"),
    "a tie goes to the first": (
        ["minipeft.equations.prompt.majority_vote"],
        lambda p: np.array([np.bincount(row, minlength=3).argmax() for row in p.argmax(-1).T]),
        "PR-8",
    ),
    "the votes of one": (
        ["minipeft.equations.prompt.ensemble"],
        lambda model, methods, ids: ensemble(model, methods[:1] * len(methods), ids),
        "PR-8",
    ),
    "nearest by product": (["minipeft.equations.prompt.nearest"], by_product, "PR-9"),
    "U[0, ½)": ([(methods.PromptTuning, "start")], uniform_to_a_half, "PR-3 PR-5"),
    "one row more": ([(methods.PromptTuning, "start")], one_more_row, "PR-7"),
    "no positions": ([(positions.Learned, "place")], lambda self, h, read: h, "PB-4 PR-4"),
    "adapter without its skip": (
        [(methods.Adapter, "apply")],
        lambda self, layer, x, D, b, U, c: functional.gelu(layer(x) @ D + b) @ U + c,
        "AD-1 AD-3",
    ),
    "one bias for all": ([(methods.Adapter, "start")], one_bias_for_all, "AD-2"),
    "an adapter that does not bend": (
        [(methods.Adapter, "apply")],
        lambda self, layer, x, D, b, U, c: layer(x) + (layer(x) @ D + b) @ U + c,
        "AD-1 AD-7 HE-1",
    ),
    "an adapter in sequence": (
        [(methods.ParallelAdapter, "apply")],
        lambda self, layer, x, D, U: layer(x) + functional.relu(layer(x) @ D) @ (self.scale * U),
        "AD-4 AD-5 AD-6 HE-1",
    ),
    "LoRA without α/r": (
        [(methods.LoRA, "apply")],
        lambda self, layer, x, A, B: layer(x) + x @ A @ B,
        "LO-1 HE-1",
    ),
    "one column more": ([(methods.LoRA, "start")], one_column_more, "LO-2 1.15"),
    "(IA)³ scales what goes in": (
        [(methods.IA3, "apply")],
        lambda self, layer, x, l: layer(x) * l if x.shape[-1] != l.shape[-1] else layer(x * l),
        "IA-1",
    ),
    "a bias taken away": (
        [(methods.BitFit, "apply")],
        lambda self, layer, x, δ: layer(x) - δ,
        "BF-1",
    ),
    "tuned weights in another order": (
        [(methods.FullFineTuning, "weights")],
        lambda self, layer, *θ: dict(zip(layer.tensors(), θ[::-1])),
        "LN-1",
    ),
    "every update -lr g": ([(optim.AdamW, "step")], without_bias_correction, "EQ-FT"),
    "labels not counted": (
        ["minipeft.model.transformer.cross_entropy", "minipeft.model.heads.cross_entropy"],
        lambda z, target, count: functional.cross_entropy(z, target, 1),
        "EQ-ERM PB-1",
    ),
    "padding pooled last": (
        [(heads.POOLS, "last")],
        lambda mask: heads.last(np.ones_like(mask)),
        "PB-2",
    ),
    "all of one type": (
        [(transformer.TokenTypes, "place")],
        lambda self, h, token_types, read: h,
        "PB-2",
    ),
    "padding pooled too": (
        [(heads.POOLS, "mean")],
        lambda mask: heads.mean(np.ones_like(mask)),
        "PB-3",
    ),
    "a norm with a centre": (
        ["minipeft.equations.llama.rms_norm", "minipeft.autograd.nn.rms_norm"],
        lambda x, g, eps: functional.layer_norm(x, g, tensor.Tensor(0 * g.data), eps=eps),
        "LL-1 LL-6",
    ),
    "nothing turned": (["minipeft.model.positions.rotate"], lambda x, c, s: x, "LL-2 LL-5 LL-6"),
    "stretched nowhere": (
        ["minipeft.model.positions.stretched"],
        lambda ω, *stretch: np.ones_like(ω),
        "LL-3",
    ),
    "a gate that does not bend": (
        [(transformer.GatedMlp, "__call__")],
        lambda self, x, read: read(self.down, read(self.gate, x) * read(self.up, x)),
        "LL-4 LL-6",
    ),
    "a window of one more": ([(reading.Forward, "hiding")], one_more_seen, "LL-5"),
}


def reversed_columns(W):
    return type(W)(W.data[:, ::-1].copy())


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_library_is_noticed(mutant, monkeypatch):
    places, wrong, noticed_by = MUTANTS[mutant]
    for place in places:
        if isinstance(place, str):
            monkeypatch.setattr(place, wrong)
        elif isinstance(place[0], dict):
            monkeypatch.setitem(*place, wrong)
        else:
            monkeypatch.setattr(*place, wrong)
    # a method's signature names its parameters: what is planted there shall break no more than it
    monkeypatch.setattr(Adaptation, "names", lambda self, path: range(len(self.at[path])))
    results = [e.verify(range(8)) for e in EQUATIONS if e.id in noticed_by.split()]
    assert not [r for r in results if r.ok or ", claim " not in r.why]  # an error is too easy


def test_every_entry_notices_some_mutant():
    assert {id for _, _, noticed_by in MUTANTS.values() for id in noticed_by.split()} == {*REQUIRED}
