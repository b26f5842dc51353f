"""minipeft evaluate: the loss of a token of a text, or how many labels are right."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.markup import escape
from rich.table import Table
from tyro.conf import arg

from .. import hf
from ..data.files import DataError, read_examples, read_text
from ..methods.template import Layout
from ..tasks.classify import classifier
from . import evaluation as measure
from .common import Command, Config, File, Json, Model, at_least, optional, out, unused


@dataclass
class Evaluate(Command):
    """Measure the base, and any adaptations of it, on a text or on examples with labels."""

    data: File
    """A text: the loss of a token.  Examples, .jsonl, .csv or .tsv: the share of right labels."""
    adaptation: Annotated[tuple[Path, ...], arg(metavar="FOLDER", help_behavior_hint="")] = ()
    """Folders from `train`, each measured alone."""
    model: Model = None
    text_column: str = "text"
    label_column: str = "label"
    passage: int = 64
    """Tokens of a passage of a text."""
    predictions: optional(Path, "FILE") = None
    """Write the label that each text is given there, as .jsonl; it then needs none of its own."""
    config: Config = None
    json: Json = False

    def run(self):
        at_least(2, passage=self.passage)
        unused(self.predictions)
        check_labels = measure.check_labels(self.data)
        if check_labels and not self.adaptation:
            raise ValueError("--data has labels: name a classifier from `train` by --adaptation")
        if self.predictions and not (check_labels and len(self.adaptation) == 1):
            raise ValueError("--predictions takes examples as --data, and one --adaptation")
        model, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        self.tell((self.examples if check_labels else self.text)(model, tokenizer))

    def text(self, model, tokenizer):
        ids = tokenizer.encode(read_text(self.data)).ids
        rows = measure.windows(ids, self.passage, self.data)
        results = []
        for folder in (None, *self.adaptation):
            adaptation = measure.writer(folder, measure.causal(model))
            layout = Layout(adaptation.template, tokenizer, model)
            measure.fits(model, adaptation, layout, self.passage, f"--passage {self.passage}")
            name = str(folder) if folder else None
            results.append(
                {"adaptation": name, "loss": measure.loss(model, adaptation, layout, rows)}
            )
        return {"data": str(self.data), "tokens": rows.size, "results": results}

    def examples(self, model, tokenizer):
        columns = self.text_column, self.label_column
        examples = read_examples(self.data, *columns, needed=self.predictions is None)
        texts, labels = zip(*examples)
        rows, shortened = measure.encoded(texts, tokenizer, model)
        results = []
        for folder in self.adaptation:
            names = measure.labels_of(folder)
            if strange := set(labels) - {*names, None}:
                raise DataError(
                    f"{self.data}: {folder} knows the labels {', '.join(names)}, "
                    f"not {', '.join(sorted(strange))}"
                )
            reader = classifier(model, len(names))
            adaptation = hf.load_adaptation(folder, reader)
            layout = Layout(adaptation.template, tokenizer, model)
            laid = [layout(row) for row in rows]
            given = [names[i] for i in measure.predicted(reader, adaptation, laid)]
            right = [a == b for a, b in zip(given, labels) if b is not None]
            accuracy = float(np.mean(right)) if right else None
            results.append({"adaptation": str(folder), "accuracy": accuracy})
        if self.predictions:
            lines = [json.dumps({"text": t, "label": y}) for t, y in zip(texts, given)]
            self.predictions.parent.mkdir(parents=True, exist_ok=True)
            self.predictions.write_text("\n".join(lines) + "\n")
        report = {"data": str(self.data), "examples": len(texts), "shortened": shortened}
        return report | {"results": results}

    def show(self, report):
        what = "tokens" if "tokens" in report else "examples"
        table = Table(title=f"{escape(report['data'])}: {report[what]:,} {what}")
        if report.get("shortened"):
            table.caption = f"{report['shortened']:,} are too long for the model, and were cut"
        table.add_column("adaptation")
        table.add_column("loss a token" if what == "tokens" else "accuracy", justify="right")
        for result in report["results"]:
            name = result["adaptation"] or "(the base alone)"
            table.add_row(escape(name), shown(result))
        out.print(table)


def shown(result):
    if "loss" in result:
        return f"{result['loss']:.3f}"
    return "no labels" if result["accuracy"] is None else f"{100 * result['accuracy']:.1f} %"
