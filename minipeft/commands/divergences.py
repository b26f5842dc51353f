"""What `evaluate` says of each adaptation: how far it moves predictions, and is that chance?"""

from collections.abc import Callable

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..autograd.backend import host
from ..inspection.divergence import DRAWS, divergence
from ..methods.template import Layout
from ..tasks.base import Task
from ..tasks.classify import Classify
from .common import progress

TEXTS = 8  # texts that are read with each random adaptation
CLEAR = 3  # z above which an adaptation does more than random ones
COLUMNS = "kl", "kl_random", "z"
CAPTION = (
    f"KL: divergence from the base, nats per {{}}; random: median KL of {DRAWS} adaptations with "
    "random parameters of the same norms; z: (log KL - mean) / standard deviation of their log KL"
)


def sample(n: int) -> list[int]:
    """Return at most TEXTS of n indices, evenly spaced."""
    m = min(n, TEXTS)
    return [i * n // m for i in range(m)]


def on_passages(model, tokenizer, adaptation: Adaptation, passages: np.ndarray) -> dict:
    """Return the report for the next tokens in passages (N, T) of a text."""
    some = passages[sample(len(passages))]

    def predict(γ):
        ids, labels = Layout(γ.template, tokenizer, model).language(some)
        return labelled_logits(model, γ, ids, labels)

    return report(predict, adaptation, model)


def on_examples(task: Task, adaptation: Adaptation) -> dict:
    """Return the report for the classes of texts, or for the tokens that are written for them."""

    def predict(γ):
        examples = task.examples_for(γ)["test"]
        batch = [examples[i] for i in sample(len(examples))]
        ids, labels, mask, types = task.collate(batch, γ)
        if isinstance(task, Classify):
            return host(task.network(ids, γ, mask=mask, token_types=types).data)
        return labelled_logits(task.network, γ, ids, labels, mask=mask)

    return report(predict, adaptation, task.network)


def labelled_logits(model, γ, ids, labels, mask=None) -> np.ndarray:
    """Return the logits (n, V) of the tokens that have labels."""
    logits, targets = model.labelled_logits(ids, model.targets(labels, mask), γ, mask=mask)
    return host(logits.data)[targets >= 0]


def report(predict: Callable, adaptation: Adaptation, model) -> dict:
    """Return {"kl", "kl_random", "z"} of an adaptation; None in place of what does not exist."""
    with progress("comparing with random adaptations", DRAWS) as bar:
        found = divergence(predict, adaptation, model, progress=bar)
    if found is None or not np.isfinite(found.kl):
        return dict.fromkeys(COLUMNS)
    return dict(zip(COLUMNS, (found.kl, float(np.median(found.random)), found.z)))


def cells(result: dict) -> list[str]:
    """Return KL, that of random adaptations, and z of a result as texts; "" if there is none."""
    *kls, z = (result.get(name) for name in COLUMNS)
    return [*map(format_kl, kls), "" if z is None else f"{z:.1f}"]


def format_kl(kl: float | None) -> str:
    """Return a KL as text, with two significant digits."""
    return "" if kl is None else f"{kl:#.2g}".rstrip(".")


def sentence(result: dict) -> str:
    """Return in words whether an adaptation is used, and whether more than random ones are."""
    name, kl, z = result["adaptation"], result["kl"], result["z"]
    if kl is None:
        return f"{name}: no KL, since the frozen network has no counterpart of a head alone"
    if kl == 0:
        return f"{name} changes nothing: was it trained?"
    used = f"{name} is used (KL {format_kl(kl)} nats)"
    if z is None:
        return f"{used}; it can't be compared with random parameters"
    if abs(z) < CLEAR:
        return (
            f"{used}. Random parameters of the same norms change predictions as much: compare the "
            "loss or accuracy to see whether it has learned"
        )
    more = "more" if z > 0 else "less"
    return f"{used}, and changes predictions {more} than random parameters of the same norms"
