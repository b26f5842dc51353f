"""Comparison of methods: each adapts the same frozen base to the same task."""

import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

import numpy as np

from ..adaptation.method import PLAIN
from ..autograd.nn import size
from ..methods import method
from ..model.bert import Encoder
from ..model.transformer import Decoder
from ..training.optim import AdamW, schedule
from ..training.trainer import NonFinite, Trainer
from .base import Task


@dataclass
class Plan:
    """How each method is trained: once at each learning rate, then at the best from each seed."""

    steps: int = 60
    """Optimizer steps of each training run."""
    batch_size: int = 32
    """Examples in a batch."""
    lrs: tuple[float, ...] = (1e-3, 5e-3, 2e-2)
    """Learning rates to try; the one with the best score on dev is chosen."""
    seeds: int = 3
    """Training runs at the chosen learning rate."""

    @property
    def runs(self) -> int:
        """The number of training runs of a method."""
        return len(self.lrs) + self.seeds - 1

    def longer(self) -> "Plan":
        """Return a plan with ten times as many steps, and two more seeds."""
        return replace(self, steps=10 * self.steps, seeds=self.seeds + 2)


class Runs:
    """Finished training runs, from which a comparison is resumed: this class keeps none."""

    def load(self, trainer: Trainer, name: str, lr: float, seed: int) -> tuple | None:
        """Set a new trainer to the end of a run; return its losses and seconds, None if new."""

    def save(self, trainer: Trainer, name: str, lr: float, seed: int, losses, seconds) -> None:
        """Store a finished run."""


@dataclass
class Comparison:
    """A comparison of methods on one task.

    After `run`, `adaptations` has the trained adaptation of each method, from the first seed.
    show: called after each training step with the number of all steps so far, and the loss.
    """

    task: Task
    plan: Plan
    runs: Runs = Runs()
    show: Callable[[int, float], None] = lambda steps, loss: None

    def __post_init__(self):
        self.adaptations, self.steps = {}, 0
        self.base_params = size(self.task.base)

    def count_steps(self, methods: int) -> int:
        """Return the number of training steps for so many methods, and for the baseline."""
        baseline = len(self.plan.lrs) if "probe" in self.task.methods else 0
        return self.plan.steps * (methods * self.plan.runs + baseline)

    def run(self, methods: Iterable[str], earlier: dict | None = None) -> Iterator[dict]:
        """Yield the report, at first without new results, and again after each method.

        earlier: the report of this comparison when it was stopped; its results are kept.
        """
        task = self.task
        report = {
            "task": task.name,
            "metric": next(iter(task.metrics)),
            "tests": task.tests,
            "base_params": self.base_params,
            "examples": {split: len(pairs) for split, pairs in task.splits.items()},
            "truncated": task.truncated(),
            "methods": list(methods),
            "plan": asdict(self.plan) | {"batch_size": task.batch_size(self.plan.batch_size)},
            "baselines": {"majority class": {test: task.majority(test) for test in task.tests}},
            "ceiling": task.ceiling,
            "results": [],
        }
        if earlier:
            report |= {name: earlier[name] for name in ("baselines", "results", "truncated")}
            self.steps = self.count_steps(len(report["results"]))
        yield report
        if len(report["baselines"]) < 2:
            report["baselines"] |= self.untrained_baseline()
        for name in report["methods"][len(report["results"]) :]:
            result, self.adaptations[name] = self.evaluate_method(name)
            report["results"].append(result)
            truncated = task.truncated(self.adaptations[name])
            report["truncated"] = max(report["truncated"], truncated)
            yield report

    def untrained_baseline(self) -> dict:
        """Return the scores of a probe of random weights or, without a head, of the base."""
        task, base = self.task, self.task.base
        if "probe" not in task.methods:
            return {"base": {test: task.evaluate(PLAIN, test) for test in task.tests}}
        network = Decoder if base.causal else Encoder  # without the base's head, if it has one
        random = task.with_base(network(base.config, np.random.default_rng(0)))
        untrained = Comparison(random, replace(self.plan, seeds=1), show=self.show)
        result, _ = untrained.evaluate_method("probe")
        self.steps += untrained.steps
        scores = {
            test: {metric: score["mean"] for metric, score in result[test].items()}
            for test in task.tests
        }
        return {"untrained base": scores}

    def make_trainer(self, name: str, lr: float, seed: int) -> tuple[Trainer, Iterator]:
        """Return a Trainer of a new adaptation, and its batches."""
        task, plan = self.task, self.plan
        adaptation = task.attach(method(name), np.random.default_rng(seed))
        model, batches = task.model_and_batches(
            adaptation, plan.batch_size, np.random.default_rng(seed)
        )
        optimizer = AdamW(adaptation.parameters(), lr)
        decay = schedule("linear", plan.steps, plan.steps // 10)
        return Trainer(model, adaptation, optimizer, schedule=decay, seed=seed), batches

    def train(self, name: str, lr: float, seed: int) -> tuple:
        """Return a trained adaptation, the loss of each step, and the seconds it took."""
        start, losses = time.perf_counter(), []
        trainer, batches = self.make_trainer(name, lr, seed)
        if run := self.runs.load(trainer, name, lr, seed):
            self.steps += self.plan.steps
            return trainer.adaptation, *run
        with suppress(NonFinite):  # the learning rate was too high: fewer losses than steps
            for i, (ids, labels, mask, token_types) in zip(range(self.plan.steps), batches):
                losses.append(trainer.step(ids, labels, mask=mask, token_types=token_types))
                self.show(self.steps + i + 1, losses[-1])
        self.steps += self.plan.steps
        seconds = time.perf_counter() - start
        self.runs.save(trainer, name, lr, seed, losses, seconds)
        return trainer.adaptation, losses, seconds

    def peak_memory(self, name: str) -> int:
        """Return the most bytes that are allocated at a time when training starts.

        They are of the adaptation, its gradients, the optimizer's moments, and the activations.
        """
        tracemalloc.start()
        trainer, batches = self.make_trainer(name, self.plan.lrs[0], seed=0)
        ids, labels, mask, token_types = next(batches)
        trainer.step(ids, labels, mask=mask, token_types=token_types)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    def evaluate_method(self, name: str) -> tuple[dict, object]:
        """Return what a method reaches and costs, and its adaptation from the first seed."""
        task, plan = self.task, self.plan
        metric = next(iter(task.metrics))
        runs = {lr: self.train(name, lr, seed=0) for lr in plan.lrs}
        dev = {lr: task.evaluate(run[0], "dev")[metric] for lr, run in runs.items()}
        lr = max(dev, key=lambda lr: (len(runs[lr][1]), dev[lr]))  # a finished run, if there is one
        more = [self.train(name, lr, seed) for seed in range(1, plan.seeds)]
        adaptations, losses, seconds = zip(runs[lr], *more)
        trained = size(adaptations[0])
        result = {
            "method": name,
            "trained_params": trained,
            "trained_share": trained / self.base_params,
            "lr": lr,
            "dev": dev[lr],
            "seconds_per_run": float(np.mean(seconds)),
            "peak_bytes": self.peak_memory(name),
            "losses": losses,
        }
        for test in task.tests:
            scores = [task.evaluate(adaptation, test) for adaptation in adaptations]
            result[test] = {
                metric: summary([score[metric] for score in scores]) for metric in task.metrics
            }
        return result, adaptations[0]


def summary(runs: list[float]) -> dict:
    """Return the mean and the standard deviation of the scores of several runs."""
    return {"mean": float(np.mean(runs)), "std": float(np.std(runs)), "runs": runs}
