# %% [markdown]
# # 10. One prefix, several tasks
#
# P-tuning v2, Liu et al. 2021b: a prefix in every layer, and a head in place of words. Several
# tasks may share the prefix, each with a head of its own, before it is tuned for one of them.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from minipeft.tasks.base.builtin import built_in

import minipeft as mp

model, tokenizer = mp.load(), mp.load_tokenizer()
rng = np.random.default_rng(0)
tasks = {name: built_in(name, model, tokenizer) for name in ("sentiment", "tags")}

# %% [markdown]
# ## Shared and own
#
# The prefix stands in both chains: it is the same object, so it has one gradient, the sum over the
# tasks. A head is a layer of the task's network, and the `Probe` beside the prefix trains it.

# %%
prefix = mp.PTuningV2(length=8).attach(model, rng)
γ = {name: mp.Chain(prefix, mp.Probe().attach(task.network)) for name, task in tasks.items()}
parameters = list({id(p): p for own in γ.values() for p in own.parameters()}.values())
heads = sum(p.data.size for p in parameters) - sum(p.data.size for p in prefix.parameters())
print(f"{len(parameters)} tensors; the heads have {heads:,} numbers of their own")

# %% [markdown]
# ## Together
#
# A step reads a batch of each task, and asks for the gradients of all losses at once.

# %%
batches = {name: task.training(γ[name], 16, rng)[1] for name, task in tasks.items()}
optimizer, rate = mp.AdamW(parameters, lr=1e-2), mp.schedule("linear", 60, 6)


def losses():
    for name, task in tasks.items():
        ids, labels, mask, token_types = next(batches[name])
        yield task.network.loss(ids, labels, γ[name], mask=mask, rng=rng)  # rng: dropout


def accuracy(name):
    return tasks[name].scores(γ[name], "dev")["accuracy"]


for step in range(60):
    optimizer.step(mp.grad([*losses()], parameters), 1e-2 * rate(step))
together = {name: accuracy(name) for name in tasks}
for name, score in together.items():
    most = tasks[name].majority("dev")["accuracy"]
    print(f"{name}: {score:.1%} together; the commonest answer has {most:.1%}")
    assert score > most + 0.1

# %% [markdown]
# ## Then one alone
#
# The trainer moves the prefix and one head. The other head stays as it is; what it reads does not.

# %%
other = [p.data.copy() for p in γ["tags"].methods[1].parameters()]
own = γ["sentiment"]
trainer = mp.Trainer(tasks["sentiment"].network, own, mp.AdamW(own.parameters(), 5e-3))
trainer.fit(batches["sentiment"], 60, progress=False)
print(f"sentiment: {accuracy('sentiment'):.1%} after more of its own; tags: {accuracy('tags'):.1%}")
assert all(map(np.array_equal, other, [p.data for p in γ["tags"].methods[1].parameters()]))

# %% [markdown]
# ## What a task costs on disk
#
# A folder holds a prefix and a head, and is loaded beside the network of its task.

# %%
with TemporaryDirectory() as folder:
    mp.save(own, f"{folder}/sentiment")
    again = mp.load_adaptation(f"{folder}/sentiment", tasks["sentiment"].network)
    size = sum(file.stat().st_size for file in Path(folder, "sentiment").iterdir())
ids, _, mask, _ = next(batches["sentiment"])
z, other = (tasks["sentiment"].network(ids, one, mask=mask).data for one in (own, again))
print(f"{size:,} bytes; read back, the logits differ by {np.abs(z - other).max():.0e}")
assert np.array_equal(z, other)
