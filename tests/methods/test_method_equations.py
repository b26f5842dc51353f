"""Each method is its equation, written with loops."""

import dataclasses
import itertools

import numpy as np
import pytest

from minipeft import (
    Chain,
    DeepPrompt,
    Encoded,
    LoRA,
    Method,
    PrefixTuning,
    PromptTuning,
    Tensor,
)
from minipeft.adaptation.merge import fold
from minipeft.autograd.backend import host
from minipeft.autograd.nn import replace
from tests.support.families import (
    METHODS,
    T,
    V,
    attached,
    batch,
    decoders,
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
    larger = replace(larger, config=dataclasses.replace(model.config, vocabulary=V + len(P)))
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
