# %% [markdown]
# # 9. To each their own
#
# Page 4 shows how many users share a batch. Here is what that is worth: a hundred people, with
# tastes of their own, and three ways to go on writing for them.

# %%
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from minipeft.data.files.batches import pad
from minipeft.tasks.base.builtin import built_in

import minipeft as mp
from minipeft.world import style

model, tokenizer = mp.load(), mp.load_tokenizer()
task, rng = built_in("style", model, tokenizer), np.random.default_rng(0)

# %% [markdown]
# ## A hundred users
#
# They are told of the same thing, and each goes on as they would. The base has read letters of
# others and none of theirs; nothing in a text tells who wrote it.

# %%
given = "The soup was not hot, and"
for user in range(3):
    print(f"user {user}: {given}{style.answer(style.THE_USERS[user], given)}")

wanted = [style.answer(user, given) for user in style.THE_USERS]
examples = len(task.examples["train"]) // len(wanted)
print(f"{len(wanted)} users, {len(set(wanted))} ways to go on, {examples} examples each")

# %% [markdown]
# ## One for all, or one each
#
# Both are LoRA of rank 4, and read the same batches, with one example of every user. The bank
# trains a hundred as one adaptation, at one rate.


# %%
def train(γ, batches, steps=60, lr=1e-2):
    """The seconds it took."""
    start, rates = time.perf_counter(), mp.schedule("linear", steps, warmup=6)
    trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters(), lr), rates)
    trainer.fit(batches, steps, progress=False)
    return time.perf_counter() - start


def lora():
    return mp.LoRA(rank=4, alpha=8).attach(model, rng)


ways, took = {"none": mp.PLAIN, "one for all": lora()}, {"none": 0}
ways["one each"] = bank = mp.stack([lora() for _ in style.THE_USERS])
for way in ("one for all", "one each"):
    _, batches = task.training(ways[way], len(wanted), np.random.default_rng(0))
    took[way] = train(ways[way], batches)

# %% [markdown]
# ## What each way reaches
#
# The share of answers that are the user's own, word for word. `test` is about things of which the
# user has written in training, `ood` about others, to the same taste. To say what most of the
# hundred would is the best for who does not know the user.

# %%
print(f"{'':15}{'trained':>10}{'per user':>10}{'seconds':>9}{'test':>7}{'ood':>7}")
scores = {}
for way, γ in ways.items():
    trained = sum(p.data.size for p in γ.parameters())
    share = trained / len(wanted)
    test, ood = (task.scores(γ, split)["accuracy"] for split in ("test", "ood"))
    print(f"{way:15}{trained:10,}{share:10,.0f}{took[way]:9.1f}{test:7.1%}{ood:7.1%}")
    scores[way] = np.array([test, ood])

blind = [
    np.mean([style.blind(given) == answer for given, (answer,) in task.splits[split]])
    for split in ("test", "ood")
]
print(f"{'(as most would)':44}{blind[0]:7.1%}{blind[1]:7.1%}")
assert (scores["one each"] > 2 * np.maximum(blind, scores["one for all"])).all()

# %% [markdown]
# ## A folder each
#
# A user is one slice of the bank. Saved, it is a LoRA like any other, and PEFT reads it.

# %%
with TemporaryDirectory() as place:
    for user in range(len(wanted)):
        mp.save(bank.user(user), Path(place, f"{user:03}"))
    sizes = [sum(f.stat().st_size for f in folder.iterdir()) for folder in Path(place).iterdir()]
    loaded = {user: mp.load_adaptation(Path(place, f"{user:03}"), model) for user in (0, 1, 41)}
base = sum(t.data.nbytes for t in model.parameters())
print(f"{len(sizes)} folders of {max(sizes):,} bytes at most; the base has {base:,}")
assert len(sizes) == 100 and max(sizes) < base / 50

# %% [markdown]
# ## Served in one batch
#
# User 2 has a prefix instead, trained on all that they wrote. Users 0, 1 and 41 come from their
# folders, and one who is new has nothing yet. What is written for each is what is written alone.
# How often that is right, the table says.

# %%
prefix = mp.PrefixTuning(length=5).attach(model, rng)
whole = task.batch(task.examples["train"][2 :: len(wanted)], prefix)
print(f"a prefix for user 2: {train(prefix, [whole] * 60):.1f} s")
serve = {"user 0": loaded[0], "user 1": loaded[1], "user 2": prefix, "new": None}
serve |= {"user 41": loaded[41], "user 0 again": loaded[0]}
begins = [given, "The cake was bitter, and", given, given, "Zoe thought that the bath was hot, and"]
begins.append("The street was anything but quiet, and")
ids, mask = pad([tokenizer.encode(begin).ids for begin in begins])


def write(ids, γ, mask=None):
    new = mp.generate(model, ids, γ, mask=mask, max_new_tokens=16, eos=task.end)
    return [tokenizer.decode(row.tolist()) for row in new]


together = write(ids, mp.Each([*serve.values()]), mask=mask)
for i, (who, γ) in enumerate(serve.items()):
    print(f"{who}: {begins[i]}{together[i]}")
    assert [together[i]] == write(ids[i : i + 1, mask[i]], γ)
print(f"all {len(together)} are, word for word, what is written alone")
