"""minipeft pretrain: a built-in base, made anew."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..world import pretrain
from .common import Command, Config, Folder, Json, at_least, optional, out, unused


@dataclass
class Pretrain(Command):
    """Make a built-in base anew: the world's text, its vocabulary, and a language model of it."""

    out: Folder
    """Where the model and its tokenizer go."""
    family: Literal["gpt2", "bert"] = "gpt2"
    """A decoder, or an encoder."""
    steps: optional(int, "INT") = None
    """Without: as many as the built-in one had."""
    seed: int = 0
    """Of its text, its start and its training."""
    config: Config = None
    json: Json = False

    def run(self):
        at_least(1, steps=1 if self.steps is None else self.steps)
        at_least(0, seed=self.seed)
        unused(self.out)
        score = pretrain.pretrain(self.out, self.family, self.steps, self.seed)
        named = zip(("loss", "right"), np.atleast_1d(score).tolist())
        self.tell({"out": str(self.out), "family": self.family, **dict(named)})

    def show(self, report):
        line = f"{report['out']}: held-out loss a token {report['loss']:.3f}"
        line += f", {100 * report['right']:.1f} % are right" if "right" in report else ""
        out.print(line, markup=False, highlight=False, soft_wrap=True)
