"""Comparison of methods: each adapts the same frozen base to the same task."""

import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..autograd.nn import size
from ..autograd.tensor import no_grad
from ..methods import method
from ..model.bert import Encoder
from ..model.transformer import Decoder
from ..training.optim import AdamW, schedule
from ..training.parallel import ONE_BLAS_THREAD, shard_rows
from ..training.trainer import NonFinite, Trainer, named
from .base import Task
from .forgetting import GeneralText, forgetting
from .plan import Plan, best_lr, pilot_loss
from .runs import Outcome, Run, Runs

PROBE = "probe"
EXAMPLES = 32  # that are evaluated to estimate the time
CONVERGED = 0.01  # a method is, if its dev score rises by less in the second half of the steps


@dataclass
class Cost:
    """Seconds that a method takes for a step and to evaluate an example; its memory."""

    step: float
    example: float
    peak_bytes: int


class Comparison:
    """A comparison of methods on one task.

    After `run`, `adaptations` has the trained adaptation of each method, from the first seed.
    runs: where finished training runs are kept.
    text: for what an adaptation forgets; None: it is not measured.
    show: called after each training step with the number of all steps so far, and its loss.
    cluster: a training.cluster.Cluster, whose workers take the training runs; None: threads do.
    """

    def __init__(
        self,
        task: Task,
        plan: Plan,
        runs: Runs | None = None,
        text: GeneralText | None = None,
        show: Callable[[int, float], None] = lambda steps, loss: None,
        cluster=None,
    ):
        self.task, self.plan, self.runs, self.text, self.show = task, plan, runs, text, show
        self.metric = next(iter(task.metrics))
        self.base_params = size(task.base)
        self.adaptations: dict[str, Adaptation] = {}
        self.costs: dict[str, Cost] = {}
        self.cluster = cluster
        self.steps, self.lock, self.stopped = 0, threading.Lock(), threading.Event()

    # -- what it will take

    @property
    def side_by_side(self) -> int:
        """The number of training runs at a time: as many as the shards of a batch leave cores."""
        if self.cluster:
            return self.cluster.workers
        B = self.task.batch_size(self.plan.batch_size)
        shape = B, int(np.mean(self.task.lengths))
        return max(1, os.cpu_count() // len(shard_rows(shape, self.base_params)))

    def rehearse(self, methods: list[str], seconds: float = np.inf) -> None:
        """Measure what the methods cost; after so many seconds, leave out the others."""
        end = time.perf_counter() + seconds
        for name in methods:
            if name not in self.costs and time.perf_counter() < end:
                self.costs[name] = self.cost(name)

    def cost(self, name: str) -> Cost:
        """Return what a step of a method takes, the first of a training, and an evaluation."""
        tracemalloc.start()
        trainer, batches = self.make_trainer(Run(name, 1e-3, 0, 1))
        step = lambda: trainer.step(**named(next(batches)))
        times = [timed(step)]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if times[0] < 1:  # the first step of a small model takes longer than others
            times += [timed(step) for _ in range(3)]
        examples = self.task.examples_for(trainer.adaptation)["dev"][:EXAMPLES]
        adaptation = self.task.select(trainer.adaptation, range(len(examples)))
        with ONE_BLAS_THREAD, no_grad():
            evaluating = timed(lambda: self.task.predict_batch(examples, adaptation))
        return Cost(min(times), evaluating / len(examples), peak)

    def seconds(self, plan: Plan, methods: list[str]) -> float:
        """Return about how long a plan takes, after `rehearse` of some of the methods."""
        task, sizes = self.task, {split: len(pairs) for split, pairs in self.task.splits.items()}
        tested = 2.0 * sizes["dev"] + sum(sizes[test] for test in task.tests)
        if self.text:
            tested += self.text.ids.size / float(np.mean(task.lengths))
        known = [(cost.step, cost.example) for cost in self.costs.values()]
        step, example = np.mean(known, 0).tolist()
        usual = Cost(step, example, 0)
        total = 2 * usual.example * sum(sizes.values())  # all texts are read, also by a baseline
        for name in methods:
            cost = self.costs.get(name, usual)
            total += cost.step * plan.count_steps([name])
            total += cost.example * plan.seeds * tested
        return total / self.side_by_side

    # -- training

    def make_trainer(self, run: Run) -> tuple[Trainer, Iterator]:
        """Return a Trainer of a new adaptation, and its batches."""
        task, plan, rng = self.task, self.plan, np.random.default_rng(run.seed)
        adaptation = task.attach(plan.method(run.method), rng)
        rng = np.random.default_rng(run.seed)
        model, batches = task.model_and_batches(adaptation, plan.batch_size, rng)
        optimizer = AdamW(adaptation.parameters(), run.lr)
        decay = schedule("linear", run.steps, run.steps // 10)
        workers = 1 if self.side_by_side > 1 else None
        trainer = Trainer(
            model, adaptation, optimizer, schedule=decay, seed=run.seed, workers=workers
        )
        return trainer, batches

    def train(self, run: Run) -> Outcome:
        """Return what a training run reaches, here or on the cluster, and keep it."""
        trainer, _ = self.make_trainer(run)
        outcome = self.runs and self.runs.load(run, trainer)
        if outcome:
            self.count(run.steps)
        else:
            trainer, outcome = (self.reach_on_cluster if self.cluster else self.reach)(run)
            if self.runs:
                self.runs.save(run, trainer, outcome)
        if run.kept:
            self.adaptations[run.method] = trainer.adaptation
        return outcome

    def reach_on_cluster(self, run: Run) -> tuple[Trainer, Outcome]:
        """Return what `reach` returns on a worker, which does not count steps."""
        end = self.cluster.submit(reach, self.task, self.plan, self.text, run).result()
        self.count(run.steps)
        return end

    def reach(self, run: Run) -> tuple[Trainer, Outcome]:
        """Return the end of a training run; raise CancelledError if `stopped` is set."""
        start, outcome = time.perf_counter(), Outcome()
        trainer, batches = self.make_trainer(run)
        adaptation = trainer.adaptation
        self.task.start_head(adaptation)
        with suppress(NonFinite):  # the learning rate was too high: fewer losses than steps
            for t, batch in enumerate(islice(batches, run.steps)):
                if t == run.steps // 2 and not run.pilot:
                    outcome.dev.append(self.dev_score(adaptation))
                if self.stopped.is_set():
                    raise CancelledError
                outcome.losses.append(trainer.step(**named(batch)))
                self.count(1, outcome.losses[-1])
        self.count(run.steps - len(outcome.losses))
        outcome.seconds = time.perf_counter() - start
        if not run.pilot:
            outcome.dev.append(self.dev_score(adaptation))
            self.test(adaptation, outcome)
        return trainer, outcome

    def count(self, steps: int, loss: float | None = None) -> None:
        """Count steps that were taken, or that are left out; several threads do."""
        with self.lock:
            self.steps += steps
            self.show(self.steps, loss)

    def dev_score(self, adaptation: Adaptation) -> float:
        """Return the score on dev, which shows whether the training has converged."""
        return self.task.evaluate(adaptation, "dev")[self.metric]

    def test(self, adaptation: Adaptation, outcome: Outcome) -> None:
        """Store the scores on the test splits, and what the adaptation forgets."""
        task = self.task
        outcome.scores = {test: task.evaluate(adaptation, test) for test in task.tests}
        outcome.forgets = forgetting(task, adaptation, self.text)

    # -- the report

    def run(self, methods: list[str], earlier: dict | None = None) -> Iterator[dict]:
        """Yield the report, at first without new results, and again after each method.

        A probe comes first; a linear one is solved, not trained.  earlier: the report of this
        comparison when it was stopped; its results are kept.
        """
        report = self.new_report(methods) | (earlier or {})
        left = report["methods"][len(report["results"]) :]
        yield report
        start = time.perf_counter()
        report |= {"pools": self.task.choose_pool(), "pool": self.task.pool}
        if left[:1] == [PROBE] and self.task.is_solved(self.plan.method(PROBE)):
            self.add(report, self.solve_probe(start))
            yield report
            left = left[1:]
        self.rehearse(left)
        if len(report["baselines"]) < 2:
            report["baselines"] |= self.untrained_baseline()
        with self.threads() as threads:
            lrs = self.choose_lrs(left, threads)
            runs = [run for name in left for run in self.plan.training(name, lrs[name])]
            outcomes = threads.map(self.train, runs)
            for name in left:
                reached, peak = [*islice(outcomes, self.plan.seeds)], self.costs[name].peak_bytes
                self.add(report, self.result(name, lrs[name], reached, peak))
                yield report

    def new_report(self, methods: list[str]) -> dict:
        """Return a report without results."""
        task, plan = self.task, self.plan
        return {
            "task": task.name,
            "metric": self.metric,
            "tests": task.tests,
            "base_params": self.base_params,
            "examples": {split: len(pairs) for split, pairs in task.splits.items()},
            "truncated": task.truncated(),
            "methods": sorted(methods, key=lambda name: name != PROBE),
            "plan": asdict(plan) | {"batch_size": task.batch_size(plan.batch_size)},
            "pool": None,
            "pools": None,
            "baselines": {"majority class": {test: task.majority(test) for test in task.tests}},
            "ceiling": task.ceiling,
            "results": [],
        }

    def add(self, report: dict, result: dict) -> None:
        """Append the result of a method to the report."""
        report["results"].append(result)
        truncated = self.task.truncated(self.adaptations[result["method"]])
        report["truncated"] = max(report["truncated"], truncated)

    @contextmanager
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        """Yield threads for training runs side by side; they are stopped at the end."""
        threads = ThreadPoolExecutor(self.side_by_side)
        try:
            yield threads
        finally:
            self.stopped.set()
            if self.cluster:
                self.cluster.shutdown(cancel_futures=True)
            threads.shutdown(cancel_futures=True)

    def choose_lrs(self, methods: list[str], threads: ThreadPoolExecutor) -> dict[str, float]:
        """Return the learning rate of each method: see `best_lr`."""
        runs = [run for name in methods for run in self.plan.pilot(name)]
        losses = {run: pilot_loss(run, o) for run, o in zip(runs, threads.map(self.train, runs))}
        return {
            name: best_lr({run.lr: losses[run] for run in self.plan.pilot(name)})
            or self.plan.rates(name)[0]
            for name in methods
        }

    def result(self, name, lr: float | None, outcomes: list[Outcome], peak_bytes, **more) -> dict:
        """Return what a method reaches and costs."""
        trained = size(self.adaptations[name])
        half, end = (summary([o.dev[i] for o in outcomes]) for i in (0, -1))
        forgets = [o.forgets for o in outcomes if o.forgets is not None]
        scores = {
            test: {
                metric: summary([o.scores[test][metric] for o in outcomes])
                for metric in self.task.metrics
            }
            for test in self.task.tests
        }
        return {
            "method": name,
            "trained_params": trained,
            "trained_share": trained / self.base_params,
            "lr": lr,
            "dev": {"half": half, "end": end},
            "converged": self.converged(half["mean"], end["mean"]),
            "forgets": summary(forgets) if forgets else None,
            "seconds_per_run": float(np.mean([o.seconds for o in outcomes])),
            "peak_bytes": peak_bytes,
            "losses": [o.losses for o in outcomes],
            **more,
            **scores,
        }

    def converged(self, half: float, end: float) -> bool:
        """Return whether the training of a method has converged, by its dev scores.

        A method that trains the head, too, is not while it is below the probe.
        """
        is_classification = PROBE in self.task.methods
        probe = self.task.solution().score if is_classification else -np.inf
        return end - half < CONVERGED and end > probe - CONVERGED

    def solve_probe(self, start: float) -> dict:
        """Return the result of a probe, which is solved, and so has no learning rate or seeds.

        start: when its texts began to be read.
        """
        task = self.task
        self.adaptations[PROBE] = probe = task.attach(method(PROBE), np.random.default_rng(0))
        l2 = task.solve(probe)
        outcome = Outcome(dev=[self.dev_score(probe)], seconds=time.perf_counter() - start)
        self.test(probe, outcome)
        return self.result(PROBE, None, [outcome], None, l2=l2)

    def untrained_baseline(self) -> dict:
        """Return the scores of a probe of random weights or, without a head, of the base."""
        task, base = self.task, self.task.base
        if PROBE not in task.methods:
            return {"base": {test: task.evaluate(PLAIN, test) for test in task.tests}}
        network = Decoder if base.causal else Encoder  # without the base's head, if it has one
        random = task.with_base(network(base.config, np.random.default_rng(0)))
        adaptation = random.attach(method(PROBE), np.random.default_rng(0))
        random.solve(adaptation)
        return {"untrained base": {test: random.evaluate(adaptation, test) for test in task.tests}}


def reach(task: Task, plan: Plan, text: GeneralText | None, run: Run) -> tuple[Trainer, Outcome]:
    """Return what `Comparison.reach` returns."""
    return Comparison(task, plan, text=text).reach(run)


def summary(runs: list[float]) -> dict:
    """Return the mean and the standard deviation of the scores of several runs."""
    return {"mean": float(np.mean(runs)), "std": float(np.std(runs)), "runs": runs}


def timed(f: Callable) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    f()
    return time.perf_counter() - start
