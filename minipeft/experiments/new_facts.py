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
LENGTH = 64  # tokens of a passage
METHODS: dict[str, Any] = {
    "prompt": PromptTuning(10),
    "prefix": PrefixTuning(10),
    "LoRA": LoRA(8),
    "full": FullFineTuning(),
}


def learned(name: str) -> Contrast:
    """Return the contrast that a method knows new facts that the base does not know."""
    return Contrast(f"{name} − base, new", lambda rows: rows(name, "new") - rows("base", "new"))


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
    f"{BEFORE[-1]} of a chronicle, beside its own text. Each method then trains on days {AFTER[0]} "
    f"to {AFTER[-1]} in three wordings, and is asked in two others, with sixteen names to choose "
    "from: of towns with a new mayor (new), of the others (kept), and of days before the cut "
    "(past).",
    units={"forgets": "nats"},
    limits="One chronicle, one cut and one base: the seeds are those of the adaptations.",
)


def passages_of(texts: Iterator[str], tokenizer, size: int, seed: int) -> Iterator[tuple]:
    """Return endless batches of passages of texts."""
    ids = tokenizer.encode(END.join(texts)).ids
    return passages(ids, size, LENGTH, np.random.default_rng(seed))


def documents(n: int, days: range, wordings: tuple = chronicle.MAYOR) -> Iterator[str]:
    """Return documents of these days."""
    rng = np.random.default_rng(0)
    return (chronicle.document(rng, days, wordings) for _ in range(n))


def base_of_the_cut(study: Study) -> tuple:
    """Return the built-in base after more pretraining, three quarters on days up to the cut."""
    base, tokenizer = study.base()
    n, steps = study.settings.train, study.settings.pretraining_steps
    days = documents(3 * n, BEFORE)
    others = islice(corpus.documents(np.random.default_rng(1)), n)
    texts = (text for other in others for text in (*islice(days, 3), other))
    batches = passages_of(texts, tokenizer, study.settings.batch_size, 0)
    show = lambda step, loss: study.show("pretraining to the cut", step, steps)
    return pretrain.train(base, batches, steps, 0, progress=show, lr=3e-3), tokenizer


def asked(base, tokenizer) -> Prompted:
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
    base, tokenizer = base_of_the_cut(study)
    task, settings = asked(base, tokenizer), study.settings
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
            batches = passages_of(texts, tokenizer, -(-settings.batch_size // 2), seed)
            return Trial(base, γ, batches, lambda: right(γ, "dev"), lambda: scores(γ))

        yield study.row(name, trial)
