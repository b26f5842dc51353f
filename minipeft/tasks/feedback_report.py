"""What learning from human feedback reaches on the built-in world: figures of each policy."""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..autograd.nn import size
from ..autograd.tensor import no_grad
from ..data.batches import pad_pairs
from ..feedback.demonstrations import Demonstrations
from ..model.transformer import Decoder
from ..world.feedback import fabricated, few_shot, rude_words
from .feedback import Pipeline
from .forgetting import general_text, mean_loss

SHOTS = 3  # demonstrations in a few-shot prompt
KINDS = 4  # of prompts, in turn: one of each is shown
POLICIES = {  # {name: of PPO, the weights β and γ_ptx}
    "base": None,
    "few-shot": None,
    "sft": None,
    "ppo": lambda plan: (plan.beta, 0.0),
    "ppo-ptx": lambda plan: (plan.beta, plan.ptx),
    "ppo-beta-0": lambda plan: (0.0, 0.0),
}


class Policy(NamedTuple):
    """A model with its adaptation, and the statistics of its training by PPO."""

    model: Decoder
    adaptation: Adaptation
    history: list[dict]


def interval(x) -> dict:
    """Return the mean of x and the half width of its 95 % interval, 1.96 s / √n."""
    x = np.asarray(x, float)
    return {"mean": float(x.mean()), "half_width": float(1.96 * x.std() / len(x) ** 0.5)}


def wins(rewards, others) -> dict:
    """Return how often a reward exceeds the other one; if they are equal, it counts as half."""
    return interval((np.sign(np.subtract(rewards, others)) + 1) / 2)


class Figures:
    """Figures of a pipeline: what the labeller's rule and the reward model say of its policies."""

    def __init__(self, pipeline: Pipeline):
        self.pipeline, self.prompts = pipeline, pipeline.prompts["test"]
        self.text = general_text(pipeline.base, pipeline.tokenizer)
        self.rewards: dict[str, list[float]] = {}  # of each policy and test prompt

    def report(self) -> Iterator[dict]:
        """Yield the report so far, after each policy."""
        p = self.pipeline
        report: dict = {
            "plan": vars(p.plan),
            "base_params": size(p.base),
            "policies": {},
            "history": {},
        }
        report |= {"test_prompts": len(self.prompts), "shots": SHOTS}
        report["samples"] = [{"prompt": prompt.text} for prompt in self.prompts[:KINDS]]
        for name in POLICIES:
            policy = self.policy(name)
            answers = self.answers(name, policy)
            report["policies"][name] = self.figures(name, policy, answers)
            if policy.history:
                report["history"][name] = policy.history
            for sample, answer in zip(report["samples"], answers):
                sample[name] = answer
            if name == "sft":
                report["reward_model"] = self.accuracy()
            yield report

    def policy(self, name: str) -> Policy:
        """Return a policy; train it if it has not been."""
        p, weights = self.pipeline, POLICIES[name]
        if weights:
            ppo = p.ppo(name, *weights(p.plan))
            return Policy(p.sft, ppo.policy.adaptation, ppo.history)
        return Policy(p.sft if name == "sft" else p.base, PLAIN, [])

    def answers(self, name: str, policy: Policy) -> list[str]:
        """Return sampled answers to the test prompts."""
        p, rng = self.pipeline, self.pipeline.rng(6)
        shots = SHOTS if name == "few-shot" else 0
        texts = [few_shot(rng, prompt, shots) for prompt in self.prompts]
        sampled = lambda: p.answers(policy.model, policy.adaptation, texts, 7)
        return p.results.get(f"answers-{name}", sampled)

    def figures(self, name: str, policy: Policy, answers: list[str]) -> dict:
        """Return {figure: number, or mean and half width} of a policy's answers."""
        p, model, γ = self.pipeline, policy.model, policy.adaptation
        pairs = [*zip(self.prompts, answers)]
        rewards = self.rewards[name] = [p.labeller.reward(*pair) for pair in pairs]
        closed = [fabricated(prompt.record, answer) for prompt, answer in pairs if prompt.record]
        rude = {
            polite: [bool(rude_words(a)) for q, a in pairs if not q.record and q.polite == polite]
            for polite in (False, True)
        }
        figures = {
            "reward": interval(rewards),
            "fabricates": interval([bool(facts) for facts in closed]),
            "rude": interval(rude[False]),
            "rude_if_polite": interval(rude[True]),
            "score": interval(self.scores(pairs)),
            "lm_loss": mean_loss(model, self.text.ids, self.text.labels, lambda rows: γ),
        }
        for other in ("base", "few-shot"):
            if other in self.rewards and other != name:
                figures[f"beats_{other}"] = wins(rewards, self.rewards[other])
        if policy.history:
            figures["kl"] = self.divergence(policy, pairs)
        return figures

    def divergence(self, policy: Policy, pairs: list) -> float:
        """Return the mean log(π / π_SFT) of answers of a policy: the KL divergence, by k1."""
        p = self.pipeline
        rows = [(p.encode(prompt.text), p.encode_answer(answer)) for prompt, answer in pairs]
        ids, labels, mask = Demonstrations(rows).collate(rows)
        with no_grad():
            loss, of_sft = (
                policy.model.loss(ids, labels, γ, mask=mask, count=len(rows))
                for γ in (policy.adaptation, None)
            )
        return float(of_sft) - float(loss)

    def scores(self, pairs: list) -> np.ndarray:
        """Return the score of each answer to a prompt by the reward model."""
        p = self.pipeline
        rows = [(p.encode(prompt.text), p.encode_answer(answer)) for prompt, answer in pairs]
        return p.score(*pad_pairs(rows))

    def accuracy(self) -> dict:
        """Return how many pairs of new answers the reward model ranks as the labeller does.

        exact: as the rule does, without errors.  labeller: how often the labeller does so.
        All are means over prompts of the share of their pairs.
        """
        rankings, n = self.pipeline.ranked("dev", 8), 0
        right: dict[str, list] = {"accuracy": [], "exact": [], "labeller": []}
        for prompt, answers, ranks in rankings:
            scores = self.scores([(prompt, answer) for answer in answers])
            rewards = [self.pipeline.labeller.reward(prompt, answer) for answer in answers]
            pairs = [
                (i, j) for i, j in combinations(range(len(answers)), 2) if rewards[i] != rewards[j]
            ]
            learned, ranked, true = (
                np.array([x[i] > x[j] for i, j in pairs]) for x in (scores, ranks, rewards)
            )
            if pairs:
                right["accuracy"].append((learned == ranked).mean())
                right["exact"].append((learned == true).mean())
                right["labeller"].append((ranked == true).mean())
                n += len(pairs)
        return {name: interval(x) for name, x in right.items()} | {"pairs": n}
