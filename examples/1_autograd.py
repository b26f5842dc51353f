# %% [markdown]
# # 1. Autograd: how a loss reaches a parameter
#
# Training asks one thing: if this number grew a little, what would the loss do? The answer is a
# derivative, and `minipeft/tensor.py` finds it in 150 lines. Here is all that it does.

# %%
import tracemalloc

import numpy as np

import minipeft as mp
from minipeft.autograd import ops
from minipeft.autograd.tensor import op

rng = np.random.default_rng(0)

# %% [markdown]
# ## A tensor is an array that knows how it was made
#
# For L = Σ u² with u = x W, the chain rule says dL/dW = xᵀ (2 u). `grad` says the same.

# %%
x = mp.Tensor(rng.normal(size=(3, 4)))
W = mp.Tensor(rng.normal(size=(4, 2)), requires_grad=True)
u = x @ W
(dW,) = mp.grad(ops.sum(u * u), [W])
by_hand = x.data.T @ (2 * u.data)
print(f"dL/dW by grad and by hand differ by {np.abs(dW - by_hand).max():.0e}")
assert np.allclose(dW, by_hand, rtol=1e-12)

# %% [markdown]
# ## An operation is a value, and one line for each argument
#
# `grad` walks back from L. At each operation y = f(a, b) it knows g = dL/dy, and asks for dL/da and
# dL/db: a vector-Jacobian product (vjp) each. To write an operation is to write those lines beside
# the value. This one is not in the library:
#
# y = x σ(β x), dy/dx = σ + β x σ (1 - σ), dy/dβ = x² σ (1 - σ)        Ramachandran et al. 2017


# %%
@op
def swish(x, β):
    σ = 1 / (1 + np.exp(-β * x))
    return x * σ, lambda g: g * (σ + β * x * σ * (1 - σ)), lambda g: g * x * x * σ * (1 - σ)


points = rng.normal(size=5)
β = mp.Tensor(np.array([1.5]), requires_grad=True)
(dβ,) = mp.grad(swish(points, β), [β])
print(f"one β serves five points, so its gradient is a sum over them: {dβ}")
assert dβ.shape == β.shape

# %% [markdown]
# ## Is the derivative right? Move a little and look
#
# (L(β + h) - L(β - h)) / 2h comes within a few digits of dL/dβ. A vjp with a slip in it does not.


# %%
def differences(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


measured = differences(lambda β: swish(points, β).data.sum(), β.data)
print(f"dL/dβ measured {measured:.8f}, by its vjp {dβ[0]:.8f}")
assert np.allclose(measured, dβ, rtol=1e-8)

square = op(lambda x: (x * x, lambda g: g * x))  # forgot the 2
(slip,) = mp.grad(square(β), [β])
measured = differences(lambda β: square(β).data.item(), β.data)
print(f"dβ²/dβ measured {measured:.8f}, by a vjp with a slip {slip[0]:.8f}")
assert not np.allclose(measured, slip, rtol=0.1)

# %% [markdown]
# ## Training is a walk against the gradient
#
# Someone made y of x with a β of 3. We find it again: β ← β - lr · dL/dβ.

# %%
xs = np.linspace(-3, 3, 50)
ys = swish(xs, np.array([3.0])).data
for _ in range(500):
    error = swish(xs, β) - ys
    (dβ,) = mp.grad(ops.sum(error * error), [β])
    β.data = β.data - 0.3 * dβ
print(f"β = {β.data[0]:.4f}")
assert np.allclose(β.data, 3, atol=1e-3)

# %% [markdown]
# ## A frozen weight records nothing
#
# The vjp of W in x W is xᵀ g: it must keep x until the way back. If no one wants W's gradient, that
# line is thrown away at once, and x with it. There is no switch for this: a product of two frozen
# tensors has no way back at all. So the frozen model keeps nothing; LoRA what its own matrices
# read, and what the way back to them passes through; full fine-tuning what every weight read.

# %%
assert (x @ mp.Tensor(W.data)).node is None and (x @ W).node is not None

model = mp.load()
ids = rng.integers(0, model.config.vocabulary, (8, 128))
kept = {}
for name, γ in {
    "the frozen model": mp.PLAIN,
    "LoRA": mp.LoRA().attach(model, rng),
    "full fine-tuning": mp.FullFineTuning().attach(model),
}.items():
    tracemalloc.start()
    loss = model.loss(ids, ids, γ)
    kept[name], _ = tracemalloc.get_traced_memory()  # what waits for the way back
    tracemalloc.stop()
    print(f"{name:17} keeps {kept[name] / 1e6:6.1f} MB")
plain, lora, full = kept.values()
assert 10 * plain < lora < full
