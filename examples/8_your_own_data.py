# %% [markdown]
# # 8. Your own data
#
# A file of labelled texts and a file of plain text: train on them, evaluate, save, load, and use
# the result. Replace the two files that are made here with your own.

# %%
import csv
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import minipeft as mp
from minipeft.data.batches import pad, passages
from minipeft.data.files import read_examples, read_text

temporary = TemporaryDirectory()
folder = Path(temporary.name)
model, tokenizer = mp.load(), mp.load_tokenizer()
rng = np.random.default_rng(0)

# %% [markdown]
# ## A file of labelled texts
#
# CSV, TSV or JSONL, with a column of texts and a column of labels. Here they are 72 letters to a
# library. The built-in base model knows only its own small world; for real data, bring more
# examples and a base model that was trained on more text.

# %%
who = ["Hello, I", "Dear library, my son", "Good morning, my neighbour", "My class"]
verbs = {
    "loan": ["would like to borrow", "wants to take home", "is looking for"],
    "return": ["has brought back", "wishes to return", "has finished with"],
}
what = ["the blue atlas.", "a book about whales.", "two films."]
with (folder / "letters.csv").open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["text", "label"])
    for label in verbs:
        writer.writerows((" ".join(parts), label) for parts in product(who, verbs[label], what))

examples = read_examples(folder / "letters.csv")
examples = [examples[i] for i in rng.permutation(len(examples))]
classes = sorted({label for _, label in examples})
ids, mask = pad([tokenizer.encode(text).ids for text, _ in examples])
labels = np.array([classes.index(label) for _, label in examples])
train, test = np.split(np.arange(len(examples)), [int(0.7 * len(examples))])
print(f"{len(train)} training and {len(test)} test examples, such as {examples[0]}")

# %% [markdown]
# ## A classifier on the frozen base model
#
# `Classifier` puts a head on the hidden state of the last token, and the method `Probe` trains this
# head. The LoRA in the same chain changes how the base model reads the text.

# %%
classifier = mp.Classifier(model, len(classes))
adaptation = mp.Chain(mp.LoRA(rank=8), mp.Probe()).attach(classifier, rng)
optimizer = mp.AdamW(adaptation.parameters(), lr=5e-3)
schedule = mp.schedule("linear", steps=40, warmup=4)
trainer = mp.Trainer(classifier, adaptation, optimizer, schedule=schedule)
for _ in range(40):
    rows = rng.choice(train, 16)
    trainer.step(ids[rows], labels[rows], mask=mask[rows])


def predict(texts, adaptation):
    ids, mask = pad([tokenizer.encode(text).ids for text in texts])
    return [classes[c] for c in classifier(ids, adaptation, mask=mask).data.argmax(1)]


predictions = predict([examples[i][0] for i in test], adaptation)
accuracy = np.mean([label == examples[i][1] for label, i in zip(predictions, test)])
print(f"test accuracy: {accuracy:.0%}")
assert accuracy > 0.8

# %% [markdown]
# ## Save, load, use
#
# The folder holds the LoRA and the head, but not the base model. This command does the same for
# every kind of method, and prints a table of scores and costs:
#
#     minipeft compare --data letters.csv --out letters

# %%
mp.save(adaptation, folder / "letters")
loaded = mp.load_adaptation(folder / "letters", classifier)
new = ["My sister would like to borrow a film.", "My sister has brought back a film."]
print(dict(zip(new, predict(new, loaded))))
assert predict(new, loaded) == predict(new, adaptation)

# %% [markdown]
# ## A file of plain text
#
# To write like a text, a language model needs no labels: it learns to predict the next token of
# random passages. Here the text is a harbour's log, whose last fifth is held out. An adapter in
# every block is trained.

# %%
days, winds, boats = "Monday Tuesday Friday", "north south west", "two three seven"
pick = lambda words: rng.choice(words.split())
lines = [
    f"{pick(days)}. The wind was from the {pick(winds)}, and {pick(boats)} boats were out.\n"
    for _ in range(200)
]
(folder / "log.txt").write_text("".join(lines), encoding="utf-8")
text = np.array(tokenizer.encode(read_text(folder / "log.txt")).ids)
train, held_out = np.split(text, [int(0.8 * len(text))])
held_out = held_out[: len(held_out) // 32 * 32].reshape(-1, 32)

adapter = mp.Adapter().attach(model, rng)
before = float(model.loss(held_out, held_out))
trainer = mp.Trainer(model, adapter, mp.AdamW(adapter.parameters(), lr=1e-2))
trainer.fit(passages(train, 16, 32, rng), steps=60, progress=False)
after = float(model.loss(held_out, held_out, adapter))
print(f"held-out loss per token: {before:.2f} of the base model, {after:.2f} with the adapter")
assert after < before

# %% [markdown]
# ## Save, load, generate
#
# The same with two commands:
#
#     minipeft train adapter --data log.txt --out log
#     minipeft generate --adaptation log --prompt "Friday"

# %%
mp.save(adapter, folder / "log")
adapter = mp.load_adaptation(folder / "log", model)
prompt = np.array([tokenizer.encode("Friday").ids])
new = mp.generate(model, prompt, adapter, max_new_tokens=40)[0]
print(tokenizer.decode([*prompt[0], *new]))
temporary.cleanup()
