"""Parameters without a gradient in the first step: which, and why, for every method."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.inspection import gradients
from minipeft.inspection.gradients import NOTHING, ROWS, SHIFT, Silent, kind, without_gradient
from tests.support.families import (
    ATTENTIVE,
    CLASSIFIERS,
    DECODERS,
    METHODS,
    NETWORKS,
    attached,
    batch,
    fresh,
    networks,
)
from tests.support.families import gradients as gradients_of

GPT2 = DECODERS["gpt2"]
ADAPTED = [name for name in METHODS if name != "plain"]
CAUSES = {  # method: {parameters without a gradient: those that are 0}
    "lora": {"A": "B"},
    "lora everywhere": {"A": "B"},
    "lora with a shared A": {"A": "B"},
    "lora, rank-stabilised": {"A": "B"},
    "lora of embeddings": {"A": "B"},
    "dora": {"A": "B"},
    "chain": {"A": "B"},
    "gated prefix": {"P_key": "g", "P_value": "g"},
    "parallel adapter": {"W_down": "W_up"},
    "multi-head adapter": {"W_down": "W_up"},
    "mam": {"W_down": "W_up"},
}
UNUSED = {  # layers that the loss does not depend on, where a method adapts them
    **dict.fromkeys(["bert", "bert on a device"], "pooler"),
    # in a Chain, a later part replaces the head
    **dict.fromkeys(["last", "mean", "cls", "tags", "spans", "mean on a device"], "0.score"),
}


def found(model, γ, B=5, **options):
    ids, labels, mask = batch(model, B, γ)
    return without_gradient(model, γ, ids, labels, mask=mask, **options)


def by_name(groups):
    return {name: (s.why, s.expected) for s in groups for name in s.names}


def never(name, parameter, network, model):
    """(why, expected) of a parameter that has no gradient at all, or None."""
    path, last = parameter.rpartition(".")[::2]
    of_keys = (
        path.endswith(".k") and name != "random weights" and model.config.positions != "rotary"
    )
    of_tokens = network == "spans" and path.endswith("score")
    if last in ("b", "delta") and (of_keys or of_tokens):
        return SHIFT, True
    return (NOTHING, False) if path == UNUSED.get(network) else None


@networks
@pytest.mark.parametrize("name", ADAPTED)
def test_which_parameters_have_no_gradient_and_why(model, name):
    network = next(n for n, other in NETWORKS.items() if other is model)
    γ, expected = fresh(name, model), {}
    for parameter in gradients.names_of(γ):
        if cause := CAUSES.get(name, {}).get(kind(parameter)):
            expected[parameter] = f"{cause} = 0", True
        elif why := never(name, parameter, network, model):
            expected[parameter] = why
    assert by_name(found(model, γ)) == expected


@networks
@pytest.mark.parametrize("name", ADAPTED)
def test_what_has_no_zeros_has_only_parameters_without_any_gradient(model, name):
    assert not [s for s in found(model, attached(name, model)) if "= 0" in s.why]


@pytest.mark.parametrize("name", ["lora", "bitfit", "full", "mam", "gated prefix"])
def test_it_is_the_same_in_float32_and_in_micro_batches(name):
    model = CLASSIFIERS["last"]
    γ = fresh(name, model)
    result = found(model, γ)
    assert found(model.astype(np.float32), γ.astype(np.float32)) == result
    assert found(model, γ, micro_batches=3) == result


@pytest.mark.parametrize("model", [GPT2, CLASSIFIERS["mean"]])
@pytest.mark.parametrize("name", ADAPTED)
def test_the_others_have_a_gradient(model, name):
    """The gradient of `loss`, of one shard."""
    γ = fresh(name, model)
    ids, labels, mask = batch(model, 5, γ)
    gs = gradients_of(model, ids, labels, γ, mask=mask)
    sizes = {n: np.abs(g).max() for n, g in zip(gradients.names_of(γ), gs, strict=True)}
    silent = by_name(found(model, γ))
    assert all(
        (size > 1e-13 * max(sizes.values())) == (n not in silent) for n, size in sizes.items()
    )


def test_a_shared_parameter_has_its_first_name():
    γ = fresh("lora with a shared A", GPT2)
    names = [*gradients.names_of(γ)]
    assert "blocks.0.attn.q.A" in names and "blocks.0.attn.k.A" not in names
    assert [*gradients.names_of(γ).values()] == γ.parameters()


def test_a_bias_of_classes_is_no_shift():
    """Of spans it is one, see above: there the softmax is over the tokens."""
    model = mp.Classifier(GPT2, 3, bias=True).astype(np.float64)
    γ = mp.Chain(mp.BitFit(), mp.Probe()).attach(model)
    γ = γ.map(lambda p: mp.Tensor(p.data + 0.1, True))
    assert by_name(found(model, γ))["0.score.delta"] == (NOTHING, False)


# -- a head of zeros


def headed(name, model):
    """The method and a new head, W = 0."""
    method = METHODS[name]().attach(model, np.random.default_rng(0))
    head = mp.Probe().attach(model)
    for p in head.parameters():
        p.data = np.zeros_like(p.data)
    return mp.Chain(method, head)


@pytest.mark.parametrize("name", ["lora", "houlsby", "gated prefix", "norms", "encoded prefix"])
def test_a_head_of_zeros_is_a_cause(name):
    model = CLASSIFIERS["last"]
    γ = headed(name, model)
    result, causes = by_name(found(model, γ)), CAUSES.get(name, {})
    for parameter in gradients.names_of(γ):
        path, _, last = parameter.rpartition(".")
        if path == "1.score":
            assert parameter not in result
            continue
        names = sorted([*([causes[last]] if last in causes else []), "W"], key=str.lower)
        why = " and ".join(f"{'score.W' if n == 'W' else n} = 0" for n in sorted(names))
        assert result[parameter] == (why, True)


def test_a_query_waits_for_the_head():
    head = mp.Probe().attach(ATTENTIVE)
    head.at["score"]["W"].data = np.zeros_like(head.at["score"]["W"].data)
    assert found(ATTENTIVE, head) == [Silent(("query.W",), "score.W = 0", True)]


def test_a_hidden_layer_waits_for_the_one_above():
    model = CLASSIFIERS["last"]
    γ = mp.Probe(hidden=4).attach(model, np.random.default_rng(0))
    assert found(model, γ) == [Silent(("score.V", "score.a"), "score.W = 0", True)]


def test_two_factors_that_are_0_wait_for_each_other():
    γ = mp.LoRA(2).attach(GPT2, np.random.default_rng(0))
    for ps in γ.at.values():
        ps["A"].data = np.zeros_like(ps["A"].data)
    result = by_name(found(GPT2, γ))
    assert len(result) == len(γ.parameters())
    assert {kind(n): why for n, (why, _) in result.items()} == {"A": "B = 0", "B": "A = 0"}


class Sum(mp.Method):
    """h ⊙ (a + b) c: c has a gradient if one of a and b is not 0."""

    targets = r"0\.mlp\.down$"

    def start(self, layer, rng):
        D = layer.shape[1]
        return {"a": np.zeros((1, D)), "b": np.zeros((1, D)), "c": np.ones((1, D))}

    def apply(self, layer, x, a, b, c):
        h = layer(x)
        return h + h * (a + b) * c


def test_zeros_of_which_one_would_do_are_all_named():
    result = found(GPT2, Sum().attach(GPT2))
    path = "blocks.0.mlp.down"
    assert result == [Silent((f"{path}.c",), f"{path}.a = 0 and {path}.b = 0", True)]


# -- batches


class OfToken12(mp.Method):
    """e(x) + p, where x is the token 12"""

    targets = "^tokens$"

    def start(self, layer, rng):
        return {"p": np.ones((1, layer.W.shape[1]))}

    def apply(self, layer, ids, p):
        return layer(ids) + p * (ids == 12)[..., None].astype(float)


def test_a_token_that_no_text_has():
    γ, ids = OfToken12().attach(GPT2), np.ones((4, 5), int)
    (silent,) = without_gradient(GPT2, γ, ids, ids)
    assert silent == Silent(("tokens.p",), ROWS, False)
    ids[3, 1] = 12  # it is not among the rows in which causes are searched for
    assert not without_gradient(GPT2, γ, ids, ids)


def test_a_part_of_the_batch_without_labels_is_left_out():
    γ = mp.LoRA(2).attach(GPT2, np.random.default_rng(0))
    ids, labels, mask = batch(GPT2, 16)
    labels[:8] = -100
    result = without_gradient(GPT2, γ, ids, labels, mask=mask)
    assert [s.why for s in result] == ["B = 0"]


def test_a_batch_without_labels_is_refused():
    γ = mp.LoRA(2).attach(GPT2, np.random.default_rng(0))
    ids = np.ones((2, 4), int)
    with pytest.raises(ValueError, match="the batch has no labels, all are -100"):
        without_gradient(GPT2, γ, ids, np.full((2, 4), -100))


def test_nothing_is_changed():
    γ, state = fresh("chain", GPT2), np.random.default_rng(0).bit_generator.state
    before = [p.data.copy() for p in (*γ.parameters(), *GPT2.parameters())]
    found(GPT2, γ)
    after = [p.data for p in (*γ.parameters(), *GPT2.parameters())]
    assert all(np.array_equal(x, y) for x, y in zip(before, after))
    assert all(p.grad is None for p in γ.parameters())
    assert state == np.random.default_rng(0).bit_generator.state
