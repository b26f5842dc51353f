"""minipeft generate: the model goes on with a text."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import arg

from .. import hf
from ..data.files import HALF
from ..methods.template import Layout
from ..model.generate import generate
from . import evaluation as measure
from .common import Command, Config, Json, Model, at_least, optional

END = "<|endoftext|>"  # what ends a text that the model has read, and so what it may say


@dataclass
class Generate(Command):
    """Let the model go on with a text, to its end or for so many tokens."""

    prompt: Annotated[str, arg(metavar="TEXT")]
    """What it begins with; - is what stands on standard input."""
    adaptation: optional(Path, "FOLDER", "A folder from `train`; without: the base alone.") = None
    model: Model = None
    tokens: int = 60
    """At most."""
    temperature: float = 0.8
    """0: always the likeliest token."""
    top_k: int = 40
    """Draw from so many of the likeliest tokens; 0: from all."""
    seed: int = 0
    """Of what is drawn."""
    config: Config = None
    json: Json = False

    def run(self):
        at_least(1, tokens=self.tokens)
        at_least(0, temperature=self.temperature, top_k=self.top_k, seed=self.seed)
        prompt = sys.stdin.read().rstrip("\n") if self.prompt == "-" else self.prompt
        if HALF.search(prompt):
            raise ValueError("--prompt: this is no text in UTF-8")
        model, tokenizer = measure.causal(hf.load(self.model)), hf.load_tokenizer(self.model)
        adaptation = measure.writer(self.adaptation, model)
        ids = tokenizer.encode(prompt).ids or [0]
        layout = Layout(adaptation.template, tokenizer, model)
        what = f"--tokens {self.tokens}, and {len(ids)} of the prompt"
        measure.fits(
            model, adaptation, layout, len(ids) + self.tokens - 1, what
        )  # the last is not read
        new = generate(
            model,
            [layout(ids)],
            adaptation,
            max_new_tokens=self.tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            eos=ends(model, tokenizer),
            rng=np.random.default_rng(self.seed),
        )
        whole = tokenizer.decode([*ids, *new[0].tolist()])
        text = whole[len(tokenizer.decode(ids)) :]  # alone, Llama's first token loses its space
        self.tell({"prompt": prompt, "text": text, "tokens": new.shape[1]})

    def show(self, report):
        print(report["prompt"] + report["text"])


def ends(model, tokenizer):
    """What ends a text: as the model's folder says, or as in the built-in texts."""
    said = model.kept.get("eos_token_id")
    ids = said if isinstance(said, list) else [said]
    return ids if all(type(i) is int for i in ids) else tokenizer.token_to_id(END)
