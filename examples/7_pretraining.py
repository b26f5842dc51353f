# %% [markdown]
# # 7. Where the base model comes from
#
# A language model is pretrained to predict the next token. In this library that is no special case:
# pretraining is full fine-tuning of a randomly initialised model, followed by a merge.

# %%
from itertools import islice

import numpy as np

import minipeft as mp
from minipeft.data.batches import passages
from minipeft.world.corpus import documents

tokenizer = mp.load_tokenizer()
rng = np.random.default_rng(0)

# %% [markdown]
# ## Text
#
# A grammar generates documents about a small world. We concatenate their tokens, with an end token
# after each, and hold out the last tenth for evaluation.

# %%
texts = list(islice(documents(rng), 5000))
end = tokenizer.token_to_id("<|endoftext|>")
ids = np.concatenate([[*encoding.ids, end] for encoding in tokenizer.encode_batch(texts)])
train, held_out = np.split(ids, [int(0.9 * len(ids))])
print(f"{len(train):,} training tokens; the first document: {texts[0]}")

# %% [markdown]
# ## Two baselines
#
# The loss is -log p of the next token, on average. A uniform distribution over the V tokens has
# loss log V. Unigrams, the frequencies of the tokens, have their entropy, -Σ p log p. To do better,
# a model must use the context.

# %%
V = tokenizer.get_vocab_size()
counts = np.bincount(train, minlength=V)
p = counts[counts > 0] / len(train)
uniform, unigram = np.log(V), -(p * np.log(p)).sum()
print(f"loss of a uniform distribution {uniform:.2f}, of unigrams {unigram:.2f}")

# %% [markdown]
# ## A random model
#
# The model is small, so that training takes seconds. Before training it is close to uniform.

# %%
config = mp.Config(vocabulary=V, width=64, layers=2, heads=4, length=64)
model = mp.Decoder(config, rng)
rows = held_out[: 32 * 64].reshape(32, 64)


def loss(γ=None):
    return float(model.loss(rows, rows, γ))


print(f"{sum(t.data.size for t in model.parameters()):,} random parameters: loss {loss():.2f}")
assert abs(loss() - uniform) < 0.2

# %% [markdown]
# ## Pretraining is full fine-tuning
#
# The parameters are a copy of all weights. The learning rate rises for a few steps, then follows a
# cosine. Weight decay leaves out biases and the gains of norms, as is usual.

# %%
θ = mp.FullFineTuning().attach(model)
steps = 110
no_decay = [p for path, p in θ.named_parameters() if not path.endswith(".W")]
optimizer = mp.AdamW(θ.parameters(), lr=1e-2, weight_decay=0.01, no_decay=no_decay)
schedule = mp.schedule("cosine", steps, warmup=20)
trainer = mp.Trainer(model, θ, optimizer, schedule=schedule)
batches = passages(train, 16, config.length, rng)


def evaluate():
    held_out_loss = loss(θ)
    print(f"held-out loss after {trainer.t:3} steps: {held_out_loss:.2f}")
    return held_out_loss


trainer.fit(batches, steps, evaluate=evaluate, every=steps // 5, progress=False)
assert loss(θ) < unigram - 1

# %% [markdown]
# ## Merging gives the base model
#
# The given model is still random. `merge` returns a new, frozen model with the trained weights: a
# base model, ready to be adapted. `minipeft pretrain --out FOLDER` makes the built-in ones this
# way.

# %%
base = mp.merge(model, θ)
assert np.allclose(base(rows[:1]).data, model(rows[:1], θ).data, atol=1e-4)
for name, network in {"random": model, "trained": base}.items():
    new = mp.generate(network, [[end]], max_new_tokens=40, temperature=0.7, rng=rng)[0]
    print(f"{name}: {tokenizer.decode(new.tolist())!r}")
