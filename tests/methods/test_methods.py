"""What each method promises: its equation, its start, and what it is merged or folded into."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from minipeft import (
    IA3,
    PLAIN,
    AdamW,
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
    PromptTuning,
    PTuningV2,
    RandomWeights,
    Tensor,
    Trainer,
    merge,
    nearest,
    stack,
)
from minipeft.adaptation.merge import fold
from minipeft.autograd.backend import host
from minipeft.autograd.nn import replace
from minipeft.methods import BiasTuning, biases
from minipeft.methods.multitask import task
from tests.support.families import (
    CLASSIFIERS,
    DECODERS,
    METHODS,
    ON_HOST,
    T,
    V,
    attached,
    batch,
    decoders,
    fresh,
    gradients,
    networks,
)

ENCODED = "encoded", "p-tuning,", "p-tuning by"
LORAS = [name for name in METHODS if name.startswith("lora") and "embeddings" not in name]
IDENTITIES = [*LORAS, "ia3", "bitfit", "random weights", "full", "norms"]
MERGES = ["plain", "dora", *IDENTITIES]


def rng():
    return np.random.default_rng(0)


def some_words(n):
    return tuple(int(w) for w in rng().integers(0, V, n))


# -- the equations, as one reads them -----------------------------------------


@decoders
def test_lora_is_its_equation(model):
    """h = W₀ x + (α/r) B A x"""
    lora, layer = attached("lora", model), model.blocks[1].attn.v
    A, B, W, b = (host(t.data).T for t in (*lora.at[layer.path].values(), layer.W, layer.b))
    x = rng().normal(size=model.config.width)
    h = W @ x + b + 3 / 2 * (B @ (A @ x))
    assert np.allclose(labelled_positions(lora, layer, x), h, rtol=1e-13)


@decoders
def test_adapter_is_its_equation(model):
    """h + W_up σ(W_down h),  σ(u) = u (1 + tanh(√(2/π) (u + 0.044715 u³))) / 2"""
    adapter, layer = attached("houlsby", model), model.blocks[1].mlp.down
    down, b, up, c = (host(p.data).T for p in adapter.at[layer.path].values())
    x = rng().normal(size=layer.shape[0])
    h = host(layer.W.data).T @ x + (host(layer.b.data) if "b" in layer.tensors() else 0)
    u = down @ h + b[:, 0]
    σ = u * (1 + np.tanh((2 / np.pi) ** 0.5 * (u + 0.044715 * u * u * u))) / 2
    assert np.allclose(labelled_positions(adapter, layer, x), h + up @ σ + c[:, 0], rtol=1e-13)


def labelled_positions(adaptation, layer, x):
    """What an adapted layer yields for one row."""
    return host(adaptation(layer, Tensor(np.asarray(x[None, None], like=layer.W.data))).data)[0, 0]


class Recorder(Method):
    """Keeps what each layer reads and yields."""

    targets = ""

    def __init__(self):
        self.x, self.y = {}, {}

    def apply(self, layer, x):
        y = layer(x)
        self.x[layer.path], self.y[layer.path] = x, y
        return y


def turned(x, position, θ):
    """Su et al. 2021, eq. 34, each pair of numbers as a complex one"""
    d = len(x)
    angle = position * θ ** (-2 * np.arange(d // 2) / d)
    z = (x[: d // 2] + 1j * x[d // 2 :]) * np.exp(1j * angle)
    return np.concatenate([z.real, z.imag])


@decoders
def test_prefix_is_its_equation(model):
    """head = Attn(q, [P_k; K], [P_v; V]), one head and one query after another"""
    recorder, H, K, d = Recorder(), model.config.heads, model.blocks[0].attn.K, 4
    θ, seen = model.config.rope_theta, model.config.window or 99
    turn = (
        (lambda x, position: turned(x, position, θ))
        if model.config.positions == "rotary"
        else lambda x, position: x
    )
    prefix = attached("prefix of 5", model)
    model(batch(model, 1)[0], Chain(prefix, recorder.attach(model)))
    for path in ("blocks.0.attn", "blocks.1.attn"):
        P_k, P_v = (host(p.data) for p in prefix.at[path].values())
        q, k, v = (host(recorder.y[f"{path}.{part}"].data)[0] for part in "qkv")
        y = host(recorder.x[f"{path}.o"].data)[0]
        for t, head in itertools.product(range(T), range(H)):
            own, group = (slice(h * d, h * d + d) for h in (head, head * K // H))
            keys = [*P_k[:, group], *[turn(k[s, group], 5 + s) for s in range(t + 1)]]
            values = [*P_v[:, group], *v[: t + 1, group]]
            keys, values = keys[-seen:], values[-seen:]
            w = [np.exp(turn(q[t, own], 5 + t) @ key / d**0.5) for key in keys]
            mean = sum(a * value for a, value in zip(w, values)) / sum(w)
            assert np.allclose(y[t, own], mean, rtol=1e-11)


@decoders
def test_a_prompt_is_words_of_its_own(model):
    """Pr(Y | [P; X]): as if the vocabulary had a word for each row of P"""
    prompt, (ids, _, mask) = attached("prompt of 7", model), batch(model, 5)
    W, P = model.tokens.W, prompt.at["tokens"]["P"].data
    larger = model.map(lambda t: Tensor(np.concatenate([W.data, P])) if t is W else t)
    larger = replace(larger, config=replace(model.config, vocabulary=V + len(P)))
    front = np.tile(np.arange(V, V + len(P)), (5, 1))
    z = larger(np.hstack([front, ids]), mask=np.hstack([front > 0, mask])).data[:, len(P) :, :V]
    assert np.abs(model(ids, prompt, mask=mask).data - z)[mask].max() <= 1e-12


@networks
def test_encoded_is_its_equation(model):
    """P[i, :] = MLP(E[i, :]), of all layers side by side"""
    encoded = Encoded(PrefixTuning(4), mlp_width=6).attach(model, rng())
    E, W1, b1, W2, b2 = (host(p.data) for p in encoded.at["encoder"].values())
    positions = np.tanh(E @ W1 + b1) @ W2 + b2
    folded = np.concatenate([host(p.data) for p in fold(encoded).parameters()], 1)
    assert np.allclose(folded, positions, rtol=1e-13)


@decoders
@pytest.mark.parametrize("kind", [PrefixTuning, DeepPrompt])
def test_a_prefix_from_words_is_those_words_in_the_context(model, kind):
    words, (ids, _, mask) = some_words(5), batch(model, 5)
    prefix = kind(words=words).attach(model, rng())
    front = np.tile(words, (5, 1))
    z = model(np.hstack([front, ids]), mask=np.hstack([front >= 0, mask])).data[:, 5:]
    assert prefix.method.length == 5
    assert np.abs(model(ids, prefix, mask=mask).data - z)[mask].max() <= 1e-12


@decoders
def test_a_prompt_from_text_is_that_text(model):
    """The same bits for one row, where both take the same way; else as near as can be."""
    words, (ids, _, mask) = some_words(5), batch(model, 5)
    prompt = PromptTuning(5, init="text", words=words).attach(model, rng())
    front, positions = np.tile(words, (5, 1)), np.tile(np.arange(5, 5 + T), (5, 1))
    hard, real = np.hstack([front, ids]), np.hstack([front >= 0, mask])
    for i in range(5):
        alone = model(ids[i : i + 1], prompt, mask=mask[i : i + 1])
        text = model(hard[i : i + 1], mask=real[i : i + 1], positions=positions[:1])
        assert np.array_equal(alone.data, text.data)
    z = model(hard, mask=real).data[:, 5:]
    assert np.abs(model(ids, prompt, mask=mask).data - z)[mask].max() <= 1e-12


@decoders
def test_a_chain_stands_in_its_order(model):
    """The first furthest from the text: words as a prefix, words as a prompt, then the text."""
    words, (ids, _, mask) = some_words(7), batch(model, 5)
    parts = [PromptTuning(len(w), init="text", words=w) for w in (words[4:6], words[6:])]
    chain = Chain(LoRA(rank=2), PrefixTuning(words=words[:4]), *parts)
    front = np.tile(words, (5, 1))
    z = model(np.hstack([front, ids]), mask=np.hstack([front >= 0, mask])).data[:, 7:]
    y = model(ids, chain.attach(model, rng()), mask=mask).data
    assert np.abs(y - z)[mask].max() <= 1e-12


# -- how they start -----------------------------------------------------------


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


@networks
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


@networks
def test_a_slip_in_a_method_is_one_clear_error(model):
    slips = [
        (PromptTuning(init="zeros"), "init='zeros': there is uniform, vocabulary, text, labels"),
        (PromptTuning(init="text"), r"init='text' starts from words=, which is empty"),
        (PromptTuning(words=np.array([1, 2])), r"init='vocabulary' starts from no words=: init="),
        (PromptTuning(init="labels"), r"init='labels' starts from words="),
        (
            PromptTuning(init="text", words=(1, -1)),
            r"words are token ids from 0 to 12; got \(1, -1",
        ),
        (PromptTuning(init="labels", words=((1, V),)), r"token ids from 0 to 12; got \(\(1, 13"),
        (Encoded(LoRA(rank=2)), r"LoRA\(rank=2.* adds no rows of one number"),
        (PrefixTuning(words=(V,)), f"token id {V} is outside the vocabulary"),
        (
            LoRA(targets="attn$"),
            r"blocks\.0\.attn, Attention: .* no weight matrix.*; .* blocks\.N\.attn\.q, ",
        ),
        (LoRA(targets="ln1"), r"has no place at blocks\.0\.ln1, (RMSNorm|LayerNorm)"),
        (ParallelAdapter(targets="tokens"), "has no place at tokens, Embedding: that has no width"),
        (
            MultiHeadAdapter(targets="mlp$"),
            r"no place at blocks\.0\.mlp, (Gated)?Mlp: .* blocks\.N\.attn",
        ),
        (DeepPrompt(init="normal", targets="mlp$"), r"has no place at blocks\.0\.mlp, \w*Mlp"),
        (BitFit(r"^tokens$"), "trains biases, and there is none at tokens"),
        (PrefixTuning(init="normal", targets="mlp$"), r"has no place at blocks\.0\.mlp, \w*Mlp"),
    ]
    for method, says in slips:
        with pytest.raises(ValueError, match=says):
            method.attach(model, rng())
    slips = [
        (LoRA(fused=True, targets="mlp.up$"), "no two are adapted, so nothing is fused"),
        (IA3(inputs="("), "is no pattern"),
        (IA3(targets="^tokens$", inputs="tokens"), "tokens reads token ids"),
        (PromptTuning(init="labels", words=(1, 2)), r"such as \(\(5, 8\), \(3,\)\); got \(1, 2\)"),
        (PromptTuning(init="text", words=((1, 2), 3)), r"such as \(5, 8\); got"),
        (Encoded(BitFit()), "adds no rows"),
    ]
    for method, says in slips:
        with pytest.raises(ValueError, match=says):
            method.attach(model, rng())
    if model in (CLASSIFIERS["last"], CLASSIFIERS["mean"]):
        with pytest.raises(ValueError, match="which has a 0 at score"):
            DoRA(targets="score").attach(Classifier(model, 3), rng())
    with pytest.raises(ValueError, match="no biases named: there is query"):
        biases()
    bank = MultitaskPrompt(3, tasks=3).attach(model, rng())
    for rows in ([0, 3], [0, -1]):
        with pytest.raises(ValueError, match="from 0 to 2, of a bank of 3"):
            bank.of(rows)
    with pytest.raises(ValueError, match="from 0 to 2, of a bank of 3"):
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
    with pytest.raises(ValueError, match="prefix of 33 .* 32 at most: shorten it"):
        long.attach(model, rng())
    for use in (lambda: stack([LoRA()]), lambda: Each(LoRA())):
        with pytest.raises(ValueError, match="attached to no model yet: LoRA"):
            use()
    with pytest.raises(ValueError, match="here is none"):
        Each([])
    with pytest.raises(ValueError, match="pool='max': there is last, mean"):
        Classifier(model, 3, pool="max")


def test_a_model_reads_only_what_is_attached_to_its_like():
    model = DECODERS["gpt2"]
    lora = LoRA().attach(DECODERS["rotary"], rng())
    with pytest.raises(ValueError, match=r"attached to Config\(.*but the model is Config\("):
        model(np.zeros((1, 2), int), lora)
    with pytest.raises(ValueError, match=r"attached to Config\(.*but the model is Config\("):
        merge(model, lora)
    with pytest.raises(ValueError, match="a memory has its own adaptation"):
        model(np.zeros((1, 2), int), LoRA().attach(model, rng()), cache=Cache())


def test_a_tied_head_has_one_copy():
    full = FullFineTuning().attach(DECODERS["gpt2"])
    assert full.at["tokens"]["W"] is full.at["head"]["W"]
    full = FullFineTuning().attach(DECODERS["rotary"])
    assert full.at["tokens"]["W"] is not full.at["head"]["W"]


# -- folding and merging ------------------------------------------------------


@networks
@pytest.mark.parametrize("name", [name for name in METHODS if name.startswith(ENCODED)])
def test_folded_is_live_bit_for_bit(model, name):
    live = attached(name, model)
    ids, labels, mask = batch(model, 5, live)
    encoded = live.parts[0] if isinstance(live, Chain) else live
    folded = fold(encoded)
    for one, other in ((encoded, folded), (Each([encoded] * 5), Each([folded] * 5))):
        assert np.array_equal(model(ids, one, mask=mask).data, model(ids, other, mask=mask).data)
    assert folded.method == encoded.method.method and folded.named_parameters()
    for _ in range(2):  # and may be trained on
        assert len(gradients(model, ids, labels, folded, mask=mask)) == len(folded.parameters())


def from_applied(model, adaptation):
    """How far a merged model is from the model read through the adaptation."""
    ids, _, mask = batch(model, 5, adaptation)
    z = merge(model, adaptation)(ids, mask=mask)
    return np.abs(z.data - model(ids, adaptation, mask=mask).data).max()


@networks
@pytest.mark.parametrize("name", MERGES)
def test_merged_is_applied(model, name):
    before, adaptation = [t.data.copy() for t in model.parameters()], attached(name, model)
    assert from_applied(model, adaptation) <= 1e-12
    new, base = merge(model, adaptation), [t.data for t in model.parameters()]
    assert all(map(np.array_equal, before, base))
    if model in ON_HOST.values():
        old = [*base, *[p.data for p in adaptation.parameters()]]
        assert not any(np.shares_memory(t.data, o) for t in new.parameters() for o in old)
        assert not any(t.data.flags.writeable for t in new.parameters())
    assert not any(t.requires_grad for t in new.parameters())
    assert [path for path, _ in new.modules()] == [path for path, _ in model.modules()]


@networks
def test_merging_follows_a_chain(model):
    for names in (["full", "lora"], ["lora", "lora everywhere"], ["norms", "lora", "plain"]):
        assert from_applied(model, Chain(*[attached(name, model) for name in names])) <= 1e-12


@networks
@pytest.mark.parametrize("name", [n for n in METHODS if n not in [*MERGES, "lora of embeddings"]])
def test_what_is_no_change_of_weights_says_so(model, name):
    with pytest.raises(ValueError, match="can't be merged into .*; keep it beside the model"):
        merge(model, attached(name, model))


@networks
def test_a_chain_of_none_is_the_model(model):
    lora, (ids, _, mask) = attached("lora", model), batch(model, 2)
    read = lambda adaptation: model(ids, adaptation, mask=mask).data
    assert np.array_equal(read(Chain()), read(None)) and Chain().parameters() == []
    assert np.array_equal(read(Chain(None, lora)), read(lora))


@networks
def test_what_must_stand_first_or_last_in_a_chain_says_so(model):
    ids = batch(model, 2)[0]
    for names in (["lora", "dora"], ["bitfit", "dora"], ["lora", "random weights"]):
        first, second = (part(attached(name, model)) for name in names)
        for wrong in ((first, second), (first, Chain(PLAIN, second))):
            with pytest.raises(ValueError, match="stands before the others .* in a Chain put"):
                Chain(*wrong)
        for wrong in ((first, Each(None, second)), (Each(None, first), second)):
            with pytest.raises(ValueError, match="stands before the others .* in a Chain put it"):
                Chain(*wrong)
        assert from_applied(model, Chain(second, first)) <= 1e-12
    for after in ("full", "lora of embeddings"):
        pseudo, other = part(attached("p-tuning", model)), part(attached(after, model))
        each = (pseudo, Each(None, other)), (Each(None, pseudo), other)
        for wrong in ((pseudo, other), (Chain(pseudo, PLAIN), other), *each):
            with pytest.raises(ValueError, match="stands behind the others that adapt tokens"):
                Chain(*wrong)
        model(ids, Chain(other, pseudo))
        model(ids, Chain(Each(None, pseudo), attached("norms", model)))


def part(adaptation):
    """The method without the head beside it."""
    return adaptation.parts[0] if isinstance(adaptation, Chain) else adaptation


@pytest.mark.parametrize("name", [name for name in METHODS if name != "plain"])
def test_a_bank_is_read_by_as_many_rows_as_it_has_users(name):
    model = CLASSIFIERS["mean"] if name == "probe" else DECODERS["gpt2"]
    users = stack([attached(name, model, who) for who in range(3)])
    says = "bank of 3, and this is a batch of [125]: γ.of"
    for wrong, B in ((users, 2), (users, 5), (Chain(PLAIN, users), 2), (Each(None, users), 2)):
        ids, labels, mask = batch(model, B)
        with pytest.raises(ValueError, match=says):
            model(ids, wrong, mask=mask)
        trainer = Trainer(model, wrong, AdamW(users.parameters()), slices=2)
        with pytest.raises(ValueError, match=says):
            trainer.step(ids, labels, mask)
    with pytest.raises(ValueError, match="is a bank: merge what it has for one user"):
        merge(model, users)


@networks
def test_a_mixture_is_not_merged(model):
    with pytest.raises(ValueError, match="merge one of its methods"):
        merge(model, Each(attached("lora", model), PLAIN))


def test_a_tied_head_stays_tied():
    model = DECODERS["gpt2"]
    new = merge(model, attached("full", model))
    assert new.head.W is new.tokens.W and len(new.parameters()) == len(model.parameters())
    head = LoRA(rank=2, targets="^head$")
    with pytest.raises(ValueError, match="has no place at head, TiedHead"):
        head.attach(model, rng())
    for torn in (FullFineTuning("^head$"), FullFineTuning("^tokens$")):
        with pytest.raises(ValueError, match="shared with another layer"):
            merge(model, torn.attach(model, rng()))
    untied = DECODERS["rotary"]
    assert from_applied(untied, head.attach(untied, rng())) <= 1e-12


@networks
def test_a_wrong_merge_is_noticed(model):
    class Unscaled(LoRA):
        def weights(self, layer, A, B):
            return {"W": layer.W + A @ B}

    adaptation = Unscaled(rank=2).attach(model, rng())
    for p in adaptation.parameters():
        p.data = p.data + 0.3
    assert from_applied(model, adaptation) > 0.01


def test_a_lora_of_a_tied_embedding_is_not_merged():
    lora = attached("lora of embeddings", DECODERS["gpt2"])
    with pytest.raises(ValueError, match="shared with another layer"):
        merge(DECODERS["gpt2"], lora)
    untied = DECODERS["rotary"]
    assert from_applied(untied, attached("lora of embeddings", untied)) <= 1e-12


@networks
def test_a_fused_lora_has_one_A_for_q_k_and_v(model):
    lora = LoRA(2, targets=r"attn\.[qkvo]$|up$", fused=True).attach(model, rng())
    for n in range(2):
        q, k, v, o = (lora.at[f"blocks.{n}.attn.{part}"]["A"] for part in "qkvo")
        assert q is k is v is not o
    assert lora.at["blocks.0.attn.q"]["A"] is not lora.at["blocks.1.attn.q"]["A"]


# -- one method, many tasks -----------------------------------------------------


@decoders
def test_a_multitask_prompt_is_a_bank_that_shares_its_rows(model):
    """P ⊙ (c_t r_t) for task t; the gradient of P is that of all tasks."""
    bank = MultitaskPrompt(3, tasks=4, rank=2).attach(model, rng())
    P, c, r = bank.parameters()
    assert P.ndim == 2 and c.shape[0] == r.shape[0] == 4
    for p in (P, c, r):
        p.data = p.data + np.asarray(rng().normal(size=p.shape), like=p.data)
    ids, labels, mask = batch(model, 5)
    which = np.array([2, 0, 2, 3, 0])
    z, together = model(ids, bank.of(which), mask=mask), 0
    for i, t in enumerate(which):
        own = task(bank, t)
        assert np.allclose(
            host(own.method.prepend(None, **own.at["tokens"])[0].data),
            host(P.data) * (host(c.data)[t] @ host(r.data)[t]),
        )
        alone = model(ids[i : i + 1], own, mask=mask[i : i + 1])
        assert np.abs(host(z.data)[i, mask[i]] - host(alone.data)[0, mask[i]]).max() <= 1e-12
        (g, *_) = gradients(model, ids[i : i + 1], labels[i : i + 1], own, mask[i : i + 1])
        together = together + g
    all_tasks = gradients(model, ids, labels, bank.of(which), mask=mask, of=bank)
    assert np.abs(all_tasks[0] - together).max() <= 1e-11 * np.abs(together).max()
    assert all((g[1] == 0).all() and (g[2] != 0).any() for g in all_tasks[1:])
    with pytest.raises(ValueError, match="there is no task 4"):
        task(bank, 4)


@decoders
def test_a_multitask_prompt_starts_as_its_words(model):
    prompt, many = PromptTuning(4), MultitaskPrompt(4, tasks=2, rank=3)
    (P,) = prompt.attach(model, rng()).parameters()
    own = task(many.attach(model, rng()), 1)
    assert np.array_equal(host(own.method.prepend(None, **own.at["tokens"])[0].data), host(P.data))


# -- words and places --------------------------------------------------------------


def test_the_nearest_words_of_words_are_themselves():
    model = DECODERS["gpt2"]
    prompt = PromptTuning(3, init="text", words=(4, 9, 2)).attach(model, rng())
    ids, cosines = nearest(prompt.at["tokens"]["P"], model.tokens.W, n=2)
    assert ids[:, 0].tolist() == [4, 9, 2] and np.allclose(cosines[:, 0], 1, rtol=1e-14)
    W = model.tokens.W.data
    for i, row in zip(ids, W[[4, 9, 2]]):
        cosine = [row @ w / np.linalg.norm(row) / np.linalg.norm(w) for w in W]
        assert i.tolist() == sorted(range(V), key=lambda j: -cosine[j])[:2]
    for P, n in ((W, 0), (W, V + 1), (W[0], 1), (W[:, :2], 1)):
        with pytest.raises(ValueError, match="nearest: rows"):
            nearest(P, W, n)


@networks
def test_random_weights_are_as_many_as_biases(model):
    """In the same layers, none twice, and the same ones at another time."""
    control = RandomWeights().attach(model, rng())
    biases = BitFit(control.method.targets).attach(model, rng())
    assert [p.shape for p in control.parameters()] == [p.shape for p in biases.parameters()]
    layer = model.blocks[1].attn.q
    at = control.method.at_random(layer, layer.shape)
    assert len({tuple(place) for place in at}) == layer.shape[1]
    assert np.array_equal(at, control.method.at_random(layer, layer.shape))
    assert not np.array_equal(at, RandomWeights(choice=2).at_random(layer, layer.shape))
    δ, W = control.at[layer.path]["delta"], host(layer.W.data).copy()
    δ.data = δ.data + np.asarray(rng().normal(size=δ.shape), like=δ.data)
    for (i, j), number in zip(at, host(δ.data)[0]):
        W[i, j] += number
    assert np.array_equal(host(control.method.weights(layer, δ)["W"].data), W)


@pytest.mark.parametrize("model", [DECODERS["gpt2"]])
def test_biases_that_are_kept_are_those_and_what_was_added(model):
    """W x + b', where BitFit has W x + b + δ."""
    ids, _, mask = batch(model, 5)
    kept, added = BiasTuning().attach(model, rng()), BitFit().attach(model, rng())
    assert np.allclose(model(ids, kept, mask=mask).data, model(ids, mask=mask).data, rtol=1e-13)
    for b, δ in zip(kept.parameters(), added.parameters(), strict=True):
        δ.data = rng().normal(size=δ.shape)
        b.data = b.data + δ.data
    z = model(ids, added, mask=mask).data
    assert np.allclose(model(ids, kept, mask=mask).data, z, rtol=1e-12)
    assert np.allclose(merge(model, kept)(ids, mask=mask).data, z, rtol=1e-12)


def test_subsets_of_biases_have_the_names_of_the_paper():
    model = DECODERS["gpt2"]
    paths = [*BitFit(biases("query", "intermediate")).attach(model, rng()).at]
    assert paths == [f"blocks.{n}.{part}" for n in (0, 1) for part in ("attn.q", "mlp.up")]
    with pytest.raises(ValueError, match=r"no biases \['keys'\]: there is query, key, value"):
        biases("query", "keys")


# -- dropout ------------------------------------------------------------------


@networks
def test_dropout_happens_when_there_is_a_generator(model):
    ids, _, mask = batch(model, 5)
    lora = attached("lora", model)
    plain = lora.parts[0] if isinstance(lora, Chain) else lora
    dropping = replace(plain, method=replace(plain.method, dropout=0.5))
    pairs = [(γ, Chain(PLAIN, γ), Each([γ] * 5)) for γ in (dropping, plain)]
    for wet, dry in zip(*pairs):
        say = lambda γ, seed=None: (
            model(ids, γ, mask=mask, rng=None if seed is None else np.random.default_rng(seed)).data
        )
        assert np.array_equal(say(wet), say(dry)) and np.array_equal(say(dry, 0), say(dry))
        assert np.array_equal(say(wet, 0), say(wet, 0))
        assert not np.array_equal(say(wet, 0), say(wet, 1))
        assert not np.array_equal(say(wet, 0), say(wet))


@networks
def test_a_prefix_is_dropped_for_each_text_by_itself(model):
    v2 = PTuningV2(40, init="normal", dropout=0.25).attach(model, rng())
    attn = model.blocks[0].attn
    plain, dropped = v2.prepended(attn, 3)[0], v2.resolve(rng()).prepended(attn, 3)[0]
    for P, Q in zip(plain, dropped):
        kept = host(Q.data) != 0
        assert np.allclose(host(Q.data)[kept], host(P.data)[kept] / 0.75)
        assert 0.15 < 1 - kept.mean() < 0.35 and not np.array_equal(kept[0], kept[1])
