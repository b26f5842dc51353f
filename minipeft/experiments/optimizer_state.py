"""CL-28: the learning rate of fine-tuning, and the optimizer's moments of pretraining."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from ..data.batches import passages
from ..methods import FullFineTuning
from ..tasks.classify import Classify
from ..training.optim import AdamW
from ..training.trainer import Trainer
from ..world import corpus, pretrain, sentiment
from .claim import Claim, Contrast, difference
from .study import Study, Trial, on_task

LR, BETAS = 3e-3, (0.9, 0.98)  # of the base's pretraining
DIVISORS = {"fresh": (1, 3, 10, 30), "kept": (1, 10)}  # of the learning rate
CLAIM = Claim(
    "CL-28",
    "Fine-tuning needs no moments of pretraining, and a tenth of its learning rate",
    "Fine-tuning discards the state of the pretraining's optimizer. Its learning rate is usually "
    "at least an order of magnitude below that of pretraining.",
    "Adaptation chapter, §11.2.2",
    "None: the chapter describes what is usual.",
    (
        Contrast(
            "fresh at a tenth of the learning rate − fresh at all of it, test",
            lambda rows: rows("fresh", "test", 10) - rows("fresh", "test", 1),
        ),
        Contrast(
            "fresh at a tenth of the learning rate − fresh at a third, test",
            lambda rows: rows("fresh", "test", 10) - rows("fresh", "test", 3),
        ),
        difference("fresh", "kept", "test", 10, behind=0.02),
    ),
    "Full fine-tuning for sentiment, decoder of 1.1 M parameters, whose pretraining had the "
    "learning rate 0.003. The last contrast holds if discarding the moments costs less than two "
    "points.",
    xlabel="learning rate of pretraining / that of fine-tuning",
    limits="The moments are computed by steps of pretraining with the learning rate 0, which "
    "leave the base unchanged. The new head has none.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each learning rate, with fresh and with kept moments."""
    task = Classify("sentiment", study.splits(sentiment), *study.base())
    fresh, moments = on_task(task, FullFineTuning()), pretraining_moments(study)
    for name, start in {"fresh": {}, "kept": moments}.items():
        for divisor in DIVISORS[name]:
            trial = with_moments(fresh, start, study.settings.steps)
            yield study.row(name, trial, x=divisor, lrs=(LR / divisor,))


def pretraining_moments(study: Study) -> dict[str, tuple]:
    """Return {parameter: (m, v)} after steps of pretraining with the learning rate 0."""
    (base, tokenizer), rng, steps = study.base(), np.random.default_rng(0), study.settings.steps
    texts = [*islice(corpus.documents(rng), 100 * steps)]
    end = tokenizer.token_to_id(pretrain.END)
    ids = np.concatenate([[*encoding.ids, end] for encoding in tokenizer.encode_batch(texts)])
    length = base.config.length
    batches = passages(ids, pretrain.BATCH_TOKENS // length, length, rng)
    θ = FullFineTuning().attach(base)
    optimizer = AdamW(θ.parameters(), 0.0, BETAS)
    show = lambda step, loss: study.show("pretraining", step, steps)
    Trainer(base, θ, optimizer).fit(batches, steps, progress=show)
    return dict(zip(dict(θ.named_parameters()), zip(optimizer.m, optimizer.v)))


def with_moments(
    start: Callable[[int], Trial], moments: dict[str, tuple], t: int
) -> Callable[[int], Trial]:
    """Return trials whose optimizer has these moments, after t steps; {}: none, after no step."""

    def trial(seed):
        one = start(seed)

        def optimizer(parameters, lr):
            adam = AdamW(parameters, lr, BETAS)
            for i, (name, _) in enumerate(one.adaptation.named_parameters()):
                if name in moments:
                    m, v = moments[name]
                    adam.m[i], adam.v[i], adam.t = m.copy(), v.copy(), t
            return adam

        return replace(one, optimizer=optimizer)

    return trial
