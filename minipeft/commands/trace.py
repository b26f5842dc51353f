"""minipeft trace: every step of one forward pass, with its equation, source, shape and value."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.markup import escape
from tyro.conf import Positional, arg

from .. import hf
from ..adaptation.method import PLAIN, PSEUDO
from ..data.files import LONE_SURROGATE
from ..data.words import count
from ..inspection.trace import Step, trace
from ..methods.template import Layout
from ..model.encoder_decoder import EncoderDecoder
from .arrays import format_number, matrix_lines
from .common import BaseModel, Command, Config, Json, did_you_mean, optional, print_line, stdout
from .folders import base_of, load_with_network
from .tables import make_table, print_table

STEP = (
    "Show the value and the inputs of this step, such as blocks.0.attn.softmax. With a pattern, "
    "list the steps whose names begin with it: blocks.0.attn."
)
FIRST, LIKELY = 3, 5  # numbers of a step in the list, and tokens of a row of logits


@dataclass
class Trace(Command):
    """Show every step of one forward pass: its equation, source line, shape and value."""

    text: Positional[Annotated[str, arg(metavar="TEXT")]]
    """The text that the model reads."""
    step: optional(str, "STEP", STEP) = None
    adaptation: optional(Path, "FOLDER", "Folder that `minipeft train` or PEFT wrote.") = None
    model: BaseModel = None
    decoder_text: optional(str, "TEXT") = None
    """What the decoder of an encoder-decoder has written so far. (default: nothing)"""
    config: Config = None
    json: Json = False

    def run(self):
        if LONE_SURROGATE.search(self.text + (self.decoder_text or "")):
            raise ValueError("TEXT is not valid UTF-8")
        base = base_of(self.model, self.adaptation)
        model, tokenizer = hf.load(base), hf.load_tokenizer(base)
        adaptation = PLAIN
        if self.adaptation:
            adaptation, model = load_with_network(self.adaptation, model)
        ids = Layout(adaptation.template, tokenizer, model)(tokenizer.encode(self.text).ids)
        if not ids:
            raise ValueError("TEXT has no tokens: give another one")
        written = self.decoder_ids(model, tokenizer)
        steps = trace(model, [ids], adaptation, **{"decoder_ids": [written]} if written else {})
        token = lambda i: f"[P{PSEUDO - i}]" if i < 0 else token_text(tokenizer, i)
        report = {"tokens": [*map(token, ids)]}
        report |= {"decoder_tokens": [*map(token, written)]} if written else {}
        chosen = choose(steps, self.step)
        self.output(report | {"steps": [self.describe(step, token) for step in chosen]})

    def decoder_ids(self, model, tokenizer) -> list[int]:
        """Return what the decoder of an encoder-decoder reads; [] for another model."""
        if isinstance(model, EncoderDecoder):
            text = tokenizer.encode(self.decoder_text or "", add_special_tokens=False)
            return [model.config.decoder_start, *text.ids]
        if self.decoder_text is not None:
            raise ValueError("--decoder-text is for an encoder-decoder, and the model is none")
        return []

    def describe(self, step, token):
        """Return a step for the report, with its value if --step is given."""
        fields = {n: getattr(step, n) for n in ("name", "equation", "paper", "file", "line")}
        fields |= {"shape": step.value.shape, "first": as_list(step.value.ravel()[:FIRST])}
        if self.step is not None:
            fields["inputs"] = {name: x.shape for name, x in step.inputs.items()}
            fields["value"] = as_list(step.value)
            if step.name in ("head", "head.base"):
                best = np.argsort(-step.value[0], axis=-1, kind="stable")[:, :LIKELY]
                fields["likely"] = [[*map(token, row)] for row in best.tolist()]
        return fields

    # -- printing

    def show(self, report):
        steps = report["steps"]
        if self.step is not None and len(steps) == 1:
            return show_step(steps[0], report)
        table = make_table("step, shape, first numbers", "equation, source", lines=True)
        for step in steps:
            numbers = " ".join(map(format_number, step["first"]))
            left = f"{step['name']}\n{step['shape']} {numbers} …"
            table.add_row(left, escape(f"{step['equation']}\n{step['file']}:{step['line']}"))
        print_table(table, f"{count(len(steps), 'step')}; --step NAME shows one and its value")


def choose(steps: dict[str, Step], name: str | None) -> list[Step]:
    """Return the step of that name, or those whose names begin with that pattern; None: all.

    Raises ValueError if there are none.
    """
    if name is None or name in steps:
        return [steps[name]] if name else [*steps.values()]
    try:
        found = [step for step in steps.values() if re.match(name, step.name)]
    except re.error as error:
        raise ValueError(f"--step {name!r} is no step, and no pattern: {error}") from None
    if not found:
        hint = did_you_mean(name, steps)
        raise ValueError(f"there is no step {name!r}{hint} `minipeft trace TEXT` lists all.")
    return found


def token_text(tokenizer, i):
    """Return the text of a token without spaces around it, or its name in the vocabulary."""
    return tokenizer.decode([i]).strip() or tokenizer.id_to_token(i)


def as_list(x):
    """Return an array as lists for JSON, in which None is the score of a masked key."""
    return np.where(np.isfinite(x), x, None).tolist()


def show_step(step, report) -> None:
    """Print all that is known of one step, and its value."""
    table = make_table("", "", title=step["name"])
    inputs = "\n".join(f"{name} {shape}" for name, shape in step["inputs"].items())
    rows = {"equation": step["equation"], "paper": step["paper"]}
    rows |= {"source": f"{step['file']}:{step['line']}", "inputs": inputs, "value": step["shape"]}
    for name, text in rows.items():
        if text:
            table.add_row(name, escape(str(text)))
    print_table(table)
    for line in value_lines(step, report):
        print_line(line)


def value_lines(step, report) -> Iterator[str]:
    """Yield the lines of a value, without its axis of the batch; rows are named after tokens."""
    name = step["name"].rpartition(".")[2]
    read, written = report["tokens"], report.get("decoder_tokens", report["tokens"])
    words = read if step["name"].startswith("encoder.") else written
    cross, of_keys = ".cross." in step["name"], r"\.(k|v|keys|values)(\.base)?$"
    keys = read if cross else words
    x = np.atleast_2d(np.array(step["value"], float)[0])
    rows = names_of(x.shape[-2], keys if re.search(of_keys, step["name"]) else words)
    columns = names_of(x.shape[-1], keys) if name in ("scores", "softmax") else None
    if "likely" in step:
        yield from (f"{name}: {', '.join(likely)}" for name, likely in zip(rows, step["likely"]))
        return
    for i, head in enumerate(x.reshape(-1, *x.shape[-2:])):
        if x.ndim > 2:
            yield f"head {i}"
        if name == "softmax":  # a weight of 0 is that of a masked key
            yield from matrix_lines(np.where(head, head, np.nan), rows, columns, stdout.width, "–")
        else:
            yield from matrix_lines(head, rows, columns, stdout.width)


def names_of(n, words):
    """Return names of n rows: P0, P1, … of virtual tokens, then the words; or else numbers."""
    virtual = n - len(words)
    return [*(f"P{i}" for i in range(virtual)), *words] if virtual >= 0 else [*map(str, range(n))]
