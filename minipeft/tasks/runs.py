"""Training runs of a comparison: what they are, what they reach, and where they are kept."""

from dataclasses import dataclass, field

from ..training.trainer import Trainer


@dataclass(frozen=True)
class Run:
    """One training run of a comparison."""

    method: str  # name
    lr: float
    seed: int
    steps: int
    pilot: bool = False  # it only chooses the learning rate

    @property
    def kept(self) -> bool:
        """Whether its adaptation is that of the comparison: the one from the first seed."""
        return self.seed == 0 and not self.pilot


@dataclass
class Outcome:
    """What a training run reaches."""

    losses: list[float] = field(default_factory=list)  # fewer than steps: one was not finite
    dev: list[float] = field(default_factory=list)  # after half of the steps, and at the end
    scores: dict = field(default_factory=dict)  # {test split: {metric: score}}
    forgets: float | None = None
    seconds: float = 0.0


class Runs:
    """Finished training runs, from which a comparison is resumed: this class keeps none."""

    def load(self, run: Run, trainer: Trainer) -> Outcome | None:
        """Set a new trainer to the end of a run, and return its outcome; None if it is new."""

    def save(self, run: Run, trainer: Trainer, outcome: Outcome) -> None:
        """Store a finished run."""
