# %% [markdown]
# # 9. An adaptation for each user
#
# Page 4 shows how users share a batch. This page measures what an adaptation for each user is
# worth: a hundred users with different tastes, and three ways to continue a text for them.

# %%
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import minipeft as mp
from minipeft.data.batches import pad
from minipeft.tasks.builtin import built_in
from minipeft.world import style

model, tokenizer = mp.load(), mp.load_tokenizer()
task, rng = built_in("style", model, tokenizer), np.random.default_rng(0)

# %% [markdown]
# ## A hundred users
#
# All users get the same beginning and continue it by their own taste. The base model was trained on
# letters of other writers, and nothing in the text tells who writes.

# %%
text = "The soup was not hot, and"
users = style.users()
for i in range(3):
    print(f"user {i}: {text}{style.answer(users[i], text)}")

answers = {style.answer(user, text) for user in users}
examples = len(task.examples["train"]) // len(users)
print(f"{len(users)} users, {len(answers)} different continuations, {examples} examples each")

# %% [markdown]
# ## One adaptation for all, or one for each
#
# Both are LoRA of rank 4, trained on the same batches, which have one example of each user. The
# bank trains a hundred adaptations at once.


# %%
def train(γ, batches, steps=20, lr=2e-2):
    """Train γ and return the seconds it took."""
    start, schedule = time.perf_counter(), mp.schedule("linear", steps, warmup=2)
    trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters(), lr), schedule=schedule)
    trainer.fit(batches, steps, progress=False)
    return time.perf_counter() - start


def lora():
    return mp.LoRA(rank=4, alpha=8).attach(model, rng)


ways, seconds = {"none": mp.PLAIN, "one for all": lora()}, {"none": 0}
ways["one for each"] = bank = mp.stack([lora() for _ in users])
for way in ("one for all", "one for each"):
    _, batches = task.model_and_batches(ways[way], len(users), np.random.default_rng(0))
    seconds[way] = train(ways[way], batches)

# %% [markdown]
# ## Results
#
# Accuracy is the share of continuations that are the user's own, word for word. The `test` texts
# are about things the user has written about in training, the `OOD` texts about other things.
# Without knowing the user, the best answer is the continuation that most users would write.

# %%
print(f"{'adaptation':15}{'params':>10}{'per user':>10}{'seconds':>9}{'test':>7}{'OOD':>7}")
scores = {}
for way, γ in ways.items():
    params = sum(p.data.size for p in γ.parameters())
    per_user = params / len(users)
    test, ood = (task.evaluate(γ, split)["accuracy"] for split in ("test", "ood"))
    print(f"{way:15}{params:10,}{per_user:10,.0f}{seconds[way]:9.1f}{test:7.1%}{ood:7.1%}")
    scores[way] = np.array([test, ood])

most_common = [
    np.mean([style.most_common_answer(text) == answer for text, (answer,) in task.splits[split]])
    for split in ("test", "ood")
]
print(f"{'most common continuation':44}{most_common[0]:7.1%}{most_common[1]:7.1%}")
assert (scores["one for each"] > 2 * np.maximum(most_common, scores["one for all"])).all()

# %% [markdown]
# ## A folder for each user
#
# A user is a slice of the bank. Saved, it is an ordinary LoRA, which PEFT can load.

# %%
with TemporaryDirectory() as place:
    for i in range(len(users)):
        mp.save(bank.user(i), Path(place, f"{i:03}"))
    sizes = [sum(f.stat().st_size for f in folder.iterdir()) for folder in Path(place).iterdir()]
    loaded = {i: mp.load_adaptation(Path(place, f"{i:03}"), model) for i in (0, 1, 41)}
base_bytes = sum(t.data.nbytes for t in model.parameters())
print(f"{len(sizes)} folders of at most {max(sizes):,} bytes; the base model has {base_bytes:,}")
assert len(sizes) == 100 and max(sizes) < base_bytes / 50

# %% [markdown]
# ## Serving users with different methods in one batch
#
# User 2 has a prefix instead, trained on all of their examples. Users 0, 1 and 41 are loaded from
# their folders, and a new user has no adaptation yet. Each continuation is the one that the user
# gets alone. How often it is right is in the table above.

# %%
prefix = mp.PrefixTuning(length=5).attach(model, rng)
batch = task.collate(task.examples["train"][2 :: len(users)], prefix)
print(f"training a prefix for user 2: {train(prefix, [batch] * 20):.1f} s")
requests = {
    "user 0": (loaded[0], text),
    "user 1": (loaded[1], "The cake was bitter, and"),
    "user 2": (prefix, text),
    "new user": (None, text),
    "user 41": (loaded[41], "Zoe thought that the bath was hot, and"),
    "user 0 again": (loaded[0], "The street was anything but quiet, and"),
}
adaptations, texts = zip(*requests.values())
ids, mask = pad([tokenizer.encode(text).ids for text in texts])


def write(ids, γ, mask=None):
    new = mp.generate(model, ids, γ, mask=mask, max_new_tokens=16, eos=task.ends)
    return [tokenizer.decode(row.tolist()) for row in new]


together = write(ids, mp.Each(adaptations), mask=mask)
for i, who in enumerate(requests):
    print(f"{who}: {texts[i]}{together[i]}")
    assert [together[i]] == write(ids[i : i + 1, mask[i]], adaptations[i])
print(f"all {len(together)} continuations equal those that are generated alone")
