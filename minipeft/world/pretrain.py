"""How the built-in bases came to be: `minipeft pretrain --out FOLDER` makes them anew."""

import re
from itertools import islice

import numpy as np

from .. import hf
from ..adaptation.merge import merge
from ..autograd.functional import cross_entropy
from ..autograd.nn import Linear
from ..autograd.ops import narrow
from ..autograd.tensor import no_grad
from ..data.batches import passages
from ..methods import FullFineTuning
from ..model.bert import BertConfig, MaskedLM
from ..model.config import Config
from ..model.inputs import labelled_positions
from ..model.transformer import Decoder
from ..training.optim import AdamW, schedule
from ..training.trainer import Trainer
from .corpus import documents
from .vocabulary import ADDED, CLS, END, MASK, SEP, for_encoder, train_tokenizer

DOCUMENTS = 120_000  # four million tokens
HELD = 3_000  # of them, to test on
VOCABULARY = 2048
SIZE = {"width": 128, "layers": 4, "heads": 4, "length": 256}
TOKENS = 3072  # in a batch, at most
WARMUP = 100  # steps


def pretrain(out, family="gpt2", steps=None, seed=0):
    """Save, in float16, a model of a million parameters that read the world, and its tokenizer.

    "gpt2": the mean -log p of a held-out token.  "bert": of a hidden word, and how many are right.
    """
    if family not in FAMILIES:
        raise ValueError(f"family={family!r}: there is {', '.join(FAMILIES)}")
    rng = np.random.default_rng(seed)
    texts = list(islice(documents(rng), DOCUMENTS))
    tokenizer = train_tokenizer(texts[:20_000], VOCABULARY)
    model, tokenizer, score = FAMILIES[family](texts, tokenizer, steps, rng, seed)
    hf.save(model, out, tokenizer=tokenizer, dtype=np.float16)
    return score


def train(model, batches, steps, seed, **options):
    """The model after so many steps on all of its weights."""
    θ = FullFineTuning().attach(model)
    optimizer = AdamW(θ.parameters(), weight_decay=0.01, **options)
    rate = schedule("cosine", steps, warmup=min(WARMUP, steps // 4))
    Trainer(model, θ, optimizer, rate, seed=seed).fit(batches, steps)
    return merge(model, θ)


def gpt2(texts, tokenizer, steps, rng, seed):
    """Each word after those before it."""
    end = tokenizer.token_to_id(END)
    rows = [[*code.ids, end] for code in tokenizer.encode_batch(texts)]
    read, held = np.concatenate(rows[:-HELD]), np.concatenate(rows[-HELD:])
    model = Decoder(Config(tokenizer.get_vocab_size(), **SIZE), rng)
    batches = passages(read, TOKENS // SIZE["length"], SIZE["length"], rng)
    model = train(model, batches, steps or 3000, seed, lr=3e-3, betas=(0.9, 0.98))
    rows = held[: len(held) - len(held) % SIZE["length"]].reshape(-1, 1, SIZE["length"])
    with no_grad():
        return model, tokenizer, float(np.mean([float(model.loss(ids, ids)) for ids in rows]))


def bert(texts, tokenizer, steps, rng, seed):
    """Hidden words, and whether one text follows another: Devlin et al. 2019, §3.1."""
    tokenizer = for_encoder(tokenizer)
    read, held = Sentences(texts[:-HELD], tokenizer), Sentences(texts[-HELD:], tokenizer)
    model = Pretraining(BertConfig(tokenizer.get_vocab_size(), **SIZE), rng)
    batches = read.batches(rng, TOKENS // 3)  # two shards; more steps, rather than larger ones
    model = train(model, batches, steps or 10_000, seed, lr=1e-3, betas=(0.9, 0.98))
    del model.next  # nobody asks it again
    return model, tokenizer, score(model, islice(held.batches(rng, TOKENS), 20))


class Sentences:
    """Texts as one row of tokens, and where in it each sentence starts."""

    def __init__(self, texts, tokenizer):
        self.cls, self.sep, self.mask = map(tokenizer.token_to_id, (CLS, SEP, MASK))
        self.words = tokenizer.get_vocab_size() - len(ADDED)
        encode = lambda xs: [c.ids for c in tokenizer.encode_batch(xs, add_special_tokens=False)]
        parts = [re.split(r"(?<=[.?!])(?= )", text) for text in texts]
        sentences = [sentence for part in parts for sentence in [*part, END]]
        self.ids = np.concatenate(rows := encode(sentences))
        self.bare = encode([sentence.lstrip() for sentence in sentences])  # as a text starts
        self.starts = np.concatenate([[0], np.cumsum([*map(len, rows)])])
        new = np.array([n for part in parts for n in [0, *range(1, len(part)), 0]])
        self.follows = np.flatnonzero(new)  # sentences that stand behind another of their text

    def text(self, first, stop):
        """From the first sentence up to that of number `stop`."""
        return [*self.bare[first], *self.ids[self.starts[first + 1] : self.starts[stop]]]

    def pair(self, length, rng):
        """[CLS] a [SEP] b [SEP], the types, and 0 if b follows a, 1 if it is from elsewhere."""
        here, there = rng.choice(self.follows, 2)
        room = rng.integers(length // 4, 3 * length // 4)
        first = min(here - 1, np.searchsorted(self.starts, self.starts[here] - room))
        other = rng.integers(2)
        a = self.text(first, here)[-room:]
        start = there if other else here
        b = self.text(start, min(start + length, len(self.bare)))[: length - 3 - len(a)]
        token_types = np.repeat([0, 1], [len(a) + 2, length - len(a) - 2])
        ids = [self.cls, *a, self.sep, *b, self.sep]
        return ids + [0] * (length - len(ids)), token_types, other

    def batches(self, rng, tokens):
        """Endless (ids, labels, None, types), `tokens` or more each; [CLS] has that of its pair."""
        while True:
            length = rng.choice([64, 96, 128, 256], p=[0.3, 0.4, 0.2, 0.1])
            pairs = [self.pair(length, rng) for _ in range(-(-tokens // length))]
            ids, token_types, others = map(np.array, zip(*pairs))
            ids, labels = self.hide(ids, rng)
            labels[:, 0] = others
            yield ids, labels, None, token_types

    def hide(self, ids, rng):
        """15 % of the words to tell, 80 % of them as [MASK], 10 % as any word, 10 % as they are."""
        some = rng.integers(1, self.words, ids.shape)
        told = (rng.random(ids.shape) < 0.15) & (0 < ids) & (ids < self.words)
        how = rng.random(ids.shape)
        seen = np.where(how < 0.8, self.mask, np.where(how < 0.9, some, ids))
        return np.where(told, seen, ids), np.where(told, ids, -100)


class Pretraining(MaskedLM):
    """Both losses of BERT; the label of [CLS], in the first column, is that of the pair."""

    weight = 14  # a pair counts as much as all of its words, 15 % of 96

    def __init__(self, config, rng):
        super().__init__(config, rng)
        self.next = Linear(config.width, 2, rng)
        self.freeze()

    def loss_at(
        self, ids, targets, adaptation=None, *, mask=None, token_types=None, rng=None, count=None
    ):
        positions, targets = labelled_positions(targets)
        count = count or max(1, (targets >= 0).sum())
        h, forward = self.states(
            ids, adaptation, mask=mask, token_types=token_types, positions=positions, rng=rng
        )
        first = np.arange(targets.shape[1]) == 0
        z = forward(self.next, forward(self.pooler, narrow(h, 0, 1, axis=1)))
        pairs = cross_entropy(z, targets[:, :1], count / self.weight)
        words = np.where(first, -100, targets)
        return cross_entropy(self.logits(h, forward), words, count) + pairs


def score(model, batches):
    """The mean -log p of a hidden word, and the share of them that is likeliest."""
    losses, right = [], []
    for ids, labels, _, token_types in batches:
        labels[:, 0] = -100
        told = np.nonzero(labels >= 0)
        with no_grad():
            z = model(ids, token_types=token_types)
        target = labels[told]
        losses.append(float(cross_entropy(z, labels, len(target))))
        right.append((z.data[told].argmax(-1) == target).mean())
    return float(np.mean(losses)), float(np.mean(right))


FAMILIES = {"gpt2": gpt2, "bert": bert}
