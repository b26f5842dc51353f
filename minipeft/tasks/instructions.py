"""The world's tasks in words, as prompted tasks."""

from collections.abc import Mapping
from dataclasses import replace

from ..methods.template import Template
from ..prompting.instructions import Prompt, PromptedTask
from ..world.instructions import TASKS


def prompted_tasks(**sizes: int) -> dict[str, dict[str, PromptedTask]]:
    """Return {split: {name: task}} of the built-in world; sizes: see generate_splits."""
    tasks: dict = {}
    for name, task in TASKS.items():
        prompts = [Prompt(Template(text)) for text in task.templates]
        for split, examples in task.splits(**sizes).items():
            prompted = PromptedTask(task.cluster, prompts, examples, task.options)
            tasks.setdefault(split, {})[name] = prompted
    return tasks


def without_instructions(tasks: Mapping[str, PromptedTask]) -> dict[str, PromptedTask]:
    """Return tasks of the world whose prompts have the texts and the answer only."""
    return {
        name: replace(task, prompts=[Prompt(Template(TASKS[name].plain))])
        for name, task in tasks.items()
    }
