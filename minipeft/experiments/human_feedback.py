"""CL-21: what learning from human feedback reaches, beside InstructGPT's three figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from ..tasks.feedback import FeedbackPlan, Pipeline
from ..tasks.feedback_report import Figures
from ..world.feedback import fabricated, rude_words
from .claim import Claim, Contrast, difference
from .study import Study

POLICIES = {"base": "base", "few-shot": "few-shot", "sft": "SFT", "ppo-ptx": "PPO-ptx"}


def preferred(other: str) -> Contrast:
    """Return the contrast of how often PPO-ptx is preferred, and a half."""
    values = lambda rows: rows("PPO-ptx", f"above {other}") - 0.5
    return Contrast(f"PPO-ptx preferred to {other}, above 50 %", values)


CLAIM = Claim(
    "CL-21",
    "Human feedback makes answers preferred, truer and less toxic",
    "InstructGPT is preferred to GPT-3 in 85 % of cases, and in 71 % if that has examples in its "
    "prompt; it fabricates in 21 % of closed tasks instead of 41 %; asked to be respectful, it has "
    "25 % fewer toxic outputs.",
    "Adaptation chapter, §11.2.2.3",
    "Ouyang et al. 2022, §4.1–4.2: preferred in 85 ± 3 % and 71 ± 4 %, both of 175B; the chapter "
    "gives both figures to the model of 1.3B (X6). 25 % less toxic if asked to be respectful, "
    "and more toxic if asked for the contrary, which the chapter leaves out (X25).",
    (
        preferred("base"),
        preferred("few-shot"),
        difference("base", "PPO-ptx", "fabricates"),
        difference("base", "PPO-ptx", "rude if polite"),
    ),
    "The three steps of `minipeft feedback` on the decoder of 1.1 M parameters: descriptions of "
    "records may fabricate facts, opinions may be rude, and a rule ranks them. Shares of test "
    "prompts.",
    units={"LM loss": "nats"},
    limits="One seed: in place of seeds, the intervals are over test prompts, of which those with "
    "an equal reward do not agree. No prompt asks for rudeness, so the second part of X25 is not "
    "measured. A rule has the place of people.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each policy, with a value for each test prompt."""

    @contextmanager
    def progress(stage: str, steps: int):
        yield SimpleNamespace(show=lambda done, loss=0.0: study.show(stage, done, steps))

    (base, tokenizer), settings = study.base(), study.settings
    usual, scale = FeedbackPlan(), settings.steps / 100
    plan = FeedbackPlan(
        sft_steps=round(scale * usual.sft_steps),
        prompts=round(scale * usual.prompts),
        reward_steps=round(scale * usual.reward_steps),
        ppo_steps=max(1, round(scale * usual.ppo_steps)),
    )
    figures = Figures(Pipeline(base, tokenizer, plan, progress))
    rewards: dict[str, np.ndarray] = {}
    figures.prompts = figures.prompts[: settings.test]
    for name, title in POLICIES.items():
        policy = figures.policy(name)
        answers = figures.answers(name, policy)
        loss = figures.figures(name, policy, answers)["lm_loss"]
        rewards[title] = np.array(figures.rewards[name])
        pairs = [*zip(figures.prompts, answers)]
        closed = [bool(fabricated(q.record, answer)) for q, answer in pairs if q.record]
        rude = {
            polite: [bool(rude_words(a)) for q, a in pairs if not q.record and q.polite == polite]
            for polite in (False, True)
        }
        scores = {"fabricates": closed, "rude": rude[False], "rude if polite": rude[True]}
        for other in ("base", "few-shot"):
            if other in rewards and other != title:
                better = np.sign(rewards[title] - rewards[other])
                scores[f"above {other}"] = ((better + 1) / 2).tolist()
        row: dict = {"name": title, "scores": {k: [*map(float, v)] for k, v in scores.items()}}
        row["scores"]["LM loss"] = [loss]
        yield row
