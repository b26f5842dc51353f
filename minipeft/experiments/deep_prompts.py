"""CL-15: prompts in every layer, against prompts at the input, at small sizes."""

from collections.abc import Iterator

import numpy as np

from ..methods import FullFineTuning, PrefixTuning, PromptTuning
from ..tasks.tag import Tag
from ..world import tags, topic
from .claim import Claim, Contrast, difference
from .scale import by_size
from .study import Study, on_task

MILLIONS = (0.3, 1.1)  # parameters of the bases
METHODS = {
    "prompt": PromptTuning(10),
    "deep prompt": PrefixTuning(10),  # PTuningV2 without dropout
    "full": FullFineTuning(),
}
NEAR = 0.03  # a share: nearer to full fine-tuning than this is near


def ahead(a: str, b: str, by: float = 0.0) -> Contrast:
    """Return the contrast "a - b - by" in the topic, on average over the sizes."""
    gap = lambda rows, x: rows(a, "test", x) - rows(b, "test", x) - by
    values = lambda rows: np.mean([gap(rows, x) for x in MILLIONS], 0)
    near = f" + {-100 * by:g} points" if by else ""
    return Contrast(f"{a} − {b}{near}, topic, mean over sizes", values)


def near_in_tags(rows) -> np.ndarray:
    """Return "deep prompt - full + NEAR" of tagging new forms of sentences."""
    return rows("tags, deep prompt", "ood") - rows("tags, full", "ood") + NEAR


CLAIM = Claim(
    "CL-15",
    "Deep prompts reach fine-tuning where prompts at the input do not",
    "Prompts at the input fail for small models and for hard tasks, such as tagging; P-tuning v2, "
    "with prompts in every layer, works for both.",
    "Why prompts work, P-Tuning v2",
    "Liu et al. 2021b, tables 2 and 3: on BoolQ BERT-large has 77.7 % with fine-tuning, 67.2 % "
    "with a prompt and 75.8 % with a deep prompt; on CoNLL03 92.8, 81.9 and 90.2.",
    (
        ahead("deep prompt", "prompt"),
        ahead("deep prompt", "full", by=-NEAR),
        difference("tags, deep prompt", "tags, prompt", "ood"),
        Contrast("deep prompt − full + 3 points, tags, ood", near_in_tags),
    ),
    "Ten virtual tokens. Topic with decoders of 0.3 and 1.1 M parameters, and tags with the "
    "built-in decoder, of sentences of new forms.",
    xlabel="parameters of the base, in millions",
    limits="The claim counts as shown if a deep prompt is less than 3 points behind. Deep prompts "
    "have no dropout, and after a few hundred steps still learn. All methods train a new head; the "
    "prompts of the paper have a verbalizer.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method and size in the topic, and for each method in tagging."""
    yield from by_size(study, topic, METHODS, MILLIONS)
    base, tokenizer = study.base()
    task = Tag("tags", study.splits(tags), base, tokenizer)
    for name, method in METHODS.items():
        yield study.row(f"tags, {name}", on_task(task, method))
