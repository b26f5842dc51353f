"""CL-16: where adapters are, and whether they are sequential or parallel."""

from collections.abc import Iterator
from typing import Any

from ..adaptation.chain import Chain
from ..methods import Adapter, BitFit, ParallelAdapter, PrefixTuning
from ..tasks.write import Write
from ..world import table
from .claim import Claim, difference
from .study import Study, on_task

ATTENTION, MLP = r"(attn|cross)$", r"mlp$"
METHODS: dict[str, Any] = {
    "sequential, attention": Adapter(32, r"(attn|cross)\.o$"),
    "sequential, MLP": Adapter(32, r"mlp\.down$"),
    "parallel, attention": ParallelAdapter(32, targets=ATTENTION),
    "parallel, MLP": ParallelAdapter(32, targets=MLP),
    "scaled parallel, MLP": ParallelAdapter(32, 4.0, MLP),
    "MAM": Chain(PrefixTuning(10), ParallelAdapter(22, 4.0, MLP)),  # type: ignore[arg-type]
    "BitFit": BitFit(),
}
CLAIM = Claim(
    "CL-16",
    "Adapters work best parallel to the MLP",
    "An adapter is a bottleneck with a residual connection between frozen layers. (They are inside "
    "the layers, X15; the chapter compares no places, He et al. 2022 in its reading list do.)",
    "Adaptation chapter, §11.2.3.3",
    "He et al. 2022, table 2 (XSum, ROUGE-L): sequential at the MLP 35.08, parallel 35.63, prefix "
    "35.51; tables 3–6: MLP above attention, MAM best; BitFit 26.4 and MAM 37.5 BLEU in "
    "translation.",
    (
        difference("sequential, MLP", "parallel, MLP", "loss", unit="nats"),
        difference("sequential, attention", "parallel, attention", "loss", unit="nats"),
        difference("parallel, attention", "parallel, MLP", "loss", unit="nats"),
        difference("scaled parallel, MLP", "MAM", "loss", unit="nats"),
        difference("BitFit", "MAM", "loss", unit="nats"),
    ),
    "Records of facts to descriptions, decoder of 1.1 M parameters, about equal numbers of trained "
    "parameters, except BitFit. Losses in nats per token: lower is better.",
    units={"loss": "nats"},
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each adapter."""
    base, tokenizer = study.base()
    task = Write("table", study.splits(table, test=100, dev=100), base, tokenizer)
    scores = lambda task, γ: {"loss": task.loss(γ, "test")}
    for name, method in METHODS.items():
        yield study.row(name, on_task(task, method, scores))
