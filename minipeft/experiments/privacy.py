"""CL-30: whether a user's prefix tells which texts it was trained on."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..adaptation.method import PLAIN
from ..autograd.tensor import no_grad
from ..data.splits import generate_splits
from ..methods import FullFineTuning, LoRA, PrefixTuning
from ..tasks.write import Write
from ..world import style
from ..world.language import pick
from .claim import Claim, Contrast, difference
from .study import Study, on_task

TEXTS = 50  # of a user, at most, on which a method is trained
LONGER = 4
METHODS: dict[str, Any] = {
    "prefix": PrefixTuning(10),
    "LoRA": LoRA(8),
    "full": FullFineTuning(),
}
LONG = f"prefix, {LONGER} times the steps"


def near_chance(name: str) -> Contrast:
    """Return the contrast that the attack on a row is right half of the time."""
    return Contrast(f"{name}: AUC − 50 %", lambda rows: rows(name, "AUC") - 0.5, margin=0.05)


CLAIM = Claim(
    "CL-30",
    "A user's prefix does not give away the user's texts",
    "Each user's data can be isolated, and a prefix of their own be trained for each user, which "
    "keeps the data private.",
    "Prompting notes, §1.1.1",
    "None: the notes have no figure.",
    (
        *(near_chance(name) for name in ("prefix", LONG)),
        difference("full", "prefix", "AUC"),
        difference("full", "prefix", "gap", unit="nats"),
    ),
    f"Notes of one user of the task style, another one for each seed: {TEXTS} to train on, whole, "
    "and others by the same user. `gap` is by how much more the loss has fallen on the former, "
    "in nats per token. `AUC` is of an attack that takes the texts whose loss has fallen most "
    "for those that were trained on: 50 % is chance, and private; margin: five points. The last "
    "two contrasts ask whether full fine-tuning tells more.",
    units={"gap": "nats"},
    limits="A prefix is private in that no other user's text is part of it; this asks what it "
    "tells those who have it, and the base. The notes have few forms, so that there is little in "
    "one to memorise; stronger attacks exist.",
)


def notes(user: style.User, **sizes: int) -> dict[str, list]:
    """Return splits of a user's notes, each to be written without a beginning."""

    def example(rng, i, ood):
        pair = pick(rng, list(style.TASTES))
        text = style.beginning(rng, pair, style.TASTES[pair])
        return f"{text}{style.answer(user, text)}", None

    splits = generate_splits(example, **sizes)
    splits = {s: [("Note:", [f" {note}"]) for note, _ in pairs] for s, pairs in splits.items()}
    return {"train": splits["train"], "dev": splits["dev"], "others": splits["test"]}


@no_grad()
def text_losses(task: Write, adaptation, split: str) -> np.ndarray:
    """Return the loss of each text of a split, in nats per token."""
    batches = [task.collate([row], adaptation) for row in task.examples_for(adaptation)[split]]
    return np.array(
        [float(task.network.loss(x, y, adaptation, mask=mask)) for x, y, mask, _ in batches]
    )


def scores(task: Write, adaptation) -> dict[str, float]:
    """Return what the losses tell of the texts of training."""
    members, others = (
        text_losses(task, PLAIN, split) - text_losses(task, adaptation, split)
        for split in ("train", "others")
    )
    higher = np.greater.outer(members, others) + 0.5 * np.equal.outer(members, others)
    return {"gap": float(members.mean() - others.mean()), "AUC": float(higher.mean())}


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method, and for a longer training of the prefix."""
    base, tokenizer = study.base()
    settings = study.settings
    sizes = {"train": TEXTS, "dev": TEXTS, "test": 4 * TEXTS}
    sizes = {split: min(n, getattr(settings, split)) for split, n in sizes.items()}

    def task(seed: int) -> Write:
        return Write("notes", notes(style.users()[seed], **sizes), base, tokenizer)

    for name, method in METHODS.items():
        yield study.row(name, on_task(task, method, scores))
    trial = on_task(task, METHODS["prefix"], scores)
    yield study.row(LONG, trial, steps=LONGER * settings.steps)
