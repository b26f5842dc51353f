"""CL-27: a prefix that was trained on other tasks as the start of a new one."""

from collections.abc import Callable, Iterator

from ..adaptation.adaptation import Adaptation
from ..methods import PTuningV2
from ..tasks.classify import Classify
from ..world import nli, sentiment, topic
from .claim import Claim, difference
from .study import Study, Trial, on_task, subset

EXAMPLES = 64
STARTS = {"random": PTuningV2(10, init="normal"), "words": PTuningV2(10)}
CLAIM = Claim(
    "CL-27",
    "A prefix that many tasks have shared is a better start",
    "A continuous prompt that starts at random is hard to optimise; so one prefix is trained on "
    "several datasets together.",
    "Why prompts work, P-Tuning v2",
    "Liu et al. 2021b, §3.2: a start that several tasks have shared is optional, and improves "
    "results further.",
    tuple(difference("shared", start, "test") for start in STARTS),
    "Sentiment, 64 examples for each seed; prefix of length 10 with a head, decoder of 1.1 M "
    "parameters. The shared prefix starts from words, and was trained on inference and topic with "
    "the same number of steps.",
    limits="Two other tasks, which share one head over the classes of both; the paper has a head "
    "for each of two or three datasets of the same kind of task.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row of the training on other tasks, and one for each start."""
    base, tokenizer = study.base()
    parts, trained = [study.splits(data) for data in (nli, topic)], []
    both = {name: [row for part in parts for row in part[name]] for name in parts[0]}

    def scores(task, γ):
        return {"other tasks": task.evaluate(γ, "test")["accuracy"]}

    task = Classify("inference and topic", both, base, tokenizer)
    trial = on_task(task, STARTS["words"], scores)
    yield study.row("shared, other tasks", trial, adaptations=trained)
    splits = study.splits(sentiment)
    tasks = []
    for seed in range(study.settings.seeds):
        train = subset(splits["train"], EXAMPLES, seed)
        tasks.append(Classify("sentiment", splits | {"train": train}, base, tokenizer))
    for name, method in STARTS.items():
        yield study.row(name, on_task(tasks.__getitem__, method))
    prefixes = [next(γ.leaves()) for γ in trained]  # in the order of the seeds
    yield study.row("shared", from_prefix(tasks, prefixes))


def from_prefix(tasks: list[Classify], prefixes: list[Adaptation]) -> Callable[[int], Trial]:
    """Return trials whose prefix starts as that of the same seed in `prefixes`."""
    fresh = on_task(tasks.__getitem__, STARTS["words"])

    def trial(seed):
        one = fresh(seed)
        prefix, _ = one.adaptation.leaves()
        for p, start in zip(prefix.parameters(), prefixes[seed].parameters()):
            p.data[...] = start.data
        return one

    return trial
