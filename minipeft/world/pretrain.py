"""Pretraining of the built-in bases: what `minipeft pretrain --out FOLDER` runs."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice

import numpy as np

from .. import hf
from ..adaptation.merge import merge
from ..autograd.functional import cross_entropy
from ..autograd.nn import Linear
from ..autograd.ops import narrow
from ..autograd.tensor import Tensor, no_grad
from ..data.batches import pad, passages, shuffled_batches
from ..data.objectives import corrupt_spans, mask_tokens, split_prefixes
from ..methods import FullFineTuning
from ..model.bert import BertConfig, MaskedLM
from ..model.config import Config
from ..model.encoder_decoder import EncoderDecoder, T5Config
from ..model.inputs import labelled_positions
from ..model.transformer import Decoder
from ..training.optim import AdamW, schedule
from ..training.trainer import Trainer
from . import corpus
from .vocabulary import (
    CLS,
    END,
    MASK,
    PAD,
    SENTINELS,
    SEP,
    SPECIAL,
    for_encoder,
    for_seq2seq,
    train_tokenizer,
)

DOCUMENTS = 120_000  # four million tokens
HELD_OUT = 40  # one in so many documents is for evaluation
VOCABULARY = 2048
SIZES = {"0.1M": (32, 2), "0.3M": (64, 4), "1.1M": (128, 4), "3M": (224, 7)}  # width, heads
LAYERS, LENGTH = 4, 256  # an encoder–decoder has half of the layers in each of its parts
BATCH_TOKENS = 3072  # at most
BATCH_DOCUMENTS = 64  # of an encoder–decoder, which reads each document by itself
WARMUP = 100  # steps
STEPS = {"gpt2": 3000, "bert": 10_000, "t5": 2000}
OBJECTIVES = {"gpt2": ("causal",), "bert": ("masked",), "t5": ("spans", "prefix")}  # by family


def pretrain(
    out,
    family: str = "gpt2",
    steps: int | None = None,
    seed: int = 0,
    progress: bool | Callable[[int, float], None] = True,
    objectives: Sequence[str] = (),
    size: str = "1.1M",
    documents: int | None = None,
):
    """Save, in float16, a model pretrained on the built-in world, and its tokenizer.

    Returns, on held-out text, the mean loss per predicted token; of "bert" also the accuracy.
    progress: as in Trainer.fit.
    objectives: some of OBJECTIVES[family], in turn from batch to batch; none: all of them.
    size: one of SIZES, by the number of parameters of a gpt2.
    documents: how many texts there are; None: DOCUMENTS.
    """
    objectives, shape = check_objectives(family, objectives), architecture(family, size)
    rng = np.random.default_rng(seed)
    texts = list(islice(corpus.documents(rng), documents or DOCUMENTS))
    tokenizer = train_tokenizer(texts[:20_000], VOCABULARY)
    fit = {"steps": steps or STEPS[family], "seed": seed, "progress": progress}
    model, tokenizer, score = FAMILIES[family](texts, tokenizer, rng, fit, objectives, shape)
    hf.save(model, out, tokenizer=tokenizer, dtype=np.float16)
    return score


def check_objectives(family: str, objectives: Sequence[str]) -> Sequence[str]:
    """Return the objectives, or all of the family for none; raise ValueError for others."""
    if family not in FAMILIES:
        raise ValueError(f"family={family!r} must be one of {', '.join(FAMILIES)}")
    known = OBJECTIVES[family]
    if others := [name for name in objectives if name not in known]:
        raise ValueError(
            f"the objective {others[0]} is not for the family {family}, which has "
            f"{' and '.join(known)}"
        )
    return objectives or known


def architecture(family: str, size: str) -> dict:
    """Return the fields of the Config of a size; raise ValueError for an unknown one."""
    if size not in SIZES:
        raise ValueError(f"size={size!r} must be one of {', '.join(SIZES)}")
    width, heads = SIZES[size]
    fields = {"width": width, "layers": LAYERS, "heads": heads, "length": LENGTH}
    if family == "t5":
        fields |= {"layers": LAYERS // 2, "decoder_layers": LAYERS // 2, "ffn_width": 2 * width}
    return fields


def count_held_out(texts) -> int:
    """Return how many of the texts, the last ones, are for evaluation: at least one."""
    return max(1, len(texts) // HELD_OUT)


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


def pretrain_gpt2(texts, tokenizer, rng, fit, objectives, architecture):
    """Return a decoder that predicts the next token, its tokenizer, and its held-out loss."""
    end = tokenizer.token_to_id(END)
    rows = [[*encoding.ids, end] for encoding in tokenizer.encode_batch(texts)]
    n = count_held_out(rows)
    train_ids, held_out = np.concatenate(rows[:-n]), np.concatenate(rows[-n:])
    model = Decoder(Config(tokenizer.get_vocab_size(), **architecture), rng)
    length = architecture["length"]
    batches = passages(train_ids, BATCH_TOKENS // length, length, rng)
    model = train(model, batches, **fit, lr=3e-3, betas=(0.9, 0.98))
    rows = held_out[: len(held_out) - len(held_out) % length].reshape(-1, 1, length)
    with no_grad():
        return model, tokenizer, float(np.mean([float(model.loss(ids, ids)) for ids in rows]))


def pretrain_bert(texts, tokenizer, rng, fit, objectives, architecture):
    """Return an encoder, its tokenizer, and its held-out loss and accuracy at masked words.

    It is trained on masked words and on next sentences: Devlin et al. 2019, §3.1.
    """
    tokenizer = for_encoder(tokenizer)
    n = count_held_out(texts)
    sentences, held_out = Sentences(texts[:-n], tokenizer), Sentences(texts[-n:], tokenizer)
    model = BertForPreTraining(BertConfig(tokenizer.get_vocab_size(), **architecture), rng)
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
            ids, labels = mask_tokens(ids, range(1, self.words), self.mask, rng)
            labels[:, 0] = pair_labels
            yield ids, labels, None, token_types


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


def new_t5(config, rng) -> EncoderDecoder:
    """Return a new encoder–decoder that AdamW can train, which `as_t5` turns into a T5.

    T5 is trained by Adafactor, whose steps are in proportion to the parameters; those of AdamW are
    not.  With them the embeddings, which T5 divides by √D in the head, would learn slowly, and the
    queries, which it does not divide by √d, so fast that attention saturates.  So the embeddings
    start at 0.02, the last norm with the gain √D, and the attention is scaled.
    """
    model = EncoderDecoder(replace(config, scaled_attention=True), rng)
    factors = {id(model.tokens.W): 0.02, id(model.decoder.ln.g): config.width**0.5}
    return model.map(lambda t: Tensor(factors.get(id(t), 1.0) * t.data))


def as_t5(model: EncoderDecoder, config) -> EncoderDecoder:
    """Return the same function without scaled attention: W_query has the factor 1/√d."""
    t5 = EncoderDecoder(config, np.random.default_rng(0))
    trained = dict(model.named_parameters())
    paths = {id(t): path for path, t in t5.named_parameters()}
    factor = lambda path: config.d**-0.5 if path.endswith(".q.W") else 1.0
    return t5.map(lambda t: Tensor(factor(paths[id(t)]) * trained[paths[id(t)]].data))


def pretrain_t5(texts, tokenizer, rng, fit, objectives, architecture):
    """Return an encoder–decoder, its tokenizer, and its held-out loss.

    It restores spans of documents and continues their beginnings, in turn: span corruption and the
    prefix language model, whose prefix is read by the encoder: Raffel et al. 2020, §3.1.4 and
    §3.2.1.  After span corruption alone, a frozen model hardly learns to write text without
    sentinels: Lester et al. 2021, §2.2.
    """
    tokenizer = for_seq2seq(tokenizer)
    start, end, *sentinels = map(tokenizer.token_to_id, (PAD, END, *SENTINELS))
    rows = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    n = count_held_out(rows)
    divide = {
        "spans": lambda rows: zip(*(corrupt_spans(row, sentinels, rng) for row in rows)),
        "prefix": lambda rows: split_prefixes(rows, rng),
    }

    def batches(rows):
        """Yield (ids, labels, mask), endlessly; each text ends with END."""
        samples = shuffled_batches(rows, BATCH_DOCUMENTS, rng, len)
        for sample, objective in zip(samples, cycle(objectives)):
            inputs, targets = ([[*row, end] for row in part] for part in divide[objective](sample))
            ids, mask = pad(inputs, start)
            yield ids, pad(targets, -100)[0], mask

    config = T5Config(tokenizer.get_vocab_size(), **architecture, decoder_start=start)
    model = train(new_t5(config, rng), batches(rows[:-n]), **fit, lr=3e-3, betas=(0.9, 0.98))
    model = as_t5(model, config)
    model.folder_settings = {"eos_token_id": end, "pad_token_id": start}
    held_out = islice(batches(rows[-n:]), 20)
    with no_grad():
        losses = [float(model.loss(ids, y, mask=mask)) for ids, y, mask in held_out]
    return model, tokenizer, float(np.mean(losses))


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


FAMILIES = {"gpt2": pretrain_gpt2, "bert": pretrain_bert, "t5": pretrain_t5}
