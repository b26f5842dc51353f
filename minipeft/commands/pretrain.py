"""minipeft pretrain: the built-in base, made anew."""

from dataclasses import dataclass
from pathlib import Path

from ..world import pretrain
from .common import out


@dataclass
class Pretrain:
    """Make the built-in base anew: the world's text, its vocabulary, and a language model of it."""

    out: Path
    steps: int = 2500
    seed: int = 0

    def run(self):
        held = pretrain.pretrain(self.out, self.steps, self.seed)
        out.print(f"{self.out}: held-out loss a token {held:.3f}")
