"""minipeft generate: text that continues a prompt."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import arg

from .. import hf
from ..data.files import LONE_SURROGATE
from ..data.words import count
from ..methods.template import Layout
from ..model.encoder_decoder import EncoderDecoder
from ..model.generate import generate
from ..model.generation_config import NAMES, generation_config
from ..model.special_tokens import bos_id, eos_ids
from . import evaluation
from .common import BaseModel, Command, Config, Json, check_at_least, flag, optional
from .folders import base_of

EARLY = {  # --early-stopping: the setting
    "no": False,
    "yes": True,
    "never": "never",
}


@dataclass
class Generate(Command):
    """Generate text that continues a prompt, with or without an adaptation.

    What is left out is as generation_config.json says, or the default.
    """

    prompt: Annotated[str, arg(metavar="TEXT")]
    """The beginning of the text; "": from the token that begins one; -: read it from stdin."""
    adaptation: optional(Path, "FOLDER", "Folder that `minipeft train` wrote.") = None
    model: BaseModel = None
    max_new_tokens: optional(
        int, "INT", "Stop after this many tokens, if the text has not ended. (default: 60)"
    ) = None
    min_new_tokens: optional(int, "INT", "The text does not end before. (default: 0)") = None
    temperature: optional(
        float,
        "FLOAT",
        "Logits are divided by it; 0: always take the most likely token. (default: 0.8, and 0 for "
        "a beam search)",
    ) = None
    top_k: optional(
        int, "INT", "Sample from the k most likely tokens; 0: from all. (default: 40)"
    ) = None
    top_p: optional(
        float,
        "FLOAT",
        "Sample from the fewest tokens that have this probability together. (default: 1)",
    ) = None
    repetition_penalty: optional(
        float, "FLOAT", "Above 1: tokens of the text so far are less likely. (default: 1)"
    ) = None
    no_repeat_ngram_size: optional(
        int, "INT", "So many tokens in a row never occur twice; 0: no limit. (default: 0)"
    ) = None
    num_beams: optional(int, "INT", "Beams of a beam search; 1: none. (default: 1)") = None
    length_penalty: optional(
        float, "FLOAT", "α of a beam search; above 0: longer texts. (default: 1)"
    ) = None
    length_formula: optional(
        Literal["transformers", "gnmt"],
        "transformers|gnmt",
        "A beam search divides by length^α or ((5 + length)/6)^α. (default: transformers)",
    ) = None
    early_stopping: optional(
        Literal["no", "yes", "never"],
        "no|yes|never",
        "End of a beam search: when a better text is unlikely; when there are as many texts as "
        "beams; when there can't be a better one. (default: no)",
    ) = None
    stop: flag(tuple[str, ...], "TEXT …", "The text ends after one of these.") = ()
    stream: flag(bool, help="Print words as they come, not only on a terminal.") = False
    seed: int = 0
    """Seed of the sampling."""
    config: Config = None
    json: Json = False

    renamed = {"tokens": "max-new-tokens"}

    def run(self):
        check_at_least(0, seed=self.seed)
        if self.stream and self.json:
            raise ValueError("--stream prints text as it comes, --json one report: leave one out")
        prompt = sys.stdin.read().rstrip("\n") if self.prompt == "-" else self.prompt
        if LONE_SURROGATE.search(prompt):
            raise ValueError("--prompt is not valid UTF-8")
        base = base_of(self.model, self.adaptation)
        model, tokenizer = check_writer(hf.load(base)), hf.load_tokenizer(base)
        adaptation = evaluation.load_for_text(self.adaptation, model)
        ids = prompt_ids(prompt, model, tokenizer)
        # the text of an encoder-decoder does not begin with the prompt
        begin, read = ("", []) if model.config.decoder_layers else (prompt, ids)
        tokens = self.generate(ids, model, tokenizer, adaptation)
        before = tokenizer.decode(read)  # Llama's tokenizer drops the leading space of a text
        decode = lambda new: tokenizer.decode([*read, *new])[len(before) :]
        if not isinstance(tokens, np.ndarray):
            return print_stream(begin, tokens, decode)
        text = decode(tokens[0].tolist())
        if not self.json:
            return print(begin + text)
        self.output({"prompt": prompt, "text": text, "new_tokens": tokens.shape[1]})

    def generate(self, ids, model, tokenizer, adaptation):
        """Return the new tokens (1, N), or an iterator of them if they are printed as they come."""
        layout = Layout(adaptation.template, tokenizer, model)
        settings = {"eos": eos_ids(model, tokenizer)} | self.settings(model)
        one_text = not model.config.decoder_layers
        c = generation_config(model, len(layout(ids)) if one_text else 1, **settings)
        what = f"a prompt of {count(len(ids), 'token')} and --max-new-tokens {c.max_new_tokens}"
        last = len(ids) + c.max_new_tokens - 1  # the model does not read the last one
        last = last if one_text else max(len(ids), c.max_new_tokens)
        evaluation.check_length(model, adaptation, layout, last, what)
        stream = self.stream or not self.json and c.num_beams == 1 and sys.stdout.isatty()
        return generate(
            model,
            [layout(ids)],
            adaptation,
            rng=np.random.default_rng(self.seed),
            tokenizer=tokenizer,
            stream=stream,
            **settings,
        )

    def settings(self, model):
        """Return the settings that the flags give, and the defaults where the folder has none."""
        given = {name: x for name, x in vars(self).items() if name in NAMES and x is not None}
        check_at_least(1, **{n: given[n] for n in ("max_new_tokens", "num_beams") if n in given})
        check_at_least(0, **{n: given[n] for n in ("temperature", "top_k") if n in given})
        if self.early_stopping:
            given["early_stopping"] = EARLY[self.early_stopping]
        if self.stop:
            given["stop_strings"] = self.stop
        folder = model.generation_config or model.folder_settings
        has = lambda *names: any(folder.get(name) is not None for name in names)
        if not has("max_new_tokens", "max_length"):
            given.setdefault("max_new_tokens", 60)
        if not has("do_sample", "num_beams") and given.get("num_beams", 1) == 1:
            given = {"temperature": 0.8, "top_k": 40} | given
        return given


def check_writer(model):
    """Return the model; raise ValueError if it can't generate text."""
    return model if isinstance(model, EncoderDecoder) else evaluation.check_decoder(model)


def prompt_ids(prompt, model, tokenizer) -> list[int]:
    """Return the token ids of a prompt, or the one that begins a text if the prompt is empty."""
    ids = tokenizer.encode(prompt).ids or [bos_id(model, tokenizer)]
    if ids == [None]:
        raise ValueError(
            "--prompt is empty, and the model names no token that begins a text, bos_token_id "
            "in config.json: give a prompt"
        )
    return ids


def print_stream(prompt, tokens, decode) -> None:
    """Print the prompt, and the text of the tokens as they come.

    A text that ends within a character is printed when the next tokens have completed it.
    """
    print(prompt, end="", flush=True)
    new, text, printed = [], "", 0
    for token in tokens:
        new += token.tolist()
        text = decode(new)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            print(text[printed:], end="", flush=True)
            printed = len(text)
    print(text[printed:])
