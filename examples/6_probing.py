# %% [markdown]
# # 6. What does each layer know?
#
# Alain & Bengio 2016: freeze the network and train a linear classifier, a probe, on the hidden
# states of one layer. If it succeeds, the layer represents the property linearly.

# %%
import numpy as np

import minipeft as mp
from minipeft.data.batches import pad
from minipeft.world import sentiment, tags

model, tokenizer = mp.load(), mp.load_tokenizer()
text, liked = sentiment.splits()["train"][0]
print(f"{text!r}\nlabel: {'positive' if liked else 'negative'}")

# %% [markdown]
# ## Hidden states of every layer
#
# An adaptation is called at every layer, so one that changes nothing can record what the layers
# compute. `every_layer` uses such an adaptation and returns the input of the first block and the
# output of each block. The network is frozen, so each text passes through it only once.

# %%
ids = np.array([tokenizer.encode(text).ids])
print("shape (states, texts, tokens, width):", mp.every_layer(model, ids).shape)

# %% [markdown]
# ## Features of texts and of words
#
# For a property of a text (did the writer like it?) we take the hidden state of its last token; for
# a property of a word (its part of speech) that of the word's last token. Both functions return,
# for N examples, their names, their labels, and features (S, N, D) of the S states.


# %%
def review_features(examples):
    texts, liked = zip(*examples)
    ids, mask = pad([tokenizer.encode(text).ids for text in texts])
    return texts, liked, mp.pool_states(mp.every_layer(model, ids, mask=mask), mask, "last")


def word_features(examples):
    encodings = [tokenizer.encode(text) for text, _ in examples]
    ids, mask = pad([encoding.ids for encoding in encodings])
    words = [
        (text[start:end].lower(), tag, row, encoding.char_to_token(end - 1))
        for row, (encoding, (text, spans)) in enumerate(zip(encodings, examples))
        for start, end, tag in spans
    ]
    names, labels, rows, positions = zip(*words)
    return names, labels, mp.every_layer(model, ids, mask=mask)[:, rows, positions]


# %% [markdown]
# ## A probe for each layer, and a control task
#
# A probe is p(y|h) = softmax(W h), one matrix. A stronger classifier could compute the property by
# itself, which would say little about the layer. The probes of all layers form one bank. The loss
# of a probe is convex, and `train_probes` solves it, with a penalty `l2` on the matrix. Beside it
# there is a probe with a hidden layer, softmax(W relu(V h + a) + b), which is trained in steps.
#
# Does a probe find a property, or does it memorise the training examples? Hewitt & Liang 2019 train
# a second probe on a control task: random labels, one for each word (here also for each text). Its
# accuracy shows how much can be memorised; the difference of the two is the selectivity.


# %%
def accuracies(train, head, x, y):
    """{split: accuracy of each layer} of probes trained on these labels"""
    probes = train(head, x["train"], y["train"])
    return {split: mp.accuracy_by_layer(head, probes, x[split], y[split]) for split in x}


def read(features, splits, sizes):
    """{split: names, labels and features of so many examples}"""
    return {split: features(splits[split][:size]) for split, size in sizes.items()}


def probe_layers(title, data, train=mp.train_probes):
    """Print and return a table, {column: value for each layer}, of probes that `train` returns."""
    names, labels, x = ({split: parts[i] for split, parts in data.items()} for i in range(3))
    classes = sorted(set(labels["train"]))
    y = {split: [classes.index(label) for label in labels[split]] for split in labels}
    control_y = {split: mp.control_labels(names[split], len(classes)) for split in names}
    head = mp.LayerHead(model, len(classes))
    task, control = (accuracies(train, head, x, labels) for labels in (y, control_y))
    table = {
        "test": task["test"],
        "OOD": task["ood"],
        "control": control["test"],
        "selectivity": task["test"] - control["test"],
        "memorised": control["train"],
    }
    print(f"{title:9}", *map("{:>12}".format, table))
    for layer, row in zip(["embedding", *range(1, len(x["test"]))], zip(*table.values())):
        print(f"{layer:<9}", *map("{:12.0%}".format, row))
    return table


# %% [markdown]
# ## Did the writer like it?
#
# Columns: accuracy on test reviews of films and restaurants, as in training; on out-of-distribution
# (OOD) reviews, of hotels and gadgets; of the control task on test reviews, where its random labels
# can't be known; selectivity; and of the control task on training reviews, which can be memorised.

# %%
sizes = {"train": 800, "test": 400, "ood": 400}
review = probe_layers("review", read(review_features, sentiment.splits(), sizes))
assert review["test"][0] < 0.57 and (review["test"][1:] > 0.65).all()
assert abs(review["control"] - 0.5).max() < 0.1 < review["selectivity"][1:].min()
assert (review["OOD"][1:] > 0.6).all()

# %% [markdown]
# Every review ends in a full stop, so the embedding of its last token knows nothing. From the first
# block on, the full stop has attended to the words, and a linear probe of its state can tell the
# sentiment, also for hotels, which no training review was about.
#
# ## Which part of speech is a word?
#
# Here test texts consist of words that also occur in training, so the control task can be learned,
# too. OOD sentences have other forms, and names that occur in no other text.

# %%
words = read(word_features, tags.splits(), {"train": 500, "test": 250, "ood": 250})
word = probe_layers("word", words)
assert word["test"][0] < 0.92 and (word["test"][1:] > 0.97).all()
assert abs(word["selectivity"][0]) < 0.1 < word["selectivity"][1:].min()
assert word["OOD"][0] > word["OOD"][1:].max()

# %% [markdown]
# Embeddings do not depend on the context, so their probe memorises words: it is as good at the
# control task. One block is enough to distinguish "the cost" from "they cost", and "her book" from
# "saw her". Its probe is worse at the control task, so it does not memorise more: the selectivity
# is a quarter, not 0. But in sentences of other forms the word alone is the better guide. A weaker
# penalty, such as l2=1e-4, lets every probe memorise more.
#
# ## A probe with a hidden layer
#
# It finds no more here: what a layer knows of a word, a matrix can read. But it memorises more
# words, so it is less selective, which is what Hewitt & Liang 2019 found.

# %%
hidden = probe_layers("word", words, mp.train_hidden_probes)
assert abs(hidden["test"] - word["test"])[1:].max() < 0.02
assert (hidden["selectivity"] < word["selectivity"])[1:].all()
