"""AutoPrompt: the gradient of the loss proposes words of a template, the loss chooses among them.

P words of the prompt   W words that may be in it   B texts   D width
"""

import numpy as np

from ..adaptation.adaptation import Adaptation, parameter
from ..autograd.backend import host
from ..autograd.tensor import grad, no_grad
from ..methods.pseudo import PseudoTokens
from ..training.parallel import ONE_BLAS_THREAD, Pool
from .classifier import PromptClassifier
from .words import whole_words


def first_order(h, gradient, E) -> np.ndarray:
    """(h_i - e_w)ᵀ ∂L/∂h_i

    Return by how much the loss L falls, to first order, if the embedding h_i of the i-th word is
    replaced by e_w, that of the word w: (P, W).  h, gradient (P, D); E (W, D), the embeddings e_w.
    Ebrahimi et al. 2018, §3.2; Shin et al. 2020, §2.2, keeps only -e_wᵀ ∂L/∂h_i
    """
    return (h * gradient).sum(1, keepdims=True) - gradient @ E.T


class AutoPrompt:
    """Search for the words in the place of pseudo-tokens        Shin et al. 2020, §2.2

    prompted: a classifier whose template has a pseudo-token for each word: "{x} [P]*4 [MASK]".
    candidates: how many replacements of a word have their loss computed in a step.
    """

    def __init__(self, prompted: PromptClassifier, candidates: int = 8):
        model, rng = prompted.model, np.random.default_rng(0)
        self.prompted, method = prompted, PseudoTokens(prompted.template.text)
        self.pseudo_tokens = method.attach(model, rng)
        self.words = whole_words(prompted)  # token ids
        if len(self.words) < 2:
            raise ValueError("AutoPrompt needs tokens that are words, and the tokenizer has none")
        if candidates < 1:
            raise ValueError(f"candidates={candidates} must be at least 1")
        self.candidates = min(candidates, method.length * (len(self.words) - 1))
        self.embeddings = host(model.tokens.W.data)

    @property
    def cost(self) -> int:
        """How often a step reads each text: forwards, backwards, and with each candidate."""
        return 2 + self.candidates

    def adaptation(self, prompt) -> Adaptation:
        """Return the pseudo-tokens with the embeddings of words, token ids (P,)."""
        rows = self.embeddings[list(prompt)]
        return self.pseudo_tokens.map(lambda h: parameter(np.asarray(rows, like=h.data)))

    def loss(self, prompt, batch):
        """Return the loss of a batch, and the embeddings that it depends on."""
        ids, labels, mask = batch
        γ = self.adaptation(prompt)
        return self.prompted.loss(ids, labels, γ, mask=mask), γ.parameters()

    def propose(self, prompt, batch) -> tuple[list, float]:
        """Return the prompts with one other word whose loss falls most, to first order; the loss.

        The most promising prompt is the first one.
        """
        loss, (h,) = self.loss(prompt, batch)
        (gradient,) = grad(loss, [h])
        falls = first_order(host(h.data), host(gradient), self.embeddings[self.words])
        falls[np.asarray(prompt)[:, None] == self.words] = -np.inf  # not a replacement
        best = np.argsort(-falls, axis=None, kind="stable")[: self.candidates]
        places = zip(*np.unravel_index(best, falls.shape))
        return [[*prompt[:i], int(self.words[w]), *prompt[i + 1 :]] for i, w in places], float(loss)

    def step(self, prompt: list[int], batch: tuple) -> list[int]:
        """Return the prompt with one word replaced, if that lowers the loss of the batch, or as is.

        prompt: token ids (P,).  batch: of `prompted.collate`.
        """

        def exact(prompt):
            with no_grad():
                return float(self.loss(prompt, batch)[0])

        with ONE_BLAS_THREAD:  # the same bits for any number of threads
            proposed, loss = self.propose(prompt, batch)
            losses = [loss, *Pool().map(exact, proposed)]
        return [prompt, *proposed][int(np.argmin(losses))]
