# %% [markdown]
# # 3. LoRA: attach, train, merge, save
#
# Hu et al. 2021: keep W₀ frozen and learn a low-rank change of it, the product of two thin
# matrices. This page follows one LoRA from its initial values to a file.

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
# ## At the start, LoRA changes nothing
#
# h = W₀ x + (α/r) B A x, A random, B = 0        eq. 3; here x A B, because our x are rows
#
# Since B = 0, the adapted model equals the base model, bit for bit. `attach` returns the
# adaptation: it holds A and B for the queries and values of every block. The model itself is not
# changed.

# %%
method = mp.LoRA(rank=4, alpha=8)
lora = method.attach(model, rng)
A, B = lora.at["blocks.0.attn.q"].values()
trained = sum(p.data.size for p in lora.parameters())
base_params = sum(p.data.size for p in model.parameters())
print(f"A {A.shape}, B {B.shape} at {len(lora.at)} layers: {trained:,} trained parameters")
print(f"the base model has {base_params:,}")
assert np.array_equal(model(ids, lora).data, model(ids).data)
assert trained == len(lora.at) * 2 * model.config.width * method.rank

# %% [markdown]
# ## The first step changes only B
#
# With g = dL/dh: dL/dB = (α/r) (x A)ᵀ g, and dL/dA = (α/r) xᵀ g Bᵀ. While B = 0, the second is 0.
# If A were 0 as well, both gradients would stay 0.

# %%
dA, dB = mp.grad(model.loss(ids, ids, lora), [A, B])
print(f"largest entry of dL/dA: {np.abs(dA).max()}, of dL/dB: {np.abs(dB).max():.4f}")
assert not dA.any() and dB.any()

# %% [markdown]
# ## Training
#
# We train on one sentence that the base model has never seen. Only A and B change; the arrays of
# the model are read-only.

# %%
before = [t.data.copy() for t in model.parameters()]
start = float(model.loss(ids, ids, lora))
optimizer = mp.AdamW(lora.parameters(), lr=2e-2)
for step in range(100):
    loss = model.loss(ids, ids, lora)
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step:3}: loss {float(loss):.3f}")
assert float(model.loss(ids, ids, lora)) < start / 2
assert all(np.array_equal(t.data, old) for t, old in zip(model.parameters(), before))
assert not model.blocks[0].attn.q.W.data.flags.writeable

prompt = np.array([tokenizer.encode("The lighthouse keeper").ids])
for name, γ in {"base": None, "LoRA": lora}.items():
    new = mp.generate(model, prompt, γ, max_new_tokens=ids.size - prompt.size)[0]
    print(f"{name}: The lighthouse keeper{tokenizer.decode(new.tolist())}")

# %% [markdown]
# ## Merging: no cost at inference
#
# W = W₀ + (α/r) A B is an ordinary weight matrix. `merge` returns a new model that has it; the
# given model is not changed. The change of W has rank 4: only four singular values are larger than
# rounding errors.

# %%
merged = mp.merge(model, lora)
adapted = model(ids, lora).data
print(f"logits merged and adapted differ by {np.abs(merged(ids).data - adapted).max():.0e}")
assert np.allclose(merged(ids).data, adapted, atol=1e-4 * np.abs(adapted).max())
change = merged.blocks[0].attn.q.W.data - model.blocks[0].attn.q.W.data
σ = np.linalg.svd(change, compute_uv=False)
print("singular values of the change:", " ".join(f"{s:.3f}" for s in σ[:7]), "…")
assert σ[3] > 1000 * σ[4]

# %% [markdown]
# ## Saving
#
# The folder holds A, B and the configuration, in the format of PEFT. A thousand users are a
# thousand such folders and one model.

# %%
with TemporaryDirectory() as folder:
    mp.save(lora, Path(folder, "keeper"))
    for path in sorted(Path(folder, "keeper").iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    loaded = mp.load_adaptation(Path(folder, "keeper"), model)
assert np.array_equal(model(ids, loaded).data, adapted)
