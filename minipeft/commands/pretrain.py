"""minipeft pretrain: train one of the built-in base models from scratch."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..data.words import count, duration
from ..world import pretrain
from .common import (
    Command,
    Config,
    Folder,
    Json,
    check_at_least,
    flag,
    optional,
    print_line,
    print_note,
    progress,
)
from .work import new_part

Objective = Literal["causal", "masked", "spans", "prefix"]

SECONDS_OF_TEXT = 60
SECONDS_PER_STEP = {"gpt2": 0.22, "bert": 0.07, "t5": 0.15}
RELATIVE_SECONDS = {"0.1M": 0.6, "0.3M": 0.7, "1.1M": 1, "3M": 2.5}


@dataclass
class Pretrain(Command):
    """Train a built-in base model and its tokenizer from scratch, on generated text."""

    out: Folder
    """Folder for the model and its tokenizer."""
    family: Literal["gpt2", "bert", "t5"] = "gpt2"
    """gpt2: a decoder; bert: an encoder; t5: an encoder-decoder."""
    size: Literal["0.1M", "0.3M", "1.1M", "3M"] = "1.1M"
    """Parameters of a gpt2; the other families are of the same width."""
    objective: flag(tuple[Objective, ...], "OBJECTIVE ...") = ()
    """What is predicted: causal, of gpt2: each token; masked, of bert: masked words; of t5 spans:
    removed spans, and prefix: the rest of a text, which take turns. (default: all of the family)"""
    steps: optional(int, "INT") = None
    """Steps of the optimizer. (default: 3000; 10000 for bert, 2000 for t5)"""
    seed: int = 0
    """Seed of the generated text, the initial weights and the batches."""
    config: Config = None
    json: Json = False

    def run(self):
        check_at_least(1, steps=1 if self.steps is None else self.steps)
        check_at_least(0, seed=self.seed)
        pretrain.check_objectives(self.family, self.objective)
        steps = self.steps or pretrain.STEPS[self.family]
        seconds = (
            SECONDS_OF_TEXT + SECONDS_PER_STEP[self.family] * RELATIVE_SECONDS[self.size] * steps
        )
        with new_part(self.out):
            print_note(
                f"generating {pretrain.DOCUMENTS:,} texts, then {count(steps, 'training step')}: "
                f"about {duration(seconds)} on two cores"
            )
            with progress("training", steps) as bar:
                score = pretrain.pretrain(
                    self.out, self.family, steps, self.seed, bar.show, self.objective, self.size
                )
        scores = dict(zip(("loss", "accuracy"), np.atleast_1d(score).tolist()))
        self.output({"out": str(self.out), "family": self.family, "size": self.size, **scores})

    def show(self, report):
        line = f"mean loss on held-out text: {report['loss']:.3f}"
        if "accuracy" in report:
            line += f", accuracy on masked words: {100 * report['accuracy']:.1f} %"
        print_line(line)
        print_line(f"saved in {report['out']}")
