"""KL of an adaptation to the base, and z against random adaptations: for every method."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.backend import host
from minipeft.inspection.divergence import Divergence, divergence, random_adaptations
from tests.support.families import (
    CLASSIFIERS,
    DECODERS,
    METHODS,
    SEQ2SEQ,
    attached,
    batch,
    fresh,
    head_method,
)

GPT2 = DECODERS["gpt2"]
MODELS = {
    "gpt2": GPT2,
    "mean": CLASSIFIERS["mean"],
    "t5": SEQ2SEQ["t5"],
    "device": DECODERS["gpt2 on a device"],
}
ADAPTED = [name for name in METHODS if name != "plain"]
IDENTITIES = "gated prefix", "lora", "dora", "ia3", "bitfit", "parallel adapter", "norms", "full"
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def rng():
    return np.random.default_rng(0)


def predictor(model):
    """A function that returns the logits of five texts, of classes or at all real tokens."""

    def predict(γ):
        ids, _, mask = batch(model, 5, γ)
        z = host(model(ids, γ, mask=mask).data)
        return z if z.ndim == 2 else z[mask]

    return predict


def random_ones(name, model, draws):
    """Random adaptations of a method, in place of trained ones."""
    return random_adaptations(mp.fold(attached(name, model, user=7)), model, draws)


def test_the_divergence_is_its_formula():
    γ, ids = attached("lora", GPT2), batch(GPT2, 20)[0]  # 140 predictions
    logits = lambda m: GPT2(ids, m).data.reshape(-1, 13)
    terms = []
    for z, y in zip(logits(γ), logits(None)):
        p, q = (np.exp(x) / np.exp(x).sum() for x in (z, y))
        terms.append(sum(a * np.log(a / b) for a, b in zip(p, q)))
    found = divergence(logits, γ, GPT2, draws=2)
    assert np.isclose(found.kl, np.mean(terms), rtol=1e-10) and found.kl > 0.01


def test_z_is_of_logarithms():
    found = Divergence(np.e**5, (np.e**1, np.e**2, np.e**3))
    assert np.isclose(found.z, (5 - 2) / 1)
    for kl, random in [(0, (1, 2)), (1, (0, 2)), (1, (2, 2)), (np.nan, (1, 2)), (0, (0, 0))]:
        assert Divergence(kl, random).z is None


@models
@pytest.mark.parametrize("name", IDENTITIES)
def test_before_training_nothing_is_changed(model, name):
    found = divergence(predictor(model), fresh(name, model), model, draws=2)
    assert found.kl <= 1e-12 and (found.kl == 0) == (max(found.random) == 0)


@models
@pytest.mark.parametrize("name", ADAPTED)
def test_a_random_adaptation_is_like_the_others(model, name):
    *_, γ = random_ones(name, model, 14)  # of a seed that `divergence` does not draw
    found = divergence(predictor(model), γ, model, draws=12)
    assert abs(found.z) < 6 and min(found.random) > 0


def test_z_of_random_adaptations_is_about_normal():
    zs = [divergence(predictor(GPT2), γ, GPT2, draws=16).z for γ in random_ones("lora", GPT2, 24)]
    assert abs(np.mean(zs)) < 1 and 0.5 < np.std(zs) < 2


@pytest.mark.parametrize("name", ["lora", "prefix from words", "full", "houlsby"])
def test_a_trained_adaptation_does_more_than_chance(name):
    γ = fresh(name, GPT2)
    trainer = mp.Trainer(GPT2, γ, mp.AdamW(γ.parameters(), 0.1))
    ids, labels, mask = batch(GPT2, 5)
    for _ in range(30):
        trainer.step(ids, labels, mask=mask)
    found = divergence(predictor(GPT2), γ, GPT2)
    assert found.z > 1


def test_a_reparametrisation_is_compared_as_what_it_computes():
    γ = attached("encoded prefix", GPT2)
    both = (divergence(predictor(GPT2), m, GPT2, draws=2) for m in (γ, mp.fold(γ)))
    assert next(both) == next(both)


# -- what random adaptations are


@models
@pytest.mark.parametrize("name", ADAPTED)
def test_random_parameters_have_the_size_of_the_given_ones(model, name):
    """Norms of parameters whose start is random, else of the change; the head is the same."""
    γ = mp.fold(attached(name, model))
    leaves = lambda γ: [m for m in γ.leaves() if "score" not in m.at]
    starts = [[m.method.attach(model, np.random.default_rng(i)) for m in leaves(γ)] for i in (1, 2)]
    randoms = map(leaves, random_adaptations(γ, model, 2))
    for given, *others in zip(leaves(γ), *randoms, *starts, strict=True):
        for path, name in [(path, name) for path, ps in given.at.items() for name in ps]:
            x, y, z, a, b = (host(m.at[path][name].data) for m in (given, *others))
            a = a * np.array_equal(a, b)  # 0 where the start is random
            norms = [np.linalg.norm(v - a) for v in (y, z)]
            np.testing.assert_allclose(norms, np.linalg.norm(x - a))
            assert not np.allclose(x, y) and not np.allclose(y, z)


def test_a_head_is_kept_and_read_on_both_sides():
    model = CLASSIFIERS["last"]
    γ = fresh("lora", model)
    γ.parts[1].at["score"]["W"].data += 1.0
    assert divergence(predictor(model), γ, model, draws=2).kl == 0
    for m in random_adaptations(γ, model, 2):
        assert m.parts[1].at["score"]["W"].data is γ.parts[1].at["score"]["W"].data
    head = head_method(model).attach(model, rng())
    assert divergence(predictor(model), head, model) is None


def test_of_full_fine_tuning_the_head_is_kept_and_the_trunk_compared():
    model = CLASSIFIERS["last"]
    γ = mp.FullFineTuning().attach(model)
    γ.at["score"]["W"].data += 1.0
    assert divergence(predictor(model), γ, model, draws=2).kl == 0
    γ.at["blocks.0.mlp.up"]["W"].data += 0.1
    assert divergence(predictor(model), γ, model, draws=2).kl > 0


def test_an_adaptation_of_other_shapes_than_its_method_starts_with():
    """As of PEFT's rank_pattern: then all of it is Gaussian."""
    γ = mp.LoRA(2).attach(GPT2, rng())
    for path in list(γ.at)[:1]:
        γ.at[path] = {
            "A": mp.Tensor(np.ones((8, 3)), True),
            "B": mp.Tensor(np.ones((3, 8)), True),
        }
    (other,) = random_adaptations(γ, GPT2, 1)
    A = other.at[path]["A"].data
    assert np.isclose(np.linalg.norm(A), 24**0.5) and not np.allclose(A, A[0, 0])


def test_not_a_number_is_no_divergence_of_0():
    γ = attached("lora", GPT2).map(lambda p: mp.Tensor(np.full_like(p.data, np.nan), True))
    assert np.isnan(divergence(predictor(GPT2), γ, GPT2, draws=2).kl)
