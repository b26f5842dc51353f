# %% [markdown]
# # 14. Prompting
#
# A language model can classify without being trained for it: a template turns the text into one
# whose next word tells the class. This page asks the built-in base whether the writer of a review
# liked it, in several ways, and no parameter of the base changes. With a file of your own:
#
#     python 14_prompting.py --data reviews.csv --model FOLDER \
#         --template "Review: {text} Sentiment: [MASK]" --words neg=negative pos=positive

# %%
import argparse

import numpy as np

import minipeft as mp
from minipeft.data.files import read_examples
from minipeft.data.metrics import accuracy, wilson
from minipeft.data.splits import split
from minipeft.prompting.calibration import calibrate, content_free
from minipeft.prompting.examples import choose_examples
from minipeft.prompting.heads import prototypes, soft_verbalizer
from minipeft.prompting.words import find_words
from minipeft.training.trainer import Trainer
from minipeft.world import sentiment

parser = argparse.ArgumentParser()
parser.add_argument("--data", help="a file with the columns text and label")
parser.add_argument("--model", help="a folder of Hugging Face's; the default is the built-in base")
parser.add_argument("--template", default="{x} All in all I [MASK] it.")
parser.add_argument("--words", nargs="+", default=["0=disliked", "1=liked"], help="of each label")
parser.add_argument("--shots", type=int, nargs="*", default=[4], help="examples in context")
parser.add_argument("--separator", default=" ", help="after each of these examples")
parser.add_argument("--seeds", type=int, default=2, help="choices of examples in context")
parser.add_argument("--limit", type=int, default=100, help="texts to classify")
args, _ = parser.parse_known_args()  # a notebook has arguments of its own
model, rng = mp.load(args.model) if args.model else mp.load(), np.random.default_rng(0)
if args.data:
    splits = split(read_examples(args.data), rng, test=0.2)
else:
    splits = {k: [(x, str(y)) for x, y in v] for k, v in sentiment.splits().items()}
train, (texts, labels) = splits["train"][:200], zip(*splits["test"][: args.limit])
words = dict(pair.split("=") for pair in args.words)

# %% [markdown]
# ## A template and a verbalizer
#
# The verbalizer has a word for each class. The classifier scores the words in the place of
# `[MASK]`: p(y | x) = p(w_y | x') / Σ p(w | x').

# %%
prompted = mp.PromptClassifier(model, args.template, words)
print(prompted.render(texts[0]))
for y, p in zip(prompted.classes, np.exp(prompted.log_probabilities(texts[:1])[0])):
    print(f"  p({y} | x) = {p:.2f}, {words[y]}")
print(f"  the review's label is {labels[0]}\n")


# %% [markdown]
# ## Zero-shot, few-shot, calibrated
#
# Examples in context are labelled texts in the same template, before the text. Which ones, and in
# which order, changes the predictions, so they are chosen more than once. Calibration divides by
# the probabilities that the model gives to a text without content.


# %%
def show(name, log_p):
    """Print the accuracy of the likeliest classes, and how often each is predicted."""
    predictions = [prompted.classes[c] for c in log_p.argmax(1)]
    share = accuracy(predictions, labels)
    low, high = wilson(round(share * len(labels)), len(labels))
    counts = ", ".join(f"{predictions.count(y)} {y}" for y in prompted.classes)
    print(f"{name:34} {100 * share:5.1f} %  ({100 * low:.0f} to {100 * high:.0f})  {counts}")


def show_both(name, classifier):
    """Print the accuracy before and after calibration; return log p(y | x)."""
    log_p = classifier.log_probabilities(texts)
    show(name, log_p)
    show(f"{name}, calibrated", calibrate(log_p, content_free(classifier)))
    return log_p


zero_shot = show_both("zero-shot", prompted)
for shots in args.shots:
    for seed in range(args.seeds):
        chosen = choose_examples(train, shots, np.random.default_rng(seed))
        shown = prompted.with_examples(chosen, separator=args.separator)
        show_both(f"{shots} examples, choice {seed}", shown)

# %% [markdown]
# ## Other templates, and all of them together
#
# The mean of their probabilities, an ensemble, is about as good as the best of them.

# %%
if not args.data:
    print("\nother templates")
    others = {
        "{x} I would [MASK]": {"0": "never", "1": "gladly"},
        "{x} I told all my friends to [MASK]": {"0": "keep away", "1": "try it"},
    }
    p = [np.exp(zero_shot)]
    for template, chosen in others.items():
        log_p = mp.PromptClassifier(model, template, chosen).log_probabilities(texts)
        show(template, log_p)
        p.append(np.exp(log_p))
    show("ensemble of three templates", np.log(mp.mean_probability(p)))

# %% [markdown]
# ## Words that the model prefers, and a head in place of words
#
# With labelled examples there is more to choose. `find_words` tries the words that the model itself
# writes into the slot. A soft verbalizer is a head that starts from the words and is trained;
# prototypes are the mean states of the classes.

# %%
found = find_words(prompted, train)
print(f"\nfound words: {found.words}")
show("found words", mp.PromptClassifier(model, args.template, found).log_probabilities(texts))
show("prototypes", prototypes(prompted, train).log_probabilities(texts))

soft = soft_verbalizer(prompted)
γ = mp.FullFineTuning("^head$").attach(soft.model)
ids, classes, mask = soft.collate(*zip(*train[:64]))
trainer = Trainer(soft, γ, mp.AdamW(γ.parameters(), lr=1e-2, weight_decay=0.1))
for _ in range(20):
    trainer.step(ids, classes, mask=mask)  # all examples at once
show("soft verbalizer, 20 steps", soft.log_probabilities(texts, γ))
