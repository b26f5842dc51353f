"""The main job: every method adapts the same frozen base to the same task."""

import time
import tracemalloc
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
    """How each method is trained: at the best of `rates` on dev, from each of `seeds`."""

    steps: int = 60
    """Of the optimizer, in each training."""
    batch: int = 32
    """Examples in a step."""
    rates: tuple[float, ...] = (1e-3, 5e-3, 2e-2)
    """Learning rates to choose among."""
    seeds: int = 3
    """Trainings at the rate that was chosen, the first included."""

    def longer(self):
        """Ten times, and from two more seeds."""
        return replace(self, steps=10 * self.steps, seeds=self.seeds + 2)


@dataclass
class Comparison:
    """`reports(methods)` does it; `adapts` has what came of it, from the first seed."""

    task: Task
    plan: Plan

    def __post_init__(self):
        self.adapts = {}
        self.size = size(self.task.base)

    def reports(self, methods):
        """The report, growing by the result of each method."""
        task = self.task
        report = {
            "task": task.name,
            "metric": next(iter(task.metrics)),
            "tests": task.tests,
            "parameters": self.size,
            "examples": {split: len(pairs) for split, pairs in task.splits.items()},
            "shortened": task.shortened,
            "plan": asdict(self.plan) | {"batch": task.rows(self.plan.batch)},
            "baselines": {"majority": {test: task.majority(test) for test in task.tests}},
            "ceiling": task.ceiling,
            "results": [],
        }
        yield report
        report["baselines"] |= self.untrained()
        for name in methods:
            found, self.adapts[name] = self.result(name)
            report["results"].append(found)
            yield report

    def untrained(self):
        """What a probe of random weights reaches; without a head, what the base alone does."""
        task, base = self.task, self.task.base
        if "probe" not in task.methods:
            return {"base alone": {test: task.scores(PLAIN, test) for test in task.tests}}
        kind = Decoder if base.causal else Encoder  # whatever head the base has
        random = task.on(kind(base.config, np.random.default_rng(0)))
        result, _ = Comparison(random, replace(self.plan, seeds=1)).result("probe")
        scores = lambda test: {name: m["mean"] for name, m in result[test].items()}
        return {"random": {test: scores(test) for test in task.tests}}

    def trainer(self, name, rate, seed):
        """A Trainer of a new adaptation, and its batches."""
        task, plan = self.task, self.plan
        adaptation = task.attach(lambda: method(name), np.random.default_rng(seed))
        model, batches = task.training(adaptation, plan.batch, np.random.default_rng(seed))
        rates = schedule("linear", plan.steps, plan.steps // 10)
        return Trainer(
            model, adaptation, AdamW(adaptation.parameters(), rate), rates, seed=seed
        ), batches

    def train(self, name, rate, seed):
        """One adaptation, from one seed at one rate; the losses on the way; the seconds it took."""
        start, losses = time.perf_counter(), []
        trainer, batches = self.trainer(name, rate, seed)
        with suppress(NonFinite):  # the rate was too high: it ends here
            for _, batch in zip(range(self.plan.steps), batches):
                losses.append(trainer.step(*batch))
        return trainer.adaptation, losses, time.perf_counter() - start

    def cache(self, name):
        """The bytes that training allocates, at most: γ, its moments, gradients, activations."""
        tracemalloc.start()
        trainer, batches = self.trainer(name, self.plan.rates[0], seed=0)
        trainer.step(*next(batches))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    def result(self, name):
        """What the method reaches and costs, as a dictionary; its adaptation of the first seed."""
        task, plan = self.task, self.plan
        metric = next(iter(task.metrics))
        tried = {rate: self.train(name, rate, seed=0) for rate in plan.rates}
        dev = {
            rate: task.scores(adaptation, "dev")[metric] for rate, (adaptation, *_) in tried.items()
        }
        rate = max(dev, key=lambda rate: (len(tried[rate][1]), dev[rate]))  # that came to its end
        more = [self.train(name, rate, seed) for seed in range(1, plan.seeds)]
        adapts, losses, seconds = zip(tried[rate], *more)
        trainable = size(adapts[0])
        found = {"method": name, "trainable": trainable, "share": trainable / self.size}
        found |= {"rate": rate, "dev": dev[rate], "seconds": float(np.mean(seconds))}
        found |= {"memory": self.memory(name), "losses": losses}
        for test in task.tests:
            runs = [task.scores(adaptation, test) for adaptation in adapts]
            found[test] = {name: spread([run[name] for run in runs]) for name in task.metrics}
        return found, adapts[0]


def spread(runs):
    return {"mean": float(np.mean(runs)), "spread": float(np.std(runs)), "runs": runs}
