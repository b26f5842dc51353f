# %% [markdown]
# # 8. Your own data
#
# A file of labelled texts and a file of plain text, trained on, scored, saved, loaded and used. Put
# your own files in place of the two that are made here.

# %%
import csv
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from minipeft.data.files.batches import pad, passages
from minipeft.data.files.files import read_examples, read_text

import minipeft as mp

place = TemporaryDirectory()
folder = Path(place.name)
model, tokenizer = mp.load(), mp.load_tokenizer()
rng = np.random.default_rng(0)

# %% [markdown]
# ## A file of labelled texts
#
# CSV, TSV or JSONL, a column of texts and one of labels: here letters to a library, 72 of them. The
# base has never read one, so bring more of your own, and a base that has read more.

# %%
who = ["Hello, I", "Dear library, my son", "Good morning, my neighbour", "My class"]
did = {
    "loan": ["would like to borrow", "wants to take home", "is looking for"],
    "return": ["has brought back", "wishes to return", "has finished with"],
}
what = ["the blue atlas.", "a book about whales.", "two films."]
with (folder / "letters.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["text", "label"])
    for label, verbs in did.items():
        table.writerows((" ".join(parts), label) for parts in product(who, verbs, what))

examples = read_examples(folder / "letters.csv")
examples = [examples[i] for i in rng.permutation(len(examples))]
names = sorted({label for _, label in examples})
ids, mask = pad([tokenizer.encode(text).ids for text, _ in examples])
labels = np.array([names.index(label) for _, label in examples])
train, test = np.split(np.arange(len(examples)), [int(0.7 * len(examples))])
print(f"{len(train)} to train on, {len(test)} to test on, such as {examples[0]}")

# %% [markdown]
# ## A classifier over the frozen base
#
# `Classifier` reads the state of the last token with a head of its own, which a `Probe` trains. The
# LoRA beside it changes what the base makes of the text on the way there.

# %%
classifier = mp.Classifier(model, len(names))
adaptation = mp.Chain(mp.LoRA(rank=8), mp.Probe()).attach(classifier, rng)
rates = mp.schedule("linear", steps=60, warmup=6)
trainer = mp.Trainer(classifier, adaptation, mp.AdamW(adaptation.parameters(), lr=5e-3), rates)
for _ in range(60):
    rows = rng.choice(train, 16)
    trainer.step(ids[rows], labels[rows], mask[rows])


def guess(texts, adaptation):
    ids, mask = pad([tokenizer.encode(text).ids for text in texts])
    return [names[c] for c in classifier(ids, adaptation, mask=mask).data.argmax(1)]


said = guess([examples[i][0] for i in test], adaptation)
accuracy = np.mean([label == examples[i][1] for label, i in zip(said, test)])
print(f"{accuracy:.0%} of the test letters are right")
assert accuracy > 0.8

# %% [markdown]
# ## Saved, loaded, used
#
# The folder holds the LoRA and the head; the base stays where it is. From the command line the same
# for every method, with a table of what each reaches and costs:
#
#     minipeft compare --data letters.csv --out letters

# %%
mp.save(adaptation, folder / "letters")
again = mp.load_adaptation(folder / "letters", classifier)
new = ["My sister would like to borrow a film.", "My sister has brought back a film."]
print(dict(zip(new, guess(new, again))))
assert guess(new, again) == guess(new, adaptation)

# %% [markdown]
# ## A file of text
#
# To write like a text, a language model needs no labels: it guesses each next token of passages of
# it. Here it is a harbour's log. Its last fifth is kept to test on. An `Adapter` in every block
# learns it.

# %%
days, winds, boats = "Monday Tuesday Friday", "north south west", "two three seven"
pick = lambda words: rng.choice(words.split())
days = [
    f"{pick(days)}. The wind was from the {pick(winds)}, and {pick(boats)} boats were out.\n"
    for _ in range(200)
]
(folder / "log.txt").write_text("".join(days), encoding="utf-8")
text = np.array(tokenizer.encode(read_text(folder / "log.txt")).ids)
own, held = np.split(text, [int(0.8 * len(text))])
held = held[: len(held) // 32 * 32].reshape(-1, 32)

adapter = mp.Adapter().attach(model, rng)
before = float(model.loss(held, held))
trainer = mp.Trainer(model, adapter, mp.AdamW(adapter.parameters(), lr=1e-2))
trainer.fit(passages(own, 16, 32, rng), steps=100, progress=False)
after = float(model.loss(held, held, adapter))
print(f"held-out loss a token: {before:.2f} with the base, {after:.2f} with the adapter")
assert after < before

# %% [markdown]
# From the command line:
#
#     minipeft train adapter --data log.txt --out log
#     minipeft generate --adaptation log --prompt "Friday"

# %%
mp.save(adapter, folder / "log")
adapter = mp.load_adaptation(folder / "log", model)
begin = np.array([tokenizer.encode("Friday").ids])
new = mp.generate(model, begin, adapter, max_new_tokens=40)[0]
print(tokenizer.decode([*begin[0], *new]))
place.cleanup()
