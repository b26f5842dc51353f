# %% [markdown]
# # 13. Which answer is better?
#
# A file of preferences has prompts and two answers to each, the chosen and the rejected one. This
# page learns from it twice: a reward model learns to score answers, and DPO trains the language
# model itself. Without arguments the pairs are of the built-in world, and the labeller's hidden
# rule chooses. With a file of your own, in JSON, CSV or TSV:
#
#     python 13_preferences.py --data pairs.json [--model FOLDER] [--steps N]

# %%
import argparse
from itertools import groupby

import numpy as np

import minipeft as mp
from minipeft.data.metrics import wilson
from minipeft.data.pairs import Pair, read_pairs
from minipeft.data.splits import split
from minipeft.feedback.comparisons import Comparisons
from minipeft.feedback.demonstrations import Demonstrations
from minipeft.feedback.dpo import DPO
from minipeft.feedback.ranking import RewardModel
from minipeft.feedback.rollout import sample
from minipeft.training.parallel import map_batches
from minipeft.world import feedback

parser = argparse.ArgumentParser()
parser.add_argument("--data", help="a file with columns prompt, chosen and rejected")
parser.add_argument("--model", help="a folder of Hugging Face's; the default is the built-in base")
parser.add_argument("--steps", type=int, default=30, help="of 8 pairs")
parser.add_argument("--lr", type=float, nargs=2, default=[1e-2, 2e-3], help="of each training")
parser.add_argument("--test", type=float, default=0.2, help="share of the prompts to test on")
parser.add_argument("--seed", type=int, default=0)
args, _ = parser.parse_known_args()  # a notebook has arguments of its own
model, rng = mp.load(args.model) if args.model else mp.load(), np.random.default_rng(args.seed)
tokenizer, eos = model.tokenizer, mp.eos_ids(model, model.tokenizer)

# %% [markdown]
# ## Pairs
#
# In the built-in world two writers continue a text that asks for politeness, and a labeller, who is
# sometimes wrong, dislikes rude words. All pairs of a prompt are in one split: the test prompts are
# new.


# %%
def built_in_pairs():
    """Yield pairs of answers to prompts of the built-in world; equal ranks are no pair."""
    labeller = feedback.Labeller()
    for _ in range(1000):
        prompt = feedback.draw_prompt(rng, closed=False, polite=False)
        answers = [feedback.demonstration(rng, prompt) for _ in range(2)]
        polite = feedback.Prompt(feedback.POLITE + prompt.text, None, True)
        first, second = labeller.rank(polite, answers, rng)
        if first != second:
            yield Pair(polite.text, *(answers if first > second else answers[::-1]))


pairs = sorted(read_pairs(args.data) if args.data else built_in_pairs())
prompts = [[*group] for _, group in groupby(pairs, key=lambda pair: pair.prompt)]
parts = split(prompts, rng, stratified=False, test=args.test)
parts = {name: sum(groups, []) for name, groups in parts.items()}
print(f"{len(pairs)} pairs: {len(parts['train'])} to train on, {len(parts['test'])} to test on")
for name, text in zip(("prompt", "chosen", "rejected"), parts["test"][0]):
    print(f"{name:>8}: {text}")

# %% [markdown]
# ## Tokens
#
# A chat model reads a prompt in its chat template, others read it as it is, with a new line after
# it. A pair that is longer than the model can read is left out.


# %%
def encode(pair):
    """Return the ids of a prompt and of its two answers, and their ranks."""
    prompt, *answers = pair
    if args.data:
        prompt = f"{prompt}\n"
    if tokenizer.token_to_id("<|im_start|>") is not None:
        prompt = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in answers]
    return tokenizer.encode(prompt).ids, [[*ids, eos[0]] for ids in plain], (1, 0)


def fits(row):
    prompt, answers, _ = row
    return len(prompt) + max(map(len, answers)) <= model.config.length


rows = {name: [*filter(fits, map(encode, part))] for name, part in parts.items()}
train, test = (Comparisons(rows[name]) for name in ("train", "test"))
print(f"{len(pairs) - len(train.rows) - len(test.rows)} pairs are too long for the model")

# %% [markdown]
# ## A reward model
#
# The reward of an answer is read from the last hidden state of the frozen trunk, by a head that
# starts at zero; a LoRA changes how the trunk reads. An accuracy of 50 % is chance. The interval
# is Wilson's, of 95 %.


# %%
def fit(network, method, lr):
    """Return an adaptation of a network, trained on the pairs."""
    γ, schedule = method.attach(network, rng), mp.schedule("linear", args.steps, warmup=3)
    trainer = mp.Trainer(network, γ, mp.AdamW(γ.parameters(), lr=lr), schedule=schedule)
    trainer.fit(train.batches(8, rng), args.steps, progress=False)
    return γ


def show(name, scores):
    """Print the share of pairs whose chosen answer has the higher score."""
    right, n = int((scores[:, 0] > scores[:, 1]).sum()), len(scores)
    low, high = wilson(right, n)
    print(f"{name:22} {right:4} of {n} right: {right / n:5.1%}, from {low:.1%} to {high:.1%}")
    return low


reward_model = RewardModel(model)
reward = fit(reward_model, mp.Chain(mp.LoRA(rank=8), mp.Probe()), args.lr[0])
show("longer answer", np.array([[len(x) for x in answers] for _, answers, _ in test.rows]))
low = show("reward model", test.scores(reward_model, reward))
assert args.data or low > 0.5

# %% [markdown]
# ## DPO
#
# The policy is its own reward model: r = β log(π / π_ref), where π_ref is the frozen model. At
# first all r are 0. The margin is the mean difference of the two r.

# %%
dpo = DPO(model, beta=0.1)
policy = fit(dpo, mp.LoRA(rank=8), args.lr[1])


def log_p(γ, i):
    """Return log π (N,) of the chosen (i = 0) or the rejected answers (i = 1) of the test pairs."""
    answers = Demonstrations([(prompt, answers[i]) for prompt, answers, _ in test.rows])

    def f(indices):
        batches = [answers.collate([answers.pairs[j]]) for j in indices]
        return [-float(model.loss(*b[:2], γ, mask=b[2], count=1)) for b in batches]

    return np.array(map_batches(f, [prompt + answer for prompt, answer in answers.pairs]))


before, after = (np.stack([log_p(γ, i) for i in (0, 1)], 1) for γ in (None, policy))
show("more likely, before", before)
r = dpo.beta * (after - before)
low = show("DPO", r)
print(f"margin: {(r[:, 0] - r[:, 1]).mean():.2f}")
assert args.data or low > 0.5

# %% [markdown]
# ## What becomes likely
#
# The loss knows only the difference of the two. The log-probability of the rejected answers falls,
# and that of the chosen ones, which have many of their words, may fall with it.

# %%
for i, name in enumerate(("chosen", "rejected")):
    print(f"log π of the {name:8} answers: {before[:, i].mean():7.1f} before, ", end="")
    print(f"{after[:, i].mean():7.1f} after")

# %% [markdown]
# ## Answers before and after

# %%
for γ in (None, policy):
    prompts = [prompt for prompt, *_ in test.rows[:2]]
    answers = sample(model, prompts, γ, eos=eos, rng=np.random.default_rng(1))
    for prompt, answer in zip(prompts, answers.texts()):
        print(f"{'before' if γ is None else 'after':6}  {tokenizer.decode([*prompt, *answer])}")

# %% [markdown]
# ## Real preferences
#
# 1,094 polite and impolite answers, `instruction-data-with-preference.json` of
# https://github.com/rasbt/LLMs-from-scratch, were written by a model and not by people. In percent
# of 216 answers to new prompts, with 95 % intervals, and as means of log π, before and after:
#
#     python 13_preferences.py --data instruction-data-with-preference.json --steps 100
#     python llama2c.py stories260K.bin tok512.bin stories
#     python 13_preferences.py --data … --model stories --steps 100
#
# | base          | reward model | DPO         | chosen          | rejected        |
# |---------------|--------------|-------------|-----------------|-----------------|
# | built-in base | 62 (55, 68)  | 79 (73, 84) | -301.3 → -277.9 | -279.3 → -268.6 |
# | stories260K   | 83 (78, 88)  | 84 (78, 88) | -152.3 → -155.6 | -148.3 → -169.2 |
#
# The longer answer is the chosen one in 52 and 50 %, the likelier one in 46 and 47 %. The built-in
# base has never read such text, and all of it becomes likelier. Both bases are too small to answer
# such questions, before and after. For the model of page 12, which can, twenty steps take minutes:
#
#     python gguf_folder.py MODEL.gguf SmolLM2
#     python 13_preferences.py --data … --model SmolLM2 --steps 20 --test 0.1 --lr 1e-3 5e-4
#
# Its reward model is right in 71 % (61, 78) of 109.
