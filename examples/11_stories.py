# %% [markdown]
# # 11. A model that somebody else made
#
# Andrej Karpathy trained a Llama of 260,032 numbers on stories for small children. Here it is read
# from his file, tells its published story, and then learns Shakespeare, twice: in a LoRA and in a
# prefix. It needs three files, which do not come with the library:
#
# - `stories260K.bin` and `tok512.bin` from https://huggingface.co/karpathy/tinyllamas, stories260K
# - `input.txt` from https://github.com/karpathy/char-rnn, data/tinyshakespeare
#
# In a notebook, write where they are in place of `sys.argv[1:]`.

# %%
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from llama2c import convert
from minipeft.data.files.batches import passages
from minipeft.data.files.files import read_text

import minipeft as mp

if len(sys.argv) != 4:
    sys.exit(
        "python 11_stories.py stories260K.bin tok512.bin input.txt: its first lines say whence"
    )
checkpoint, tokens, shakespeare = sys.argv[1:]
rng = np.random.default_rng(0)

# %% [markdown]
# ## From llama2.c's file to Hugging Face's folder
#
# Both hold the same matrices, and differ in two things. The two numbers that a rotary position
# turns stand side by side in llama2.c, and half a head apart in Hugging Face, so the rows of W_q
# and W_k change places. And llama2.c gives each token a score, where a `tokenizer.json` lists the
# pairs that are joined. `llama2c.py` has it on a page; what it writes `transformers` reads, too.

# %%
with TemporaryDirectory() as place:
    convert(checkpoint, tokens, Path(place, "stories"))
    model = mp.load(Path(place, "stories"))
    tokenizer = mp.load_tokenizer(Path(place, "stories"))
c, numbers = model.config, sum(t.data.size for t in model.parameters())
print(f"{numbers:,} numbers: {c.vocabulary} tokens, {c.layers} layers, {c.heads} heads each")

# %% [markdown]
# ## The published story
#
# From `<s>`, token 1, which begins every text, always the likeliest token. The same 256 tokens come
# out as of the C program, to the last letter.

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
# The last tenth of Shakespeare is kept to test on. The model has never read such lines, and guesses
# them worse than who only knows how frequent each token is.

# %%
text = np.array(tokenizer.encode(read_text(shakespeare)).ids)
own, held = np.split(text, [int(0.9 * len(text))])
held = held[: len(held) // 64 * 64].reshape(-1, 64)[::16]
p = np.bincount(own, minlength=len(model.tokens.W.data)) / len(own)
unigram = -(p[p > 0] * np.log(p[p > 0])).sum()


def loss(γ=None):
    return float(model.loss(held, held, γ))


before = loss()
print(f"held-out loss a token: {before:.2f}, of frequencies alone {unigram:.2f}")

# %% [markdown]
# ## A LoRA, and a prefix
#
# The LoRA changes every matrix by one of rank 8. The prefix changes none: it is twenty keys and
# values in each layer, a seventh of the numbers, to which every token can attend.

# %%
LINEAR = r"attn\.[qkvo]$|mlp\.(gate|up|down)$"
methods = {
    "lora": (mp.LoRA(rank=8, targets=LINEAR), 1e-2),
    "prefix": (mp.PrefixTuning(length=20), 1e-1),
}
for name, (γ, rate) in methods.items():
    γ.attach(model, rng)
    numbers = sum(p.data.size for p in γ.parameters())
    rates = mp.schedule("cosine", steps=300, warmup=20)
    trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters(), lr=rate), rates)
    trainer.fit(passages(own, 8, 64, rng), steps=300, progress=False)
    print(f"{name:6} trains {numbers:6,}: {before:.2f} before, {loss(γ):.2f} after")
    assert loss(γ) < unigram - 1

# %% [markdown]
# ## All three in one batch
#
# Each row goes on from the same words: by itself, with the LoRA, with the prefix. The model is what
# it was, to the bit, so the first still tells stories for small children.

# %%
lora, prefix = (γ for γ, _ in methods.values())
start = tokenizer.encode("The king").ids
voices = mp.Each([None, lora, prefix])
new = mp.generate(model, [start] * 3, voices, max_new_tokens=60, temperature=0.7, rng=rng)
for name, row in zip(("base", *methods), new):
    print(f"-- {name}\n{tokenizer.decode([*start, *row])}")
assert tell() == story
