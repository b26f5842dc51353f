"""What methods start from, and which settings and layers they refuse."""

import numpy as np
import pytest

from minipeft import (
    IA3,
    PLAIN,
    Adapter,
    BitFit,
    Cache,
    Chain,
    Classifier,
    DeepPrompt,
    DoRA,
    Each,
    Encoded,
    FullFineTuning,
    LoRA,
    Method,
    MultiHeadAdapter,
    MultitaskPrompt,
    ParallelAdapter,
    PrefixTuning,
    Probe,
    PromptTuning,
    PTuningV2,
    merge,
    stack,
)
from minipeft.autograd.backend import host
from minipeft.methods import biases
from tests.support.families import (
    CLASSIFIERS,
    DECODERS,
    METHODS,
    V,
    batch,
    decoders,
    fresh,
    networks,
    one_stack,
)

ENCODED = "encoded", "p-tuning,", "p-tuning by"
LORAS = [name for name in METHODS if name.startswith("lora") and "embeddings" not in name]
IDENTITIES = [*LORAS, "ia3", "bitfit", "random weights", "full", "norms"]
MERGES = ["plain", "dora", *IDENTITIES]


def rng():
    return np.random.default_rng(0)


def some_words(n):
    return tuple(int(w) for w in rng().integers(0, V, n))


@networks
@pytest.mark.parametrize("name", [*IDENTITIES, "parallel adapter", "multi-head adapter"])
def test_starts_as_the_identity(model, name):
    ids, _, mask = batch(model, 5)
    adaptation = fresh(name, model)
    assert np.array_equal(model(ids, adaptation, mask=mask).data, model(ids, mask=mask).data)


@decoders
def test_what_lora_makes_of_a_row_starts_as_large_as_the_row(model):
    """A of N(0, 1/I), so that the mean of (A x)² is that of x²"""
    A = host(LoRA(rank=500).attach(model, rng()).at["blocks.1.attn.v"]["A"].data)
    assert 0.95 < A.std() * len(A) ** 0.5 < 1.05


@networks
@pytest.mark.parametrize("name", ["houlsby", "pfeiffer", "houlsby with norms"])
def test_starts_near_the_identity(model, name):
    ids, _, mask = batch(model, 5)
    adaptation = fresh(name, model)
    assert (
        0 < np.abs(model(ids, adaptation, mask=mask).data - model(ids, mask=mask).data).max() < 0.01
    )


@networks
def test_dora_starts_as_the_base_to_the_last_digits(model):
    ids, _, mask = batch(model, 5)
    adaptation = fresh("dora", model)
    assert (
        np.abs(model(ids, adaptation, mask=mask).data - model(ids, mask=mask).data).max() <= 1e-13
    )


@one_stack
def test_prompts_start_from_words_or_noise(model):
    W = host(model.tokens.W.data)
    start = lambda **how: host(PromptTuning(**how).attach(model, rng()).at["tokens"]["P"].data)
    of = lambda rows: {tuple(row) for row in rows}
    assert of(start(length=V)) == of(W) and of(start(length=3 * V)) <= of(W)
    assert -0.5 <= start(length=50, init="uniform").min() < -0.4
    assert 0.4 < start(length=50, init="uniform").max() <= 0.5
    assert np.array_equal(start(length=5, init="text", words=(4, 2)), W[[4, 2, 4, 2, 4]])
    P = start(length=4, init="labels", words=((1, 2, 4), (7,)))
    assert np.allclose(P[:2], [(W[1] + W[2] + W[4]) / 3, W[7]]) and of(P[2:]) <= of(W)


@decoders
def test_prefixes_start_from_words_or_noise(model):
    P = host(
        PrefixTuning(200, init="normal").attach(model, rng()).at["blocks.1.attn"]["P_key"].data
    )
    assert 0.018 < P.std() < 0.022 and abs(P.mean()) < 0.002
    drawn, words = PrefixTuning(6), PrefixTuning(words=some_words(6))
    for p, q in zip(*(m.attach(model, rng()).parameters() for m in (drawn, words)), strict=True):
        assert np.array_equal(p.data, q.data)


@one_stack
def test_a_slip_in_a_method_is_one_clear_error(model):
    slips = [
        (
            PromptTuning(init="text", words=(1, -1)),
            r"words must be token ids from 0 to 12; got \(1, -1",
        ),
        (PromptTuning(init="labels", words=((1, V),)), r"token ids from 0 to 12; got \(\(1, 13"),
        (Encoded(LoRA(rank=2)), r"LoRA\(rank=2.* can't be reparametrised"),
        (PrefixTuning(words=(V,)), rf"words must be token ids from 0 to 12; got \({V},\)"),
        (
            LoRA(targets="attn$"),
            r"blocks\.0\.attn \(Attention\), .* no weight matrix.*; .* blocks\.N\.attn\.q, ",
        ),
        (LoRA(targets="ln1"), r"does not fit blocks\.0\.ln1 \((RMSNorm|LayerNorm)\)"),
        (
            ParallelAdapter(targets="tokens"),
            r"does not fit tokens \(Embedding\), which has no width",
        ),
        (
            MultiHeadAdapter(targets="mlp$"),
            r"does not fit blocks\.0\.mlp \((Gated)?Mlp\), .* blocks\.N\.attn",
        ),
        (DeepPrompt(init="normal", targets="mlp$"), r"does not fit blocks\.0\.mlp \(\w*Mlp\)"),
        (BitFit(r"^tokens$"), "trains biases, and tokens have none"),
        (PrefixTuning(init="normal", targets="mlp$"), r"does not fit blocks\.0\.mlp \(\w*Mlp\)"),
    ]
    for method, says in slips:
        with pytest.raises(ValueError, match=says):
            method.attach(model, rng())
    slips = [
        (LoRA(fused=True, targets="mlp.up$"), "fused needs at least two of q, k and v"),
        (IA3(inputs="("), "is not a valid pattern"),
        (IA3(targets="^tokens$", inputs="tokens"), "the inputs of tokens are token ids"),
        (Encoded(BitFit()), "can't be reparametrised"),
    ]
    for method, says in slips:
        with pytest.raises(ValueError, match=says):
            method.attach(model, rng())
    if model in (CLASSIFIERS["last"], CLASSIFIERS["mean"]):
        with pytest.raises(ValueError, match="one is 0 at score"):
            DoRA(targets="score").attach(Classifier(model, 3), rng())
    with pytest.raises(ValueError, match="name some of query"):
        biases()
    bank = MultitaskPrompt(3, tasks=3).attach(model, rng())
    for rows in ([0, 3], [0, -1]):
        with pytest.raises(ValueError, match="from 0 to 2 for a bank of 3"):
            bank.of(rows)
    with pytest.raises(ValueError, match="from 0 to 2 for a bank of 3"):
        bank.user(-1)
    numbers = [
        (LoRA, "rank", 0),
        (LoRA, "rank", 2.0),
        (LoRA, "alpha", np.nan),
        (LoRA, "dropout", 1.0),
    ]
    numbers += [(PrefixTuning, "length", 0), (PromptTuning, "length", -1)]
    numbers += [(PTuningV2, "dropout", -0.1), (ParallelAdapter, "scale", np.inf)]
    for method, field, value in [*numbers, (Adapter, "bottleneck", 0)]:
        with pytest.raises(ValueError, match=f"{method.__name__}: {field}={value} must be "):
            method(**{field: value})
    long = PrefixTuning(length=33)
    with pytest.raises(ValueError, match="prefix of length 33 .* at most 32: shorten it"):
        long.attach(model, rng())
    with pytest.raises(ValueError, match=r"stack\(\[\]\): a bank needs at least one user"):
        stack([])
    with pytest.raises(ValueError, match="init='normal' uses no words"):
        PrefixTuning(init="normal", words=(1, 2))
    for random in (LoRA(), PrefixTuning(), Chain(LoRA(), Probe()), Encoded(PromptTuning())):
        with pytest.raises(ValueError, match=r"needs rng=np\.random\.default_rng\(0\)"):
            random.attach(DECODERS["gpt2"])
    for use in (lambda: stack([LoRA()]), lambda: Each(LoRA())):
        with pytest.raises(ValueError, match="not attached to a model: use LoRA"):
            use()
    with pytest.raises(ValueError, match="has no adaptations: give one"):
        Each([])
    with pytest.raises(ValueError, match="pool='max' must be one of last, mean"):
        Classifier(model, 3, pool="max")


def test_prefixes_of_several_lengths_have_no_reparametrisation():
    class Uneven(PrefixTuning):
        def start(self, layer, rng):
            n = 1 + (layer.path == "blocks.1.attn")
            return {name: np.zeros((n, 8)) for name in ("P_key", "P_value")}

    with pytest.raises(ValueError, match="the same number of virtual tokens in every layer"):
        Encoded(Uneven(2, init="normal")).attach(DECODERS["gpt2"], rng())


def test_parameters_that_start_complex_are_refused():
    class Own(Method):
        targets = r"attn\.q$"

        def start(self, layer, rng):
            return {"d": np.zeros((1, 8)), "e": 1j * np.zeros((1, 8))}

    with pytest.raises(ValueError, match=r"Own: blocks\.0\.attn\.q\.e starts complex"):
        Own().attach(DECODERS["gpt2"])


@pytest.mark.parametrize("name", ["x", "layer", "rng", "self"])
def test_a_reserved_name_of_a_parameter_is_refused(name):
    class Own(Method):
        targets = r"attn\.q$"

        def start(self, layer, rng):
            return {name: np.zeros((1, 1))}

    with pytest.raises(ValueError, match=rf"blocks\.0\.attn\.q is called '{name}', .* reserved"):
        Own().attach(DECODERS["gpt2"])


def test_a_model_reads_only_what_is_attached_to_its_like():
    model = DECODERS["gpt2"]
    lora = LoRA().attach(DECODERS["rotary"], rng())
    with pytest.raises(ValueError, match=r"was made for Config\(.*this model is Config\("):
        model(np.zeros((1, 2), int), lora)
    with pytest.raises(ValueError, match=r"was made for Config\(.*this model is Config\("):
        merge(model, lora)
    with pytest.raises(ValueError, match="a cache has its own adaptation"):
        model(np.zeros((1, 2), int), LoRA().attach(model, rng()), cache=Cache())
    with pytest.raises(ValueError, match="a cache has its own adaptation and dropout"):
        model(np.zeros((1, 2), int), cache=Cache(), rng=rng())
    model(np.zeros((1, 2), int), PLAIN, cache=Cache())


def test_a_tied_head_has_one_copy():
    full = FullFineTuning().attach(DECODERS["gpt2"])
    assert full.at["tokens"]["W"] is full.at["head"]["W"]
    full = FullFineTuning().attach(DECODERS["rotary"])
    assert full.at["tokens"]["W"] is not full.at["head"]["W"]
