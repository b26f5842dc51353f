"""CL-19: adaptations to what the base has learned, and to what it lacks.

One base reads digits and writes them again: as they are, reversed, or sorted.  Nothing in its input
says which, so an adaptation has to.  Another one predicts the flips of a coin: see `coins`.
"""

from collections.abc import Callable, Iterator

import numpy as np

from ..adaptation.method import PLAIN, Method
from ..autograd.tensor import no_grad
from ..methods import FullFineTuning, LoRA, PrefixTuning, PromptTuning
from ..model.config import Config
from ..model.transformer import Decoder
from ..world.pretrain import train
from . import coins
from .claim import Claim, difference
from .study import BATCH_SIZE, Study, Trial, fixed_row

N, SEPARATOR = 6, 10  # digits of a text; the token id after them
CONFIG = Config(SEPARATOR + 1, width=64, layers=3, heads=4, length=64, positions="rotary")
PRETRAINING, LONGER = 10, 3  # times the steps of the settings: of the base, of each method
BATCH = 64  # texts of a step of pretraining
KNOWN = {  # f(digits (B, N)) -> digits (B, N), one of them for each text of pretraining
    "copy": lambda x: x,
    "reverse": lambda x: x[:, ::-1],
    "ascending": lambda x: np.sort(x, 1),
    "descending": lambda x: -np.sort(-x, 1),
}
SKILLS = {
    "reverse": KNOWN["reverse"],
    "swap": lambda x: x.reshape(-1, N // 2, 2)[:, :, ::-1].reshape(-1, N),  # 1 2 3 4 -> 2 1 4 3
}
METHODS = {
    "prompt": PromptTuning(10),
    "prefix": PrefixTuning(10),
    "LoRA": LoRA(8),
    "full": FullFineTuning(),
}


def texts(rng, skills: list[Callable], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and labels (B, 2 N + 1) of texts, each with one of the skills."""
    x, chosen = rng.integers(0, 10, (size, N)), rng.integers(0, len(skills), size)
    y = np.stack([skill(x) for skill in skills])[chosen, np.arange(size)]
    ids = np.concatenate([x, np.full((size, 1), SEPARATOR), y], 1)
    return ids, np.where(np.arange(2 * N + 1) > N, ids, -100)


def batches(rng, skills: list[Callable], size: int = BATCH) -> Iterator[tuple]:
    """Yield texts, endlessly."""
    while True:
        yield texts(rng, skills, size)


def exact(model, adaptation, ids) -> dict[str, float]:
    """Return the share of texts whose answer is right: what greedy decoding would write."""
    with no_grad():
        best = model(ids, adaptation).data.argmax(-1)
    return {"exact match": float((best[:, N:-1] == ids[:, N + 1 :]).all(1).mean())}


def on_skill(study: Study, base, skill: Callable, method: Method) -> Callable[[int], Trial]:
    """Return the trials of a method that adapts the base to a skill, by seed."""
    settings = study.settings
    dev, test = (
        texts(np.random.default_rng([1, i]), [skill], n)
        for i, n in enumerate((settings.dev, settings.test))
    )

    def trial(seed: int) -> Trial:
        rng = np.random.default_rng(seed)
        γ = method.attach(base, rng)

        def dev_score():
            with no_grad():
                return -float(base.loss(*dev, γ))

        scores = lambda: exact(base, γ, test[0])
        return Trial(base, γ, batches(rng, [skill], BATCH_SIZE), dev_score, scores)

    return trial


CLAIM = Claim(
    "CL-19",
    "Prompts and prefixes elicit what the base has learned, and can't teach it something new",
    "What lightweight methods can express is tied to the pretrained model.",
    "Adaptation chapter, §11.2.3.4",
    "Petrov et al. 2024: a prefix elicits a skill of pretraining, and does not learn one that "
    "needs new patterns of attention; LoRA and full fine-tuning do. Genewein et al. 2025: no "
    "prompt makes a predictor of one unknown coin optimal for a mixture of two; tuned weights do.",
    (
        difference("prompt, reverse", "base, reverse", "exact match"),
        difference("prefix, reverse", "base, reverse", "exact match"),
        difference("prefix, reverse", "prefix, reverse, untrained base", "exact match"),
        difference("full, swap", "prompt, swap", "exact match"),
        difference("full, swap", "prefix, swap", "exact match"),
        difference("LoRA, swap", "prefix, swap", "exact match"),
        difference("base, one coin", "prompt, one coin", "regret", unit="nats"),
        difference("prompt, two coins", "full, two coins", "regret", unit="nats"),
        difference("prefix, two coins", "full, two coins", "regret", unit="nats"),
    ),
    "A decoder of 0.15 M parameters copies, reverses or sorts six digits, at random. The methods "
    "adapt it to reversing, and to something new, swapping neighbours. A smaller one predicts any "
    "coin, and is adapted to one coin, and to two, of which each sequence has one. Regret: the "
    "loss above that of the best prediction, in nats per flip. A method has three times the usual "
    "steps, a base ten times.",
    units={"regret": "nats"},
    limits="A method may learn a new skill in more steps.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method and skill, of the base alone, and of an untrained base."""
    rng, steps = np.random.default_rng(0), PRETRAINING * study.settings.steps
    untrained = Decoder(CONFIG, rng)
    show = lambda step, loss: study.show("pretraining", step, steps)
    data = batches(rng, [*KNOWN.values()])
    base = train(untrained, data, steps, 0, show, lr=3e-3, betas=(0.9, 0.98))
    longer = LONGER * study.settings.steps
    for skill, f in SKILLS.items():
        ids, _ = texts(np.random.default_rng([1, 1]), [f], study.settings.test)
        yield fixed_row(f"base, {skill}", exact(base, PLAIN, ids))
        for name, method in METHODS.items():
            yield study.row(f"{name}, {skill}", on_skill(study, base, f, method), steps=longer)
    trial = on_skill(study, untrained, KNOWN["reverse"], METHODS["prefix"])
    yield study.row("prefix, reverse, untrained base", trial, steps=longer)
    yield from coins.rows(study, longer)
