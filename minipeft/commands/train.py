"""minipeft train: one method, on a text of yours."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from .. import hf
from ..adapt import PLAIN
from ..data import DataError, passages, read_text
from ..methods import method
from ..optim import AdamW, schedule
from ..tensor import no_grad
from ..train import Trainer
from .common import filling, out, unused


@dataclass
class Train:
    """Adapt a language model to a text, by one method."""

    data: Path
    """A text file, UTF-8; its last tenth is held out."""
    out: Path
    """The folder for the adaptation, and metrics.jsonl."""
    method: str = "prefix"
    """One of prompt, prefix, adapter, lora, full."""
    fields: tuple[str, ...] = ()
    """Fields of the method, all behind one flag: --fields length=20 init=normal"""
    model: Path | None = None
    """A Hugging Face GPT-2 folder; without: the built-in base."""
    steps: int = 300
    rate: float = 3e-3
    batch: int = 16
    length: int = 64
    """Tokens of a passage."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: int = 20
    seed: int = 0

    def run(self):
        adapt = method(self.method, **dict(map(self.field, self.fields)))
        if min(self.steps, self.batch, self.length - 1) < 1 or not 0 < self.rate < np.inf:
            raise DataError("--steps and --batch are at least 1, --length 2, and --rate above 0")
        unused(self.out)
        model, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        adapt.attach(model, np.random.default_rng(self.seed))
        ids = np.array(tokenizer.encode(read_text(self.data)).ids)
        own, kept = np.split(ids, [int(0.9 * len(ids))])
        held = held_out(kept, self.batch, self.length)
        before, start = evaluate(model, PLAIN, held), time.perf_counter()
        rates = schedule(self.schedule, self.steps, self.warmup)
        trainer = Trainer(model, adapt, AdamW(adapt.parameters(), self.rate), rates, seed=self.seed)
        batches = passages(own, self.batch, self.length, np.random.default_rng(self.seed))
        with TemporaryDirectory() as place, filling(self.out) as new:
            log = Path(place, "metrics.jsonl")
            trainer.fit(batches, self.steps, log=log)
            hf.save(adapt, new)
            shutil.copy(log, new)
        trained = sum(p.data.size for p in adapt.parameters())
        seconds = time.perf_counter() - start
        out.print(f"{adapt}: {trained:,} numbers in {seconds:.0f} s", markup=False)
        after = evaluate(model, adapt, held)
        out.print(f"held-out loss a token: {before:.3f} with the base, {after:.3f} adapted")

    def field(self, text):
        name, given, value = text.partition("=")
        if not given:
            raise DataError(f"--fields {text}: write name=value")
        try:
            return name, json.loads(value)
        except json.JSONDecodeError:
            return name, value


def held_out(ids, size, length, most=20):
    """At most so many batches of passages, one after the other."""
    rows = ids[: len(ids) // length * length].reshape(-1, length)
    if not len(rows):
        raise DataError(f"of {len(ids)} held-out tokens there is no passage of {length}: more text")
    return [rows[at : at + size] for at in range(0, min(len(rows), most * size), size)]


def evaluate(model, adapt, batches):
    """The mean loss of a token."""
    with no_grad():
        losses = [float(model.loss(ids, ids, adapt)) for ids in batches]
    return float(np.average(losses, weights=[len(ids) for ids in batches]))
