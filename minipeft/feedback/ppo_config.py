"""Settings of PPO."""

from dataclasses import dataclass
from math import inf
from numbers import Integral, Real

import numpy as np

from .returns import BASELINES, KL_ESTIMATORS

ABOVE_0, UP_TO_1, ANY = np.nextafter(0, 1), (0, 1), (0, inf)
RANGES = {  # the least and the largest value of each number
    **dict.fromkeys(("max_new_tokens", "kl_horizon", "group", "epochs", "minibatch"), (1, inf)),
    **dict.fromkeys(("beta", "ptx", "missing_eos_penalty", "seed"), ANY),
    **dict.fromkeys(("temperature", "kl_target", "epsilon", "value_epsilon"), (ABOVE_0, inf)),
    **dict.fromkeys(("gamma", "lam"), UP_TO_1),
}


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO; raises ValueError for values out of range."""

    max_new_tokens: int = 48
    """Tokens of an answer, at most."""
    temperature: float = 1.0
    """Of sampling, and of all log-probabilities."""
    beta: float = 0.02
    """β, the weight of the KL penalty: Ouyang et al. 2022, appendix C.4."""
    kl: str = "k1"
    """Estimator of the KL divergence in the penalty: k1, k2 or k3.

    The penalty is part of the reward, so no gradient flows through it.  With k1, the policy
    gradient is still that of the divergence; with k2 and k3 it is not, and the optimum is another.
    """
    kl_target: float | None = None
    """KL divergence of an answer that `adapt_beta` aims at; None: β is constant."""
    kl_horizon: int = 10_000
    """Answers in which `adapt_beta` changes β: Ziegler et al. 2019, code."""
    ptx: float = 0.0
    """γ_ptx, the weight of the pretraining loss; above 0 this is PPO-ptx.

    It is relative to a policy loss of whitened advantages, a mean over tokens.  InstructGPT's 27.8
    (Ouyang et al. 2022, appendix C.4) is for losses of another scale.
    """
    missing_eos_penalty: float = 0.0
    """Subtracted, as in TRL, from the score of an answer that has no end-of-text token."""
    baseline: str = "value"
    """value: a value network; grpo, rloo: the other answers to the prompt."""
    group: int = 1
    """Answers to each prompt."""
    whiten_rewards: bool = False
    """Whether the rewards of tokens are scaled to a variance of 1: Ziegler et al. 2019, code."""
    gamma: float = 1.0
    """γ, the discount of a reward for each token until it comes."""
    lam: float = 0.95
    """λ, of the advantages: Schulman et al. 2016; 0.95: Ziegler et al. 2019, code."""
    epochs: int = 4
    """Passes over the answers: 4 in the code of Ziegler et al. 2019, 1 in InstructGPT."""
    minibatch: int = 32
    """Answers in each optimizer step."""
    epsilon: float = 0.2
    """ε, at which the ratio π / π_old is clipped; 0.2: Ziegler et al. 2019, code."""
    value_epsilon: float = 0.2
    """ε_v, at which the change of a value is clipped; 0.2: Ziegler et al. 2019, code."""
    seed: int = 0
    """Seed of the prompts, of sampling and of minibatches."""

    def __post_init__(self):
        for name, (low, high) in RANGES.items():
            value, default = getattr(self, name), getattr(PPOConfig, name)
            kind = Integral if isinstance(default, int) else Real
            if value is None and default is None:
                continue
            if not (isinstance(value, kind) and low <= value <= high and value < inf):
                number = "an integer, " if kind is Integral else ""
                least = "greater than 0" if low == ABOVE_0 else f"at least {low}"
                most = f" and at most {high}" if high < inf else ""
                raise ValueError(f"{name}={value!r} must be {number}{least}{most}, and finite")
        for name, known in {"kl": KL_ESTIMATORS, "baseline": ["value", *BASELINES]}.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} must be one of {', '.join(known)}"
                )
        if self.kl_target and not self.beta:
            raise ValueError("kl_target multiplies beta, and beta=0 stays 0: start from 0.02")
        if self.baseline != "value" and self.whiten_rewards:
            raise ValueError(
                f"whiten_rewards=True is for baseline='value': {self.baseline} compares sums of "
                "rewards, and those of whitened ones depend on the length"
            )
        if self.baseline != "value" and self.group < 2:
            raise ValueError(
                f"baseline={self.baseline!r} compares the answers to a prompt: use group=2 or more"
            )
