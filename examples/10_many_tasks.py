# %% [markdown]
# # 10. One prefix for several tasks
#
# P-tuning v2 (Liu et al. 2021b, arXiv 2110.07602): a prefix in every layer, and a classification
# head instead of label words. Several tasks can share the prefix, each with its own head, before it
# is tuned for one of them.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import minipeft as mp
from minipeft.tasks.builtin import built_in

model, tokenizer = mp.load(), mp.load_tokenizer()
rng = np.random.default_rng(0)
tasks = {name: built_in(name, model, tokenizer) for name in ("sentiment", "tags")}

# %% [markdown]
# ## Shared and separate parameters
#
# The prefix is in both chains. It is the same object, so its gradient is the sum over the tasks.
# Each task has a network with its own head, which the `Probe` in the chain trains.

# %%
prefix = mp.PTuningV2(length=8).attach(model, rng)
heads = {name: mp.Probe().attach(task.network) for name, task in tasks.items()}
γ = {name: mp.Chain(prefix, head) for name, head in heads.items()}
parameters = list({id(p): p for chain in γ.values() for p in chain.parameters()}.values())
in_prefix, in_heads = (
    sum(p.data.size for part in parts for p in part.parameters())
    for parts in ([prefix], heads.values())
)
print(f"{len(parameters)} tensors: {in_prefix:,} shared parameters, {in_heads:,} in the heads")

# %% [markdown]
# ## Training the tasks together
#
# Each step takes one batch of each task, and the gradient of the sum of the losses.

# %%
batches = {name: task.model_and_batches(γ[name], 16, rng)[1] for name, task in tasks.items()}
optimizer, schedule = mp.AdamW(parameters, lr=1e-2), mp.schedule("linear", 60, warmup=6)


def losses():
    for name, task in tasks.items():
        ids, labels, mask, _ = next(batches[name])
        yield task.network.loss(ids, labels, γ[name], mask=mask, rng=rng)  # rng: dropout


def accuracy(name):
    return tasks[name].evaluate(γ[name], "dev")["accuracy"]


for step in range(60):
    optimizer.step(mp.grad(sum(losses()), parameters), lr=optimizer.lr * schedule(step))
together = {name: accuracy(name) for name in tasks}
for name, task in tasks.items():
    majority = task.majority("dev")["accuracy"]
    print(f"{name}: accuracy {together[name]:.1%}; always the majority class {majority:.1%}")
    assert together[name] > majority + 0.1

# %% [markdown]
# ## Tuning for one task
#
# Now the prefix and one head are trained on one task. The other head stays as it is, but the prefix
# it depends on changes.

# %%
before = [p.data.copy() for p in heads["tags"].parameters()]
chain = γ["sentiment"]
optimizer, schedule = mp.AdamW(chain.parameters(), lr=1e-2), mp.schedule("linear", 120, warmup=10)
trainer = mp.Trainer(tasks["sentiment"].network, chain, optimizer, schedule=schedule)
trainer.fit(batches["sentiment"], 120, progress=False)
tuned = {name: accuracy(name) for name in tasks}
print(f"sentiment: accuracy {tuned['sentiment']:.1%}; tags: {tuned['tags']:.1%}")
assert tuned["sentiment"] > together["sentiment"]
assert all(map(np.array_equal, before, [p.data for p in heads["tags"].parameters()]))

# %% [markdown]
# ## A folder for each task
#
# A folder holds the prefix and the head of a task; it is loaded with the network of the task.

# %%
network = tasks["sentiment"].network
with TemporaryDirectory() as folder:
    mp.save(chain, f"{folder}/sentiment")
    loaded = mp.load_adaptation(f"{folder}/sentiment", network)
    size = sum(file.stat().st_size for file in Path(folder, "sentiment").iterdir())
ids, _, mask, _ = next(batches["sentiment"])
z, z_loaded = (network(ids, adaptation, mask=mask).data for adaptation in (chain, loaded))
print(f"{size:,} bytes; logits saved and loaded differ by {np.abs(z - z_loaded).max():.0e}")
assert np.array_equal(z, z_loaded)
