"""The report of learning from human feedback as a table, its legend, and a page."""

from collections.abc import Iterator

from ..data.words import count
from .report import markdown_table, percent

TITLES = {
    "base": "base",
    "few-shot": "few-shot",
    "sft": "SFT",
    "ppo": "PPO",
    "ppo-ptx": "PPO-ptx",
    "ppo-beta-0": "β = 0",
}
COLUMNS = {  # {title: (figure, whether it is a share)}
    "reward": ("reward", False),
    "learned": ("score", False),
    "> base %": ("beats_base", True),
    "> few-shot %": ("beats_few-shot", True),
    "fabricates %": ("fabricates", True),
    "rude %": ("rude", True),
    "polite: rude %": ("rude_if_polite", True),
    "KL": ("kl", False),
    "LM loss": ("lm_loss", False),
}
LEGEND = """\
reward: mean points of the labeller's rule for answers to {n}, 1 at most.
learned: mean score of the reward model; that of the demonstrations is 0.
> base, > few-shot: how often the answer is better, by the rule, than that of the base without
examples, and with {shots} in the prompt; of equal ones, half count.  ± is half a 95 % interval.
fabricates: answers to a record with facts that it lacks.
rude: opinions with a rude word; polite: the same if the prompt says "Be polite."
KL: KL divergence of an answer from SFT, the fine-tuned model that PPO starts from, in nats.
LM loss: loss on held-out text of the world, in nats per token; its rise is the alignment tax.
PPO: β = {beta:g}; PPO-ptx: plus {ptx:g} times the pretraining loss; β = 0: no KL penalty."""


def rows(report: dict) -> Iterator[list[str]]:
    """Yield the titles of the table, then a row for each policy."""
    yield ["policy", *COLUMNS]
    for name, figures in report["policies"].items():
        yield [TITLES[name], *(cell(figures.get(key), share) for key, share in COLUMNS.values())]


def cell(value, share: bool) -> str:
    """Return a figure as text; a share in percent, with half the width of its 95 % interval."""
    if value is None:
        return ""
    if not isinstance(value, dict):
        return f"{value:.2f}"
    mean = value["mean"]
    return f"{100 * mean:.0f}±{100 * value['half_width']:.0f}" if share else f"{mean:.2f}"


def legend(report: dict) -> str:
    """Return what the rows and columns of the table are."""
    plan = report["plan"]
    text = LEGEND.format(
        n=count(report["test_prompts"], "test prompt"), shots=report["shots"], **plan
    )
    if reward := report.get("reward_model"):
        accuracy, exact, labeller = (reward[k] for k in ("accuracy", "exact", "labeller"))
        text = (
            f"The reward model ranks {percent(accuracy['mean'])} ± "
            f"{percent(accuracy['half_width'])} % of {reward['pairs']:,} held-out pairs as the "
            f"labeller did, and {percent(exact['mean'])} % as the rule does; the labeller agrees "
            f"with the rule on {percent(labeller['mean'])} %.\n{text}"
        )
    return text


def findings(report: dict) -> Iterator[str]:
    """Yield what the policies show, once all are trained."""
    policies = report["policies"]
    if len(policies) < len(TITLES):
        return
    sft, ppo, ptx, free = (policies[name] for name in ("sft", "ppo", "ppo-ptx", "ppo-beta-0"))
    change = lambda key, after: f"{sft[key]['mean']:.2f} → {after[key]['mean']:.2f}"
    yield (
        f"PPO: learned reward {change('score', ppo)}, reward {change('reward', ppo)}; without a KL "
        f"penalty {change('score', free)} and {change('reward', free)}."
    )
    base, *losses = (f"{p['lm_loss']:.2f}" for p in (policies["base"], sft, ppo, ptx))
    kept = "lowers" if ptx["lm_loss"] < ppo["lm_loss"] else "does not lower"
    yield (
        f"LM loss: base {base}, SFT {losses[0]}, PPO {losses[1]}, PPO-ptx {losses[2]}: the "
        f"pretraining loss {kept} it."
    )


def samples(report: dict) -> Iterator[str]:
    """Yield prompts, and the answers of all policies to them."""
    for sample in report["samples"]:
        yield f"> {sample['prompt']}"
        for name, title in TITLES.items():
            if name in sample:
                yield f"{title}: {sample[name].strip()}"
        yield ""


def markdown(report: dict, image: str | None) -> str:
    """Return the report as a page."""
    page = ["# Learning from human feedback", markdown_table(rows(report))]
    page += ["\n".join(f"- {line}" for line in (*findings(report), *legend(report).splitlines()))]
    if image:
        page.append(f"![rewards and KL divergence]({image})")
    answers = "\n\n".join(line for line in samples(report))
    return "\n\n".join([*page, "## Answers", answers]) + "\n"
