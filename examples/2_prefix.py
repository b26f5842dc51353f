# %% [markdown]
# # 2. Attention with a prefix, by hand
#
# Prefix tuning adds a few keys and values in front of those of the text, in every layer. Every
# token attends to them as if they belonged to earlier tokens; they are the only trained parameters.
# Li & Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation".

# %%
import numpy as np

import minipeft as mp

model = mp.load().astype(np.float64)  # for comparisons to twelve digits
tokenizer = mp.load_tokenizer()
rng = np.random.default_rng(0)
ids = np.array([tokenizer.encode("The soup was cold, so she sent it back.").ids])
prefix = mp.PrefixTuning(length=3).attach(model, rng)

# %% [markdown]
# ## One attention head, as in the equation
#
# head = softmax(q [P_key; K]ᵀ / √d) [P_value; V]
#
# No token attends to later tokens, and all attend to the prefix. Each head uses d columns of q, k
# and v; here we look at the first head.


# %%
def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def scores(q, K):
    """q Kᵀ / √d, and -∞ for keys of later tokens; query t belongs to key S - T + t"""
    (T, d), S = q.shape, len(K)
    later = np.arange(S) > np.arange(S - T, S)[:, None]
    return np.where(later, -np.inf, q @ K.T / np.sqrt(d))


def head(q, K, V, P_key, P_value):
    return softmax(scores(q, np.vstack([P_key, K]))) @ np.vstack([P_value, V])


# %% [markdown]
# ## The library computes the same
#
# The model calls every layer through the adaptation. The method below changes nothing and records
# the inputs of two layers: the input of q (and of k and v), and the input of W_o, which is the
# concatenation of the heads. `Chain` applies it together with the prefix.

# %%
inputs = {}


class Recorder(mp.Method):
    targets = r"^blocks\.0\.attn\.[qo]$"

    def apply(self, layer, x):
        inputs[layer.path] = x.data[0]
        return layer(x)


model(ids, mp.Chain(prefix, Recorder().attach(model)))
x, heads = inputs["blocks.0.attn.q"], inputs["blocks.0.attn.o"]
attn = model.blocks[0].attn
d = attn.d
q, K, V = ((x @ layer.W.data + layer.b.data)[:, :d] for layer in (attn.q, attn.k, attn.v))
P_key, P_value = (p.data[:, :d] for p in prefix.at["blocks.0.attn"].values())
by_hand = head(q, K, V, P_key, P_value)
difference = np.abs(by_hand - heads[:, :d]).max()
print(f"{len(x)} tokens, {d} columns: by hand and by the library differ by {difference:.0e}")
assert difference < 1e-12

# %% [markdown]
# ## What a prefix can do
#
# He et al. 2022, eq. 7 and 8, rewrite the softmax. With C the text and P the prefix,
#
# head = (1 - λ) Attn(q, C) + λ Attn(q, P)
#
# λ = Σ exp(q P_keyᵀ / √d) / (Σ exp(q P_keyᵀ / √d) + Σ exp(q Kᵀ / √d))        (the paper omits √d)
#
# A prefix can't change the attention among the words of the text, only how much of a word's
# attention goes to the prefix instead: the share λ. The first words have few other words to attend
# to, so their share is mostly larger.

# %%
on_text, on_prefix = np.exp(scores(q, K)).sum(-1), np.exp(q @ P_key.T / np.sqrt(d)).sum(-1)
λ = (on_prefix / (on_prefix + on_text))[:, None]
text_alone = softmax(scores(q, K)) @ V
prefix_alone = softmax(q @ P_key.T / np.sqrt(d)) @ P_value
assert np.allclose(by_hand, (1 - λ) * text_alone + λ * prefix_alone, atol=1e-12)
print("λ, the share of attention that goes to the prefix:")
for token, share in zip(ids[0], λ[:, 0]):
    print(f"{tokenizer.decode([token]):>8} {share:4.0%} {'█' * round(30 * share)}")

# %% [markdown]
# ## Words are a prefix, too
#
# The keys and values of some words, computed in every layer, form a prefix with exactly the effect
# of those words in front of the text. Training can therefore start from a prefix that the model
# understands, and then move it to where no words are.

# %%
words = tokenizer.encode("The waiter was rude. ").ids
prefix = mp.PrefixTuning(words=tuple(words)).attach(model, rng)
in_context = model(np.array([words + [*ids[0]]])).data[:, len(words) :]
difference = np.abs(model(ids, prefix).data - in_context).max()
effect = np.abs(model(ids).data - in_context).max()
print(f"logits with the prefix and with the words differ by {difference:.0e}")
print(f"the words change the logits by up to {effect:.1f}")
assert difference < 1e-12 < effect

# %% [markdown]
# ## Number of parameters
#
# A key and a value of the model's width, for each virtual token and each layer.

# %%
count = sum(p.data.size for p in prefix.parameters())
base_params = sum(p.data.size for p in model.parameters())
assert count == 2 * len(words) * model.config.width * model.config.layers
print(f"{count:,} parameters, {count / base_params:.1%} of the base model's {base_params:,}")
