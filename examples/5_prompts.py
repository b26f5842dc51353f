# %% [markdown]
# # 5. Prompts that are learned
#
# Lester et al. 2021: put k vectors before the embedded text, [P; X], and train them and nothing
# else. The model reads a few words that no one could have typed.

# %%
import numpy as np
from minipeft.data.files.batches import pad

import minipeft as mp
from minipeft.world import sentiment

model, tokenizer = mp.load(), mp.load_tokenizer()
rng = np.random.default_rng(0)


def encode(text):
    return np.array([tokenizer.encode(text).ids])


# %% [markdown]
# ## It starts as words
#
# P is at first the rows of the embedding of some words, and the text stands behind them. So the
# logits are those of the words and the text together.

# %%
words = tokenizer.encode("I was glad that I had seen it. ").ids
prompt = mp.PromptTuning(length=len(words), init="text", words=tuple(words)).attach(model, rng)
ids = encode("The soup was cold.")
together = model(np.array([[*words, *ids[0]]])).data[:, len(words) :]
difference = np.abs(model(ids, prompt).data - together).max()
print(f"{len(words)} rows; prompt and words differ by {difference:.0e}")
assert difference < 1e-3

# %% [markdown]
# ## A thousand numbers learn a manner
#
# Reviews by people who liked what they saw or ate. The loss is of reviews that training leaves out.

# %%
splits = sentiment.splits()
glad = [text for text, liked in splits["train"] if liked]
ids, mask = pad([tokenizer.encode(text).ids for text in glad[:400]])
own, kept = np.split(np.arange(len(ids)), [350])


def loss(adaptation, rows):
    return model.loss(ids[rows], ids[rows], adaptation, mask=mask[rows])


plain, as_words = float(loss(None, kept)), float(loss(prompt, kept))
optimizer = mp.AdamW(prompt.parameters(), lr=5e-3)
for _ in range(80):
    loss(prompt, rng.choice(own, 8)).backward()
    optimizer.step()
learned = float(loss(prompt, kept))
(P,) = prompt.parameters()
print(
    f"{P.data.size:,} numbers; loss {plain:.2f} alone, {as_words:.2f} as words, {learned:.2f} now"
)
assert learned < min(plain, as_words)

# %% [markdown]
# ## Can it be read?
#
# The nearest word to each row, by cosine. Most rows have not left the neighbourhood of their word.
# What they learned lies between the words, and can't be read off.

# %%
E = model.tokens.W.data
unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
cosines = unit(P.data) @ unit(E).T
for word, row in zip(words, cosines):
    near = tokenizer.decode([int(row.argmax())])
    print(f"{tokenizer.decode([word])!r:>8} is now {row.max():.2f} near {near!r}")
assert (cosines.max(1) < 0.99).all()

# %% [markdown]
# ## It stands in front once
#
# A `Memory` holds what has been read: first the prompt, then the text, in pieces of any length.
# `generate` goes on from it token by token.

# %%
ids = encode("It was a film about a family by the sea.")
cache = mp.Cache(prompt)
pieces = [model(part, cache=cache).data for part in np.split(ids, [3, 4], axis=1)]
assert np.allclose(np.concatenate(pieces, 1), model(ids, prompt).data, atol=1e-3)

for name, γ in {"alone": None, "prompt": prompt}.items():
    draw = np.random.default_rng(1)
    new = mp.generate(model, encode("The"), γ, max_new_tokens=30, temperature=0.5, rng=draw)
    print(f"{name:>6}: The{tokenizer.decode(new[0].tolist())}")

# %% [markdown]
# ## Prompts of any length, side by side
#
# A long prompt, a short one, none: a token's position is the number of tokens that its own row has
# read before it, so no row notices the others.

# %%
three = [prompt, mp.PromptTuning(length=2).attach(model, rng), None]
mixed = model(np.repeat(ids, 3, 0), mp.Each(three)).data
apart = [np.abs(row - model(ids, γ).data[0]).max() for row, γ in zip(mixed, three)]
print(f"prompts of {len(words)}, 2 and 0 rows: mixed and alone differ by {max(apart):.0e}")
assert max(apart) < 1e-3
