# %% [markdown]
# # 6. What does each layer know?
#
# Alain & Bengio 2016: freeze the network, read off the states of one layer, and train a linear
# classifier on them, a probe. What it finds lies open in that layer.

# %%
import numpy as np

import minipeft as mp
from minipeft import ops
from minipeft.data import pad
from minipeft.world import sentiment

model, tokenizer = mp.load(), mp.load_tokenizer()
splits = sentiment.splits()
text, liked = splits["train"][0]
print(f"{text!r} was written by someone who {'liked' if liked else 'did not like'} it")

# %% [markdown]
# ## An adaptation that only looks
#
# The model asks its adaptation what each layer yields. This one gives the layer's own answer, and
# keeps of it the state of the last real token.


# %%
class Look(mp.Adaptation):
    targets = r"^tokens$|^blocks\.\d+$"

    def apply(self, layer, x):
        h = layer(x)
        self.kept[layer.path] = h.data[self.last]
        return h


# %% [markdown]
# ## Read once
#
# The network is frozen, so its states never change: each text goes through it once. The probes are
# trained on films and restaurants; they will be asked about those, and about hotels and gadgets.


# %%
def states(examples):
    """{layer: (N, D)}"""
    ids, mask = pad([tokenizer.encode(text).ids for text, _ in examples])
    look = Look().attach(model, None)
    look.kept, look.last = {}, (np.arange(len(ids)), mask.sum(1) - 1)
    model.states(ids, look, mask)
    return look.kept


splits = {
    name: splits[name][:size] for name, size in [("train", 1000), ("test", 500), ("ood", 500)]
}
h = {name: states(examples) for name, examples in splits.items()}
y = {name: np.array([liked for _, liked in examples]) for name, examples in splits.items()}
print({layer: rows.shape for layer, rows in h["train"].items()})

# %% [markdown]
# ## A probe
#
# p(y|x) = softmax(W h): one matrix, and no more. A stronger one would do the work that it is to
# find done.


# %%
def probe(h, y):
    W = mp.Tensor(np.zeros((h.shape[1], 2), h.dtype), requires_grad=True)
    optimizer = mp.AdamW([W], lr=3e-2, weight_decay=0.1)
    for _ in range(300):
        ops.cross_entropy(h @ W, y, len(y)).backward()
        optimizer.step()
    return W.data


def accuracy(W, h, y):
    return np.mean((h @ W).argmax(1) == y)


# %% [markdown]
# ## And its control
#
# Could a probe learn anything, whatever the states are? Ask it for labels thrown by a coin (after
# Hewitt & Liang 2019). What it reaches on the texts it was trained on, it knows by heart; on new
# texts it must fail.

# %%
coin = np.random.default_rng(0)
thrown = {name: coin.integers(0, 2, len(labels)) for name, labels in y.items()}
found = {}
print(f"{'':10}{'films, restaurants':26}{'hotels, gadgets':26}a coin: by heart, new texts")
for layer in h["train"]:
    W, W_coin = probe(h["train"][layer], y["train"]), probe(h["train"][layer], thrown["train"])
    test, ood = found[layer] = [accuracy(W, h[name][layer], y[name]) for name in ("test", "ood")]
    heart, new = (accuracy(W_coin, h[name][layer], thrown[name]) for name in ("train", "test"))
    test, ood = (f"{share:.0%} {'█' * round(40 * (share - 0.5)):22}" for share in (test, ood))
    print(f"{layer:10}{test}{ood}{heart:.0%}, {new:.0%}")
    assert abs(new - 0.5) < 0.1

# %% [markdown]
# ## What we see
#
# Every review ends in a full stop, so the embedding of its last token knows nothing: half are
# right. From the first block on, the full stop has looked back at the words, and a straight line
# through its states tells what they say. Of films every layer knows more than of hotels, which
# other words praise; but of hotels it knows something, too, although no probe was told about one.

# %%
assert found["tokens"] == [0.5, 0.5]
for test, ood in list(found.values())[1:]:
    assert test > ood > 0.55
