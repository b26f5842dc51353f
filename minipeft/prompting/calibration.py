"""Calibration: what the template alone makes likely does not count.

N texts   C classes
"""

import numpy as np

from ..adaptation.adaptation import Adaptation
from .classifier import PromptClassifier

CONTENT_FREE = "N/A", "", "[MASK]"  # Zhao et al. 2021, §5


def calibrate(log_p: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    """log q(y | x) = log p(y | x) - log p₀(y) - log Z(x)

    Return log q (N, C), for log p (N, C) and log p₀ (C,), of `content_free` or `domain`.  The class
    of the largest q is that of Zhao et al. 2021, §5, softmax(W p + b) with W = diag(p₀)⁻¹ and
    b = 0; q is normalized as probabilities are, so a factor of p₀ changes nothing.
    Raises ValueError for other shapes, and for numbers that are not finite.
    """
    log_p, log_prior = np.asarray(log_p), np.asarray(log_prior)
    if log_p.ndim != 2 or log_prior.shape != log_p.shape[1:]:
        raise ValueError(
            f"log_p must be (texts, classes) and log_prior (classes,); got {log_p.shape} and "
            f"{log_prior.shape}"
        )
    if not (np.isfinite(log_p).all() and np.isfinite(log_prior).all()):
        raise ValueError("log_p and log_prior must be finite logarithms of probabilities")
    score = log_p - log_prior
    score = score - score.max(1, keepdims=True)
    return score - np.log(np.exp(score).sum(1, keepdims=True))


def content_free(prompted: PromptClassifier, adaptation: Adaptation | None = None) -> np.ndarray:
    """Return log p₀ (C,), of the mean of p(y | x) over texts x without content: CONTENT_FREE

    Of several texts, such as a pair, each is the same.        Zhao et al. 2021, §5
    """
    texts = [dict.fromkeys(prompted.template.names, text) for text in CONTENT_FREE]
    return np.log(np.exp(prompted.log_probabilities(texts, adaptation)).mean(0))


def domain(prompted: PromptClassifier, text="", adaptation: Adaptation | None = None) -> np.ndarray:
    """Return log p(y | domain) (C,): a text of the domain, or "", is in the place of each text

    With `calibrate` it is the pointwise mutual information of text and class:
    log p(y | x) / p(y | domain).        Holtzman et al. 2021
    """
    texts = dict.fromkeys(prompted.template.names, text)
    return prompted.log_probabilities([texts], adaptation)[0]
