# %% [markdown]
# # 4. Many users, one model
#
# If every user has an adaptation of their own, their requests should still share a batch. On this
# page each row of a batch is adapted differently and gets the logits it would get alone.

# %%
import numpy as np

import minipeft as mp
from minipeft.data.batches import pad

model, tokenizer = mp.load(), mp.load_tokenizer()
rng = np.random.default_rng(0)

# %% [markdown]
# ## A bank: one method, many users
#
# The parameters of LoRA are matrices. `stack` stacks those of all users along a new first axis, and
# `bank.of(rows)` selects a user for each row of a batch. x A B is then a batched matrix product;
# LoRA needs no code for it.

# %%
users = [mp.LoRA(rank=4).attach(model, rng) for _ in range(3)]
bank = mp.stack(users)
A, A_bank = (γ.at["blocks.0.attn.q"]["A"] for γ in (users[0], bank))
print(f"A of one user: {A.shape}, of the bank: {A_bank.shape}")

# %% [markdown]
# ## Training together
#
# Three users, three texts, one batch. The gradient of a row reaches the parameters of its own user
# only.

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

grads = mp.grad(model.loss(ids[:1], ids[:1], bank.of([0]), mask=mask[:1]), bank.parameters())
has_gradient = [any(g[user].any() for g in grads) for user in range(3)]
print("text 0 gives a gradient to user 0, 1, 2:", *has_gradient)
assert has_gradient == [True, False, False]

# %% [markdown]
# ## Serving together
#
# All rows have the same prompt; the user of the row decides the continuation.

# %%
rows = [2, 0, 0, 1]  # the user of each row
prompt = np.array([tokenizer.encode("My favourite place is").ids] * len(rows))
new = mp.generate(model, prompt, bank.of(rows), max_new_tokens=12)
for user, continuation in zip(rows, new):
    print(f"user {user}: My favourite place is{tokenizer.decode(continuation.tolist())}")

together = model(prompt, bank.of(rows)).data
for user, logits in zip(rows, together):
    assert np.allclose(logits, model(prompt[:1], bank.of([user])).data[0], atol=1e-3)

# %% [markdown]
# ## Different methods in one batch
#
# `Each` adapts row i of the batch by the i-th adaptation, whatever the methods are: a prompt in
# front of one row, a prefix in every layer of another, other weights for a third. `PLAIN` is no
# adaptation.

# %%
adaptations = {
    "LoRA": mp.LoRA().attach(model, rng),
    "prefix": mp.PrefixTuning(length=7).attach(model, rng),
    "none": mp.PLAIN,
    "prompt": mp.PromptTuning(length=3).attach(model, rng),
    "adapter": mp.Adapter().attach(model, rng),
}
ids, mask = pad([tokenizer.encode(text).ids for text in [*texts, *texts[:2]]])
mixed = model(ids, mp.Each([*adaptations.values()]), mask=mask).data
for i, (name, γ) in enumerate(adaptations.items()):
    alone = model(ids[[i]], γ, mask=mask[[i]]).data[0]
    difference = np.abs(mixed[i] - alone)[mask[i]].max()
    print(f"{name:8} logits in the batch and alone differ by {difference:.0e}")
    assert difference < 1e-3

# %% [markdown]
# ## Users are isolated from each other
#
# Rows are selected, not multiplied by a mask and added: 0 · NaN is NaN, so with masks one user's
# NaN would spread to all. Here a user whose training diverged gets NaN, and the other rows do not
# change at all.

# %%
for p in bank.parameters():
    p.data[2] = np.nan
after = model(prompt, bank.of(rows)).data
print("rows with NaN:", *np.isnan(after).all((1, 2)))
assert np.isnan(after[0]).all() and np.array_equal(after[1:], together[1:])
