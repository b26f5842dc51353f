"""CL-14: manual, mined, searched and soft prompts that ask a model for facts it has read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from ..adaptation.method import PLAIN
from ..data.batches import pad, shuffled_batches
from ..methods import PseudoTokens, PTuning
from ..model.transformer import Decoder
from ..prompting.autoprompt import AutoPrompt
from ..prompting.classifier import PromptClassifier
from ..prompting.mining import middle_words
from ..prompting.verbalizer import Verbalizer
from ..tasks.prompted import Prompted
from ..world.pretrain import train
from .claim import Claim, Contrast
from .people import RELATIONS, Relation, draw_facts, sentences
from .study import Study, fixed_row, on_task

READING = 20  # reading steps for each step of a prompt
BATCH = 16  # sentences that it reads in a step
EARLIER = 3  # an early run has a third of the steps
MINED = 4  # templates, of which dev chooses one
SEARCH = 10  # steps of a prompt for each step of the search
WORDS = 6  # to search, or pseudo-tokens
FRONT, INTERLEAVED = "[P]*6 {x} [MASK]", "[P]*3 {x} [P]*3 [MASK]"
SOFT = {
    "front": PseudoTokens(FRONT),
    "interleaved": PseudoTokens(INTERLEAVED),
    "encoder": PTuning(INTERLEAVED, encoder="lstm-half"),
}


def mean_difference(a: str, b: str) -> Contrast:
    """Return the contrast "a - b" of the accuracies, on average over the relations."""
    gap = lambda rows, name: rows(f"{name}, {a}", "test") - rows(f"{name}, {b}", "test")
    values = lambda rows: np.mean([gap(rows, name) for name in RELATIONS], 0)
    return Contrast(f"{a} − {b}, mean over relations", values)


CLAIM = Claim(
    "CL-14",
    "Pseudo-tokens around a text recall more facts than prompts in words",
    "Templates need not be natural language: trained pseudo-tokens, anywhere in the text, are "
    "better, and with an encoder, an LSTM and an MLP, they converge faster.",
    "Why prompts work, GPT Understands, Too; Prompting notes, §1.1.3",
    "Liu et al. 2021a: of the facts of LAMA-34k 43.3 % by the best prompts in words, and 50.6 % by "
    "P-tuning; of those of LAMA-29k 45.2 and 64.2 %.",
    (
        mean_difference("interleaved", "manual"),
        mean_difference("interleaved", "mined"),
        mean_difference("interleaved", "searched"),
        mean_difference("interleaved", "front"),
        mean_difference("encoder", "interleaved"),
        mean_difference("encoder, early", "interleaved, early"),
    ),
    "The decoder of 1.1 M parameters reads the trade and the town of 64 people, each in four "
    "wordings. Prompts are chosen or trained on half of the people and tested on the others. No "
    "manual wording was read; mined ones were. Six virtual tokens, or searched words; early is "
    "a run of a third of the steps. The answer is the likeliest value.",
    limits="Two relations, four manual wordings of each, and one model. The best manual prompts "
    "recall every fact, so nothing can be above them. The search is short.",
)


@dataclass
class Recall:
    """A relation, and the facts that a model has read of it."""

    name: str
    relation: Relation
    facts: list  # [(person, value), ...]
    model: Decoder
    tokenizer: Tokenizer

    @property
    def verbalizer(self) -> Verbalizer:
        return Verbalizer({value: value for value in self.relation.values})

    def task(self, seed: int, template: str = "{x} [MASK]") -> Prompted:
        """Return the task of a template; a quarter of the facts each is for train and dev."""
        order = np.random.default_rng(seed).permutation(len(self.facts))
        quarters = [[self.facts[i] for i in part] for part in np.array_split(order, 4)]
        splits = {"train": quarters[0], "dev": quarters[1], "test": quarters[2] + quarters[3]}
        data = self.name, splits, self.model, self.tokenizer
        return Prompted(*data, template=template, verbalizer=self.verbalizer)

    def choose(self, seed: int, templates: list[str]) -> dict[str, float]:
        """Return the accuracy of the template that is best on dev, and the spread of all."""
        tasks = [self.task(seed, template) for template in templates]
        of = lambda split: [task.evaluate(PLAIN, split)["accuracy"] for task in tasks]
        dev, test = of("dev"), of("test")
        return {"test": test[np.argmax(dev)], "mean": np.mean(test), "spread": np.ptp(test)}

    def mined(self, seed: int, texts: list[str]) -> list[str]:
        """Return the templates with the most frequent words between the two sides of a fact."""
        found = Counter()
        for person, value in self.task(seed).splits["train"]:
            found += middle_words(texts, person, value)
        return [f"{{x}} {middle} [MASK]" for middle, _ in found.most_common(MINED)]

    def searched(self, seed: int, steps: int) -> list[str]:
        """Return the template that AutoPrompt finds from random words."""
        rng, train = np.random.default_rng(seed), self.task(seed).splits["train"]
        template = f"{{x}} [P]*{WORDS} [MASK]"
        auto = AutoPrompt(PromptClassifier(self.model, template, self.verbalizer, self.tokenizer))
        prompt = rng.choice(auto.words, WORDS).tolist()
        for _, facts in zip(range(steps), shuffled_batches(train, min(BATCH, len(train)), rng)):
            people, values = zip(*facts)
            prompt = auto.step(prompt, auto.prompted.collate(people, values))
        return [f"{{x}} {self.tokenizer.decode(prompt).strip()} [MASK]"]


def read(study: Study, texts: list[str]):
    """Return the base after it has read the texts, and its tokenizer."""
    base, tokenizer = study.base()
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    padded = map(pad, shuffled_batches(rows, BATCH, np.random.default_rng(0), len))
    steps = READING * study.settings.steps
    show = lambda step, loss: study.show("reading", step, steps)
    return train(
        base, ((ids, ids, mask) for ids, mask in padded), steps, 0, show, lr=2e-3
    ), tokenizer


def run(study: Study) -> Iterator[dict]:
    """Yield, for each relation, the rows of prompts in words and of pseudo-tokens."""
    steps, seeds = study.settings.steps, range(study.settings.seeds)
    facts = draw_facts(people=study.settings.test)
    texts = sentences(facts)
    model, tokenizer = read(study, texts)
    for name, relation in RELATIONS.items():
        recall = Recall(name, relation, facts[name], model, tokenizer)
        templates = {
            "manual": lambda seed, relation=relation: relation.manual,
            "mined": lambda seed, recall=recall: recall.mined(seed, texts),
            "searched": lambda seed, recall=recall: recall.searched(seed, steps // SEARCH),
        }
        for kind, of in templates.items():
            yield fixed_row(f"{name}, {kind}", *(recall.choose(seed, of(seed)) for seed in seeds))
        for kind, method in SOFT.items():
            trial = on_task(recall.task, method)
            yield study.row(f"{name}, {kind}", trial)
            if kind != "front":
                yield study.row(f"{name}, {kind}, early", trial, steps=steps // EARLIER or 1)
