"""The training loop, for any adaptation of any model with `targets` and `loss_at`."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from numbers import Integral
from pathlib import Path

import numpy as np

from ..adaptation.adaptation import Adaptation, check_model
from ..adaptation.method import as_adaptation
from ..autograd.backend import on_host
from ..autograd.nn import size
from ..storage.json import CheckpointError
from . import checkpoint
from .interrupt import interruptible
from .optim import AdamW, clip_factor, loss_and_norm
from .parallel import ONE_BLAS_THREAD, Pool, gradients, in_threads, shard_rows

REPEAT = "give one for each step, such as itertools.cycle(batches)"
BATCH = "ids", "labels", "mask", "token_types"  # items of a batch of `fit`, in this order


class NonFinite(ArithmeticError):
    """Raised if a loss or a gradient is NaN or infinite.  The parameters were not changed."""


@dataclass
class Best:
    """State of a training at the lowest value of `evaluate` so far."""

    value: float = float("inf")
    t: int = 0  # number of steps taken; 0: there is no value yet
    since: int = 0  # number of evaluations since then
    arrays: list = field(default_factory=list)  # of the parameters
    m: list = field(default_factory=list)  # first moments of the optimizer
    v: list = field(default_factory=list)  # second moments
    adam_t: int = 0  # number of steps of the optimizer


class Trainer:
    """Trainer of an adaptation: `step` on one batch, `fit` on many; equal seeds give equal bits.

    optimizer: an AdamW of adaptation.parameters().
    schedule: f(t), a factor of the learning rate at step t, such as `schedule` returns; None: 1.
    clip: gradients of a larger norm are scaled down to this norm.
    seed: seed of dropout.
    workers: number of threads, by default one for each core; it does not change the result.
    micro_batches: gradient accumulation: split each batch into at least this many micro-batches.
    executor: runs the shards of a batch; None: threads.
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
        executor: Executor | None = None,
    ):
        adaptation = as_adaptation(adaptation)
        if not isinstance(optimizer, AdamW):
            raise TypeError(f"optimizer={optimizer!r} must be an AdamW(γ.parameters(), lr=1e-3)")
        if list(map(id, optimizer.parameters)) != list(map(id, adaptation.parameters())):
            raise ValueError(
                "the optimizer was built from other parameters: create it from "
                "adaptation.parameters() after attaching"
            )
        check_model(adaptation, model)
        if micro_batches < 1:
            raise ValueError(f"micro_batches={micro_batches} must be at least 1")
        self.model, self.adaptation, self.optimizer = model, adaptation, optimizer
        self.schedule, self.clip, self.seed = schedule or (lambda t: 1.0), clip, seed
        self.executor, self.micro_batches = executor or Pool(workers), micro_batches
        self.model_size = size(model) if on_host(model.reference_array) else 0  # 0: no shards
        self.t, self.best, self.batches_checksum = 0, Best(), 0  # a checksum of all so far
        self.log_size = None  # bytes of the log so far, or at the resumed save; None: no log
        self.saved: tuple[Path, int] | None = None  # folder and step of the last save
        self.resumed = False

    def lr(self, t: int) -> float:
        """Return the learning rate of step t."""
        return float(self.optimizer.lr * self.schedule(t))

    def step(self, ids, labels, *, mask=None, token_types=None) -> float:
        """Take one optimizer step and return the loss before it.

        ids, labels, mask, token_types: as for `loss` of the model.  After it, `norm` is the norm of
        the gradient before clipping.  Raises NonFinite as `update` does.
        """
        ids, labels = np.asarray(ids), np.asarray(labels)
        options = {"mask": mask, "token_types": token_types}
        options = {name: np.asarray(x) for name, x in options.items() if x is not None}
        shapes = ids.shape[:2], ids.shape  # of features, of ids
        if len(ids) != len(labels) or any(x.shape not in shapes for x in options.values()):
            raise ValueError(
                "ids, labels and mask differ in batch size or length: "
                f"{ids.shape}, {labels.shape}, {np.shape(mask)}"
            )
        targets = self.model.targets(labels, mask)
        count = max(1, (targets >= 0).sum())
        shards = shard_rows(options.get("mask", ids).shape[:2], self.model_size, self.micro_batches)
        model, seed, t = self.model, self.seed, self.t  # `loss` holds no more of the trainer

        def loss(rows, adaptation, s, ids, targets, **options):
            rng = np.random.default_rng([seed, t, s])
            return model.loss_at(ids, targets, adaptation, rng=rng, count=count, **options)

        value = self.update(loss, shards, ids=ids, targets=targets, **options)
        batch = ids, labels, mask, token_types
        self.batches_checksum = checkpoint.checksum(batch, self.batches_checksum)
        return value

    def update(self, loss: Callable, shards: Sequence, **batch: np.ndarray) -> float:
        """Take one step on the loss of `gradients`, Σ_s loss(shards[s], γ, s, ...), and return it.

        Raises NonFinite, and changes nothing, if the loss or a gradient is not finite.
        """
        with ONE_BLAS_THREAD:
            value, grads = gradients(loss, self.adaptation, shards, self.executor, batch)
            value, self.norm = loss_and_norm(value, grads)
        if not np.isfinite(value + self.norm):
            raise self.not_finite(value, grads)
        with in_threads(self.executor):
            self.optimizer.step(grads, self.lr(self.t), clip_factor(self.norm, self.clip))
        self.t += 1
        return value

    def not_finite(self, value, grads):
        """Return the error for a loss or gradients that are not finite."""
        finite = {p: np.isfinite(g).all() for p, g in zip(self.adaptation.parameters(), grads)}
        names = [name for name, p in self.adaptation.named_parameters() if not finite[p]]
        where = (
            f"not finite at {', '.join(names[:3])}"
            if names
            else "so large that its norm is infinite"
        )
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
        progress: bool | Callable[[int, float], None] = True,
        evaluate: Callable[[], float] | None = None,
        every: int = 100,
        patience: int = 0,
        folder: str | Path | None = None,
        save_every: int = 100,
    ) -> list[float]:
        """Train until `steps` steps were taken in all, and return the losses of those of this call.

        batches: tuples (ids, labels), (ids, labels, mask) or (ids, labels, mask, token_types).
        Step t takes batch t: to continue, give all batches again, from the first on.
        log: a file to which each step appends a line of JSON.
        progress: show a progress bar; or a function, called after each step with t and the loss.
        evaluate: called after every `every` steps; returns a number to minimise.  At the end the
        parameters and the optimizer are set back to the state in which it was lowest.
        patience: stop after this number of evaluations without a lower one; 0: never.
        folder: where to save the training at the start, every `save_every` steps and at the end.
        SIGINT and SIGTERM then finish the step, save, and raise Interrupted; `resume` continues.
        Raises ValueError for fewer batches than steps: of a list at the start, else at the end.
        """
        if evaluate and not 1 <= every <= steps or patience and not evaluate or save_every < 1:
            raise ValueError(
                f"every={every} must be from 1 to steps={steps}, save_every={save_every} at least "
                "1, and patience needs evaluate"
            )
        check_steps(batches, steps)
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
                loss = self.step(**named(batch))
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
        if self.t < steps and not (patience and self.best.since >= patience):
            raise ValueError(f"the batches ended after {self.t} of {steps} steps: {REPEAT}")
        return losses

    def track_best(self, value):
        """Copy the state to `best` if this is the lowest value so far; return the value."""
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
        """Set parameters and optimizer to the state of the lowest value, if there was one."""
        best, optimizer = self.best, self.optimizer
        if best.t:
            now = [p.data for p in optimizer.parameters], optimizer.m, optimizer.v
            for xs, kept in zip(now, (best.arrays, best.m, best.v)):
                for x, y in zip(xs, kept):
                    x[...] = y
            optimizer.t = best.adam_t

    def remaining(self, batches) -> Iterator:
        """Return an iterator of the batches after the first t.

        Raises ValueError if the first t are not the batches of the steps so far.
        """
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
        """Yield a function that appends a dict to the log as a line of JSON; None: does nothing.

        After `resume`, lines of steps after the save are removed first.
        """
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
        """Save the training in `folder`, for `resume`.

        Raises CheckpointError if it can't be written; an earlier save is then unchanged.
        """
        checkpoint.save(self, folder)
        self.saved = Path(folder).resolve(), self.t

    def resume(self, folder: str | Path) -> None:
        """Continue from a saved training; this Trainer must be created like the saved one.

        Raises CheckpointError, and changes nothing, if the file is malformed or of another one.
        """
        checkpoint.load(self, folder)
        self.saved, self.resumed = (Path(folder).resolve(), self.t), True

    def saver(self, folder):
        """Return a function that saves in `folder`, once for each step; for None it does nothing.

        Raises CheckpointError if the folder has the save of another training.
        """
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
        """Checksum of the frozen model."""
        return checkpoint.checksum(t.data for t in self.model.parameters())


def check_steps(batches, steps):
    """Raise ValueError for a number of steps that is none, or larger than that of the batches."""
    if not isinstance(steps, Integral) or steps < 0:
        raise ValueError(f"steps={steps!r} must be an integer of at least 0")
    if hasattr(batches, "__len__") and len(batches) < steps:
        raise ValueError(
            f"{steps} steps need as many batches, and there are {len(batches)}: {REPEAT}"
        )


def named(batch) -> dict:
    """Return {name: item} of a batch, a tuple; raise TypeError for anything else."""
    if not isinstance(batch, (tuple, list)) or not 2 <= len(batch) <= len(BATCH):
        raise TypeError(
            "a batch must be a tuple (ids, labels), (ids, labels, mask) or (ids, labels, mask, "
            f"token_types), not a {type(batch).__name__}: batches is a list of such tuples"
        )
    return dict(zip(BATCH, batch))


@contextmanager
def progress_bar(steps, done, shown):
    """Yield show(t, loss): it updates a progress bar on stderr, or is the function `shown`."""
    if shown is not True:
        yield shown or (lambda t, loss: None)
        return
    from rich.console import Console  # here, since `import minipeft` does not need it
    from rich.progress import Progress

    with Progress(transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=steps, completed=done)
        yield lambda t, loss: bar.update(task, completed=t, description=f"loss {loss:.3f}")
