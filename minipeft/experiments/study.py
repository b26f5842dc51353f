"""The training runs of an experiment: for each method the same learning rates, chosen on dev."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import hf
from ..adaptation.adaptation import Adaptation
from ..adaptation.method import Method
from ..autograd.nn import size
from ..tasks.base import Task
from ..tasks.write import Write
from ..training.optim import AdamW, schedule
from ..training.trainer import NonFinite, Trainer
from ..world import pretrain

BATCH_SIZE = 8  # examples of a training step
BUILT_IN = {"gpt2": "decoder", "bert": "encoder", "t5": "seq2seq"}


@dataclass(frozen=True)
class Settings:
    """How long the runs of an experiment are, and how many examples they have."""

    seeds: int = 5
    steps: int = 100
    """Optimizer steps of each training run."""
    lrs: tuple[float, ...] = (3e-4, 3e-3, 3e-2, 3e-1)
    """Learning rates of AdamW, for every method; the first seed tries all of them."""
    train: int = 2000
    """Training examples."""
    dev: int = 200
    """Examples on which the learning rate is chosen."""
    test: int = 400
    """Examples of each test split."""
    documents: int | None = None
    """Texts on which bases of several sizes are pretrained; None: those of the built-in base."""
    pretraining_steps: int = 500
    """Optimizer steps of their pretraining."""


FULL = Settings()
QUICK = Settings(
    seeds=2, steps=40, train=400, dev=60, test=100, documents=6000, pretraining_steps=100
)


@dataclass
class Trial:
    """A training run that has not started, and the functions that score its end."""

    model: Any  # with a loss, for a Trainer
    adaptation: Adaptation
    batches: Iterator[tuple]
    dev: Callable[[], float]  # chooses the learning rate: higher is better
    scores: Callable[[], dict[str, float]]
    optimizer: Callable[[list, float], AdamW] = AdamW  # of parameters and a learning rate

    def __getstate__(self):
        return vars(self) | {"batches": iter(())}  # a generator has no pickle


@dataclass
class Study:
    """An experiment's settings, its base models, and its training runs.

    bases: folder of bases of several sizes, each in a folder; missing ones are made there.
    data: folder of real data, in folders such as webnlg_2017; None: rows on it are left out.
    show: called after each step with the row's name, the steps so far, and those of the row.
    cluster: a training.cluster.Cluster, whose workers take the training runs; None: this machine.
    """

    settings: Settings = FULL
    bases: Path = Path("bases")
    data: Path | None = None
    show: Callable[[str, int, int], None] = lambda name, step, steps: None
    cluster: Any = None
    loaded: dict = field(default_factory=dict, init=False)

    def __getstate__(self):
        return vars(self) | {"show": lambda name, step, steps: None, "cluster": None}

    def base(self, size: str = "", family: str = "gpt2") -> tuple:
        """Return a model of the built-in world, and its tokenizer.

        size: such as "0.3M", for a base that is pretrained when it is first needed; "": the
        built-in base.
        """
        if (size, family) not in self.loaded:
            folder = self.pretrained(size, family) if size else BUILT_IN[family]
            self.loaded[size, family] = hf.load(folder), hf.load_tokenizer(folder)
        return self.loaded[size, family]

    def pretrained(self, size: str, family: str) -> Path:
        """Return the folder of a base of a size; pretrain it if it is missing."""
        steps, documents = self.settings.pretraining_steps, self.settings.documents
        texts = f"-{documents}-texts" if documents else ""
        folder = self.bases / f"{family}-{size}-{steps}-steps{texts}"
        show = lambda step, loss: self.show(f"pretraining {folder.name}", step, steps)
        if not folder.exists():
            pretrain.pretrain(folder, family, steps, progress=show, size=size, documents=documents)
        return folder

    def splits(self, data, **sizes) -> dict:
        """Return the splits of a task's module, such as `world.sentiment`; sizes: of splits."""
        s = self.settings
        asked = {"train": s.train, "dev": s.dev, "test": s.test}
        return data.splits(**{name: min(n, sizes.get(name, n)) for name, n in asked.items()})

    def row(
        self,
        name: str,
        trial: Callable[[int], Trial],
        x: float | None = None,
        steps: int | None = None,
        lrs: tuple[float, ...] | None = None,
        adaptations: list | None = None,
    ) -> dict:
        """Return a row of results: train at each learning rate, and with each seed at the best.

        trial: makes the trial of a seed.  x: where the row is on the axis of a plot.
        steps, lrs: instead of those of the settings.
        adaptations: a list, to which the trained adaptation of each seed is appended.
        """
        steps, lrs = steps or self.settings.steps, lrs or self.settings.lrs
        train = partial(self.train, name, trial, steps, len(lrs) + self.settings.seeds - 1)
        first_seed = dict(zip(lrs, train(0, with_dev, [(0, lr) for lr in lrs])))
        dev = {lr: dev for lr, (_, dev) in first_seed.items()}
        lr = max(lrs, key=lambda lr: np.nan_to_num(dev[lr], nan=-np.inf))
        best, _ = first_seed[lr]
        others = [(seed, lr) for seed in range(1, self.settings.seeds)]
        ends = [with_scores(best), *train(len(lrs), with_scores, others)]
        if adaptations is not None:
            adaptations += [adaptation for adaptation, _ in ends]
        return fixed_row(
            name,
            *(scores for _, scores in ends),
            **({} if x is None else {"x": x}),
            params=size(best.adaptation),
            lr=lr,
            dev={str(lr): float(value) for lr, value in dev.items()},
        )

    def train(self, name, trial, steps: int, total: int, first: int, result, runs) -> Iterator:
        """Yield result(trial) after the training of each (seed, learning rate) in runs.

        first, total: number of runs of the row before these, and of all.
        """
        if not self.cluster:
            for i, (seed, lr) in enumerate(runs, first):
                show = lambda step, before=i * steps: self.show(name, before + step, total * steps)
                yield result(fit(trial(seed), lr, steps, seed, show))
            return
        ends = self.cluster.map(partial(train_remotely, trial, steps, result), *zip(*runs))
        for i, end in enumerate(ends, first + 1):
            self.show(name, i * steps, total * steps)
            yield end


def train_remotely(trial, steps, result, seed, lr):
    """Return result(trial) after its training, on a worker."""
    return result(fit(trial(seed), lr, steps, seed, show=lambda step: None))


def with_dev(trial: Trial) -> tuple[Trial, float]:
    """Return a trained trial, and its score on dev."""
    return trial, trial.dev()


def with_scores(trial: Trial) -> tuple[Adaptation, dict[str, float]]:
    """Return a trained adaptation, and its scores."""
    return trial.adaptation, trial.scores()


def subset(examples: list, n: int, seed: int) -> list:
    """Return n of the examples, at most, which depend on the seed."""
    return [examples[i] for i in np.random.default_rng(seed).permutation(len(examples))[:n]]


def fixed_row(name: str, *scores: dict[str, float], **more) -> dict:
    """Return a row of results, given the scores of each seed: one for what is not random.

    more: x, and what else is stored.
    """
    seeds = {key: [float(s[key]) for s in scores] for key in scores[0]}
    return {"name": name, **more, "scores": seeds}


def fit(trial: Trial, lr: float, steps: int, seed: int, show: Callable) -> Trial:
    """Return the trial after its training, or where the loss or a gradient was not finite."""
    optimizer = trial.optimizer(trial.adaptation.parameters(), lr)
    decay = schedule("linear", steps, steps // 10)
    trainer = Trainer(trial.model, trial.adaptation, optimizer, schedule=decay, seed=seed)
    with suppress(NonFinite):
        trainer.fit(trial.batches, steps, progress=lambda step, loss: show(step))
    return trial


def on_task(
    task: Task | Callable[[int], Task],
    method: Method,
    scores: Callable[..., dict] | None = None,
) -> Callable[[int], Trial]:
    """Return the trials of a method on a task, by seed; the task may depend on the seed, too.

    scores: instead of the first metric on each test split.
    """

    def trial(seed: int) -> Trial:
        one = task if isinstance(task, Task) else task(seed)
        adaptation = one.attach(method, np.random.default_rng(seed))
        one.start_head(adaptation)
        model, batches = one.model_and_batches(adaptation, BATCH_SIZE, np.random.default_rng(seed))
        dev = lambda: dev_score(one, adaptation)
        return Trial(model, adaptation, batches, dev, lambda: (scores or test)(one, adaptation))

    return trial


def test(task: Task, adaptation: Adaptation) -> dict[str, float]:
    """Return {test split: first metric}."""
    metric = next(iter(task.metrics))
    return {split: task.evaluate(adaptation, split)[metric] for split in task.tests}


def dev_score(task: Task, adaptation: Adaptation) -> float:
    """Return the first metric on dev or, where text is generated, minus the loss on dev."""
    if isinstance(task, Write):
        return -task.loss(adaptation, "dev")
    return task.evaluate(adaptation, "dev")[next(iter(task.metrics))]
