"""minipeft evaluate: the mean loss on a text, or the accuracy on examples with labels."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from .. import hf
from ..data.files import DataError, read_examples, read_text
from ..methods.template import Layout
from ..tasks.classify import classifier
from . import evaluation
from .common import (
    BaseModel,
    BlockSize,
    Command,
    Config,
    File,
    Json,
    LabelColumn,
    TextColumn,
    check_at_least,
    check_new,
    flag,
    optional,
    stdout,
)
from .folders import base_of


@dataclass
class Evaluate(Command):
    """Evaluate the base model and adaptations of it on a text or on examples."""

    data: File
    """A text: mean loss of its tokens.  Examples (.jsonl, .csv or .tsv): accuracy."""
    adaptation: flag(tuple[Path, ...], "[FOLDER ...]") = ()
    """Folders that `minipeft train` wrote; each is evaluated by itself."""
    model: BaseModel = None
    text_column: TextColumn = "text"
    label_column: LabelColumn = "label"
    block_size: BlockSize = 64
    predictions: optional(Path, "FILE") = None
    """Write the predicted labels to this .jsonl file; --data then needs no labels."""
    config: Config = None
    json: Json = False

    renamed = {"passage": "block-size"}

    def run(self):
        check_at_least(2, block_size=self.block_size)
        check_new(self.predictions)
        has_labels = evaluation.has_labels(self.data)
        if has_labels and not self.adaptation:
            raise ValueError("--data has examples: also give a classifier, --adaptation FOLDER")
        if self.predictions and not (has_labels and len(self.adaptation) == 1):
            raise ValueError("--predictions needs examples as --data, and one --adaptation")
        base = base_of(self.model, *self.adaptation)
        model, tokenizer = hf.load(base), hf.load_tokenizer(base)
        self.output((self.on_examples if has_labels else self.on_text)(model, tokenizer))

    def on_text(self, model, tokenizer):
        """Return the report on a text."""
        ids = tokenizer.encode(read_text(self.data)).ids
        passages = evaluation.split_passages(ids, self.block_size, self.data)
        results = []
        for folder in (None, *self.adaptation):
            adaptation = evaluation.load_for_text(folder, evaluation.check_decoder(model))
            layout = Layout(adaptation.template, tokenizer, model)
            what = f"--block-size {self.block_size}"
            evaluation.check_length(model, adaptation, layout, self.block_size, what)
            loss = evaluation.mean_loss(model, adaptation, layout, passages)
            results.append({"adaptation": str(folder) if folder else None, "loss": loss})
        return {"data": str(self.data), "tokens": passages.size, "results": results}

    def on_examples(self, model, tokenizer):
        """Return the report on examples, and write the predictions."""
        columns = self.text_column, self.label_column
        examples = read_examples(self.data, *columns, labels_needed=self.predictions is None)
        texts, labels = zip(*examples)
        rows, truncated = evaluation.tokenize(texts, tokenizer, model)
        results = []
        for folder in self.adaptation:
            names = evaluation.read_labels(folder)
            if unknown := set(labels) - {*names, None}:
                raise DataError(
                    f"{self.data} has the labels {', '.join(sorted(unknown))}; {folder} was "
                    f"trained on {', '.join(names)}"
                )
            network = classifier(model, len(names))
            adaptation = hf.load_adaptation(folder, network)
            layout = Layout(adaptation.template, tokenizer, model)
            classes = evaluation.predict(network, adaptation, [layout(row) for row in rows])
            predictions = [names[c] for c in classes]
            right = [y == label for y, label in zip(predictions, labels) if label is not None]
            accuracy = float(np.mean(right)) if right else None
            results.append({"adaptation": str(folder), "accuracy": accuracy})
        if self.predictions:
            lines = [json.dumps({"text": x, "label": y}) for x, y in zip(texts, predictions)]
            self.predictions.parent.mkdir(parents=True, exist_ok=True)
            self.predictions.write_text("\n".join(lines) + "\n")
        report = {"data": str(self.data), "examples": len(texts), "truncated": truncated}
        return report | {"results": results}

    def show(self, report):
        unit = "tokens" if "tokens" in report else "examples"
        table = Table(title=f"{escape(report['data'])}: {report[unit]:,} {unit}")
        if report.get("truncated"):
            table.caption = f"{report['truncated']:,} texts were too long and were truncated"
        table.add_column("adaptation")
        table.add_column("mean loss" if unit == "tokens" else "accuracy", justify="right")
        for result in report["results"]:
            table.add_row(escape(result["adaptation"] or "(none)"), format_score(result))
        stdout.print(table)


def format_score(result):
    """Return the loss or the accuracy of a result as text."""
    if "loss" in result:
        return f"{result['loss']:.3f}"
    return "no labels" if result["accuracy"] is None else f"{100 * result['accuracy']:.1f} %"
