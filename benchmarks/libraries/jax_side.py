"""Jobs of JAX: a plain port of the training step of GPT-2 and Llama, under `jit`.

H heads   d width of a head
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from safetensors.numpy import load_file

from ..cases import LR, SIZES, batch

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
SCALE = 2.0  # α/r of LoRA


def layer_norm(x, θ):
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * θ["weight"] + θ["bias"]


def rms_norm(x, θ):
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * θ["weight"]


def gpt2_linear(x, θ, lora=None):
    """Return x W + b, of transformers' Conv1D."""
    return x @ θ["weight"] + θ["bias"] + low_rank(x, lora)


def llama_linear(x, θ, lora=None):
    """Return x Wᵀ, of PyTorch's Linear."""
    return x @ θ["weight"].T + low_rank(x, lora)


def low_rank(x, lora):
    """Return (α/r) B A x, or 0 without a LoRA."""
    return 0.0 if lora is None else SCALE * (x @ lora["A"].T @ lora["B"].T)


def heads(x, H):
    """Return x (B, T, H d) as (B, H, T, d)."""
    return x.reshape(*x.shape[:2], H, -1).swapaxes(1, 2)


def attend(q, k, v):
    """Return causal attention (B, T, H d) of q, k, v (B, H, T, d)."""
    T, d = q.shape[-2:]
    scores = jnp.where(jnp.tri(T, dtype=bool), q @ k.swapaxes(-1, -2) * d**-0.5, -jnp.inf)
    y = jax.nn.softmax(scores) @ v
    return y.swapaxes(1, 2).reshape(len(y), T, -1)


def rotate(x):
    """Return x (B, H, T, d), rotated by its positions."""
    T, d = x.shape[-2:]
    angles = jnp.arange(T)[:, None] * 10000.0 ** (-jnp.arange(0, d, 2) / d)
    cos, sin = (jnp.concatenate([f(angles)] * 2, -1) for f in (jnp.cos, jnp.sin))
    a, b = jnp.split(x, 2, -1)
    return x * cos + jnp.concatenate([-b, a], -1) * sin


def gpt2(θ, lora, ids, s):
    """Return logits (B, T, V)."""
    h = θ["wte"]["weight"][ids] + θ["wpe"]["weight"][: ids.shape[1]]
    for i in range(s.layers):
        block, γ = θ[f"h.{i}"], lora.get(f"h.{i}", {})
        qkv = gpt2_linear(layer_norm(h, block["ln_1"]), block["attn.c_attn"], γ.get("attn.c_attn"))
        y = attend(*(heads(x, s.heads) for x in jnp.split(qkv, 3, -1)))
        h = h + gpt2_linear(y, block["attn.c_proj"])
        y = jax.nn.gelu(gpt2_linear(layer_norm(h, block["ln_2"]), block["mlp.c_fc"]))
        h = h + gpt2_linear(y, block["mlp.c_proj"])
    return layer_norm(h, θ["ln_f"]) @ θ["wte"]["weight"].T


def llama(θ, lora, ids, s):
    """Return logits (B, T, V), where there are as many key heads as heads."""
    h = θ["embed_tokens"]["weight"][ids]
    for i in range(s.layers):
        block, γ = θ[f"layers.{i}"], lora.get(f"layers.{i}", {})
        x = rms_norm(h, block["input_layernorm"])
        names = [f"self_attn.{n}_proj" for n in "qkv"]
        q, k, v = (heads(llama_linear(x, block[n], γ.get(n)), s.heads) for n in names)
        h = h + llama_linear(attend(rotate(q), rotate(k), v), block["self_attn.o_proj"])
        x = rms_norm(h, block["post_attention_layernorm"])
        gate, up = (llama_linear(x, block[f"mlp.{n}_proj"]) for n in ("gate", "up"))
        h = h + llama_linear(jax.nn.silu(gate) * up, block["mlp.down_proj"])
    return rms_norm(h, θ["norm"]) @ θ["lm_head"]["weight"].T


def read(path: Path) -> dict:
    """Return {block or layer: {layer of the block: {name: array}}} of a file."""
    tree: dict = {}
    for key, x in load_file(path).items():
        key = (
            key.removeprefix("base_model.model.")
            .removeprefix("transformer.")
            .removeprefix("model.")
        )
        parts = key.replace(".lora_A.weight", ".A").replace(".lora_B.weight", ".B").split(".")
        block = parts[0] in ("h", "layers")
        place = tree.setdefault(".".join(parts[:2]), {}) if block else tree
        name = ".".join(parts[2 * block : -1])
        place.setdefault(name, {})[parts[-1]] = jnp.asarray(x)
    return tree


def train(size: str, method: str, labels: str):
    """Return a training step, full or of LoRA, which returns the loss before it."""
    s = SIZES[size]
    network = gpt2 if s.family == "gpt2" else llama
    θ, full = read(Path(size, "base", "model.safetensors")), method == "full"
    γ = θ if full else read(Path(size, method, "adapter_model.safetensors"))
    ids, targets = batch(size, method, labels)
    ids, targets = jnp.asarray(ids), jnp.asarray(targets)[:, 1:]

    def loss(γ, θ):
        z = network(γ if full else θ, {} if full else γ, ids, s)[:, :-1]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(z), targets.clip(0)[..., None], -1)[..., 0]
        return -(chosen * (targets >= 0)).sum() / (targets >= 0).sum()

    @jax.jit
    def step(state, θ):
        γ, m, v, t = state
        value, g = jax.value_and_grad(loss)(γ, θ)
        norm = jnp.sqrt(sum((x * x).sum() for x in jax.tree.leaves(g)))
        g = jax.tree.map(lambda x: x * jnp.minimum(1.0, 1.0 / norm), g)
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
        c1, c2 = 1 - BETA1**t, 1 - BETA2**t
        update = lambda p, m, v: p - LR * m / c1 / (jnp.sqrt(v / c2) + EPS)
        return value, (jax.tree.map(update, γ, m, v), m, v, t + 1)

    zeros = lambda: jax.tree.map(jnp.zeros_like, γ)
    state = γ, zeros(), zeros(), jnp.ones(())

    def run():
        nonlocal state
        value, state = step(state, θ)
        return float(value)

    return run
