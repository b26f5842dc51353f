"""minipeft pretrain: the built-in base, made anew."""

from dataclasses import dataclass

from ..world import pretrain
from .common import Command, Config, Folder, Json, at_least, out, unused


@dataclass
class Pretrain(Command):
    """Make the built-in base anew: the world's text, its vocabulary, and a language model of it."""

    out: Folder
    """Where the model and its tokenizer go."""
    steps: int = 2500
    seed: int = 0
    """Of its text, its start and its training."""
    config: Config = None
    json: Json = False

    def run(self):
        at_least(1, steps=self.steps)
        at_least(0, seed=self.seed)
        unused(self.out)
        held = pretrain.pretrain(self.out, steps=self.steps, seed=self.seed)
        self.tell({"out": str(self.out), "loss": held})

    def show(self, report):
        line = f"{report['out']}: held-out loss a token {report['loss']:.3f}"
        out.print(line, markup=False, highlight=False, soft_wrap=True)
