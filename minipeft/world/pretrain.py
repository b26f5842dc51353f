"""How the built-in base came to be: `minipeft pretrain --out FOLDER` makes it anew."""

from itertools import islice

import numpy as np

from .. import hf
from ..adapt import merge
from ..data import passages
from ..methods import FullFineTuning
from ..optim import AdamW, schedule
from ..tensor import no_grad
from ..train import Trainer
from ..transformer import Config, Decoder
from .language import documents
from .vocabulary import train_tokenizer

DOCUMENTS = 120_000  # four million tokens
HELD = 24 * 16 * 256  # of them, to test on


def pretrain(out, steps=2500, seed=0):
    """Save, in float16, a GPT-2 of a million parameters that read the world; its held-out loss."""
    rng = np.random.default_rng(seed)
    texts = list(islice(documents(rng), DOCUMENTS))
    tokenizer = train_tokenizer(texts[:20_000], 1024)
    end = tokenizer.token_to_id("<|endoftext|>")
    ids = np.concatenate([[*code.ids, end] for code in tokenizer.encode_batch(texts)])
    config = Config(vocabulary=1024, width=128, layers=4, heads=4, length=256)
    model = Decoder(config, rng)
    θ = FullFineTuning().attach(model)
    optimizer = AdamW(θ.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
    trainer = Trainer(model, θ, optimizer, schedule("cosine", steps, warmup=100), seed=seed)
    trainer.fit(passages(ids[:-HELD], 12, config.length, rng), steps)
    model = merge(model, θ)
    hf.save(model, out, tokenizer=tokenizer, dtype=np.float16)
    held = ids[-HELD:].reshape(-1, 16, config.length)
    with no_grad():
        return float(np.mean([float(model.loss(rows, rows)) for rows in held]))
