"""The plan of a comparison: its training runs, and how long they take."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..adaptation.method import Method
from ..methods import METHODS, method
from .runs import Outcome, Run

MARGIN = 0.05  # by which the loss of a pilot must be lower than that of the first learning rate
LEAST = 20  # steps of a training or a pilot, even if a budget is too small for them


@dataclass
class Plan:
    """How each method is trained: in a pilot at each learning rate, then at the best, long."""

    steps: int = 300
    """Optimizer steps of each training run."""
    pilot_steps: int = 60
    """Optimizer steps of each pilot run, after which the learning rate is chosen; 0: no pilot."""
    batch_size: int = 8
    """Examples in a batch."""
    lrs: tuple[float, ...] = ()
    """Learning rates to try; none: that of the method, a third and three times of it."""
    seeds: int = 2
    """Training runs at the chosen learning rate."""
    words: str | None = None
    """Text that prompts and prefixes start from; None: random words."""
    hidden: int | None = None
    """Width of the hidden layer of the probe; None: a linear probe."""

    def method(self, name: str) -> Method:
        """Return METHODS[name], with the fields `words` and `hidden` if it has them."""
        fields = {"words": self.words, "hidden": self.hidden}
        known = METHODS[name].__dataclass_fields__
        return method(name, **{f: x for f, x in fields.items() if x is not None and f in known})

    def rates(self, name: str) -> tuple[float, ...]:
        """Return the learning rates to try for a method; if there is one, it needs no pilot.

        The first is preferred.
        """
        lr = self.method(name).lr
        rates = self.lrs or (lr, float(f"{lr / 3:.1g}"), float(f"{3 * lr:.2g}"))
        return rates if self.pilot_steps else rates[:1]

    def pilot(self, name: str) -> Iterator[Run]:
        """Yield the runs that choose the learning rate of a method."""
        rates = self.rates(name)
        steps = min(self.steps, self.pilot_steps)
        if len(rates) > 1:
            yield from (Run(name, lr, 0, steps, pilot=True) for lr in rates)

    def training(self, name: str, lr: float) -> Iterator[Run]:
        """Yield the runs of a method at the chosen learning rate."""
        yield from (Run(name, lr, seed, self.steps) for seed in range(self.seeds))

    def count_steps(self, methods: list[str]) -> int:
        """Return the number of optimizer steps of all runs."""
        runs = (run for name in methods for run in (*self.pilot(name), *self.training(name, 0.0)))
        return sum(run.steps for run in runs)

    def longer(self) -> "Plan":
        """Return a plan with ten times as many steps, and two more seeds."""
        return replace(self, steps=10 * self.steps, seeds=self.seeds + 2)

    def within(self, budget: float, seconds: Callable[["Plan"], float]) -> "Plan":
        """Return the plan that takes about `budget` seconds: with more steps, or with fewer seeds.

        If even one seed takes longer, it has fewer steps, and no pilot if that had too few.
        seconds: returns what a plan takes.
        """
        fewer = [replace(self, seeds=n) for n in range(self.seeds, 0, -1)]
        plan = next((plan for plan in fewer if seconds(plan) <= budget), fewer[-1]).scaled(
            budget, seconds
        )
        if 0 < plan.pilot_steps < LEAST:
            plan = replace(plan, pilot_steps=0).scaled(budget, seconds)
        return plan

    def scaled(self, budget: float, seconds: Callable[["Plan"], float]) -> "Plan":
        """Return the plan with as many steps as take `budget` seconds, but at least LEAST."""
        fixed = seconds(replace(self, steps=0, pilot_steps=0))  # about what evaluation takes
        factor = max(0.0, (budget - fixed) / ((seconds(self) - fixed) or np.inf))
        steps, pilot_steps = (round(factor * n) for n in (self.steps, self.pilot_steps))
        return replace(self, steps=max(steps, min(self.steps, LEAST)), pilot_steps=pilot_steps)


def pilot_loss(run: Run, outcome: Outcome) -> float:
    """Return the mean loss in the second half of a pilot run, infinite if it was stopped.

    In the first epoch every loss is one of unseen examples, and the runs see the same.
    """
    finished = len(outcome.losses) == run.steps
    return float(np.mean(outcome.losses[run.steps // 2 :])) if finished else np.inf


def best_lr(losses: dict[float, float]) -> float | None:
    """Return the first learning rate, or another one with a loss that is lower by MARGIN.

    losses: {learning rate: loss in a pilot}.  A pilot prefers rates that are low for a long
    training, hence the margin.
    """
    if not losses:
        return None
    first, best = next(iter(losses)), min(losses, key=losses.get)
    return best if losses[best] < (1 - MARGIN) * losses[first] else first
