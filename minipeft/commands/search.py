"""minipeft search: prompts by hand, from paraphrases, a corpus, a search and a training."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from .. import hf
from ..data.files import read_prose
from ..prompting.verbalizer import Verbalizer
from ..tasks.builtin import PROMPTS, TASKS
from ..tasks.search import PromptSearch
from ..world import sentiment
from ..world.corpus import documents
from .classifiers import read_splits
from .common import (
    Command,
    Config,
    Json,
    LabelColumn,
    Model,
    TextColumn,
    check_at_least,
    flag,
    optional,
    print_line,
    print_note,
)
from .shots import check_classes, named_columns, parse_words
from .tables import make_table, print_table

DOCUMENTS = 2000  # of the built-in world, from which templates are mined
DEFAULT = "sentiment"


@dataclass
class Search(Command):
    """Compare manual, paraphrased, mined, searched and soft prompts, on one budget."""

    task: optional(Literal["sentiment", "nli", "topic"], "sentiment|nli|topic") = None
    """Built-in task, which has a template and words. (default: sentiment)"""
    data: optional(Path, "FILE") = None
    """Examples with labels (.jsonl, .json, .csv, .tsv), instead of a built-in task."""
    dev: optional(Path, "FILE", "Examples that choose prompts. (default: 10 % of --data)") = None
    test: optional(Path, "FILE", "Examples to test on. (default: 20 % of --data)") = None
    text_column: TextColumn = ("text",)
    label_column: LabelColumn = "label"
    model: Model = None
    template: optional(str, "TEXT") = None
    """Manual template for --data: '{text} It was [MASK].'; pairs: the names of their columns."""
    words: flag(tuple[str, ...], "[LABEL=WORD ...]") = ()
    """Word of each label for --data: neg=bad pos=good; several: pos=good,great."""
    paraphrases: flag(tuple[str, ...], "[TEXT ...]") = ()
    """Other templates for --data, with the same words."""
    corpus: optional(Path, "FILE") = None
    """Text that templates are mined from. (default, for a built-in task: text of its world)"""
    budget: int = 10_000
    """Texts that may be read to find each prompt; a backward pass counts as one more."""
    length: int = 4
    """Words of the searched prompt, and pseudo-tokens of the soft one."""
    seed: int = 0
    """Seed of the batches, and of the words that search and training start from."""
    config: Config = None
    json: Json = False

    def run(self):
        check_at_least(1, budget=self.budget, length=self.length)
        check_at_least(0, seed=self.seed)
        if self.data and self.task:
            raise ValueError("--task is a built-in task, --data examples of your own: give one")
        if self.data and not (self.template and self.words):
            raise ValueError(
                "--data needs a template and words for the labels: --template "
                "'{text} It was [MASK].' --words neg=bad pos=good"
            )
        for name in () if self.data else ("dev", "test", "template", "words", "paraphrases"):
            if getattr(self, name):
                raise ValueError(f"--{name} is for examples of your own: also give --data")
        base, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        settings = self.own_task() if self.data else self.built_in_task()
        if self.corpus:
            settings["corpus"] = [read_prose(self.corpus)]
        options = {name: getattr(self, name) for name in ("budget", "length", "seed")}
        search = PromptSearch(base, tokenizer, **settings, **options)
        self.output(self.report(search, settings["splits"]))

    def report(self, search: PromptSearch, splits: dict) -> dict:
        """Return the report, and print a line for each prompt that was found."""
        start, results = time.perf_counter(), []
        for result in search.run():
            results.append(result)
            accuracy = 100 * result["scores"]["test"]["accuracy"]
            seconds = time.perf_counter() - start
            print_note(f"{result['kind']}: test {accuracy:.1f} %, after {seconds:.0f} s")
        return {
            "data": str(self.data or self.task or DEFAULT),
            "examples": {split: len(examples) for split, examples in splits.items()},
            "budget": self.budget,
            "results": results,
            "seconds": time.perf_counter() - start,
        }

    def built_in_task(self) -> dict:
        """Return the settings of a PromptSearch for a built-in task."""
        name = self.task or DEFAULT
        template, words = PROMPTS[name]
        return {
            "splits": TASKS[name][1].splits(),
            "template": template,
            "words": words,
            "wordings": sentiment.wordings() if name == "sentiment" else (),
            "corpus": [*islice(documents(np.random.default_rng(0)), DOCUMENTS)],
        }

    def own_task(self) -> dict:
        """Return the settings of a PromptSearch for --data."""
        words = parse_words(self.words)
        files = {"train": self.data, "dev": self.dev, "test": self.test}
        columns, rng = (self.text_column, self.label_column), np.random.default_rng(0)
        splits = read_splits(files, columns, rng, {"dev": 0.1, "test": 0.2})
        for split, examples in splits.items():
            check_classes(examples, words, files[split] or self.data)
        return {
            "splits": {s: named_columns(pairs, self.text_column) for s, pairs in splits.items()},
            "template": self.template,
            "words": Verbalizer(words),
            "wordings": [(template, None) for template in self.paraphrases],
        }

    def show(self, report):
        tests = [split for split in report["examples"] if split not in ("train", "dev")]
        names = [split.upper() if split == "ood" else split for split in tests]
        table = make_table("prompt", ">readings", ">dev %", *(f">{name} %" for name in names))
        table.show_edge = False
        for result in report["results"]:
            scores = result["scores"]
            cells = [with_interval(**scores[split]) for split in tests]
            dev = f"{100 * scores['dev']['accuracy']:.1f}"
            table.add_row(result["kind"], f"{result['readings']:,}", dev, *cells)
        print_table(table)
        for line in ("", *prompts(report), "", legend(report)):
            print_line(line)


def with_interval(accuracy: float, interval) -> str:
    """Return an accuracy with its 95 % interval, in percent."""
    low, high = interval
    return f"{100 * accuracy:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def prompts(report) -> Iterator[str]:
    """Yield a line for each prompt, with its words."""
    for result in report["results"]:
        words = ", ".join(f"{y}: {' or '.join(texts)}" for y, texts in result["words"].items())
        near = f"; nearest words: {result['nearest']}" if "nearest" in result else ""
        yield f"{result['kind']}: {result['template']} ({words}){near}"


def legend(report) -> str:
    """Return what the columns of the table are."""
    return (
        f"Readings: forward and backward passes over a text to find the prompt, at most "
        f"{report['budget']:,}.\ndev chooses. Accuracy in percent, with its 95 % interval. "
        f"{report['data']}, {report['seconds']:.0f} s."
    )
