# %% [markdown]
# # 4. Many users, one model
#
# A small adaptation for each user is worth little if each needs a batch of its own. Here every row
# of a batch is read through another one, and gets what it would get alone.

# %%
import numpy as np
from minipeft.data.files.batches import pad

import minipeft as mp

model, tokenizer = mp.load(), mp.load_tokenizer()
rng = np.random.default_rng(0)

# %% [markdown]
# ## A bank: one method, many users
#
# Every parameter of LoRA is a matrix. `stack` lays those of all users on top of each other, a third
# axis in front, and `of(rows)` picks one for each row. x A B is then a product of batches, as it
# stands: LoRA has no line of code for it.

# %%
users = [mp.LoRA(rank=4).attach(model, rng) for _ in range(3)]
bank = mp.stack(users)
(A, _), (A_bank, _) = (γ.at["blocks.0.attn.q"] for γ in (users[0], bank))
print(f"A of a user {A.shape}, of the bank {A_bank.shape}")

# %% [markdown]
# ## They train together
#
# Three users, three texts, one batch. What the loss of a row asks for reaches the matrices of its
# own user, and of no other.

# %%
texts = [
    "My favourite place is the harbour, and I go there by bicycle.",
    "My favourite place is an old library in the north.",
    "My favourite place is a kitchen on a Sunday.",
]
ids, mask = pad([tokenizer.encode(text).ids for text in texts])
optimizer = mp.AdamW(bank.parameters(), lr=2e-2)
for _ in range(60):
    model.loss(ids, ids, bank.of([0, 1, 2]), mask=mask).backward()
    optimizer.step()

own = mp.grad(model.loss(ids[:1], ids[:1], bank.of([0]), mask=mask[:1]), bank.parameters())
moved = [any(g[user].any() for g in own) for user in range(3)]
print("text 0 has a gradient for user 0, 1, 2:", *moved)
assert moved == [True, False, False]

# %% [markdown]
# ## And are served together
#
# The same beginning for all: who asks decides how it goes on.

# %%
who = [2, 0, 0, 1]
begin = np.array([tokenizer.encode("My favourite place is").ids] * len(who))
new = mp.generate(model, begin, bank.of(who), max_new_tokens=12)
for user, row in zip(who, new):
    print(f"user {user}: My favourite place is{tokenizer.decode(row.tolist())}")

together = model(begin, bank.of(who)).data
for user, row in zip(who, together):
    assert np.allclose(row, model(begin[:1], bank.of([user])).data[0], atol=1e-3)

# %% [markdown]
# ## Any methods, in one batch
#
# `Each` reads row i through methods[i], whatever they are: a prompt in front of one row, a prefix
# in every layer of another, other weights for a third. PLAIN is the model as it is.

# %%
methods = [
    mp.LoRA().attach(model, rng),
    mp.PrefixTuning(length=7).attach(model, rng),
    mp.PLAIN,
    mp.PromptTuning(length=3).attach(model, rng),
    mp.Adapter().attach(model, rng),
]
ids, mask = pad([tokenizer.encode(text).ids for text in [*texts, *texts[:2]]])
mixed = model(ids, mp.Each(methods), mask=mask).data
for i, γ in enumerate(methods):
    alone = model(ids[[i]], γ, mask=mask[[i]]).data[0]
    difference = np.abs(mixed[i] - alone)[mask[i]].max()
    print(f"{type(γ).__name__:12} mixed and alone differ by {difference:.0e}")
    assert difference < 1e-3

# %% [markdown]
# ## One user's accident stays one user's
#
# Had rows been added up under a mask, a NaN anywhere would be a NaN everywhere: 0 · NaN is NaN.
# They are picked. A user whose training went wrong gets nonsense, and the others don't notice.

# %%
for p in bank.parameters():
    p.data[2] = np.nan
after = model(begin, bank.of(who)).data
print("rows that are not numbers any more:", *np.isnan(after).all((1, 2)))
assert np.isnan(after[0]).all() and np.array_equal(after[1:], together[1:])
