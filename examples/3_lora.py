# %% [markdown]
# # 3. LoRA, from start to file
#
# Hu et al. 2021: leave W₀ as it is and learn a change to it of low rank, a tall matrix times a wide
# one. We follow one LoRA through its life: attached, trained, merged, saved.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import minipeft as mp

model, tokenizer = mp.load(), mp.load_tokenizer()
rng = np.random.default_rng(0)
text = "The lighthouse keeper counts ships by night, and by day she mends the nets of the harbour."
ids = np.array([tokenizer.encode(text).ids])

# %% [markdown]
# ## Attached, it changes nothing
#
# h = W₀ x + (α/r) B A x, A random, B = 0        eq. 3; here x A B, for our x are rows
#
# B = 0, so the adapted model starts as the model, bit for bit. A and B lie beside the model, at the
# queries and values of every block.

# %%
lora = mp.LoRA(rank=4, alpha=8).attach(model, rng)
A, B = lora.at["blocks.0.attn.q"]
trained = sum(p.data.size for p in lora.parameters())
whole = sum(p.data.size for p in model.parameters())
print(f"A {A.shape}, B {B.shape} at {len(lora.at)} layers: {trained:,} of {whole:,} numbers")
assert np.array_equal(model(ids, lora).data, model(ids).data)
assert trained == len(lora.at) * 2 * model.config.width * lora.rank

# %% [markdown]
# ## The first step moves B alone
#
# With g = dL/dh: dL/dB = (α/r) (x A)ᵀ g, and dL/dA = (α/r) xᵀ g Bᵀ. While B = 0 the second is
# nothing. If A started at 0 as well, neither would ever move.

# %%
dA, dB = mp.grad(model.loss(ids, ids, lora), [A, B])
print(f"largest entry of dL/dA {np.abs(dA).max()}, of dL/dB {np.abs(dB).max():.4f}")
assert not dA.any() and dB.any()

# %% [markdown]
# ## Train it
#
# A sentence that the base has never read. Only A and B move: the arrays of the model can't even be
# written to.

# %%
before = [t.data.copy() for t in model.parameters()]
start = float(model.loss(ids, ids, lora))
optimizer = mp.AdamW(lora.parameters(), lr=2e-2)
for step in range(100):
    loss = model.loss(ids, ids, lora)
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step:3}: {float(loss):.3f} a token")
assert float(model.loss(ids, ids, lora)) < start / 2
assert all(np.array_equal(t.data, old) for t, old in zip(model.parameters(), before))
assert not model.blocks[0].attn.q.W.data.flags.writeable

begin = np.array([tokenizer.encode("The lighthouse keeper").ids])
for name, γ in {"without": None, "with it": lora}.items():
    new = mp.generate(model, begin, γ, max_new_tokens=ids.size - begin.size)[0]
    print(f"{name}: The lighthouse keeper{tokenizer.decode(new.tolist())}")

# %% [markdown]
# ## Merged, it costs nothing to use
#
# W = W₀ + (α/r) A B is a matrix like any other. `merge` makes a new model of it, the old one stays.
# What was added is of rank 4: only four of its singular values are more than rounding.

# %%
merged = mp.merge(model, lora)
live = model(ids, lora).data
print(f"merged and live differ by {np.abs(merged(ids).data - live).max():.0e}")
assert np.allclose(merged(ids).data, live, atol=1e-4 * np.abs(live).max())
added = merged.blocks[0].attn.q.W.data - model.blocks[0].attn.q.W.data
σ = np.linalg.svd(added, compute_uv=False)
print("singular values of what was added:", " ".join(f"{s:.3f}" for s in σ[:7]), "…")
assert σ[3] > 1000 * σ[4]

# %% [markdown]
# ## A file of its own
#
# The folder holds A and B, and what PEFT needs to know to load them. A thousand users are a
# thousand such folders, and one model.

# %%
with TemporaryDirectory() as place:
    mp.save(lora, Path(place, "keeper"))
    for path in sorted(Path(place, "keeper").iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    again = mp.load_adaptation(Path(place, "keeper"), model)
assert np.array_equal(model(ids, again).data, live)
