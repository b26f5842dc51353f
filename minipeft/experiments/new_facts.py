"""CL-29: facts that changed after the cut of the pretraining text: which methods can add them."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from ..adaptation.method import PLAIN
from ..data.batches import passages
from ..methods import FullFineTuning, LoRA, PrefixTuning, PromptTuning
from ..prompting.verbalizer import Verbalizer
from ..tasks import forgetting
from ..tasks.prompted import Prompted
from ..world import chronicle, corpus, pretrain
from ..world.language import MEN, WOMEN
from ..world.vocabulary import END
from .claim import Claim, Contrast, difference
from .study import Study, Trial, fixed_row

BEFORE = range(31, 41)  # the days up to the cut, which the base reads
AFTER = range(43, 46)  # three of its eight towns have got other mayors by then, on day 41 or 43
TRAINED, DEV, ASKED = chronicle.MAYOR[:3], chronicle.MAYOR[3:4], chronicle.MAYOR[4:]
LENGTH, PASSAGES = 64, 4  # tokens of a passage, and passages of a step
CONSTANT = 1 / 3  # the accuracy on "new" of one name, whatever the question
METHODS: dict[str, Any] = {
    "prompt": PromptTuning(10),
    "prefix": PrefixTuning(10),
    "LoRA": LoRA(8),
    "full": FullFineTuning(),
}


def learned(name: str) -> Contrast:
    """Return the contrast that a method knows new facts, better than the base and one name."""
    values = lambda rows: rows(name, "new") - np.maximum(rows("base", "new"), CONSTANT)
    return Contrast(f"{name} − the larger of base and one name for all towns, new", values)


CLAIM = Claim(
    "CL-29",
    "Adaptation adds what has changed since the pretraining text",
    "The world changes, so a language model must be adapted to new knowledge: GPT-3 was trained "
    "before Biden was president.",
    "Adaptation chapter, §11.1.1",
    "None: the chapter has no figure.",
    (
        *(learned(name) for name in METHODS),
        *(difference(name, "prompt", "new") for name in ("LoRA", "full")),
        *(difference(name, "prefix", "new") for name in ("LoRA", "full")),
    ),
    f"Who is mayor of a town: the decoder of 1.1 M parameters first reads days {BEFORE[0]} to "
    f"{BEFORE[-1]} of a chronicle, beside its own text. Each method then trains on days "
    f"{AFTER[0]} to {AFTER[-1]} in three wordings, and is asked in two others, which the base has "
    "read, with sixteen names to choose from: of towns with a new mayor (new), of the others "
    "(kept), and of days before the cut (past).",
    units={"forgets": "nats"},
    limits="One chronicle, one cut and one base: the seeds are those of the adaptations. The base "
    "reads for 500 steps of eight passages of 64 tokens, a method four passages a step.",
)


def passages_of(texts: Iterator[str], tokenizer, size: int, seed: int) -> Iterator[tuple]:
    """Return endless batches of passages of texts."""
    ids = tokenizer.encode(END.join(texts)).ids
    return passages(ids, size, LENGTH, np.random.default_rng(seed))


def documents(n: int, days: range, wordings: tuple = chronicle.MAYOR) -> Iterator[str]:
    """Return documents of these days."""
    rng = np.random.default_rng(0)
    return (chronicle.document(rng, days, wordings) for _ in range(n))


def base_with_chronicle(study: Study) -> tuple:
    """Return the built-in base after more pretraining, three quarters on days up to the cut."""
    base, tokenizer = study.base()
    n, steps = study.settings.train, study.settings.pretraining_steps
    days = documents(3 * n, BEFORE)
    others = islice(corpus.documents(np.random.default_rng(1)), n)
    texts = (text for other in others for text in (*islice(days, 3), other))
    batches = passages_of(texts, tokenizer, 2 * PASSAGES, 0)
    show = lambda step, loss: study.show("pretraining to the cut", step, steps)
    return pretrain.train(base, batches, steps, 0, progress=show, lr=3e-3), tokenizer


def mayor_questions(base, tokenizer) -> Prompted:
    """Return the questions, which a language model answers with a name."""
    new = [
        t
        for t in chronicle.sites()
        if chronicle.mayor(t, BEFORE[-1]) != chronicle.mayor(t, AFTER[0])
    ]
    kept = [town for town in chronicle.sites() if town not in new]
    questions = {
        "dev": (AFTER, new + kept, DEV),
        "new": (AFTER, new, ASKED),
        "kept": (AFTER, kept, ASKED),
        "past": (BEFORE[::3], new + kept, ASKED),
    }
    splits = {
        split: [(text, name.strip()) for text, name in chronicle.questions(*which)]
        for split, which in questions.items()
    }
    words = Verbalizer({name: name for name in WOMEN + MEN}, tokens="first")  # which is all of it
    splits["train"] = splits["dev"]  # a task has one, but the methods train on documents
    return Prompted("mayors", splits, base, tokenizer, template="{x} [MASK]", verbalizer=words)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for the base, and for each method."""
    base, tokenizer = base_with_chronicle(study)
    task, settings = mayor_questions(base, tokenizer), study.settings
    text = forgetting.general_text(base, study.base()[1])
    right = lambda γ, split: task.evaluate(γ, split)["accuracy"]

    def scores(γ):
        rise = forgetting.forgetting(task, γ, text)
        return {test: right(γ, test) for test in task.tests} | {"forgets": rise}

    yield fixed_row("base", scores(PLAIN))
    for name, method in METHODS.items():

        def trial(seed, method=method):
            γ = method.attach(base, np.random.default_rng(seed))
            texts = documents(settings.train, AFTER, TRAINED)
            batches = passages_of(texts, tokenizer, PASSAGES, seed)
            return Trial(base, γ, batches, lambda: right(γ, "dev"), lambda: scores(γ))

        yield study.row(name, trial)
