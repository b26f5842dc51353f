# %% [markdown]
# # 15. Does it follow instructions?
#
# FLAN and T0 train a language model on many tasks, each in the words of several instructions, and
# test it on tasks of a kind that it has never been trained on. This page does so in the built-in
# world: twelve tasks of five kinds. All tasks of one kind, a cluster, are held out, and the model
# has to do them from the instruction alone. The default is a short run; the table at the end is of
#
#     python 15_instruction_tuning.py --steps 400 --test 300

# %%
import argparse
from dataclasses import replace

import numpy as np

import minipeft as mp
from minipeft.data.metrics import bootstrap, wilson
from minipeft.prompting.examples import choose_examples
from minipeft.prompting.flan import read_templates
from minipeft.prompting.instructions import (
    Encoder,
    PromptedTask,
    collate_choices,
    rank_options,
)
from minipeft.prompting.mixture import Mixture, hold_out
from minipeft.prompting.tfew import TFew
from minipeft.tasks.instructions import prompted_tasks, without_instructions

parser = argparse.ArgumentParser()
parser.add_argument("--held-out", default="sentiment", help="the cluster that is held out")
parser.add_argument("--steps", type=int, default=4, help="of 16 examples")
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--test", type=int, default=24, help="examples of each task to test on")
parser.add_argument("--shots", type=int, default=4, help="examples in context")
parser.add_argument("--templates", help="FLAN's templates: flan2021_templates.json")
parser.add_argument("--seed", type=int, default=0)
args, _ = parser.parse_known_args()  # a notebook has arguments of its own
model, rng = mp.load(), np.random.default_rng(args.seed)

# %% [markdown]
# ## Tasks in words
#
# A prompt is a template with a slot at its end, and a task has several. `hold_out` separates the
# tasks of a cluster, and a mixture refuses one of them, or one of their texts.

# %%
splits = prompted_tasks(train=500, dev=32, test=args.test)
train, held_out = hold_out(splits["train"], args.held_out)
seen, test = (
    {name: task for name, task in tasks.items() if task.options}
    for tasks in hold_out(splits["test"], args.held_out)
)
for name, task in test.items():
    print(f"{name}: {task.prompts[0].template.text!r}, {' or '.join(task.options)}")
    print(f"    {task.examples[0]}")
try:
    Mixture(splits["train"], held_out=held_out)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Training
#
# The mixture draws a task in proportion to the number of its examples, then one of its prompts and
# one of its examples. The loss is that of a language model, of the answer alone. The control learns
# the same examples of the same tasks, without their instructions: Wei et al. 2022, §4.3.


# %%
def tune(tasks):
    """Return the model, fine-tuned on a mixture of tasks."""
    γ = mp.FullFineTuning().attach(model, rng)
    schedule = mp.schedule("linear", args.steps, warmup=args.steps // 10)
    trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters(), args.lr), schedule=schedule)
    batches = Mixture(tasks, limit=1000, held_out=held_out).batches(model, 16, rng, γ)
    trainer.fit(batches, args.steps, progress=False)
    return mp.merge(model, γ)


def right(network, task, **options):
    """Return for each example of a task whether a model answers it right."""
    predicted = rank_options(network, task, **options)
    return [p == example["answer"] for p, example in zip(predicted, task.examples)]


tuned, control = tune(train), tune(without_instructions(train))
few = {name: replace(task, examples=task.examples[: args.test // 4]) for name, task in seen.items()}
for row, network, tasks in (
    ("base, with instructions", model, few),
    ("trained with instructions", tuned, few),
    ("trained without instructions", control, without_instructions(few)),
):
    shares = [np.mean(right(network, task)) for task in tasks.values()]
    print(f"the tasks of training, {row}: {np.mean(shares):.1%} right")

# %% [markdown]
# ## The tasks that were held out
#
# Of all options, that with the highest probability after the prompt is the answer: rank
# classification. All rows read the same prompts, with instructions. The intervals are Wilson's, of
# 95 %; that of the difference is of a paired bootstrap.

# %%
scores = {}


def show(row, network, shots=0, adaptations=None):
    """Print the accuracy of a model on each task that was held out."""
    print(f"{row:22}", end="")
    for name, task in test.items():
        pool = [(example, example["answer"]) for example in splits["dev"][name].examples]
        chosen = [example for example, _ in choose_examples(pool, shots, rng)]
        γ = adaptations and adaptations[name]
        scores[row, name] = right(network, task, adaptation=γ, shots=chosen)
        low, high = wilson(sum(scores[row, name]), args.test)
        print(f"{np.mean(scores[row, name]):7.1%} ({low:.0%}, {high:.0%})", end="")
    print()


chance = {name: 1 / len(task.options) for name, task in test.items()}
print(" " * 22 + "".join(f"{name:>7}{'':11}" for name in test))
print(f"{'chance':22}" + "".join(f"{share:7.1%}{'':11}" for share in chance.values()))
show("base, zero-shot", model)
show(f"base, {args.shots}-shot", model, args.shots)
show("instructions", tuned)
show("without instructions", control)


def gain(a, b):
    """Return the difference of two accuracies."""
    return np.mean(a) - np.mean(b)


for name in test:
    pair = [scores[row, name] for row in ("instructions", "without instructions")]
    low, high = bootstrap(gain, *pair, rng=rng)
    print(f"{name}: instructions add {gain(*pair):+.1%}, from {low:+.1%} to {high:+.1%}")

# %% [markdown]
# ## A few examples
#
# T-Few goes on from the instruction-tuned model, with 32 examples of the task and an (IA)³. Its
# loss raises the right answer, lowers the tokens of wrong ones, and compares all answers by their
# log-probability per token.


# %%
def fit_few(task):
    """Return an (IA)³ of the tuned model, trained on the examples of a task."""
    γ = mp.IA3().attach(tuned, rng)
    trainer = mp.Trainer(TFew(tuned), γ, mp.AdamW(γ.parameters(), lr=1e-2))
    batches = Mixture({"few": task}).batches(tuned, 8, rng, γ, collate=collate_choices)
    trainer.fit(batches, min(args.steps, 60), progress=False)
    return γ


show("T-Few, 32 examples", tuned, adaptations={name: fit_few(splits["dev"][name]) for name in test})

# %% [markdown]
# ## The templates of FLAN
#
# With `--templates` the page shows how FLAN's own instructions read on examples of the world. They
# list the options. The built-in base has never read such words as "premise".

# %%
LIKE = {  # a task of FLAN: a task of the world, and the names of its texts
    "sst2": ("opinion", {"x": "sentence"}),
    "rte": ("entailment", {}),
    "trec": ("topic", {"x": "text"}),
    "e2e_nlg": ("description", {"x": "meaning_representation", "answer": "target"}),
}
templates = read_templates(args.templates) if args.templates else {}
for flan, (name, renamed) in LIKE.items() if templates else ():
    task = splits["test"][name]
    example = {renamed.get(key, key): text for key, text in task.examples[0].items()}
    prompted = PromptedTask(task.cluster, templates[flan], [example], task.options)
    prompt, (answer, *_) = Encoder(model)(prompted, prompted.prompts[0], example)
    print(f"-- {flan}\n{model.tokenizer.decode([*prompt, *answer])}")

# %% [markdown]
# ## At this size
#
# In percent of 300 test examples, each cluster held out in a run of its own, which takes three to
# four minutes. Half of a 95 % interval is at most six points.
#
# | held out  | task    | chance | base | 4-shot | instructions | without | T-Few |
# |-----------|---------|-------:|-----:|-------:|-------------:|--------:|------:|
# | sentiment | opinion |     50 |   46 |     43 |           50 |      50 |    50 |
# | sentiment | liked   |     50 |   50 |     50 |           51 |      51 |    45 |
# | names     | name    |     33 |   33 |     33 |           33 |      33 |    36 |
# | names     | person  |     50 |   50 |     50 |           53 |      58 |    90 |
# | topic     | topic   |     20 |   30 |     29 |           19 |      23 |    32 |
# | topic     | about   |     50 |   50 |     50 |           55 |      49 |    52 |
#
# Instruction tuning teaches the tasks of training: 66 to 74 % are right, and 37 to 39 % before it.
# It does not teach the model to follow a new instruction: the tasks that were held out stay near
# chance, and no interval of the gain over the control is above 0. Wei et al. 2022, §4.2, found that
# it even hurts models of up to 8 billion parameters; this one has a million. T-Few learns one of
# the tasks from 32 examples. In words of its own world the base can be asked: on page 14 it
# completes "All in all I" with "liked" or "disliked", and 70 % are right.
