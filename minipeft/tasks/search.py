"""Manual, paraphrased, mined, searched and soft prompts of one task, on the same budget.

The budget counts readings: one text in one forward pass, and one more in the backward pass.  They
are of texts of train and dev; test splits are read at the end, once for each prompt.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import eq

import numpy as np
from tokenizers import Tokenizer

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..data.batches import shuffled_batches
from ..data.metrics import wilson
from ..methods import PseudoTokens, nearest
from ..methods.template import Template
from ..model.transformer import LanguageModel
from ..prompting.autoprompt import AutoPrompt
from ..prompting.classifier import PromptClassifier
from ..prompting.mining import mine_templates
from ..training.optim import AdamW, schedule
from ..training.trainer import Trainer

KINDS = "manual", "paraphrased", "mined", "searched", "soft"
FINALISTS = 3  # prompts of a search or a training of which dev chooses one
SEARCH_BATCH = 64  # texts, of which the loss chooses among words
BATCH = 8  # texts of a training step


@dataclass
class Found:
    """A prompt, and how many texts were read to find it."""

    prompted: PromptClassifier
    adaptation: Adaptation = PLAIN
    readings: int = 0
    dev: int = 0  # texts of dev that it classifies correctly


@dataclass
class PromptSearch:
    """Search for a prompt of a task by each of KINDS.

    splits: {"train": [(text, class), ...], "dev": ..., and others, to test on}
    template, words: the manual prompt.  wordings: [(template, words)], paraphrases of it.
    corpus: texts that templates are mined from.  budget: of readings, for each kind.
    length: words or pseudo-tokens of a prompt that is searched or trained.
    """

    base: LanguageModel
    tokenizer: Tokenizer
    splits: dict[str, list]
    template: str
    words: Mapping
    wordings: Sequence[tuple] = ()
    corpus: Sequence[str] = ()
    budget: int = 10_000
    length: int = 4
    seed: int = 0

    def __post_init__(self):
        dev, train = len(self.splits["dev"]), len(self.splits["train"])
        self.search_batch, self.batch = min(SEARCH_BATCH, train), min(BATCH, train)
        self.finals = FINALISTS * dev  # readings that choose a finalist
        self.x = " ".join(map(str, Template(self.template).places.values()))  # its texts
        self.soft_template = f"{self.x} [P]*{self.length} [MASK]"
        self.auto = AutoPrompt(self.prompted(self.soft_template))
        step = self.search_batch * self.auto.cost
        if self.budget < (least := max(self.finals + step, len(self.wordings) * dev)):
            raise ValueError(
                f"a budget of {self.budget:,} readings is too small: dev, with {dev:,} texts, is "
                f"read {FINALISTS} times, and for each paraphrase, and a step of the search reads "
                f"{step:,}; give at least {least:,}"
            )

    def prompted(self, template: str, words: Mapping | None = None) -> PromptClassifier:
        """Return the classifier with a template, and with the words of the manual prompt."""
        return PromptClassifier(self.base, template, words or self.words, self.tokenizer)

    def run(self) -> Iterator[dict]:
        """Yield the results of each kind of prompt."""
        for kind in KINDS:
            if found := getattr(self, kind)():
                yield {"kind": kind} | self.result(found)

    # -- the five kinds

    def manual(self) -> Found:
        """Return the manual prompt, which nothing chooses."""
        found = self.best([Found(self.prompted(self.template))])
        found.readings = 0
        return found

    def paraphrased(self) -> Found | None:
        """Return the paraphrase that is best on dev."""
        return self.best([Found(self.prompted(*wording)) for wording in self.wordings])

    def mined(self) -> Found | None:
        """Return the mined template that is best on dev, of as many as the budget allows."""
        words = self.prompted(self.template).verbalizer.all_words
        most = self.budget // len(self.splits["dev"])
        templates = mine_templates(self.corpus, words, most, self.x)
        return self.best([Found(self.prompted(template)) for template in templates])

    def searched(self) -> Found:
        """Return the template with the words that AutoPrompt finds from random ones."""
        rng = np.random.default_rng(self.seed)
        prompt, trail = rng.choice(self.auto.words, self.length).tolist(), []
        batches = self.batches(self.auto.prompted, self.search_batch, rng)
        cost = self.search_batch * self.auto.cost
        steps = (self.budget - self.finals) // cost
        for _ in range(steps):
            prompt = self.auto.step(prompt, next(batches))
            trail += [prompt] * (prompt not in trail)
        words = [self.tokenizer.decode(prompt).strip() for prompt in trail[-FINALISTS:]]
        found = self.best([Found(self.prompted(f"{self.x} {text} [MASK]")) for text in words])
        found.readings += steps * cost
        return found

    def soft(self) -> Found:
        """Return pseudo-tokens, trained from random words, at their best on dev."""
        rng = np.random.default_rng(self.seed)
        prompted, method = self.auto.prompted, PseudoTokens(self.soft_template)
        found = Found(prompted, method.attach(self.base, rng))
        steps = (self.budget - self.finals) // (2 * self.batch)

        def errors():
            found.readings += len(self.splits["dev"])
            return len(self.splits["dev"]) - self.right(found, "dev")

        optimizer = AdamW(found.adaptation.parameters(), method.lr)
        decay = schedule("linear", steps, steps // 10)
        trainer = Trainer(prompted, found.adaptation, optimizer, schedule=decay, seed=self.seed)
        batches, every = self.batches(prompted, self.batch, rng), -(-steps // FINALISTS)
        trainer.fit(batches, steps, progress=False, evaluate=errors, every=every)
        found.dev = len(self.splits["dev"]) - int(trainer.best.value)
        found.readings += 2 * self.batch * steps
        return found

    # -- what they share

    def batches(self, prompted: PromptClassifier, size: int, rng) -> Iterator[tuple]:
        """Yield batches of training texts, endlessly."""
        for examples in shuffled_batches(self.splits["train"], size, rng):
            texts, labels = zip(*examples)
            yield prompted.collate(texts, labels, prompted.room())

    def best(self, found: list[Found]) -> Found | None:
        """Return the prompt that is right most often on dev, with all readings; None of none."""
        if not found:
            return None
        for one in found:
            one.dev = self.right(one, "dev")
        best = max(found, key=lambda one: one.dev)
        best.readings = len(found) * len(self.splits["dev"])
        return best

    def right(self, found: Found, split: str) -> int:
        """Return how many texts of a split a prompt classifies correctly."""
        texts, labels = zip(*self.splits[split])
        return sum(map(eq, found.prompted.predict(texts, found.adaptation, size=64), labels))

    def result(self, found: Found) -> dict:
        """Return the prompt in words, its readings, and its accuracies with 95 % intervals."""
        words = {str(y): [*texts] for y, texts in found.prompted.verbalizer.words.items()}
        result: dict = {"template": found.prompted.template.text, "words": words}
        if found.adaptation is not PLAIN:
            ids, _ = nearest(found.adaptation.parameters()[0], self.base.tokens.W)
            result["nearest"] = self.tokenizer.decode(ids[:, 0].tolist()).strip()
        tests = [split for split in self.splits if split not in ("train", "dev")]
        right = {"dev": found.dev} | {split: self.right(found, split) for split in tests}
        totals = {split: len(self.splits[split]) for split in right}
        scores = {
            split: {"accuracy": n / totals[split], "interval": wilson(n, totals[split])}
            for split, n in right.items()
        }
        return result | {"readings": found.readings, "scores": scores}
