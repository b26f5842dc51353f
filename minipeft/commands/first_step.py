"""What `train` says before step 1: which parameters get no gradient, and why."""

import re
from collections.abc import Iterator
from itertools import chain

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import listed
from ..data.words import count
from ..inspection.gradients import SHIFT, Silent, without_gradient
from ..training.trainer import named
from .common import print_note, wrapped


def check_first_batch(
    model, adaptation: Adaptation, batches: Iterator, micro_batches: int
) -> Iterator:
    """Print what the gradients of the first batch say; return all batches."""
    first = next(batches)
    silent = without_gradient(model, adaptation, **named(first), micro_batches=micro_batches)
    for line in lines(silent, len(adaptation.parameters())):
        print_note(wrapped(line))
    return chain([first], batches)


def lines(silent: list[Silent], parameters: int) -> list[str]:
    """Return what `without_gradient` found, in words; parameters: the number of all tensors."""
    words = lambda group: f"{described(group.names)}, because {group.why}"
    if sum(len(group.names) for group in silent) == parameters:
        why = "; ".join(map(words, silent))
        return [f"warning: no parameter has a gradient, so nothing can be learned: {why}"]
    found = []
    for group in silent:
        step = "any step" if group.why == SHIFT else "step 1"
        found.append(
            f"no gradient in {step}, as expected: {words(group)}"
            if group.expected
            else f"warning: no gradient for {words(group)}; leave it out by --targets"
        )
    return found


def described(names: tuple[str, ...]) -> str:
    """Return names of parameters as text: A of 8 layers, or blocks.N.attn.k.b."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        path, _, last = re.sub(r"^(\d+\.)+", "", name).rpartition(".")  # without parts of a Chain
        kinds.setdefault(last, []).append(path)
    one = {last: listed(paths) for last, paths in kinds.items()}
    return ", ".join(
        f"{last} of {count(len(paths), 'layer')}" if "," in one[last] else f"{one[last]}.{last}"
        for last, paths in kinds.items()
    )
