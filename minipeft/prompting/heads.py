"""A head in place of the words of a verbalizer, for the state of a language model at the slot.

N texts   D width   C classes
"""

from collections.abc import Sequence

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..autograd.backend import host
from ..autograd.nn import Linear, Module, replace
from ..autograd.tensor import Tensor
from .classifier import PromptClassifier
from .slots import slot_of
from .verbalizer import Verbalizer


def soft_verbalizer(prompted: PromptClassifier) -> PromptClassifier:
    """Return a classifier with a head W (D, C) that starts from the words: W_y = mean of W_w

    W_w are the columns of the head of the language model for the tokens of the words of class y.
    Before training, it is the classifier with Verbalizer(words, tokens, "mean"); tokens is "first"
    if it is that of the verbalizer, or else "mean".
    FullFineTuning("^head$").attach(soft.model) trains it.        Hambardzumyan et al. 2021, §3
    """
    head = prompted.model.head
    W, b = host(head.oriented(head.W).data), host(head.b.data) if hasattr(head, "b") else None
    mean = prompted.token_weights(len(W.T)) @ prompted.verbalizer.weights  # (V, C)
    return with_head(prompted, W @ mean, 0 if b is None else b @ mean)


def prototypes(
    prompted: PromptClassifier, examples: Sequence[tuple], adaptation: Adaptation | None = None
) -> PromptClassifier:
    """softmax(-‖h - c_y‖²), where c_y is the mean of h over the examples of class y

    Return a classifier with the head W_y = 2 c_y, b_y = -‖c_y‖², which is the same.  h is the state
    at the slot.  examples: (text, class) pairs of every class.
    Snell et al. 2017, §2.4; Cui et al. 2022 train such prototypes for prompts
    """
    labels = prompted.numbers_of_all(y for _, y in examples)
    h = slot_states(prompted, [text for text, _ in examples], adaptation)
    c = np.stack([h[labels == y].mean(0) for y in range(len(prompted.classes))])
    return with_head(prompted, 2 * c.T, -(c**2).sum(1))


def slot_states(
    prompted: PromptClassifier, texts: Sequence, adaptation: Adaptation | None = None
) -> np.ndarray:
    """Return what the head of the language model reads at the slot of each text, (N, D)."""
    model, shape = replace(prompted.model, head=Same()), prompted.template.shape
    slot = slot_of(model, prompted.tokenizer, shape)
    read = lambda rows, γ: slot.logits(rows, γ).data
    return prompted.read(texts, adaptation, read, prompted.config.width)


def with_head(prompted: PromptClassifier, W, b) -> PromptClassifier:
    """Return the classifier with logits h W + b of the classes at the slot."""
    head, model = Linear(W.shape[0], W.shape[1], np.random.default_rng(0)), prompted.model
    like = {"dtype": model.dtype, "like": model.reference_array}
    head.W, head.b = Tensor(np.array(W, **like)), Tensor(np.array(b + np.zeros(W.shape[1]), **like))
    model = replace(model, head=head)
    model.freeze()
    first = Verbalizer({y: words[0] for y, words in prompted.verbalizer.words.items()}, "first")
    slot = slot_of(model, prompted.tokenizer, prompted.template.shape)
    numbers = [[c] for c in range(W.shape[1])]  # the tokens of this head are the classes
    return replace(prompted, model=model, head=head, slot=slot, words=numbers, verbalizer=first)


class Same(Module):
    """y = x, in place of a head"""

    def __call__(self, x):
        return x
