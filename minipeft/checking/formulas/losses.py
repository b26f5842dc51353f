"""Equations of learning from preferences and rewards, and usual slips: log π, DPO, GAE.

B texts or pairs   T tokens   V vocabulary
"""

import numpy as np

from ...autograd.functional import log_probability
from ...feedback.dpo import DPO
from ...feedback.returns import gae as library_gae
from ..formula import Argument, formula
from .attentions import softmax

# -- log-probabilities, DPO


def answers(rng, B, T):
    """Return a mask (B, T), True at the tokens of an answer: behind a prompt, before padding."""
    begin = rng.integers(1, 1 + T // 2, (B, 1))
    end = np.maximum(begin + 1, rng.integers(T // 2 + 1, T + 1, (B, 1)))
    begin[0], end[:2] = 1, [[T], [max(2, T - 1)]][: len(end)]  # whole, and with padding
    return (begin <= np.arange(T)) & (np.arange(T) < end)


def with_the_one_before(mask):
    """Return the columns of logits that an answer depends on: also the one before each token."""
    return mask | np.pad(mask[:, 1:], ((0, 0), (0, 1)))


def log_p(z, ids):
    """Return log softmax(z)[ids], (B, T)."""
    return np.take_along_axis(np.log(softmax(z)), ids[..., None].astype(int), -1)[..., 0]


def shifted(z, ids):
    """Return log p of each token given those before it, (B, T); 0 for the first."""
    return np.pad(log_p(z[:, :-1], ids[:, 1:]), ((0, 0), (1, 0)))


@formula(
    log_probability,
    {
        "z": "B T V",
        "ids": Argument("B T", lambda rng, *shape: rng.integers(0, 2, shape)),
        "mask": Argument("B T", answers),
    },
    reaches=with_the_one_before,
)
def logp(z, ids, mask):
    """log π(y|x) = Σ_t log π(y_t | x, y_<t), over the tokens of y
    Rafailov et al. 2023, eq. 5"""
    return (shifted(z, ids) * mask).sum(1)


logp.slip(
    "labels are not shifted",
    "the logits at t are of token t + 1: compare z[:, :-1] with ids[:, 1:]",
    lambda z, ids, mask: (log_p(z, ids) * mask).sum(1),
    "wyf3/llm_related#33, AI-Hypercomputer/maxtext#2103",
)
logp.slip(
    "a mean over tokens instead of the sum",
    "log π of a text is a sum; a mean changes what DPO learns",
    lambda z, ids, mask: (shifted(z, ids) * mask).sum(1) / mask.sum(1),
    "huggingface/trl#789",
)
logp.slip(
    "a mean over all T columns",
    "log π of a text is a sum over its tokens; this mean depends on prompt and padding",
    lambda z, ids, mask: (shifted(z, ids) * mask).mean(1),
    "jingyaogong/minimind#298",
)
logp.slip(
    "prompt and padding count",
    "sum over the tokens of the answer only: the mask",
    lambda z, ids, mask: shifted(z, ids).sum(1),
    "0xallam/Direct-Preference-Optimization#4",
)
logp.slip(
    "probabilities instead of their logarithms",
    "take log p before the sum",
    lambda z, ids, mask: (np.exp(shifted(z, ids)) * mask).sum(1),
)

log_sigmoid = lambda x: -np.log1p(np.exp(-x))
BETA = Argument("", lambda rng: float(rng.uniform(0.1, 0.6)))


@formula(
    DPO.scores,
    {"chosen": "B", "rejected": "B", "ref_chosen": "B", "ref_rejected": "B", "beta": BETA},
)
def dpo(chosen, rejected, ref_chosen, ref_rejected, beta):
    """-mean log σ(β (log π(y_w)/π_ref(y_w) - log π(y_l)/π_ref(y_l)))
    Rafailov et al. 2023, eq. 7"""
    return -log_sigmoid(beta * (chosen - ref_chosen - rejected + ref_rejected)).mean()


dpo.slip(
    "the sign: rejected answers win",
    "the chosen answer comes first in the difference",
    lambda w, l, rw, rl, beta: -log_sigmoid(-beta * (w - rw - l + rl)).mean(),
)
dpo.slip(
    "the sign of the loss",
    "the loss is the negative logarithm",
    lambda w, l, rw, rl, beta: log_sigmoid(beta * (w - rw - l + rl)).mean(),
)
dpo.slip(
    "π_ref is left out",
    "subtract the log-probabilities of the frozen model",
    lambda w, l, rw, rl, beta: -log_sigmoid(beta * (w - l)).mean(),
)
dpo.slip(
    "π_ref is added",
    "divide by π_ref: subtract its logarithms",
    lambda w, l, rw, rl, beta: -log_sigmoid(beta * (w + rw - l - rl)).mean(),
)
dpo.slip(
    "β is outside of σ",
    "β multiplies the difference, inside of log σ",
    lambda w, l, rw, rl, beta: -beta * log_sigmoid(w - rw - l + rl).mean(),
)
dpo.slip(
    "a sum over pairs",
    "the loss is a mean over pairs",
    lambda w, l, rw, rl, beta: -log_sigmoid(beta * (w - rw - l + rl)).sum(),
)
dpo.slip(
    "σ instead of log σ",
    "take the logarithm of σ",
    lambda w, l, rw, rl, beta: -np.exp(log_sigmoid(beta * (w - rw - l + rl))).mean(),
)

# -- advantages


def advantages(r, V, decay, gamma):
    """Return A_t = δ_t + decay A_t+1,  δ_t = r_t + γ V_t+1 - V_t, (B, T)."""
    A, after = np.zeros_like(r), np.zeros(len(r))
    V_next = np.concatenate([V[:, 1:], np.zeros((len(V), 1))], 1)
    for t in reversed(range(r.shape[1])):
        A[:, t] = after = r[:, t] + gamma * V_next[:, t] - V[:, t] + decay * after
    return A


def ended(rng, B, T):
    """Return a mask (B, T) of answers of several lengths, True up to the end of each."""
    lengths = np.concatenate([[max(1, T - 1)], rng.integers(1, T + 1, B - 1)])
    return np.arange(T) < lengths[:, None]


RATE = Argument("", lambda rng: float(rng.uniform(0.5, 0.95)))


@formula(
    library_gae,
    {
        "r": "B T",
        "V": "B T",
        "mask": Argument("B T", ended, neutral=1.0),
        "gamma": RATE,
        "lam": RATE,
    },
    at="mask",
)
def gae(r, V, mask, gamma, lam):
    """A_t = Σ_l (γλ)^l δ_t+l,  δ_t = r_t + γ V_t+1 - V_t
    Schulman et al. 2016, eq. 16"""
    return advantages(r * mask, V * mask, gamma * lam, gamma)


gae.slip(
    "padding after the answer counts",
    "rewards and values after the last token must be 0: the mask",
    lambda r, V, mask, gamma, lam: advantages(r, V, gamma * lam, gamma),
    "natolambert/rlhf-book#216",
)
gae.slip(
    "V after the last token is not 0",
    "the answer has ended: V of what follows is 0, also in the last δ",
    lambda r, V, mask, gamma, lam: one_more_value(r, V, mask, gamma, lam),
    "l294265421/alpaca-rlhf#9, thu-ml/tianshou#869",
)
gae.slip(
    "A_t instead of A_t+1",
    "δ_t is added to A_t+1 (γλ), not to A_t, which is 0: these are the δ_t",
    lambda r, V, mask, gamma, lam: advantages(r * mask, V * mask, 0, gamma),
    "4kasha/CartPole_PPO#1",
)
gae.slip(
    "r_t - V_t instead of δ_t",
    "δ_t = r_t + γ V_t+1 - V_t: γ V_t+1 is left out",
    lambda r, V, mask, gamma, lam: advantages((r - V) * mask, 0 * V, gamma * lam, gamma),
)
gae.slip(
    "a reward instead of an advantage",
    "A_t sums later δ: this is r_t - V_t alone",
    lambda r, V, mask, gamma, lam: (r - V) * mask,
    "natolambert/rlhf-book#216",
)
gae.slip(
    "λ instead of γλ",
    "A_t+1 is multiplied by γ and λ",
    lambda r, V, mask, gamma, lam: advantages(r * mask, V * mask, lam, gamma),
)
gae.slip(
    "γ instead of γλ",
    "A_t+1 is multiplied by γ and λ; this is λ = 1",
    lambda r, V, mask, gamma, lam: advantages(r * mask, V * mask, gamma, gamma),
)
gae.slip(
    "returns instead of advantages",
    "the return is A + V; subtract V",
    lambda r, V, mask, gamma, lam: gae.right(r, V, mask, gamma, lam) + V * mask,
)


def one_more_value(r, V, mask, gamma, lam):
    """Return GAE whose last δ has the value of the padding after it."""
    last = mask & ~np.concatenate([mask[:, 1:], np.zeros((len(mask), 1), bool)], 1).astype(bool)
    V_next = np.concatenate([V[:, 1:], np.zeros((len(V), 1))], 1)
    return advantages(r * mask + gamma * V_next * last, V * mask, gamma * lam, gamma)
