"""FLAN's templates: their format, and its conversion into ours.

A file of them is {"PATTERNS": {task: [[input, target], ...]}}, the literals of FLAN's templates.py
as JSON.  Their texts are in braces, as ours are: {premise}.  An input is read, and its target is
written after it; of ten templates up to three invert the task.
"""

import json
import re
from pathlib import Path

from ..data.files import DataError
from ..methods.template import Template
from .instructions import Prompt

WHOLE = "options_", "options_str"  # texts that are never truncated


def read_templates(path) -> dict[str, list[Prompt]]:
    """Return {task: prompts} of a file; raise DataError, with the name, for a malformed one."""
    try:
        patterns = json.loads(Path(path).read_text(encoding="utf-8"))["PATTERNS"]
        pairs = {task: [*map(tuple, templates)] for task, templates in patterns.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f'{path} must be JSON, {{"PATTERNS": {{task: [[input, target], ...]}}}}; {error}'
        ) from error
    return {
        task: [
            convert(f"{path}: template {i} of {task}", *pair) for i, pair in enumerate(templates)
        ]
        for task, templates in pairs.items()
    }


def convert(name: str, *pair: str) -> Prompt:
    """Return the prompt of an input and its target; raise DataError, with the name, for others.

    The target stands on a line of its own.
    """
    if len(pair) != 2 or not all(isinstance(part, str) and part.strip() for part in pair):
        raise DataError(f"{name} must be an input and its target, two texts; got {list(pair)}")
    whole = lambda match: f"{{{match[1]}|whole}}" if match[1] in WHOLE else match[0]
    source, target = (re.sub(r"\{(\w+)\}", whole, part.strip()) for part in pair)
    if "[MASK]" in source + target or "[P" in source + target:
        raise DataError(f"{name} has [MASK] or [P], which mean something in our templates")
    try:
        return Prompt(Template(f"{source}\n[MASK]"), Template(target))
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error
