"""CL-5: table-to-text for seen and unseen categories, by lightweight methods and by all weights."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ..data.files import DataError
from ..methods import Adapter, FullFineTuning, PrefixTuning
from ..tasks.write import Write
from .claim import Claim, Contrast, difference
from .records import describe_values, losses
from .study import Study, Trial, on_task

LIGHTWEIGHT = {"prefix": PrefixTuning(10), "adapter": Adapter()}
MATCHED = "ood at dev of prefix"
CLAIM = Claim(
    "CL-5",
    "Lightweight methods describe unseen categories better",
    "Lightweight methods tend to be better than full fine-tuning outside the domain of training; "
    "within it, a prefix is usually a little worse.",
    "Adaptation chapter, §11.2.3.4",
    "Li & Liang 2021, table 1, WebNLG: BLEU of full fine-tuning 64.2 for seen categories and 27.7 "
    "for unseen ones; of a prefix 62.9 and 45.6; of adapters (3 %) 60.4 and 48.3.",
    (
        difference("prefix", "full", "test", unit="nats"),
        difference("full", "prefix", "ood", unit="nats"),
        difference("full", "adapter", "ood", unit="nats"),
        Contrast(
            "full when its dev loss is that of prefix − prefix, ood",
            lambda rows: rows("full", MATCHED) - rows("prefix", "ood"),
            unit="nats",
        ),
    ),
    "200 records of the task table, as lists of their values, with a description each, so a run is "
    "four epochs; decoder of 1.1 M parameters. Losses in nats per token: lower is better. Dev and "
    "test have the categories of training, ood has others.",
    units=dict.fromkeys(("test", "ood", "dev", MATCHED), "nats"),
    limits="If full fine-tuning never reaches the dev loss of the prefix, its lowest is taken. "
    "The base has read descriptions of the unseen categories, too. Of WebNLG it knows neither the "
    "words nor the facts, and is trained for a third of the steps.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method and, if there is real data, for each on WebNLG."""
    task, rows = describe_values(study, 200), {}
    for name, method in LIGHTWEIGHT.items():
        rows[name] = study.row(name, on_task(task, method, all_scores))
        yield rows[name]
    dev = rows["prefix"]["scores"]["dev"]
    trial = with_matched(task, dev, every=max(1, study.settings.steps // 10))
    yield study.row("full", trial)
    if study.data:
        folder = study.data / "webnlg_2017"
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder, and --data needs it")
        task, steps = Write("WebNLG", webnlg(folder, 100), *study.base()), study.settings.steps // 3
        for name, method in (LIGHTWEIGHT | {"full": FullFineTuning()}).items():
            trial = on_task(task, method, losses)
            yield study.row(f"{name}, WebNLG", trial, steps=steps)


def all_scores(task: Write, adaptation) -> dict[str, float]:
    """Return the losses, also on dev, and the BLEU of generated texts."""
    bleu = {f"{split} BLEU": task.evaluate(adaptation, split)["BLEU"] for split in task.tests}
    return losses(task, adaptation) | {"dev": task.loss(adaptation, "dev")} | bleu


def with_matched(task: Write, target: list[float], every: int) -> Callable[[int], Trial]:
    """Return trials of full fine-tuning with the score MATCHED.

    It is the loss on ood at the step at which the loss on dev has fallen to target[seed],
    interpolated between measurements after every `every` steps.
    """
    start = on_task(task, FullFineTuning(), all_scores)

    def trial(seed):
        full, path = start(seed), []

        def batches():
            for t, batch in enumerate(full.batches):
                if t % every == 0:
                    path.append([task.loss(full.adaptation, split) for split in ("dev", "ood")])
                yield batch

        def scores():
            last = full.scores()
            dev, ood = np.array([*path, [last["dev"], last["ood"]]]).T
            best = np.flatnonzero(dev == np.minimum.accumulate(dev))  # steps with a new lowest loss
            return last | {MATCHED: np.interp(-target[seed], -dev[best], ood[best])}

        return replace(full, batches=batches(), scores=scores)

    return trial


def webnlg(folder: Path, size: int) -> dict[str, list]:
    """Return the splits of single triples of the WebNLG challenge; ood has new categories.

    size: examples of each split, at most.
    Dev and test are parts of its development data, which has the categories of training.
    """
    rng = np.random.default_rng(0)

    def examples(pattern):
        rows = [row for path in sorted(folder.glob(pattern)) for row in triples(path)]
        return [rows[i] for i in rng.permutation(len(rows))]

    dev = examples("dev/*/*.xml")
    return {
        "train": examples("train/*/*.xml")[:size],
        "dev": dev[:size],
        "test": dev[size : 2 * size],
        "ood": examples("test/*unseen*.xml")[:size],
    }


def triples(path: Path) -> Iterator[tuple]:
    """Yield (triple, references) of a file's entries of one triple, if no text is too long."""
    for entry in ElementTree.parse(path).iter("entry"):
        triple = f"{entry.findtext('modifiedtripleset/mtriple')} ="
        references = [f" {lex.text}" for lex in entry.iter("lex")]
        if entry.get("size") == "1" and max(map(len, (triple, *references))) <= 150:
            yield triple, references
