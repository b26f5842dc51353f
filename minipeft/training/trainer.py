"""One loop that trains any adaptation of any model that has a `loss`."""

import json
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ..autograd.backend import on_host
from ..autograd.nn import size
from ..storage.json import CheckpointError
from . import checkpoint
from .interrupt import interruptible
from .optim import clip, measured
from .parallel import Pool, gradients, shard_rows


class NonFinite(ArithmeticError):
    """A loss or a gradient is NaN or infinite.  The parameters are as they were before the step."""


@dataclass
class Best:
    """The lowest number that dev evaluation gave: after step t, with these arrays as parameters."""

    value: float = float("inf")
    t: int = 0
    since: int = 0  # evaluations after it
    arrays: list = field(default_factory=list)


class Trainer:
    """`step` trains γ on one batch, `fit` on many.  The same seed gives the same bits.

    Also with another number of `workers`: threads, by default one a core.
    slices: a batch is cut into at least so many parts, of which no more are computed, and take
    memory, at a time than there are workers.  Their gradients are summed.
    """

    def __init__(
        self, model, adaptation, optimizer, schedule=None, clip=1.0, seed=0, workers=None, slices=1
    ):
        if list(map(id, optimizer.parameters)) != list(map(id, adaptation.parameters())):
            raise ValueError("the optimizer holds others: make it of adapt.parameters(), last")
        if slices < 1:
            raise ValueError(f"slices={slices}: a batch has at least one")
        self.model, self.adaptation, self.optimizer = model, adaptation, optimizer
        self.schedule, self.clip, self.seed = schedule or (lambda t: 1.0), clip, seed
        self.pool, self.slices = Pool(workers), slices
        self.weights = (
            size(model) if on_host(model.reference_array) else 0
        )  # a device takes a batch whole
        self.t, self.seen, self.best = 0, 0, Best()  # seen: a checksum of all batches
        self.logged, self.saved = None, None  # bytes of the log; the folder and step of a save

    def rate(self, t):
        return float(self.optimizer.lr * self.schedule(t))

    def step(self, ids, labels, mask=None, token_types=None):
        """One step of the optimizer; the loss before it.  Arguments as of model.loss.

        NonFinite, and nothing changed, if the loss or a gradient is not finite.
        """
        ids, labels = np.asarray(ids), np.asarray(labels)
        more = {"mask": mask, "token_types": token_types}
        more = {name: np.asarray(x) for name, x in more.items() if x is not None}
        if len(ids) != len(labels) or any(x.shape != ids.shape[:2] for x in more.values()):
            shapes = f"ids {ids.shape}, labels {labels.shape}, mask {np.shape(mask)}"
            raise ValueError(f"these are of no one batch: {shapes}")
        targets = self.model.targets(labels, mask)
        count = max(1, (targets >= 0).sum())
        shards = shard_rows(ids.shape, self.weights, self.slices)

        def loss(rows, adaptation, s):
            rng = np.random.default_rng([self.seed, self.t, s])
            own = {name: x[rows] for name, x in more.items()}
            return self.model.loss_at(
                ids[rows], targets[rows], adaptation, rng=rng, count=count, **own
            )

        with self.pool.alone():
            value, grads = gradients(loss, self.adaptation, shards, self.pool)
        value, self.norm = measured(value, grads)
        clipped = clip(grads, self.clip, self.norm)
        if not np.isfinite(value + self.norm):
            raise self.not_finite(value, grads)
        self.optimizer.step(clipped, self.rate(self.t))
        self.seen = checkpoint.checksum((ids, labels, mask, token_types), self.seen)
        self.t += 1
        return value

    def not_finite(self, value, grads):
        good = {p: np.isfinite(g).all() for p, g in zip(self.adaptation.parameters(), grads)}
        wrong = [name for name, p in self.adaptation.named_parameters() if not good[p]]
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
        *,
        evaluate=None,
        every=100,
        patience=0,
        folder=None,
        save_every=100,
    ):
        """Train on `batches`, (ids, labels, mask[, types]) each, until step `steps`; the losses.

        Step t reads the t-th of them: give them from the first on, also to go on with a training.
        log: a file to which every step adds a line of JSON.
        evaluate: called every `every` steps, for a number to lower.  At the end γ is as it was
        when that was lowest, and the end is early after `patience` (if any) without a lower one.
        folder: where the training is saved at once, every `save_every` steps and at the end.
        SIGINT and SIGTERM then finish the step, save, and raise Interrupted; `resume` goes on,
        from the last step, also after the end.
        """
        if evaluate and not 1 <= every <= steps or patience and not evaluate or save_every < 1:
            raise ValueError(
                f"in {steps} steps, every={every} and save_every={save_every} must be at least 1, "
                "and every at most the steps; patience needs evaluate"
            )
        batches, keep, losses = self.rest(batches), self.keeper(folder), []
        with (
            interruptible(folder) if folder else nullcontext() as interrupted,
            self.lines(log) as write,
            Progress(transient=True, disable=not progress, console=Console(stderr=True)) as bar,
        ):
            keep()
            task = bar.add_task("training", total=steps, completed=self.t)
            for batch in islice(batches, max(0, steps - self.t)):
                if patience and self.best.since >= patience:
                    break
                loss = self.step(*batch)
                losses.append(loss)
                bar.update(task, completed=self.t, description=f"loss {loss:.3f}")
                line = {"step": self.t, "loss": loss, "lr": self.rate(self.t - 1)}
                if evaluate and self.t % every == 0:
                    line["dev"] = self.judge(float(evaluate()))
                write(line | {"norm": self.norm})
                if interrupted:
                    break
                if self.t % save_every == 0:
                    keep()
            keep()
        if evaluate:
            for p, x in zip(self.optimizer.parameters, self.best.arrays):
                p.data[...] = x
        return losses

    def judge(self, value):
        """Keep the parameters if this is the lowest number so far; the number."""
        if -np.inf < value < self.best.value:
            arrays = [p.data.copy() for p in self.optimizer.parameters]
            self.best = Best(value, self.t, arrays=arrays)
        else:
            self.best.since += 1
        return value

    def rest(self, batches):
        """These batches but for the first t, which must be those of the steps so far."""
        batches, seen = iter(batches), 0
        for batch in islice(batches, self.t):
            seen = checkpoint.checksum(batch, seen)
        if seen != self.seen:
            raise ValueError(
                f"the first {self.t} of these batches are not those of the steps so far: "
                "give all again, from the first on and in the same order"
            )
        return batches

    @contextmanager
    def lines(self, log):
        """Yield what adds a line to a log, from which those after the save we resumed go."""
        if log is None:
            yield lambda line: None
            return
        start = time.perf_counter()
        with Path(log).open("ab") as file:
            if self.logged is not None:
                file.truncate(min(self.logged, file.tell()))
            self.logged = file.seek(0, 2)

            def write(line):
                line["seconds"] = time.perf_counter() - start
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                self.logged = file.tell()

            yield write
        self.logged = None

    # -- on disk

    def save(self, folder):
        """Write all that `resume` needs.  Whatever goes wrong, an earlier save stays whole."""
        checkpoint.save(self, folder)
        self.saved = Path(folder).resolve(), self.t

    def resume(self, folder):
        """Go to where the training in the folder was saved; this one is made as that was.

        CheckpointError, and nothing changed, for what is broken or of another training.
        """
        checkpoint.load(self, folder)
        self.saved = Path(folder).resolve(), self.t

    def keeper(self, folder):
        """What saves in the folder, if one is given, unless this step is saved there."""
        if folder is None:
            return lambda: None
        folder = Path(folder).resolve()
        if (folder / checkpoint.FILE).exists() and (self.saved is None or self.saved[0] != folder):
            raise CheckpointError(
                f"{folder} has a training already: trainer.resume({str(folder)!r}) goes on with "
                "it, or name another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)  # the log may be to go there, too
        return lambda: None if self.saved == (folder, self.t) else self.save(folder)

    @cached_property
    def weighed(self):
        """A checksum of the model, which stays as it is."""
        return checkpoint.checksum(t.data for t in self.model.parameters())
