"""Plot of learning from human feedback: rewards against the KL divergence, and step by step."""

from functools import partial

import numpy as np

from .feedback_page import TITLES
from .plot import INK, decorate, draw, look

REWARDS = {"reward": ("the labeller's rule", "-"), "score": ("reward model", ":")}


def plot_feedback(report: dict, path, ink: str = INK, paper: str = "white") -> None:
    """Save a picture of the runs of PPO in a report: see `draw`."""
    panels: dict = {
        "kl": partial(plot_rewards, report=report, x="kl", xlabel="KL divergence from SFT, nats"),
        "steps": partial(plot_rewards, report=report, x="step", xlabel="step of PPO"),
    }
    draw(panels, [["kl", "steps"]], 4.2, path, ink, paper)


def plot_rewards(axes, report: dict, x: str, xlabel: str) -> None:
    """Plot what the rule and the reward model say of the answers of each run."""
    for i, (name, history) in enumerate(report["history"].items()):
        for reward, (source, style) in REWARDS.items():
            columns = {key: smooth([row[key] for row in history]) for key in ("kl", reward)}
            columns["step"] = np.arange(1, len(columns["kl"]) + 1)
            axes.plot(
                columns[x],
                columns[reward],
                **look(i) | {"marker": "", "ls": style},
                label=f"{TITLES[name]}, {source}",
            )
    if x == "kl":
        axes.legend(frameon=False, fontsize=8)
    decorate(axes, f"Reward by {xlabel.split(',')[0]}", xlabel=xlabel, ylabel="reward")


def smooth(x: list[float], window: int = 5) -> np.ndarray:
    """Return the mean of each number with up to `window` - 1 before it."""
    return np.array([np.mean(x[max(0, i - window + 1) : i + 1]) for i in range(len(x))])
