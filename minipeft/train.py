"""One loop that trains any adaptation of any model that has a `loss`."""

import json
import signal
import threading
import time
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from . import checkpoint
from .backend import on_host
from .hf.folders import replace_file
from .optim import clip, measured
from .parallel import Pool, cut, gradients


class NonFinite(ArithmeticError):
    """A loss or a gradient is NaN or infinite.  The parameters are as they were before the step."""


class Trainer:
    """`step` trains γ on one batch, `fit` on many.  The same seed gives the same bits.

    Also with another number of `workers`: threads, by default one a core.  With `slices` of a batch
    the gradient is gathered from at least so many parts, of which each worker holds one.
    """

    def __init__(
        self, model, adapt, optimizer, schedule=None, clip=1.0, seed=0, workers=None, slices=1
    ):
        if list(map(id, optimizer.parameters)) != list(map(id, adapt.parameters())):
            raise ValueError("the optimizer holds others: make it of adapt.parameters(), last")
        self.model, self.adapt, self.optimizer = model, adapt, optimizer
        self.schedule, self.clip, self.seed = schedule or (lambda t: 1.0), clip, seed
        self.pool, self.slices, self.t = Pool(workers), slices, 0
        self.best, self.since = None, 0  # (what `evaluate` gave, γ then), looks since then
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
        shards = cut(ids.shape, self.weights, self.slices)

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

    def fit(
        self,
        batches,
        steps,
        log=None,
        progress=True,
        evaluate=None,
        patience=None,
        every=100,
        path=None,
    ):
        """Train up to step `steps`, on `batches` from the t-th on; the losses.

        batches: (ids, labels, mask, types) each, or fewer of these
        log: a file to which every step adds a line of JSON
        evaluate: f(γ) to be lowered, as the loss on held-out texts, asked every so many steps and
            at the end; of all that were looked at γ is then the best
        patience: end after so many looks that found no better one
        path: a file for a checkpoint, saved every so many steps and at the end.  Then Ctrl-C and
            SIGTERM finish the step, save, and raise Interrupted.  A Trainer made in the same way
            goes on from there: `trainer.resume(path)`, then the same `fit`; with the same bits.
        """
        if path and self.t == 0 and Path(path).exists():
            raise checkpoint.CheckpointError(
                f"{path} has a training already: trainer.resume({str(path)!r}), or name another"
            )
        losses, at_end = [], lambda: self.t == steps or self.done(patience)
        bar = Progress(transient=True, disable=not progress, console=Console(stderr=True))
        with bar, journal(log, self.t) as note, heeding(path) as signals:
            task = bar.add_task("training", total=steps, completed=self.t)
            for batch in islice(batches, self.t, steps):
                if self.done(patience):
                    break
                rate = self.optimizer.lr * self.schedule(self.t)
                losses.append(self.step(*batch))
                bar.update(task, advance=1, description=f"loss {losses[-1]:.3f}")
                line = {"step": self.t, "loss": losses[-1], "lr": rate, "norm": self.norm}
                if evaluate and (self.t % every == 0 or self.t == steps):
                    line |= {"dev": self.look(evaluate)}
                note(line)
                if path and (self.t % every == 0 or signals or at_end()):
                    checkpoint.save(self, path)
                if signals and not at_end():
                    raise Interrupted(self.t, signals[0], path)
        if self.best:
            for p, x in zip(self.adapt.parameters(), self.best[1], strict=True):
                p.data = x.copy()
        return losses

    def resume(self, path):
        """Go on from a checkpoint that `fit` saved."""
        checkpoint.restore(self, path)

    def look(self, evaluate):
        """What `evaluate` gives, kept with γ if it is the least so far."""
        value = float(evaluate(self.adapt))
        if self.best is None or value < self.best[0]:
            self.best, self.since = (value, [p.data.copy() for p in self.adapt.parameters()]), 0
        else:
            self.since += 1
        return value

    def done(self, patience):
        return patience is not None and self.since >= patience


class Interrupted(Exception):
    """A signal came, and the training is saved."""

    def __init__(self, step, signal, path):
        super().__init__(f"stopped after step {step}, which is saved in {path}")
        self.signal = signal


@contextmanager
def heeding(path):
    """The list of signals that came: a first one is only noted, a second Ctrl-C ends at once."""
    came = []
    if path is None or threading.current_thread() is not threading.main_thread():
        yield came
        return

    def note(number, frame):
        if came:
            raise KeyboardInterrupt
        came.append(number)

    heeded = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) != signal.SIG_IGN]
    before = {s: signal.signal(s, note) for s in heeded}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def journal(path, t):
    """note(line) adds a line of JSON to the file, behind those of the first t steps."""
    if path is None:
        yield lambda line: None
        return
    path, start = Path(path), time.perf_counter()
    lines = path.read_bytes().splitlines(keepends=True)[:t] if path.exists() else []
    replace_file(path, b"".join(lines))
    with path.open("a") as file:

        def note(line):
            file.write(json.dumps(line | {"seconds": time.perf_counter() - start}) + "\n")
            file.flush()

        yield note
