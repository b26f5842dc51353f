"""Tasks in words: prompts, answers, and rank classification.

B examples in a batch   K answers to a prompt   T tokens
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import as_adaptation
from ..data.batches import pad, pad_answers
from ..methods.segments import SLOT, continuation
from ..methods.template import IGNORED, Template
from ..model.encoder_decoder import EncoderDecoder
from ..model.inputs import virtual_positions
from ..model.special_tokens import eos_ids
from .classifier import PromptClassifier


class Prompt(NamedTuple):
    """A template with a slot at its end, and the template of what is written there."""

    template: Template
    target: Template = Template("{answer}")


@dataclass(frozen=True)
class PromptedTask:
    """A task in words        Wei et al. 2022; Sanh et al. 2022

    cluster: the name that it shares with tasks like it, which are held out together.
    prompts: several, as people would write them.
    examples: {name: text} of each, for the names in the prompts; "answer" is the right answer.
    options: all answers, if they are few; {options_} in a template lists them.
    """

    cluster: str
    prompts: Sequence[Prompt]
    examples: Sequence[Mapping[str, str]]
    options: Sequence[str] = ()

    def __post_init__(self):
        for template, target in self.prompts:
            if template.shape != "prefix":
                raise ValueError(f"{template} must have its slot, [MASK], at the end")
            for example in map(self.texts, self.examples):
                if missing := {*template.names, *target.names} - {*example}:
                    raise ValueError(f"{template}: an example has no text {min(missing)!r}")
                if self.options and example["answer"] not in self.options:
                    raise ValueError(
                        f"the answer {example['answer']!r} is none of {', '.join(self.options)}"
                    )

    def texts(self, example: Mapping[str, str]) -> dict[str, str]:
        """Return the texts of an example, with the options."""
        return {**example, "options_": list_options(self.options)} if self.options else {**example}

    def answers(self, prompt: Prompt, example: Mapping[str, str]) -> list[str]:
        """Return the text that is to be written, and then those for the other options."""
        texts = self.texts(example)
        others = self.options if "answer" in prompt.target.names else ()
        others = [o for o in others if o != example["answer"]]
        options = [texts, *(texts | {"answer": other} for other in others)]
        return [fill(prompt.target, texts) for texts in options]


def list_options(options: Sequence[str]) -> str:
    """Return the options as a text, "OPTIONS:" and one on each line        Wei et al. 2022, code"""
    return "\n- ".join(["OPTIONS:", *options])


def named(template: Template, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts that a template takes."""
    return {name: texts[name] for name in template.names}


def fill(template: Template, texts: Mapping[str, str]) -> str:
    """Return a template with the texts that it takes; it has no slot and no pseudo-tokens."""
    return "".join(template.segments(named(template, texts)))


class Encoder:
    """Prompts and answers as token ids, for a decoder or an encoder–decoder."""

    def __init__(self, model, tokenizer=None, adaptation: Adaptation | None = None):
        self.model, self.tokenizer = model, tokenizer or model.tokenizer
        self.end = eos_ids(model, self.tokenizer)[:1]
        self.room = model.config.length - virtual_positions(model, as_adaptation(adaptation))

    def __call__(self, task: PromptedTask, prompt: Prompt, example: Mapping) -> tuple:
        """Return the ids of the prompt, and those of each answer, the right one first.

        An answer ends with the end-of-text token, if the model has one.  The end of a text is left
        out if the model can't read it all, with the virtual tokens of the adaptation.
        """
        template, texts = prompt.template, task.texts(example)
        answers = [
            continuation(self.tokenizer, template.space + answer) + self.end
            for answer in task.answers(prompt, example)
        ]
        writes = isinstance(self.model, EncoderDecoder)
        room = self.room - (0 if writes else max(map(len, answers)))
        ids = template.encode(self.tokenizer, named(template, texts), room + 1)
        slot = ids.index(SLOT)
        return ids[:slot] + (ids[slot + 1 :] if writes else []), answers


def row_length(row: tuple) -> int:
    """Return the number of tokens of a prompt with its longest answer."""
    prompt, answers = row
    return len(prompt) + max(map(len, answers))


def collate(model, rows: Sequence[tuple]) -> tuple:
    """Return a batch (ids, labels, mask) of prompts and right answers, for the loss of a model."""
    return label([(prompt, answers[0]) for prompt, answers in rows], model)


def collate_choices(model, rows: Sequence[tuple]) -> tuple:
    """Return a batch (ids, labels, mask), each (B, K, T), of prompts and all answers, for TFew."""
    sizes = {len(answers) for _, answers in rows}
    if len(sizes) != 1:
        raise ValueError(f"prompts have {sorted(sizes)} answers: give the same number to each")
    batch = label([(prompt, answer) for prompt, answers in rows for answer in answers], model)
    return tuple(x.reshape(len(rows), *sizes, x.shape[1]) for x in batch)


def label(pairs: Sequence[tuple], model) -> tuple:
    """Return ids, labels and mask of prompts with an answer: only the answer has labels."""
    if not isinstance(model, EncoderDecoder):
        return pad_answers(pairs)
    ids, mask = pad([prompt for prompt, _ in pairs])
    return ids, pad([answer for _, answer in pairs], IGNORED)[0], mask


def rank_options(
    model,
    task: PromptedTask,
    adaptation: Adaptation | None = None,
    *,
    shots: Sequence[Mapping] = (),
    seed: int = 0,
    tokenizer=None,
    **options,
) -> list[str]:
    """Return the option with the highest log p(y | x) for each example        Sanh et al. 2022

    Each example is read in one of the prompts, at random: the labels of examples often have an
    order.  shots: examples that are read before each.  options: of PromptClassifier.predict.
    """
    if len(task.options) < 2:
        raise ValueError("the task has no options to rank: generate an answer instead")
    prompts = [prompt for prompt in task.prompts if prompt.target.names == ["answer"]]
    if not prompts:
        raise ValueError("no prompt of the task has the answer, {answer}, as its target")
    chosen = np.random.default_rng(seed).integers(0, len(prompts), len(task.examples))
    predictions = np.empty(len(task.examples), object)
    for i, (template, _) in enumerate(prompts):
        texts = lambda example, template=template: named(template, task.texts(example))
        classifier = PromptClassifier(model, template, {o: o for o in task.options}, tokenizer)
        classifier = classifier.with_examples([(texts(x), x["answer"]) for x in shots])
        rows = np.flatnonzero(chosen == i).tolist()
        read = [texts(task.examples[row]) for row in rows]
        predictions[rows] = classifier.predict(read, adaptation, **options) if read else []
    return predictions.tolist()
