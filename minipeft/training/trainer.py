"""The training loop: for any adaptation of any model that has a `loss_at`."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import as_adaptation
from ..autograd.backend import on_host
from ..autograd.nn import size
from ..storage.json import CheckpointError
from . import checkpoint
from .interrupt import interruptible
from .optim import AdamW, clip_by_norm, loss_and_norm
from .parallel import Pool, gradients, shard_rows

BATCH = "ids", "labels", "mask", "token_types"  # what the tuples of `fit` hold, in this order


class NonFinite(ArithmeticError):
    """A loss or a gradient is NaN or infinite.  The parameters were not changed."""


@dataclass
class Best:
    """The state of training at the lowest value of `evaluate` so far."""

    value: float = float("inf")
    t: int = 0  # the step
    since: int = 0  # evaluations after it
    arrays: list = field(default_factory=list)  # parameters
    m: list = field(default_factory=list)  # moments of the optimizer
    v: list = field(default_factory=list)
    adam_t: int = 0


class Trainer:
    """Train γ: `step` on one batch, `fit` on many.  The same seed gives the same bits.

    schedule: f(t), a factor of the learning rate at step t.
    clip: the largest norm of the gradient.
    seed: of dropout.
    workers: number of threads, by default one for each core; it does not change the result.
    micro_batches: gradient accumulation: split each batch into at least this many micro-batches.
    """

    def __init__(
        self,
        model,
        adaptation: Adaptation,
        optimizer: AdamW,
        *,
        schedule: Callable[[int], float] | None = None,
        clip: float = 1.0,
        seed: int = 0,
        workers: int | None = None,
        micro_batches: int = 1,
    ):
        adaptation = as_adaptation(adaptation)
        if list(map(id, optimizer.parameters)) != list(map(id, adaptation.parameters())):
            raise ValueError(
                "the optimizer was built from other parameters: create it from "
                "adaptation.parameters() after attaching"
            )
        if micro_batches < 1:
            raise ValueError(f"micro_batches={micro_batches} must be at least 1")
        self.model, self.adaptation, self.optimizer = model, adaptation, optimizer
        self.schedule, self.clip, self.seed = schedule or (lambda t: 1.0), clip, seed
        self.pool, self.micro_batches = Pool(workers), micro_batches
        self.model_size = size(model) if on_host(model.reference_array) else 0  # no shards on a GPU
        self.t, self.best = 0, Best()
        self.batches_checksum = 0  # of all batches so far
        self.log_size = None  # bytes of the log at the last save
        self.saved: tuple[Path, int] | None = None  # folder and step of the last save
        self.resumed = False

    def lr(self, t: int) -> float:
        """Return the learning rate of step t."""
        return float(self.optimizer.lr * self.schedule(t))

    def step(self, ids, labels, *, mask=None, token_types=None) -> float:
        """Take one optimizer step and return the loss before it; for the arguments see `loss`.

        Raises NonFinite, and changes nothing, if the loss or a gradient is not finite.
        """
        ids, labels = np.asarray(ids), np.asarray(labels)
        options = {"mask": mask, "token_types": token_types}
        options = {name: np.asarray(x) for name, x in options.items() if x is not None}
        if len(ids) != len(labels) or any(x.shape != ids.shape[:2] for x in options.values()):
            raise ValueError(
                "ids, labels and mask differ in batch size or length: "
                f"{ids.shape}, {labels.shape}, {np.shape(mask)}"
            )
        targets = self.model.targets(labels, mask)
        count = max(1, (targets >= 0).sum())
        shards = shard_rows(ids.shape, self.model_size, self.micro_batches)

        def loss(rows, adaptation, s):
            rng = np.random.default_rng([self.seed, self.t, s])
            shard = {name: x[rows] for name, x in options.items()}
            return self.model.loss_at(
                ids[rows], targets[rows], adaptation, rng=rng, count=count, **shard
            )

        with self.pool.one_blas_thread():
            value, grads = gradients(loss, self.adaptation, shards, self.pool)
        value, self.norm = loss_and_norm(value, grads)
        if not np.isfinite(value + self.norm):
            raise self.not_finite(value, grads)
        self.optimizer.step(clip_by_norm(grads, self.clip, self.norm), self.lr(self.t))
        self.batches_checksum = checkpoint.checksum(
            (ids, labels, mask, token_types), self.batches_checksum
        )
        self.t += 1
        return value

    def not_finite(self, value, grads):
        """Return the error for a loss or gradients that are not finite."""
        finite = {p: np.isfinite(g).all() for p, g in zip(self.adaptation.parameters(), grads)}
        names = [name for name, p in self.adaptation.named_parameters() if not finite[p]]
        where = f"not finite at {', '.join(names[:3])}" if names else "too long to be scaled"
        return NonFinite(
            f"step {self.t}: the loss is {value}, and the gradient is {where}; nothing was "
            "changed. Lower the learning rate, or check the data"
        )

    def fit(
        self,
        batches: Iterable[tuple],
        steps: int,
        *,
        log: str | Path | None = None,
        progress: bool = True,
        evaluate: Callable[[], float] | None = None,
        every: int = 100,
        patience: int = 0,
        folder: str | Path | None = None,
        save_every: int = 100,
    ) -> list[float]:
        """Train until step `steps` of all and return the losses.

        batches: (ids, labels), and, if there are any, mask and token_types.  Step t takes the t-th,
        so give all batches from the first on, also to resume a training.
        log: a file to which each step appends a line of JSON.
        evaluate: called every `every` steps; returns a number that is to be low.  At the end γ and
        the optimizer are as they were when it was lowest.  patience: stop after so many evaluations
        without a lower one; 0: never.
        folder: where to save the training at the start, every `save_every` steps and at the end.
        SIGINT and SIGTERM then finish the step, save, and raise Interrupted; `resume` continues.
        """
        if evaluate and not 1 <= every <= steps or patience and not evaluate or save_every < 1:
            raise ValueError(
                f"every={every} must be from 1 to steps={steps}, save_every={save_every} at least "
                "1, and patience needs evaluate"
            )
        if not self.resumed:
            self.best = Best()
        self.resumed = False
        batches, save, losses = self.remaining(batches), self.saver(folder), []
        with (
            interruptible(folder) if folder else nullcontext() as interrupted,
            self.log_writer(log) as write,
            progress_bar(steps, self.t, progress) as show,
        ):
            save()
            for batch in islice(batches, max(0, steps - self.t)):
                if patience and self.best.since >= patience:
                    break
                loss = self.step(**dict(zip(BATCH, batch)))
                losses.append(loss)
                show(self.t, loss)
                line = {"step": self.t, "loss": loss, "lr": self.lr(self.t - 1)}
                if evaluate and self.t % every == 0:
                    line["dev"] = self.track_best(float(evaluate()))
                write(line | {"norm": self.norm})
                if interrupted:
                    break
                if self.t % save_every == 0:
                    save()
            save()
        if evaluate:
            self.restore_best()
        return losses

    def track_best(self, value):
        """Keep a copy of the state if this is the lowest value so far; return the value."""
        optimizer = self.optimizer
        if -np.inf < value < self.best.value:
            copies = [
                [x.copy() for x in xs]
                for xs in ([p.data for p in optimizer.parameters], optimizer.m, optimizer.v)
            ]
            self.best = Best(value, self.t, 0, *copies, optimizer.t)
        else:
            self.best.since += 1
        return value

    def restore_best(self):
        """Bring parameters and optimizer to the state of the lowest value, if there was one."""
        best, optimizer = self.best, self.optimizer
        if best.t:
            now = [p.data for p in optimizer.parameters], optimizer.m, optimizer.v
            for xs, kept in zip(now, (best.arrays, best.m, best.v)):
                for x, y in zip(xs, kept):
                    x[...] = y
            optimizer.t = best.adam_t

    def remaining(self, batches) -> Iterator:
        """Return the batches after the first t, which must be those of the steps so far."""
        batches, checksum = iter(batches), 0
        for batch in islice(batches, self.t):
            checksum = checkpoint.checksum(batch, checksum)
        if checksum != self.batches_checksum:
            raise ValueError(
                f"the first {self.t} batches are not those of the steps so far: give all batches, "
                "from the first on and in the same order"
            )
        return batches

    @contextmanager
    def log_writer(self, log):
        """Yield a function that appends a line to a log; lines after the resumed save are cut."""
        if log is None:
            yield lambda line: None
            return
        start = time.perf_counter()
        with Path(log).open("ab") as file:
            if self.log_size is not None:
                file.truncate(min(self.log_size, file.tell()))
            self.log_size = file.seek(0, 2)

            def write(line):
                line["seconds"] = time.perf_counter() - start
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                self.log_size = file.tell()

            yield write
        self.log_size = None

    # -- on disk

    def save(self, folder: str | Path) -> None:
        """Save all that `resume` needs.  If writing fails, an earlier save is kept."""
        checkpoint.save(self, folder)
        self.saved = Path(folder).resolve(), self.t

    def resume(self, folder: str | Path) -> None:
        """Continue from a saved training; this Trainer must be created like the saved one.

        Raises CheckpointError, and changes nothing, if the file is malformed or of another one.
        """
        checkpoint.load(self, folder)
        self.saved, self.resumed = (Path(folder).resolve(), self.t), True

    def saver(self, folder):
        """Return a function that saves in the folder, if any, unless this step is saved there."""
        if folder is None:
            return lambda: None
        folder = Path(folder).resolve()
        if (folder / checkpoint.FILE).exists() and (self.saved is None or self.saved[0] != folder):
            raise CheckpointError(
                f"{folder} already has a training: trainer.resume({str(folder)!r}) continues it, "
                "or choose another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)  # the log may be in it
        return lambda: None if self.saved == (folder, self.t) else self.save(folder)

    @cached_property
    def model_checksum(self):
        """A checksum of the frozen model."""
        return checkpoint.checksum(t.data for t in self.model.parameters())


@contextmanager
def progress_bar(steps, done, shown):
    """Yield show(t, loss), which updates a progress bar on stderr."""
    if not shown:
        yield lambda t, loss: None
        return
    from rich.console import Console  # here, since `import minipeft` does not need it
    from rich.progress import Progress

    with Progress(transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=steps, completed=done)
        yield lambda t, loss: bar.update(task, completed=t, description=f"loss {loss:.3f}")
