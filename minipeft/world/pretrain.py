"""Pretraining of the built-in bases: what `minipeft pretrain --out FOLDER` runs."""

import re
from collections.abc import Callable, Iterator
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
from .vocabulary import CLS, END, MASK, SEP, SPECIAL, for_encoder, train_tokenizer

DOCUMENTS = 120_000  # four million tokens
HELD_OUT = 3_000  # of the documents, for evaluation
VOCABULARY = 2048
SIZE = {"width": 128, "layers": 4, "heads": 4, "length": 256}
BATCH_TOKENS = 3072  # at most
WARMUP = 100  # steps
STEPS = {"gpt2": 3000, "bert": 10_000}


def pretrain(
    out,
    family: str = "gpt2",
    steps: int | None = None,
    seed: int = 0,
    progress: bool | Callable[[int, float], None] = True,
):
    """Save, in float16, a model of a million parameters pretrained on the world, and its tokenizer.

    Returns, on held-out text, the mean loss per token of "gpt2"; of "bert" the mean loss and the
    accuracy at masked words.
    progress: as in Trainer.fit.
    """
    if family not in FAMILIES:
        raise ValueError(f"family={family!r} must be one of {', '.join(FAMILIES)}")
    rng = np.random.default_rng(seed)
    texts = list(islice(documents(rng), DOCUMENTS))
    tokenizer = train_tokenizer(texts[:20_000], VOCABULARY)
    fit = {"steps": steps or STEPS[family], "seed": seed, "progress": progress}
    model, tokenizer, score = FAMILIES[family](texts, tokenizer, rng, fit)
    hf.save(model, out, tokenizer=tokenizer, dtype=np.float16)
    return score


def train(model, batches, steps, seed, progress=True, **options):
    """Return a new model, trained by full fine-tuning for these steps."""
    θ = FullFineTuning().attach(model)
    # biases and the gains of norms do not decay, as in nanoGPT and in Hugging Face's Trainer
    not_matrices = [p for path, p in θ.named_parameters() if not path.endswith(".W")]
    optimizer = AdamW(θ.parameters(), weight_decay=0.01, no_decay=not_matrices, **options)
    decay = schedule("cosine", steps, warmup=min(WARMUP, steps // 4))
    trainer = Trainer(model, θ, optimizer, schedule=decay, seed=seed)
    trainer.fit(batches, steps, progress=progress)
    return merge(model, θ)


def pretrain_gpt2(texts, tokenizer, rng, fit):
    """Return a decoder that predicts the next token, its tokenizer, and its held-out loss."""
    end = tokenizer.token_to_id(END)
    rows = [[*encoding.ids, end] for encoding in tokenizer.encode_batch(texts)]
    train_ids, held_out = np.concatenate(rows[:-HELD_OUT]), np.concatenate(rows[-HELD_OUT:])
    model, length = Decoder(Config(tokenizer.get_vocab_size(), **SIZE), rng), SIZE["length"]
    batches = passages(train_ids, BATCH_TOKENS // length, length, rng)
    model = train(model, batches, **fit, lr=3e-3, betas=(0.9, 0.98))
    rows = held_out[: len(held_out) - len(held_out) % length].reshape(-1, 1, length)
    with no_grad():
        return model, tokenizer, float(np.mean([float(model.loss(ids, ids)) for ids in rows]))


def pretrain_bert(texts, tokenizer, rng, fit):
    """Return an encoder, its tokenizer, and its held-out loss and accuracy at masked words.

    It is trained on masked words and on next sentences: Devlin et al. 2019, §3.1.
    """
    tokenizer = for_encoder(tokenizer)
    sentences = Sentences(texts[:-HELD_OUT], tokenizer)
    held_out = Sentences(texts[-HELD_OUT:], tokenizer)
    model = BertForPreTraining(BertConfig(tokenizer.get_vocab_size(), **SIZE), rng)
    batches = sentences.batches(rng, BATCH_TOKENS // 3)  # two shards; more steps of smaller batches
    model = train(model, batches, **fit, lr=1e-3, betas=(0.9, 0.98))
    del model.next  # only pretraining uses it
    return model, tokenizer, score_masked(model, islice(held_out.batches(rng, BATCH_TOKENS), 20))


class Sentences:
    """Texts as one row of token ids, with the place of each sentence."""

    def __init__(self, texts, tokenizer):
        self.cls, self.sep, self.mask = map(tokenizer.token_to_id, (CLS, SEP, MASK))
        self.words = tokenizer.get_vocab_size() - len(SPECIAL)  # ids from here on are special
        encode = lambda xs: [e.ids for e in tokenizer.encode_batch(xs, add_special_tokens=False)]
        parts = [re.split(r"(?<=[.?!])(?= )", text) for text in texts]
        sentences = [sentence for part in parts for sentence in [*part, END]]
        rows = encode(sentences)
        self.ids = np.concatenate(rows)
        self.first = encode([sentence.lstrip() for sentence in sentences])  # no space in front
        self.starts = np.concatenate([[0], np.cumsum([*map(len, rows)])])
        order = np.array([i for part in parts for i in [*range(len(part)), 0]])
        self.followers = np.flatnonzero(order)  # sentences that follow another one of their text

    def text(self, start, stop):
        """Return the ids of sentences start … stop - 1, as the beginning of a text."""
        return [*self.first[start], *self.ids[self.starts[start + 1] : self.starts[stop]]]

    def pair(self, length, rng):
        """Return the ids of [CLS] a [SEP] b [SEP], token types, and 0 if b follows a, else 1."""
        following, elsewhere = rng.choice(self.followers, 2)
        room = rng.integers(length // 4, 3 * length // 4)  # tokens of a, at most
        start = min(following - 1, np.searchsorted(self.starts, self.starts[following] - room))
        label = rng.integers(2)
        a = self.text(start, following)[-room:]
        start = elsewhere if label else following
        b = self.text(start, min(start + length, len(self.first)))[: length - 3 - len(a)]
        token_types = np.repeat([0, 1], [len(a) + 2, length - len(a) - 2])
        ids = [self.cls, *a, self.sep, *b, self.sep]
        return ids + [0] * (length - len(ids)), token_types, label

    def batches(self, rng, tokens) -> Iterator[tuple]:
        """Yield (ids, labels, None, token types) of at least `tokens` tokens, endlessly.

        The label of [CLS] is that of the pair.
        """
        while True:
            length = rng.choice([64, 96, 128, 256], p=[0.3, 0.4, 0.2, 0.1])
            pairs = [self.pair(length, rng) for _ in range(-(-tokens // length))]
            ids, token_types, pair_labels = map(np.array, zip(*pairs))
            ids, labels = self.mask_words(ids, rng)
            labels[:, 0] = pair_labels
            yield ids, labels, None, token_types

    def mask_words(self, ids, rng):
        """Return ids with masked words, and labels.

        15 % of words have a label.  Of these 80 % are [MASK], 10 % a random word, 10 % unchanged.
        """
        random = rng.integers(1, self.words, ids.shape)
        chosen = (rng.random(ids.shape) < 0.15) & (0 < ids) & (ids < self.words)
        how = rng.random(ids.shape)
        masked = np.where(how < 0.8, self.mask, np.where(how < 0.9, random, ids))
        return np.where(chosen, masked, ids), np.where(chosen, ids, -100)


class BertForPreTraining(MaskedLM):
    """BERT with both of its losses; the label of [CLS], in the first column, is the pair's."""

    weight = 14  # a pair weighs as much as its masked words, 15 % of 96

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


def score_masked(model, batches) -> tuple[float, float]:
    """Return the mean loss and the accuracy at masked words."""
    losses, accuracies = [], []
    for ids, labels, _, token_types in batches:
        labels[:, 0] = -100
        masked = np.nonzero(labels >= 0)
        with no_grad():
            z = model(ids, token_types=token_types)
        targets = labels[masked]
        losses.append(float(cross_entropy(z, labels, len(targets))))
        accuracies.append((z.data[masked].argmax(-1) == targets).mean())
    return float(np.mean(losses)), float(np.mean(accuracies))


FAMILIES = {"gpt2": pretrain_gpt2, "bert": pretrain_bert}
