"""One loop that trains any adaptation of any model that has a `loss`."""

import json
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from rich.progress import Progress

from .backend import on_host
from .optim import clip, measured
from .parallel import Pool, cut, gradients


class NonFinite(ArithmeticError):
    """A loss or a gradient is NaN or infinite.  The parameters are as they were before the step."""


class Trainer:
    """`step` trains γ on one batch, `fit` on many.  The same seed gives the same bits.

    Also with another number of `workers`: threads, by default one a core.
    """

    def __init__(self, model, adapt, optimizer, schedule=None, clip=1.0, seed=0, workers=None):
        if list(map(id, optimizer.parameters)) != list(map(id, adapt.parameters())):
            raise ValueError("the optimizer holds others: make it of adapt.parameters(), last")
        self.model, self.adapt, self.optimizer = model, adapt, optimizer
        self.schedule, self.clip, self.seed = schedule or (lambda t: 1.0), clip, seed
        self.pool, self.t = Pool(workers), 0
        shared = model.parameters() if on_host(model.like) else []  # a device takes a batch whole
        self.weights = sum(t.data.size for t in shared)

    def step(self, ids, labels, mask=None, types=None):
        """One step of the optimizer; the loss before it.  Arguments as of model.loss.

        NonFinite, and nothing changed, if the loss or a gradient is not finite.
        """
        ids, labels = np.asarray(ids), np.asarray(labels)
        more = {"mask": mask, "types": types}
        more = {name: np.asarray(x) for name, x in more.items() if x is not None}
        if len(ids) != len(labels) or any(x.shape != ids.shape for x in more.values()):
            shapes = f"ids {ids.shape}, labels {labels.shape}, mask {np.shape(mask)}"
            raise ValueError(f"these are of no one batch: {shapes}")
        count = max(1, (self.model.targets(labels, mask) >= 0).sum())
        shards = cut(ids.shape, self.weights)

        def loss(rows, adapt, s):
            rng = np.random.default_rng([self.seed, self.t, s])
            own = {name: x[rows] for name, x in more.items()}
            return self.model.loss(ids[rows], labels[rows], adapt, rng=rng, count=count, **own)

        with self.pool.alone():
            value, grads = gradients(loss, self.adapt, shards, self.pool)
        value, self.norm = measured(value, grads)
        clipped = clip(grads, self.clip, self.norm)
        if not np.isfinite(value + self.norm):
            raise self.not_finite(value, grads)
        self.optimizer.step(clipped, self.optimizer.lr * self.schedule(self.t))
        self.t += 1
        return value

    def not_finite(self, value, grads):
        good = {p: np.isfinite(g).all() for p, g in zip(self.adapt.parameters(), grads)}
        wrong = [name for name, p in self.adapt.named_parameters() if not good[p]]
        return NonFinite(
            f"step {self.t}: the loss is {value}, the gradient is not finite at "
            f"{', '.join(wrong[:3]) or 'no parameter, but too long to scale'}; "
            "nothing was changed. Lower the rate, or look at the data"
        )

    def fit(self, batches, steps, log=None, progress=True):
        """Train on the first `steps` of `batches`, (ids, labels, mask) each; the losses.

        log: a file to which every step adds a line of JSON.
        """
        losses, start = [], time.perf_counter()
        bar = Progress(transient=True, disable=not progress)
        with bar, Path(log).open("a") if log else nullcontext() as file:
            task = bar.add_task("training", total=steps)
            for _, batch in zip(range(steps), batches):
                rate = self.optimizer.lr * self.schedule(self.t)
                losses.append(self.step(*batch))
                bar.update(task, advance=1, description=f"loss {losses[-1]:.3f}")
                if file:
                    line = {"step": self.t, "loss": losses[-1], "lr": rate, "norm": self.norm}
                    file.write(json.dumps(line | {"seconds": time.perf_counter() - start}) + "\n")
        return losses
