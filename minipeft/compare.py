"""The main job: every method adapts the same frozen base to the same task."""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from .heads import Classifier, Head
from .methods import FullFineTuning, Probe, method
from .mixture import Chain
from .optim import AdamW, schedule
from .parallel import Pool
from .tasks import accuracy, features, training
from .train import NonFinite, Trainer


@dataclass
class Plan:
    """How each method is trained: at the best of `rates` on dev, from each of `seeds`."""

    steps: int = 60
    batch: int = 32
    rates: tuple = (1e-3, 5e-3, 2e-2)
    seeds: int = 3


def with_head(adapt):
    """A head trains beside every method that leaves it out."""
    return adapt if isinstance(adapt, FullFineTuning) else Chain(adapt, Probe())


@dataclass
class Comparison:
    """One classifier over one frozen base, one task, one plan."""

    model: object
    task: object
    plan: Plan

    def __post_init__(self):
        self.pool, self.adapts = Pool(), {}
        self.classifier = Classifier(self.model, len(self.task.classes))
        self.size = sum(t.data.size for t in self.model.parameters())
        self.tests = [split for split in self.task.splits if split not in ("train", "dev")]

    def reports(self, methods):
        """The report, growing by the result of each method; `adapts` has what was trained."""
        examples = {split: len(examples) for split, examples in self.task.splits.items()}
        report = {
            "task": self.task.name,
            "classes": self.task.classes,
            "parameters": self.size,
            "examples": examples,
            "shortened": self.task.shortened,
            "majority": {split: self.task.majority(split) for split in self.tests},
            "plan": asdict(self.plan),
            "results": [],
        }
        yield report
        for name in methods:
            found, self.adapts[name] = self.result(name)
            report["results"].append(found)
            yield report

    def trained(self, name, rate, seed):
        """One adaptation, from one seed at one rate; and the seconds that took."""
        start, plan = time.perf_counter(), self.plan
        adapt = with_head(method(name)).attach(self.classifier, np.random.default_rng(seed))
        model, examples = self.classifier, self.task.splits["train"]
        if isinstance(adapt, Probe):
            model, examples = Head(model.score, model.config), self.features
        rates = schedule("linear", plan.steps, plan.steps // 10)
        trainer = Trainer(model, adapt, AdamW(adapt.parameters(), rate), rates, seed=seed)
        batches = training(examples, plan.batch, np.random.default_rng(seed))
        with suppress(NonFinite):  # a rate that was too high: it is as it was then, and scored so
            trainer.fit(batches, plan.steps, progress=False)
        return adapt, time.perf_counter() - start

    @cached_property
    def features(self):
        """Of the training texts: a probe changes nothing below its head, so that runs once."""
        return features(self.classifier, self.task.splits["train"], self.pool)

    def score(self, adapt, split):
        return accuracy(self.classifier, adapt, self.task.splits[split], self.pool)

    def result(self, name):
        """What the method reaches, as a dictionary, and its adaptation from the first seed."""
        tried = {rate: self.trained(name, rate, seed=0) for rate in self.plan.rates}
        dev = {rate: self.score(adapt, "dev") for rate, (adapt, _) in tried.items()}
        rate = max(dev, key=dev.get)
        more = [self.trained(name, rate, seed) for seed in range(1, self.plan.seeds)]
        adapts, seconds = zip(tried[rate], *more)
        trainable = sum(p.data.size for p in adapts[0].parameters())
        found = {"method": name, "trainable": trainable, "share": trainable / self.size}
        found |= {"rate": rate, "dev": dev[rate], "seconds": float(np.mean(seconds))}
        for split in self.tests:
            runs = [self.score(adapt, split) for adapt in adapts]
            found[split] = {
                "mean": float(np.mean(runs)),
                "spread": float(np.std(runs)),
                "runs": runs,
            }
        return found, adapts[0]
