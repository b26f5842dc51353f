# %% [markdown]
# # 5. Prompt tuning
#
# Lester et al. 2021: put P trained vectors in front of the embedded text, [P; X], and train nothing
# else. The model reads them as words, although no text has such words.

# %%
import numpy as np

import minipeft as mp
from minipeft.data.batches import pad
from minipeft.world import sentiment

model, tokenizer = mp.load(), mp.load_tokenizer()
rng = np.random.default_rng(0)


def encode(text):
    return np.array([tokenizer.encode(text).ids])


# %% [markdown]
# ## Starting from words
#
# At the start P holds the embeddings of some words, so the logits are those of the words followed
# by the text.

# %%
words = tokenizer.encode("I was glad that I had seen it. ").ids
prompt = mp.PromptTuning(length=len(words), init="text", words=tuple(words)).attach(model, rng)
ids = encode("The soup was cold.")
with_words = model(np.array([[*words, *ids[0]]])).data[:, len(words) :]
difference = np.abs(model(ids, prompt).data - with_words).max()
print(f"{len(words)} virtual tokens; logits with prompt and with words differ by {difference:.0e}")
assert difference < 1e-3

# %% [markdown]
# ## A thousand parameters learn a style
#
# We train on positive reviews only, and compare the loss on held-out positive reviews.

# %%
splits = sentiment.splits()
positive = [text for text, liked in splits["train"] if liked]
ids, mask = pad([tokenizer.encode(text).ids for text in positive[:400]])
train, held_out = np.split(np.arange(len(ids)), [350])


def loss(adaptation, rows):
    return model.loss(ids[rows], ids[rows], adaptation, mask=mask[rows])


base, words_only = float(loss(None, held_out)), float(loss(prompt, held_out))
optimizer = mp.AdamW(prompt.parameters(), lr=5e-3)
for _ in range(40):
    loss(prompt, rng.choice(train, 8)).backward()
    optimizer.step()
trained = float(loss(prompt, held_out))
(P,) = prompt.parameters()
print(f"{P.data.size:,} trained parameters; held-out loss:")
print(f"{base:.2f} base model, {words_only:.2f} with the words, {trained:.2f} after training")
assert trained < min(base, words_only)

# %% [markdown]
# ## Can the prompt be read?
#
# For each vector we look up the word with the nearest embedding, by cosine. Most vectors stay near
# the word they started from. What they learned lies between the words and can't be read off.

# %%
E = model.tokens.W.data
unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
cosines = unit(P.data) @ unit(E).T
for word, row in zip(words, cosines):
    nearest = tokenizer.decode([int(row.argmax())])
    print(f"{tokenizer.decode([word])!r:>8} is now nearest to {nearest!r:8} cosine {row.max():.2f}")
assert (cosines.max(1) < 0.99).all()

# %% [markdown]
# ## The prompt is computed once
#
# A `Cache` (KV cache) holds the keys and values so far: first those of the prompt, then those of
# the text, which may come in pieces of any length. `generate` continues from it token by token.

# %%
ids = encode("It was a film about a family by the sea.")
cache = mp.Cache(prompt)
pieces = [model(piece, cache=cache).data for piece in np.split(ids, [3, 4], axis=1)]
assert np.allclose(np.concatenate(pieces, 1), model(ids, prompt).data, atol=1e-3)

for name, γ in {"base": None, "prompt": prompt}.items():
    sampling = np.random.default_rng(1)
    new = mp.generate(model, encode("The"), γ, max_new_tokens=30, temperature=0.5, rng=sampling)
    print(f"{name:>6}: The{tokenizer.decode(new[0].tolist())}")

# %% [markdown]
# ## Prompts of different lengths in one batch
#
# A long prompt, a short one and none: the position of a token counts the tokens before it in its
# own row, so no row depends on the others.

# %%
adaptations = [prompt, mp.PromptTuning(length=2).attach(model, rng), None]
mixed = model(np.repeat(ids, 3, 0), mp.Each(adaptations)).data
differences = [np.abs(row - model(ids, γ).data[0]).max() for row, γ in zip(mixed, adaptations)]
print(f"prompts of length {len(words)}, 2 and 0: logits in the batch and alone", end=" ")
print(f"differ by {max(differences):.0e}")
assert max(differences) < 1e-3
