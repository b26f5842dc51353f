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


def mean_difference(a: str, b: str, behind: float = 0.0) -> Contrast:
    """Return the contrast "a - b" in the topic, on average over the sizes."""
    contrasts = [difference(a, b, "test", x, behind=behind) for x in MILLIONS]
    values = lambda rows: np.mean([contrast.values(rows) for contrast in contrasts], 0)
    near = f" + {100 * behind:g} points" if behind else ""
    return Contrast(f"{a} − {b}{near}, topic, mean over sizes", values)


CLAIM = Claim(
    "CL-15",
    "Deep prompts reach fine-tuning where prompts at the input do not",
    "Prompts at the input fail for small models and for hard tasks, such as tagging; P-tuning v2, "
    "with prompts in every layer, works for both.",
    "Why prompts work, P-Tuning v2",
    "Liu et al. 2021b, tables 2 and 3: on BoolQ BERT-large has 77.7 % with fine-tuning, 67.2 % "
    "with a prompt and 75.8 % with a deep prompt; on CoNLL03 92.8, 81.9 and 90.2.",
    (
        mean_difference("deep prompt", "prompt"),
        mean_difference("deep prompt", "full", behind=NEAR),
        difference("tags, deep prompt", "tags, prompt", "ood"),
        difference("tags, deep prompt", "tags, full", "ood", behind=NEAR),
    ),
    "Ten virtual tokens. Topic with decoders of 0.3 and 1.1 M parameters, and tags with the "
    "built-in decoder, of sentences of new forms: of the usual ones nearly all tags are right. The "
    "first two are pretrained for 500 steps.",
    xlabel="parameters of the base, in millions",
    limits="The claim counts as shown if a deep prompt is less than 3 points behind. Deep prompts "
    "have no dropout, as in a pilot, and still learn after these steps. All methods train a new "
    "head; the prompts of the paper have a verbalizer.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method and size in the topic, and for each method in tagging."""
    yield from by_size(study, topic, METHODS, MILLIONS)
    base, tokenizer = study.base()
    task = Tag("tags", study.splits(tags), base, tokenizer)
    for name, method in METHODS.items():
        yield study.row(f"tags, {name}", on_task(task, method))
