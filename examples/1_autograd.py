# %% [markdown]
# # 1. Autograd: how the gradient reaches a parameter
#
# Training needs the derivative of the loss with respect to every parameter.
# `minipeft/autograd/tensor.py` computes it in under 200 lines; this page shows all that it does.

# %%
import tracemalloc

import numpy as np

import minipeft as mp
from minipeft.autograd import ops
from minipeft.autograd.tensor import op

rng = np.random.default_rng(0)

# %% [markdown]
# ## A tensor is an array that remembers how it was computed
#
# For L = Σ u² with u = x W, the chain rule gives dL/dW = xᵀ (2 u). `grad` computes the same.

# %%
x = mp.Tensor(rng.normal(size=(3, 4)))
W = mp.Tensor(rng.normal(size=(4, 2)), requires_grad=True)
u = x @ W
(dW,) = mp.grad(ops.sum(u * u), [W])
by_hand = x.data.T @ (2 * u.data)
print(f"dL/dW by grad and by hand differ by {np.abs(dW - by_hand).max():.0e}")
assert np.allclose(dW, by_hand, rtol=1e-12)

# %% [markdown]
# ## An operation returns its value, and one function for each argument
#
# `grad` walks back from L. At each operation y = f(a, b) it has g = dL/dy and needs dL/da and
# dL/db. The functions that compute them from g are vector-Jacobian products (VJPs). To define an
# operation, write its value and the VJP of each argument. This one is not in the library:
#
# y = x σ(β x), dy/dx = σ + β x σ (1 - σ), dy/dβ = x² σ (1 - σ)        Ramachandran et al. 2017


# %%
@op
def swish(x, β):
    σ = 1 / (1 + np.exp(-β * x))
    return x * σ, lambda g: g * (σ + β * x * σ * (1 - σ)), lambda g: g * x * x * σ * (1 - σ)


points = rng.normal(size=5)
β = mp.Tensor(np.array([1.5]), requires_grad=True)
(dβ,) = mp.grad(ops.sum(swish(points, β)), [β])
print(f"β is broadcast over five points, so its gradient is a sum over them: {dβ}")
assert dβ.shape == β.shape

# %% [markdown]
# ## Checking a derivative with finite differences
#
# (L(β + h) - L(β - h)) / 2h agrees with dL/dβ to several digits, unless the VJP is wrong.


# %%
def finite_difference(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


estimate = finite_difference(lambda β: swish(points, β).data.sum(), β.data)
print(f"dL/dβ  by finite differences {estimate:.8f}, by the VJP {dβ[0]:.8f}")
assert np.allclose(estimate, dβ, rtol=1e-8)

square = op(lambda x: (x * x, lambda g: g * x))  # wrong: the factor 2 is missing
(wrong,) = mp.grad(ops.sum(square(β)), [β])
estimate = finite_difference(lambda β: square(β).data.sum(), β.data)
print(f"dβ²/dβ by finite differences {estimate:.8f}, by a wrong VJP {wrong[0]:.8f}")
assert not np.allclose(estimate, wrong, rtol=0.1)

# %% [markdown]
# ## Gradient descent
#
# These values y were computed with β = 3. Gradient descent finds it: β ← β - lr · dL/dβ.

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
# ## Frozen weights cost no memory
#
# The VJP of W in x W is xᵀ g, so it must keep x until the backward pass. If W needs no gradient,
# the VJP is dropped at once, and x with it. There is no switch for this: a product of two frozen
# tensors simply has no backward pass. So a forward pass of the frozen model keeps nothing; LoRA
# keeps the inputs of its own matrices and what the gradient passes through on the way to them; full
# fine-tuning keeps the input of every weight.

# %%
assert (x @ mp.Tensor(W.data)).node is None and (x @ W).node is not None

model = mp.load()
ids = rng.integers(0, model.config.vocabulary, (8, 128))
kept = {}
for name, γ in {
    "frozen model": mp.PLAIN,
    "LoRA": mp.LoRA().attach(model, rng),
    "full fine-tuning": mp.FullFineTuning().attach(model),
}.items():
    tracemalloc.start()
    loss = model.loss(ids, ids, γ)
    kept[name], _ = tracemalloc.get_traced_memory()  # what the backward pass will need
    tracemalloc.stop()
    print(f"{name:17} keeps {kept[name] / 1e6:6.1f} MB for the backward pass")
frozen, lora, full = kept.values()
assert 10 * frozen < lora < full
