"""CL-25: a decoder and an encoder of one size, fine-tuned or with P-tuning."""

from collections.abc import Iterator
from typing import Any

from ..adaptation.chain import MethodChain
from ..methods import FullFineTuning, PTuning
from ..tasks.builtin import PROMPTS
from ..tasks.classify import Classify
from ..tasks.prompted import Prompted
from ..world import sentiment
from .claim import Claim, difference
from .study import Study, on_task

BASES = {"GPT": "gpt2", "BERT": "bert"}
TEMPLATE = "[P]*3 {x} [P]*3 [MASK]"
CLAIM = Claim(
    "CL-25",
    "With P-tuning, GPT understands as well as BERT",
    "P-tuning refutes that a GPT can only generate, and not understand.",
    "Why prompts work, GPT Understands, Too",
    "Liu et al. 2021a, abstract: on SuperGLUE, GPTs with P-tuning are as good as BERTs of similar "
    "size, and sometimes better; with fine-tuning they are not.",
    (
        difference("GPT, P-tuning", "BERT, fine-tuning", "test", behind=0.02),
        difference("GPT, P-tuning", "BERT, P-tuning", "test", behind=0.02),
        difference("GPT, P-tuning", "GPT, fine-tuning", "test"),
    ),
    "Sentiment; a decoder and an encoder of 1.1 M parameters. Fine-tuning has a new head. P-tuning "
    "has six virtual tokens around the text, computed by an LSTM, and words of the classes. All "
    "weights are trained with them.",
    limits="As well is less than 2 points behind. One task. The bases have read about as many "
    "tokens of the same texts, but an encoder learns from masked words alone.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield two rows for each base."""
    _, words = PROMPTS["sentiment"]
    options: dict[str, Any] = {"template": TEMPLATE, "verbalizer": words}
    ptuning, splits = PTuning(TEMPLATE), study.splits(sentiment)
    for name, family in BASES.items():
        base, tokenizer = study.base(family=family)
        with_head = Classify("sentiment", splits, base, tokenizer)
        prompted = Prompted("sentiment", splits, base, tokenizer, **options)
        yield study.row(f"{name}, fine-tuning", on_task(with_head, FullFineTuning()))
        method = MethodChain(FullFineTuning(), ptuning)
        yield study.row(f"{name}, P-tuning", on_task(prompted, method))
