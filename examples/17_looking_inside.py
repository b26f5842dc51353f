# %% [markdown]
# # 17. Looking inside: logit lens, activation patching, steering
#
# What does a network know after each block, where does it keep it, and can we change it? Each of
# these is a method of six lines. The network calls every layer as `forward(layer, x)`, so a method
# can read what a layer returns, or return something else.

# %%
from itertools import islice

import numpy as np

import minipeft as mp
from minipeft.data.batches import pad
from minipeft.world import sentiment
from minipeft.world.corpus import documents

model, tokenizer = mp.load(), mp.load_tokenizer()


def encode(text):
    return np.array([tokenizer.encode(text).ids[:64]])


def token(i):
    return tokenizer.decode([i]).strip()


# %% [markdown]
# ## Logit lens
#
# The last norm and the head make logits of the hidden states after the last block. Here they read
# those after each block (Belrose et al. 2023): what would the network say if it ended there?


# %%
class LogitLens(mp.Method):
    targets = r"blocks\.\d$"

    def apply(self, layer, h):
        y = layer(h)
        said[layer.path] = model.head(model.ln(y)).data[0]
        return y


said = {}
ids = encode("On Friday Mara saw The Paper Parade. The plot was")
model(ids, LogitLens().attach(model))
print("after         ", *(f"{token(i):>9}" for i in ids[0][-6:]))
for path, z in said.items():
    print(f"{path}: next", *(f"{token(i):>9}" for i in z[-6:].argmax(1)))

# %% [markdown]
# Over 40 documents: the mean loss of each block's guess, in nats per token.

# %%
losses = []
for text in islice(documents(np.random.default_rng(5)), 40):
    ids = encode(text)
    model(ids, LogitLens().attach(model))
    z = np.stack([*said.values()])[:, :-1]  # (blocks, T - 1, V)
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    losses.append(-log_p[:, np.arange(len(z[0])), ids[0, 1:]].mean(1))
loss = np.mean(losses, axis=0)
print("loss by block:", loss.round(2))
assert (np.diff(loss) < -0.1).all()

# %% [markdown]
# Every block improves the guess, though only the last one was trained to make it.
#
# ## Activation patching
#
# "On Friday Mara saw The Paper Parade." goes on with "She", and with Borin in place of Mara with
# "He". Where is this decided? Run the sentence about Borin, but at one position replace the output
# of one block by that of the sentence about Mara (Meng et al. 2022, §2.1).


# %%
class Patch(mp.Method):
    def __init__(self, block, position):
        self.targets, self.block, self.position = rf"blocks\.{block}$", block, position

    def apply(self, layer, h):
        y, here = layer(h), np.arange(h.shape[1])[:, None] == self.position
        return y * ~here + states[self.block + 1] * here


mara, borin = (encode(f"On Friday {name} saw The Paper Parade.") for name in ("Mara", "Borin"))
states = mp.every_layer(model, mara)  # the embeddings, and the output of each block
she, he = (tokenizer.encode(word).ids[0] for word in (" She", " He"))


def she_over_he(ids, adaptation=None):
    """log p(She) - log p(He) after the sentence"""
    z = model(ids, adaptation).data[0, -1]
    return z[she] - z[he]


print(f"Mara: {she_over_he(mara):.1f}   Borin: {she_over_he(borin):.1f}   Borin, patched:")
print("        ", *(f"{token(i):>6}" for i in mara[0]))
table = np.array(
    [
        [she_over_he(borin, Patch(block, t).attach(model)) for t in range(mara.shape[1])]
        for block in range(4)
    ]
)
for block, row in enumerate(table):
    print(f"blocks.{block}", *map("{:6.1f}".format, row))
assert (table[:3, 2] > 4).all() and table[3, 7] > 4 and (np.sort(table)[:, :-1] < -3).all()

# %% [markdown]
# After blocks 0 to 2 the gender is in the state of the name, and only there; block 3 brings it to
# the full stop, where the next word is predicted. `trace` shows how: one of its heads attends from
# the full stop to the name. `minipeft trace "…" --step blocks.3.attn.softmax` prints all weights.

# %%
steps = mp.trace(model, mara)
for block in range(4):
    step = steps[f"blocks.{block}.attn.softmax"]
    print(step.name, "from '.' to 'Mara', by head:", step.value[0, :, -1, 2].round(2))
print(f"{step.equation}, at {step.file}")
assert step.value[0, :, -1, 2].max() > 0.9

# %% [markdown]
# ## Steering
#
# The mean state of reviews whose writer liked the thing, minus that of the others, is a direction.
# Add it to the output of a block (Turner et al. 2023): does the network now prefer "liked"?


# %%
class Steer(mp.Method):
    targets = r"blocks\.1$"

    def __init__(self, v):
        self.v = v

    def apply(self, layer, h):
        return layer(h) + self.v


def read(texts):
    """Token ids of texts, which are real, and the position of the last real one."""
    ids, mask = pad([tokenizer.encode(text).ids for text in texts])
    return ids, mask, (np.arange(len(ids)), mask.sum(1) - 1)


splits = sentiment.splits()
texts, liked = zip(*splits["train"][:200])
ids, mask, last = read(texts)
h = mp.every_layer(model, ids, mask=mask)[2][last]  # after blocks.1
direction = h[np.array(liked) == 1].mean(0) - h[np.array(liked) == 0].mean(0)
noise = np.random.default_rng(0).normal(size=direction.shape)
noise = np.float32(noise * np.linalg.norm(direction) / np.linalg.norm(noise))

ids, mask, last = read([f"{text} All in all she" for text, _ in splits["test"][:60]])
good, bad = (tokenizer.encode(word).ids[0] for word in (" liked", " disliked"))


def share_liked(v):
    """The share of the test reviews after which "liked" is likelier than "disliked"."""
    z = model(ids, Steer(v).attach(model), mask=mask, positions=last[1][:, None]).data[:, 0]
    return np.mean(z[:, good] > z[:, bad])


print("steered by   " + "".join(f"{c:>6}" for c in (-2, -1, 0, 1, 2)))
for name, v in [("the direction", direction), ("noise", noise)]:
    shares = [share_liked(c * v) for c in (-2, -1, 0, 1, 2)]
    print(f"{name:13}" + "".join(f"{share:6.0%}" for share in shares))
    if name == "the direction":
        assert (np.diff(shares) > 0).all() and shares[-1] - shares[0] > 0.5
    else:
        assert np.ptp(shares) < 0.2

# %% [markdown]
# A direction of the same length that is drawn at random changes nothing, so the effect is of what
# the direction means, not of its size.
