# %% [markdown]
# # 7. Where the base comes from
#
# A language model learns to guess the next token, and nothing else. In this library that is no case
# of its own: pretraining is full fine-tuning of a random model, and then a merge.

# %%
from itertools import islice

import numpy as np
from minipeft.data.files.batches import passages

import minipeft as mp
from minipeft.world.corpus import documents

tokenizer = mp.load_tokenizer()
rng = np.random.default_rng(0)

# %% [markdown]
# ## Text
#
# A grammar writes about a small world. The documents become one long row of tokens, with an end
# after each; the last tenth is kept to test on.

# %%
texts = list(islice(documents(rng), 5000))
end = tokenizer.token_to_id("<|endoftext|>")
ids = np.concatenate([[*code.ids, end] for code in tokenizer.encode_batch(texts)])
own, held = np.split(ids, [int(0.9 * len(ids))])
print(f"{len(own):,} tokens, such as: {texts[0]}")

# %% [markdown]
# ## How good is a guess?
#
# By -log p of the token that came, on average. Who knows nothing pays log V. Who knows how frequent
# each token is pays the entropy of those frequencies, -Σ p log p. Below that one must read.

# %%
V = tokenizer.get_vocab_size()
counts = np.bincount(own, minlength=V)
p = counts[counts > 0] / len(own)
nothing, unigram = np.log(V), -(p * np.log(p)).sum()
print(f"knowing nothing {nothing:.2f}, knowing the frequencies {unigram:.2f}")

# %% [markdown]
# ## A random model
#
# Small, for half a minute's work. It pays what one pays who knows nothing.

# %%
config = mp.Config(vocabulary=V, width=64, layers=2, heads=4, length=64)
model = mp.Decoder(config, rng)
rows = held[: 32 * 64].reshape(32, 64)


def loss(γ=None):
    return float(model.loss(rows, rows, γ))


print(f"{sum(t.data.size for t in model.parameters()):,} random numbers: {loss():.2f}")
assert abs(loss() - nothing) < 0.2

# %% [markdown]
# ## Pretraining is full fine-tuning
#
# γ = a copy of all weights θ, and W' x in place of W x. The rate rises for a few steps, then falls
# along a cosine.

# %%
θ = mp.FullFineTuning().attach(model)
steps = 300
rates = mp.schedule("cosine", steps, warmup=20)
trainer = mp.Trainer(model, θ, mp.AdamW(θ.parameters(), lr=1e-2, weight_decay=0.01), rates)
batches = passages(own, 16, config.length, rng)


def look():
    print(f"after {trainer.t:3} steps: {loss(θ):.2f}")
    return loss(θ)


trainer.fit(batches, steps, evaluate=look, every=steps // 5, progress=False)
assert loss(θ) < unigram - 1

# %% [markdown]
# ## And then a merge
#
# The model is still random. `merge` makes a new one of it with θ in its weights: a base, frozen as
# any other, to be adapted. `minipeft pretrain --out FOLDER` makes the built-in one in this way.

# %%
base = mp.merge(model, θ)
assert np.allclose(base(rows[:1]).data, model(rows[:1], θ).data, atol=1e-4)
for name, writer in {"random": model, "trained": base}.items():
    new = mp.generate(writer, [[end]], max_new_tokens=40, temperature=0.7, rng=rng)[0]
    print(f"{name}: {tokenizer.decode(new.tolist())}")
