# %% [markdown]
# # 2. Attention with a prefix, by hand
#
# A prefix is a few keys and values that stand before those of the text. Every word looks back at
# them as if they were words. They are all that is trained: Li & Liang 2021, "Prefix-Tuning".

# %%
import numpy as np

import minipeft as mp

model = mp.load().astype(np.float64)  # exact enough to compare to twelve digits
tokenizer = mp.load_tokenizer()
rng = np.random.default_rng(0)
ids = np.array([tokenizer.encode("The soup was cold, so she sent it back.").ids])
prefix = mp.PrefixTuning(length=3).attach(model, rng)

# %% [markdown]
# ## One head, as the equation says it
#
# head = softmax(q [P_k; K]ᵀ / √d) [P_v; V]
#
# No token sees those after it, and all see the prefix. A head owns d columns of q, k and v; this is
# the first one.


# %%
def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def scores(q, K):
    """q Kᵀ / √d, and no look at younger keys: query t is as old as key S - T + t"""
    (T, d), S = q.shape, len(K)
    younger = np.arange(S) > np.arange(S - T, S)[:, None]
    return np.where(younger, -np.inf, q @ K.T / np.sqrt(d))


def head(q, K, V, P_k, P_v):
    return softmax(scores(q, np.vstack([P_k, K]))) @ np.vstack([P_v, V])


# %% [markdown]
# ## The library says the same
#
# The model asks an adaptation for every layer. This one changes nothing and writes down what the
# layers read: what q, k and v are made of, and the heads' answers, side by side, on the way to W_o.


# %%
class Recorder(mp.Adaptation):
    targets = r"^blocks\.0\.attn\.[qo]$"
    seen = {}

    def apply(self, layer, x):
        self.seen[layer.path] = x.data[0]
        return layer(x)


model(ids, mp.Chain(prefix, Recorder().attach(model, rng)))
x, heads = Recorder.seen["blocks.0.attn.q"], Recorder.seen["blocks.0.attn.o"]
attn = model.blocks[0].attn
d = attn.d
q, K, V = ((x @ w.W.data + w.b.data)[:, :d] for w in (attn.q, attn.k, attn.v))
P_k, P_v = (p.data[:, :d] for p in prefix.at["blocks.0.attn"])
by_hand = head(q, K, V, P_k, P_v)
difference = np.abs(by_hand - heads[:, :d]).max()
print(f"{len(x)} tokens, {d} columns: by hand and by the library, {difference:.0e} apart")
assert difference < 1e-12

# %% [markdown]
# ## What a prefix can do
#
# He et al. 2022, eq. 7 and 8, take the softmax apart. With C the text and P the prefix
#
# head = (1 - λ) Attn(q, C) + λ Attn(q, P)
#
# λ = Σ exp(q P_kᵀ / √d) / (Σ exp(q P_kᵀ / √d) + Σ exp(q Kᵀ / √d)), the paper leaving out its √d
#
# A prefix cannot change how the words of the text look at each other; it offers each word something
# else to look at, and λ is the share of its look that it gives away. The first words have few
# others to look at, and mostly give away more.

# %%
on_text, on_prefix = np.exp(scores(q, K)).sum(-1), np.exp(q @ P_k.T / np.sqrt(d)).sum(-1)
λ = (on_prefix / (on_prefix + on_text))[:, None]
text_alone = softmax(scores(q, K)) @ V
prefix_alone = softmax(q @ P_k.T / np.sqrt(d)) @ P_v
assert np.allclose(by_hand, (1 - λ) * text_alone + λ * prefix_alone, atol=1e-12)
for token, share in zip(ids[0], λ[:, 0]):
    print(f"{tokenizer.decode([token]):>8} gives the prefix {share:4.0%} {'█' * round(30 * share)}")

# %% [markdown]
# ## Words are a prefix too
#
# Let the model read some words and keep their keys and values in every layer. As a prefix they are
# those words in context, exactly. So a prefix starts as something the model understands; training
# then moves it to where no words are.

# %%
words = tokenizer.encode("The waiter was rude. ").ids
prefix = mp.PrefixTuning(words=tuple(words)).attach(model, rng)
in_context = model(np.array([words + [*ids[0]]])).data[:, len(words) :]
difference = np.abs(model(ids, prefix).data - in_context).max()
change = np.abs(model(ids).data - in_context).max()
print(f"prefix and context differ by {difference:.0e}, and move the logits by {change:.1f}")
assert difference < 1e-12 < change

# %% [markdown]
# ## What it costs
#
# Two rows, a key and a value, of the model's width for each of its words in each layer.

# %%
count = sum(p.data.size for p in prefix.parameters())
whole = sum(p.data.size for p in model.parameters())
assert count == 2 * len(words) * model.config.width * model.config.layers
print(f"{count:,} numbers, {count / whole:.1%} of the model's {whole:,}")
