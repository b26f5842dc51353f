"""minipeft generate: text that continues a prompt."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import arg

from .. import hf
from ..data.files import LONE_SURROGATE
from ..data.words import count
from ..methods.template import Layout
from ..model.generate import generate
from ..model.special_tokens import bos_id, eos_ids
from . import evaluation
from .common import BaseModel, Command, Config, Json, check_at_least, optional
from .folders import base_of


@dataclass
class Generate(Command):
    """Generate text that continues a prompt, with or without an adaptation."""

    prompt: Annotated[str, arg(metavar="TEXT")]
    """The beginning of the text; "": from the token that begins one; -: read it from stdin."""
    adaptation: optional(Path, "FOLDER", "Folder that `minipeft train` wrote.") = None
    model: BaseModel = None
    max_new_tokens: int = 60
    """Stop after this many tokens, if the text has not ended before."""
    temperature: float = 0.8
    """Logits are divided by it; 0: always take the most likely token."""
    top_k: int = 40
    """Sample from the k most likely tokens; 0: from all."""
    seed: int = 0
    """Seed of the sampling."""
    config: Config = None
    json: Json = False

    renamed = {"tokens": "max-new-tokens"}

    def run(self):
        check_at_least(1, max_new_tokens=self.max_new_tokens)
        check_at_least(0, temperature=self.temperature, top_k=self.top_k, seed=self.seed)
        prompt = sys.stdin.read().rstrip("\n") if self.prompt == "-" else self.prompt
        if LONE_SURROGATE.search(prompt):
            raise ValueError("--prompt is not valid UTF-8")
        base = base_of(self.model, self.adaptation)
        model, tokenizer = evaluation.check_decoder(hf.load(base)), hf.load_tokenizer(base)
        adaptation = evaluation.load_for_text(self.adaptation, model)
        ids = tokenizer.encode(prompt).ids or [bos_id(model, tokenizer)]
        if ids == [None]:
            raise ValueError(
                "--prompt is empty, and the model names no token that begins a text, bos_token_id "
                "in config.json: give a prompt"
            )
        layout = Layout(adaptation.template, tokenizer, model)
        what = f"a prompt of {count(len(ids), 'token')} and --max-new-tokens {self.max_new_tokens}"
        tokens = len(ids) + self.max_new_tokens - 1  # the model does not read the last one
        evaluation.check_length(model, adaptation, layout, tokens, what)
        new = generate(
            model,
            [layout(ids)],
            adaptation,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            eos=eos_ids(model, tokenizer),
            rng=np.random.default_rng(self.seed),
        )
        full = tokenizer.decode([*ids, *new[0].tolist()])
        text = full[len(tokenizer.decode(ids)) :]  # Llama's tokenizer drops a leading space
        self.output({"prompt": prompt, "text": text, "new_tokens": new.shape[1]})

    def show(self, report):
        print(report["prompt"] + report["text"])
