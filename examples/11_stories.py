# %% [markdown]
# # 11. A model from elsewhere
#
# Andrej Karpathy trained a Llama of 260,032 parameters on stories for small children. This page
# loads it from his file, generates its published story, and then adapts it to Shakespeare, by a
# LoRA and by a prefix. It needs three files, which do not come with the library:
#
# - `stories260K.bin` and `tok512.bin` from https://huggingface.co/karpathy/tinyllamas, stories260K
# - `input.txt` from https://github.com/karpathy/char-rnn, data/tinyshakespeare
#
# In a notebook, write their paths in place of `sys.argv[1:]`.

# %%
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from llama2c import convert

import minipeft as mp
from minipeft.data.batches import passages
from minipeft.data.files import read_text

if len(sys.argv) != 4:
    sys.exit(
        "usage: python 11_stories.py stories260K.bin tok512.bin input.txt\n"
        "The first lines of the program say where the files come from."
    )
checkpoint, tokens, shakespeare = sys.argv[1:]
rng = np.random.default_rng(0)

# %% [markdown]
# ## From llama2.c's format to Hugging Face's
#
# Both formats hold the same matrices, with two differences. Rotary positions rotate pairs of
# numbers: neighbours in llama2.c, numbers half a head apart in Hugging Face, so the rows of W_q and
# W_k are permuted. And llama2.c has a score for each token, `tokenizer.json` a list of merges.
# `llama2c.py` converts both on one page; `transformers` can read the result, too.

# %%
with TemporaryDirectory() as folder:
    convert(checkpoint, tokens, Path(folder, "stories"))
    model = mp.load(Path(folder, "stories"))
    tokenizer = mp.load_tokenizer(Path(folder, "stories"))
c, params = model.config, sum(t.data.size for t in model.parameters())
print(f"{params:,} parameters: {c.vocabulary} tokens, {c.layers} layers, {c.heads} heads each")

# %% [markdown]
# ## The published story
#
# Every text begins with `<s>`, token 1. Always taking the most likely token gives the same 256
# tokens as the C program, to the last letter.

# %%
begin = tokenizer.encode("").ids


def tell():
    return tokenizer.decode(mp.generate(model, [begin], max_new_tokens=256)[0].tolist())


story = tell()
print(story)
assert story.startswith("Once upon a time") and story.endswith("We can help you.")

# %% [markdown]
# ## Another author
#
# The last tenth of Shakespeare's text is held out. The model has never seen such lines: its loss is
# higher than that of unigrams, the frequencies of the tokens.

# %%
text = np.array(tokenizer.encode(read_text(shakespeare)).ids)
train, held_out = np.split(text, [int(0.9 * len(text))])
held_out = held_out[: len(held_out) // 64 * 64].reshape(-1, 64)[::16]
p = np.bincount(train, minlength=c.vocabulary) / len(train)
unigram = -(p[p > 0] * np.log(p[p > 0])).sum()


def loss(γ=None):
    return float(model.loss(held_out, held_out, γ))


before = loss()
print(f"held-out loss per token: {before:.2f} of the model, {unigram:.2f} of unigrams")

# %% [markdown]
# ## A LoRA and a prefix
#
# The LoRA adds a matrix of rank 8 to every weight matrix. The prefix changes no weight: it is
# twenty keys and values in each layer, to which every token can attend, with a seventh of the
# parameters.

# %%
LINEAR = r"attn\.[qkvo]$|mlp\.(gate|up|down)$"
methods = {
    "LoRA": (mp.LoRA(rank=8, targets=LINEAR), 1e-2),
    "prefix": (mp.PrefixTuning(length=20), 1e-1),
}
adaptations = {}
for name, (method, lr) in methods.items():
    γ = adaptations[name] = method.attach(model, rng)
    trained = sum(p.data.size for p in γ.parameters())
    schedule = mp.schedule("cosine", steps=300, warmup=20)
    trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters(), lr=lr), schedule=schedule)
    trainer.fit(passages(train, 8, 64, rng), steps=300, progress=False)
    after = loss(γ)
    print(f"{name:6} {trained:6,} trained parameters: loss {before:.2f} before, {after:.2f} after")
    assert after < unigram - 1

# %% [markdown]
# ## All three in one batch
#
# Each row continues the same words: without adaptation, with the LoRA, with the prefix. The model
# itself has not changed by a bit, so it still tells the published story.

# %%
prompt = tokenizer.encode("The king").ids
each = mp.Each([None, *adaptations.values()])
new = mp.generate(model, [prompt] * 3, each, max_new_tokens=60, temperature=0.7, rng=rng)
for name, row in zip(("base", *adaptations), new):
    print(f"-- {name}\n{tokenizer.decode([*prompt, *row])}")
assert tell() == story
