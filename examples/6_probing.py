# %% [markdown]
# # 6. What does each layer know?
#
# Alain & Bengio 2016: freeze the network, read off the states of one layer, and train a linear
# classifier on them, a probe. What it finds lies open in that layer.

# %%
import numpy as np
from minipeft.data.files.batches import pad

import minipeft as mp
from minipeft.world import sentiment, tags

model, tokenizer = mp.load(), mp.load_tokenizer()
text, liked = sentiment.splits()["train"][0]
print(f"{text!r} was written by someone who {'liked' if liked else 'did not like'} it")

# %% [markdown]
# ## An adaptation that only looks
#
# The model asks its adaptation what each layer yields. One that gives the layer's own answer, and
# keeps it, is `every_layer`: what the first block reads, then what each block yields. The network
# is frozen, so its states never change: each text goes through it once.

# %%
ids = np.array([tokenizer.encode(text).ids])
print(mp.every_layer(model, ids).shape, "states, texts, tokens, numbers")

# %% [markdown]
# ## Whole texts, and words
#
# Did the writer like it? The last token of a review is asked. Which part of speech is it, or part
# of whose name? The last token of each word is asked. Either way there are N examples with a name,
# a label, and in each of the S states a feature: (S, N, D).


# %%
def reviews(examples):
    texts, liked = zip(*examples)
    ids, mask = pad([tokenizer.encode(text).ids for text in texts])
    return texts, liked, mp.pool_states(mp.every_layer(model, ids, mask=mask), mask, "last")


def words(examples):
    codes = [tokenizer.encode(text) for text, _ in examples]
    ids, mask = pad([code.ids for code in codes])
    each = [
        (text[start:end].lower(), tag, row, code.char_to_token(end - 1))
        for row, (code, (text, spans)) in enumerate(zip(codes, examples))
        for start, end, tag in spans
    ]
    word, tag, row, column = zip(*each)
    return word, tag, mp.every_layer(model, ids, mask=mask)[:, row, column]


# %% [markdown]
# ## A probe of each layer, and its control
#
# p(y|h) = softmax(W h): one matrix, and no more. A stronger probe would do the work that it is to
# find done. Those of all layers are one bank, and are trained at once.
#
# Could they learn anything, whatever the states are? Hewitt & Liang 2019 ask them for labels thrown
# by a coin: one for each word, and here one for each text. What a probe reaches there, it has by
# heart; what it reaches beyond that is its selectivity.


# %%
def accuracies(head, x, y):
    """{split: of each layer}, by probes that are trained on these labels"""
    probes = mp.train_probes(head, x["train"], y["train"])
    return {split: mp.accuracy_by_layer(head, probes, x[split], y[split]) for split in x}


def probed(title, features, splits, sizes):
    """{what is shown: of each layer}, and a table of it"""
    read = {split: features(splits[split][:size]) for split, size in sizes.items()}
    names, labels, x = ({split: part[i] for split, part in read.items()} for i in range(3))
    classes = sorted(set(labels["train"]))
    y = {split: [classes.index(label) for label in own] for split, own in labels.items()}
    coin = {split: mp.control_labels(own, len(classes)) for split, own in names.items()}
    head = mp.LayerHead(model, len(classes))
    true, thrown = accuracies(head, x, y), accuracies(head, x, coin)
    shown = {
        "accuracy": true["test"],
        "control": thrown["test"],
        "selectivity": true["test"] - thrown["test"],
        "by heart": thrown["train"],
        "other things": true["ood"],
    }
    print(f"{title:9}", *map("{:>12}".format, shown))
    for layer, row in zip(["embedding", *range(1, len(x["test"]))], zip(*shown.values())):
        print(f"{layer:<9}", *map("{:12.0%}".format, row))
    return shown


# %% [markdown]
# ## What does the writer think?
#
# The control is of new texts, which nobody can know; "by heart" is of those it was trained on. The
# "other things" are hotels and gadgets, and the probes were trained on films and restaurants.

# %%
review = probed("review", reviews, sentiment.splits(), {"train": 800, "test": 400, "ood": 400})
assert review["accuracy"][0] < 0.57 and (review["accuracy"][1:] > 0.65).all()
assert abs(review["control"] - 0.5).max() < 0.1 < review["selectivity"][1:].min()
assert (review["other things"][1:] > 0.6).all()

# %% [markdown]
# Every review ends in a full stop, so the embedding of its last token knows nothing. From the first
# block on, the full stop has looked back at the words, and a straight line through its states tells
# what they say; also of hotels, although no probe was told about one.
#
# ## What is a word?
#
# Here new texts have old words, so what the coin says of them can be known, too. "Other things" are
# sentences of other forms, and names that no text had.

# %%
word = probed("word", words, tags.splits(), {"train": 500, "test": 250, "ood": 250})
assert word["accuracy"][0] < 0.92 and (word["accuracy"][1:] > 0.97).all()
assert (word["selectivity"][1:] > 1.5 * word["selectivity"][0]).all()
assert word["other things"][0] > word["other things"][1:].max()

# %% [markdown]
# A probe of embeddings, which know no neighbours, learns the words one by one: it is nearly as good
# at what the coin says of them. One block tells "the cost" from what they cost, and "her book" from
# "saw her". Its probe is no better at the coin, so it has not just learned more by heart: the
# selectivity doubles. But where the neighbours are others, the word alone is the better guide.
