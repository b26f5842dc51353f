"""The world's tasks in words, as prompted tasks."""

from ..methods.template import Template
from ..prompting.instructions import Prompt, PromptedTask
from ..world.instructions import TASKS


def prompted_tasks(split: str, plain: bool = False, **sizes: int) -> dict[str, PromptedTask]:
    """Return the prompted tasks of the built-in world, with the examples of a split.

    plain: without instructions, the texts and the answer only.  sizes: see generate_splits.
    """
    return {
        name: PromptedTask(
            task.cluster,
            [Prompt(Template(text)) for text in ((task.plain,) if plain else task.templates)],
            task.splits(**sizes)[split],
            task.options,
        )
        for name, task in TASKS.items()
    }
