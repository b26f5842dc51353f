"""minipeft pretrain: train one of the built-in base models from scratch."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..world import pretrain
from .common import (
    Command,
    Config,
    Folder,
    Json,
    check_at_least,
    check_new,
    optional,
    print_line,
)


@dataclass
class Pretrain(Command):
    """Train a built-in base model and its tokenizer from scratch, on generated text."""

    out: Folder
    """Folder for the model and its tokenizer."""
    family: Literal["gpt2", "bert"] = "gpt2"
    """gpt2: a decoder; bert: an encoder."""
    steps: optional(int, "INT") = None
    """Steps of the optimizer. (default: 3000 for gpt2, 10000 for bert)"""
    seed: int = 0
    """Seed of the generated text, the initial weights and the batches."""
    config: Config = None
    json: Json = False

    def run(self):
        check_at_least(1, steps=1 if self.steps is None else self.steps)
        check_at_least(0, seed=self.seed)
        check_new(self.out)
        score = pretrain.pretrain(self.out, self.family, self.steps, self.seed)
        scores = dict(zip(("loss", "accuracy"), np.atleast_1d(score).tolist()))
        self.output({"out": str(self.out), "family": self.family, **scores})

    def show(self, report):
        line = f"mean loss on held-out text: {report['loss']:.3f}"
        if "accuracy" in report:
            line += f", accuracy on masked words: {100 * report['accuracy']:.1f} %"
        print_line(line)
        print_line(f"saved in {report['out']}")
