"""minipeft generate: the model goes on with a text."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import hf
from ..adapt import PLAIN
from ..generate import generate


@dataclass
class Generate:
    """Let the model go on with a text."""

    prompt: str
    adaptation: Path | None = None
    """A folder from `train`; without: the base alone."""
    model: Path | None = None
    tokens: int = 60
    temperature: float = 0.8
    top_k: int = 40
    seed: int = 0

    def run(self):
        model, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        adapt = hf.load_adaptation(self.adaptation, model) if self.adaptation else PLAIN
        ids = [tokenizer.encode(self.prompt).ids or [0]]
        new = generate(
            model,
            ids,
            adapt,
            max_new_tokens=self.tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            rng=np.random.default_rng(self.seed),
        )
        print(self.prompt + tokenizer.decode(new[0].tolist()))
