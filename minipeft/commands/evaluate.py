"""minipeft evaluate: the mean loss on a text, or the accuracy on examples with labels."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from rich.markup import escape

from .. import hf
from ..data.files import DataError, read_examples, read_prose
from ..data.labels import match_classes
from ..data.text_metrics import exact_match
from ..data.words import count
from ..methods.template import Layout
from ..model.encoder_decoder import EncoderDecoder
from ..model.heads import Classifier
from ..storage.folders import write_atomically
from ..tasks.classify import Classify
from ..training.parallel import slices
from . import divergences, evaluation, shots
from .classifiers import load_classifier
from .common import (
    BaseModel,
    BlockSize,
    Command,
    Config,
    Json,
    LabelColumn,
    TextColumn,
    check_at_least,
    check_new,
    flag,
    optional,
    print_line,
    progress,
)
from .folders import base_of
from .tables import make_table, print_table
from .text_to_text import text_task

BATCH = 16  # texts that are classified together
PROMPT_FLAGS = "task", "template", "words", "demonstrations", "separator", "limit", "seed"
FILE_FLAGS = "words", "demonstrations", "predictions", "text_column", "label_column"
SCORES = {
    "loss": "mean loss",
    "exact_match": "exact match",
    "accuracy": "accuracy",
    "calibrated": "calibrated",
    "ood_accuracy": "OOD accuracy",
    "ood_calibrated": "OOD calibrated",
}


@dataclass
class Evaluate(Command):
    """Evaluate the base model and adaptations of it on a text or on examples."""

    data: optional(Path, "FILE") = None
    """A text: mean loss of its tokens.  Examples (.jsonl, .json, .csv, .tsv): accuracy."""
    adaptation: flag(tuple[Path, ...], "[FOLDER ...]") = ()
    """Folders that `minipeft train` or PEFT wrote; each is evaluated by itself."""
    model: BaseModel = None
    text_column: TextColumn = ("text",)
    label_column: LabelColumn = "label"
    block_size: BlockSize = 64
    predictions: optional(Path, "FILE") = None
    """Write the predicted labels to this .jsonl file; --data then needs no labels."""
    shots: optional(int, "INT") = None
    """Let the language model itself classify, through a template, after so many examples."""
    task: optional(Literal["sentiment", "nli", "topic"], "sentiment|nli|topic") = None
    """Built-in task in place of --data, for --shots; it has a template and words."""
    template: optional(str, "TEXT") = None
    """Template for --shots: '{text} It was [MASK].'; pairs have the names of their columns."""
    words: flag(tuple[str, ...], "[LABEL=WORD ...]") = ()
    """Word of each label for --shots: neg=bad pos=good; several: pos=good,great."""
    demonstrations: optional(Path, "FILE") = None
    """File that examples in context are drawn from. (default: --data, without these)"""
    separator: flag(str, "TEXT") = "\n\n"
    """Text after each example in context. (default: an empty line)"""
    limit: optional(int, "INT") = None
    """Classify only so many examples with --shots, the first ones. (default: all)"""
    seed: int = 0
    """Seed of the choice and the order of the examples in context."""
    config: Config = None
    json: Json = False

    renamed = {"passage": "block-size"}

    def run(self):
        check_at_least(2, block_size=self.block_size)
        check_new(self.predictions)
        self.check_prompt()
        if self.predictions and len(self.adaptation) > 1:
            raise ValueError("--predictions takes at most one --adaptation")
        if self.shots is not None:
            return self.output(self.on_prompts())
        has_labels = evaluation.all_hold_examples(self.data)
        if self.predictions and not has_labels:
            raise ValueError("--predictions needs examples as --data")
        base = base_of(self.model, *self.adaptation)
        model, tokenizer = hf.load(base), hf.load_tokenizer(base)
        if has_labels and isinstance(model, EncoderDecoder):
            return self.output(self.on_pairs(model, tokenizer))
        if has_labels and not self.adaptation and not isinstance(model, Classifier):
            raise ValueError(
                "--data has examples, and the model does not classify texts: also give a "
                "classifier, --adaptation FOLDER"
            )
        self.output((self.on_examples if has_labels else self.on_text)(model, tokenizer))

    def check_prompt(self):
        """Raise ValueError for flags of prompts that do not fit together."""
        check_at_least(0, shots=self.shots or 0, seed=self.seed)
        check_at_least(1, limit=1 if self.limit is None else self.limit)
        if self.shots is None:
            self.refuse(PROMPT_FLAGS, "is for --shots: also give --shots, such as 0 or 4")
            if not self.data:
                raise ValueError("give a text or examples: --data FILE; or --task NAME --shots 4")
            return
        if bool(self.task) == bool(self.data):
            raise ValueError("--shots needs examples: give either --data FILE or --task NAME")
        self.refuse(["block_size"], "is for texts, and --shots for examples")
        if self.task:
            self.refuse(FILE_FLAGS, "is for --data, and --task is given")
        if not self.shots:
            self.refuse(["demonstrations"], "is for examples in context: give more than --shots 0")

    def refuse(self, names, why):
        """Raise ValueError if one of these flags is given."""
        defaults = {field.name: field.default for field in fields(self)}
        for name in names:
            if getattr(self, name) != defaults[name]:
                raise ValueError(f"--{name.replace('_', '-')} {why}")

    def on_prompts(self):
        """Return the report of prompting, and write the predictions."""
        base = base_of(self.model, *self.adaptation)
        report, predictions = shots.evaluate(self, hf.load(base), hf.load_tokenizer(base))
        if self.predictions:
            self.write_predictions(*zip(*predictions))
        return report

    def on_text(self, model, tokenizer):
        """Return the report on a text."""
        text = read_prose(self.data, (*self.text_column, self.label_column))
        ids = tokenizer.encode(text).ids
        passages = evaluation.split_passages(ids, self.block_size, self.data)
        results = []
        for folder in (None, *self.adaptation):
            adaptation = evaluation.load_for_text(folder, evaluation.check_decoder(model))
            layout = Layout(adaptation.template, tokenizer, model)
            what = f"--block-size {self.block_size}"
            evaluation.check_length(model, adaptation, layout, self.block_size, what)
            loss = evaluation.mean_loss(model, adaptation, layout, passages)
            results.append({"adaptation": folder and str(folder), "loss": loss})
            if folder:
                results[-1] |= divergences.on_passages(model, tokenizer, adaptation, passages)
        evaluation.check_base_loss(results[0]["loss"], model)
        return {"data": str(self.data), "tokens": passages.size, "results": results}

    def on_examples(self, model, tokenizer):
        """Return the report on examples, and write the predictions."""
        columns = self.text_column, self.label_column
        examples = read_examples(self.data, *columns, labels_needed=self.predictions is None)
        labels, results, truncated = [label for _, label in examples], [], 0
        for folder in self.adaptation or (None,):
            network, adaptation, namings = load_classifier(folder, model)
            classes = match_classes({*labels} - {None}, namings)
            if classes is None:
                unknown = sorted({*labels} - {*namings[0], None})
                raise DataError(
                    f"{self.data} has the labels {', '.join(unknown)}; {folder or self.model} was "
                    f"trained on {', '.join(namings[0])}"
                )
            task = Classify(str(self.data), {"test": examples}, network, tokenizer, classes=classes)
            with progress("evaluating", len(slices(len(examples), BATCH))) as bar:
                predictions = task.predict(adaptation, "test", BATCH, bar)
            right = [y == label for y, label in zip(predictions, labels) if label is not None]
            accuracy = float(np.mean(right)) if right else None
            results.append({"adaptation": folder and str(folder), "accuracy": accuracy})
            if folder:
                results[-1] |= divergences.on_examples(task, adaptation)
            truncated = max(truncated, task.truncated(adaptation))
        if self.predictions:
            self.write_predictions([text for text, _ in examples], predictions)
        report = {"data": str(self.data), "examples": len(examples), "truncated": truncated}
        return report | {"results": results}

    def on_pairs(self, model, tokenizer):
        """Return the report on the texts that an encoder–decoder writes, and write these."""
        columns, results, truncated = (self.text_column, self.label_column), [], 0
        task = text_task(str(self.data), {"test": self.data}, columns, model, tokenizer)
        references = task.labels("test")
        for folder in (None, *self.adaptation):
            adaptation = evaluation.load_for_text(folder, model)
            with progress("evaluating", len(slices(len(references), BATCH))) as bar:
                predictions = task.predict(adaptation, "test", BATCH, bar)
            scores = {
                "loss": task.loss(adaptation, "test"),
                "exact_match": exact_match(predictions, references),
            }
            results.append({"adaptation": folder and str(folder)} | scores)
            if folder:
                results[-1] |= divergences.on_examples(task, adaptation)
            truncated = max(truncated, task.truncated(adaptation))
        if self.predictions:
            texts = [text for text, _ in read_examples(self.data, *columns, as_text=True)]
            self.write_predictions(texts, predictions)
        report = {"data": str(self.data), "examples": len(references), "truncated": truncated}
        return report | {"results": results}

    def write_predictions(self, texts, predictions):
        """Write the texts and their predicted labels, in columns of the same names as in --data."""
        single = len(self.text_column) == 1
        named = lambda text: dict(zip(self.text_column, [text] if single else text))
        rows = [
            (text if isinstance(text, dict) else named(text)) | {self.label_column: label}
            for text, label in zip(texts, predictions)
        ]
        self.predictions.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomically(self.predictions, text.encode())

    def show(self, report):
        unit = "tokens" if "tokens" in report else "examples"
        title = f"{report['data']}: {count(report[unit], unit.removesuffix('s'))}"
        if "shots" in report:
            title += f", {count(report['shots'], 'example')} in context"
        scores = [name for name in SCORES if name in report["results"][0]]
        compared = [result for result in report["results"] if "kl" in result]
        columns = ["adaptation", *(f">{SCORES[name]}" for name in scores)]
        columns += [">KL", ">random", ">z"] if compared else []
        table = make_table(*columns, title=title)
        for result in report["results"]:
            cells = [format_score(name, result[name]) for name in scores]
            cells += divergences.cells(result) if compared else []
            table.add_row(escape(result["adaptation"] or "(none)"), *cells)
        predicted = "token" if "loss" in scores else "text"
        lines = [divergences.CAPTION.format(predicted), *map(divergences.sentence, compared)]
        print_table(table, *(lines if compared else ()))
        if "prompt" in report:
            print_line(f"the first prompt:\n{report['prompt']}")
        if report.get("fewest_shots", 0) < report.get("shots", 0):
            few = report["fewest_shots"]
            print_line(f"the model has room for {count(few, 'example')} before the longest text")
        if report.get("truncated"):
            print_line(f"truncated to what fits the model: {count(report['truncated'], 'text')}")


def format_score(name, value):
    """Return a loss, or a share of examples, as text."""
    if name == "loss":
        return f"{value:.3f}"
    return "no labels" if value is None else f"{100 * value:.1f} %"
