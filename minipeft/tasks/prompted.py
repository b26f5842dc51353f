"""Classification through a template: a language model writes the word of a class."""

from collections import Counter

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..autograd.backend import host
from ..autograd.nn import replace
from ..methods import METHODS, Probe
from ..methods.template import Layout, Template
from ..prompting.classifier import PromptClassifier
from ..prompting.verbalizer import as_verbalizer
from .base import Task, extra_positions


class Prompted(Task):
    """Predict the class of each text, or pair of texts, through a template and a verbalizer.

    There is no new head, so without training the task is solved zero-shot.  A method's template
    with a slot, such as "[P]*3 {x} [P]*3 [MASK]", is read instead of the task's; another one is
    around it.
    """

    methods = tuple(name for name, method in METHODS.items() if method is not Probe)

    def __init__(self, *args, template: str, verbalizer, **options):
        self.template, self.verbalizer = template, as_verbalizer(verbalizer)
        super().__init__(*args, **options)

    def network_for(self, base):
        return PromptClassifier(base, self.template, self.verbalizer, self.tokenizer)

    def fit_labels(self, labels):
        self.classes = self.verbalizer.classes
        self.most_frequent = max(self.classes, key=Counter(labels).__getitem__)

    def encode(self, pairs, room=None):
        return self.encode_with(self.network, pairs, room)

    def encode_with(self, network: PromptClassifier, pairs, room=None) -> list[tuple]:
        """Return (ids, number of the class, None) of each (text, class)."""
        return [
            (network.encode(text, room), int(c), None)
            for (text, _), c in zip(pairs, network.numbers(y for _, y in pairs))
        ]

    def attach(self, method, rng):
        return method.attach(self.network.model, rng)

    def has_slot(self, adaptation: Adaptation) -> bool:
        """Return whether the adaptation's template has a slot, and is read instead."""
        return Template(adaptation.template).shape is not None

    def layout(self, adaptation):
        plain = PLAIN if self.has_slot(adaptation) else adaptation
        return Layout(plain.template, self.tokenizer, self.base)

    def extra_positions(self, adaptation):
        extra = extra_positions(self.network.model, adaptation, self.layout(adaptation))
        return extra + max(map(len, self.network.words)) - 1

    def examples_for(self, adaptation):
        if not self.has_slot(adaptation):
            return super().examples_for(adaptation)
        network = replace(self.network, template=Template(adaptation.template))
        room = self.room(adaptation)
        return {s: self.encode_with(network, pairs, room) for s, pairs in self.splits.items()}

    def predict_batch(self, examples, adaptation):
        ids, _, mask, _ = self.collate(examples, adaptation)
        log_p = self.network(ids, adaptation, mask=mask)
        return [self.classes[c] for c in host(log_p.data.argmax(-1))]

    def constant_prediction(self, label):
        return self.most_frequent
