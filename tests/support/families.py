"""What the laws are checked on: small networks, and one of every way to adapt them.

B batch   T tokens   V vocabulary   C classes
"""

from dataclasses import replace
from functools import cache
from zlib import crc32

import numpy as np
import pytest

from minipeft import (
    IA3,
    PLAIN,
    Adapter,
    BartConfig,
    BertConfig,
    BitFit,
    Chain,
    Classifier,
    Config,
    Decoder,
    DeepPrompt,
    DistilBertConfig,
    DoRA,
    Each,
    Encoded,
    EncoderDecoder,
    FullFineTuning,
    Fusion,
    LayerNormTuning,
    LoRA,
    MaskedLM,
    Method,
    MultiHeadAdapter,
    MultitaskPrompt,
    ParallelAdapter,
    PrefixTuning,
    Probe,
    PromptTuning,
    PseudoTokens,
    PTuning,
    PTuningV2,
    RandomWeights,
    RobertaConfig,
    SpanClassifier,
    T5Config,
    TokenClassifier,
)
from minipeft.adaptation.adaptation import parameter
from minipeft.autograd.backend import seal
from minipeft.autograd.functional import cross_entropy
from minipeft.autograd.ops import sum as sum_over
from minipeft.checking.cases import (  # noqa: F401, for tests, which import them from here
    C,
    Case,
    T,
    V,
    apart,
    batch,
    gradients,
    nudged,
    real,
    row,
    total,
)
from minipeft.methods import PFEIFFER
from minipeft.model.heads import Headed
from minipeft.model.inputs import as_array
from tests.support import device

GPT2 = Config(V, 8, layers=2, heads=2, length=32)
ROTARY = Config(
    V,
    16,
    layers=2,
    heads=4,
    key_heads=2,
    length=32,
    positions="rotary",
    norm="rms",
    tied_head=False,
)
LLAMA = Config(
    V,
    8,
    layers=2,
    heads=4,
    key_heads=2,
    head_width=4,
    ffn_width=12,
    length=32,
    positions="rotary",
    rope_theta=100.0,
    window=6,
    norm="rms",
    tied_head=False,
    activation="silu",
    gated=True,
    biases=("q", "k", "v"),
)
T5 = T5Config(
    V,
    8,
    layers=2,
    decoder_layers=3,
    heads=2,
    head_width=6,
    length=32,
    buckets=8,
    max_distance=12,
    decoder_start=2,
)
T5_GATED = replace(T5, gated=True, activation="gelu_tanh", tied_head=False, scaled_head=False)
BART = BartConfig(V, 8, layers=3, decoder_layers=2, heads=2, length=32)
NONE = Config(V, 8, layers=2, heads=2, length=32, positions="none")
BERT = BertConfig(V, 8, layers=2, heads=2, length=32)
ROBERTA = RobertaConfig(V, 8, layers=2, heads=2, length=32)
DISTILBERT = DistilBertConfig(V, 8, layers=2, heads=2, length=32)


def seq2seq(config):
    return EncoderDecoder(config, np.random.default_rng(0))


def decoder(config):
    return Decoder(config, np.random.default_rng(0))


def encoder(config):
    return MaskedLM(config, np.random.default_rng(0))


class Reader(EncoderDecoder):
    """Encoder–decoder whose decoder reads the encoder's text, so that both have one mask."""

    def __call__(self, ids, adaptation=None, *, mask=None, **options):
        ids = as_array("ids", ids)
        words = np.maximum(ids, 0) if ids.dtype.kind in "iu" else ids  # no pseudo-tokens
        options |= {"decoder_ids": words, "mask": mask, "decoder_mask": mask}
        return super().__call__(ids, adaptation, **options)

    def targets(self, labels, mask=None):
        """The labels, -100 at padding."""
        labels = super().targets(labels)
        return labels if mask is None else np.where(mask, labels, -100)

    def loss(self, ids, labels, adaptation=None, *, mask=None, rng=None, count=None):
        """The mean cross-entropy of the labels at each token."""
        z, targets = self(ids, adaptation, mask=mask, rng=rng), self.targets(labels, mask)
        return cross_entropy(z, targets, count or max(1, (targets >= 0).sum()))


DECODERS = {name: nudged(decoder(c)) for name, c in [("gpt2", GPT2), ("rotary", ROTARY)]}
DECODERS["llama"] = nudged(decoder(LLAMA))
CLASSIFIERS = {
    "last": nudged(Classifier(decoder(GPT2), C, pool="last")),
    "mean": nudged(Classifier(decoder(ROTARY), C, pool="mean")),
    "cls": nudged(Classifier(encoder(BERT), C, pool="cls")),
}
ATTENTIVE = nudged(Classifier(decoder(ROTARY), C, pool="attention"))
ENCODERS = {"bert": nudged(encoder(BERT))}
# without kinks for differences, and with biases for BitFit
SMOOTH = replace(T5, activation="gelu_tanh", biases=("k", "v", "up", "down"))
SEQ2SEQ = {"t5": nudged(Reader(SMOOTH, np.random.default_rng(0)))}
TAGGERS = {"tags": nudged(TokenClassifier(encoder(BERT), C))}
SPANS = {"spans": nudged(SpanClassifier(decoder(LLAMA)))}
ON_HOST = DECODERS | CLASSIFIERS | ENCODERS | SEQ2SEQ | TAGGERS | SPANS
DECODERS["gpt2 on a device"] = DECODERS["gpt2"].to(device.name)
if device.name != "fake":  # on the stand-in, two of three kinds are enough
    CLASSIFIERS["mean on a device"] = CLASSIFIERS["mean"].to(device.name)
ENCODERS["bert on a device"] = ENCODERS["bert"].to(device.name)
NETWORKS = DECODERS | CLASSIFIERS | ENCODERS | SEQ2SEQ | TAGGERS | SPANS

METHODS = {
    "plain": lambda: PLAIN,
    "prompt of 3": lambda: PromptTuning(3),
    "prompt of 7": lambda: PromptTuning(7, init="uniform"),
    "prompt from text": lambda: PromptTuning(3, init="text", words=(5, 6)),
    "prompt from labels": lambda: PromptTuning(3, init="labels", words=((1, 2), (4,))),
    "pseudo-tokens": lambda: PseudoTokens("[P]*2 {x} [P]", init="uniform"),
    "p-tuning": lambda: PTuning("[P]*2 {x} [P]", layers=1),
    "p-tuning, half as wide": lambda: PTuning("{x} [P]*3", encoder="lstm-half"),
    "p-tuning by an MLP": lambda: PTuning("[P] {x} [P]", encoder="mlp"),
    "multitask prompt": lambda: MultitaskPrompt(3, rank=2),
    "rows of every block": lambda: DeepPrompt(2),
    "prefix of 2": lambda: PrefixTuning(2, init="normal"),
    "prefix of 5": lambda: PrefixTuning(5),
    "prefix that shifts nothing": lambda: PrefixTuning(3, shift_positions=False),
    "prefix in the upper layer": lambda: PrefixTuning(2, targets=r"1\.attn$"),
    "prefix from words": lambda: PrefixTuning(words=(3, 1, 4)),
    "gated prefix": lambda: PrefixTuning(3, gate=True),
    "p-tuning v2": lambda: PTuningV2(3),
    "lora": lambda: LoRA(rank=2, alpha=3),
    "lora everywhere": lambda: LoRA(rank=2, alpha=3, targets=r"attn\.[qkvo]$|mlp\.(up|down)$"),
    "lora with a shared A": lambda: LoRA(2, alpha=3, targets=r"attn\.[qkvo]$|up$", fused=True),
    "lora, rank-stabilised": lambda: LoRA(4, alpha=3, rank_stabilised=True),
    "lora of embeddings": lambda: LoRA(rank=2, alpha=3, targets=r"tokens$|attn\.k$"),
    "dora": lambda: DoRA(rank=2, alpha=3),
    "ia3": lambda: IA3(),
    "bitfit": lambda: BitFit(),
    "random weights": lambda: RandomWeights(),
    "houlsby": lambda: Adapter(3),
    "pfeiffer": lambda: Adapter(3, targets=PFEIFFER),
    "parallel adapter": lambda: ParallelAdapter(3),
    "multi-head adapter": lambda: MultiHeadAdapter(2),
    "fusion": lambda: FusionOfThree(),
    "mam": lambda: Chain(PrefixTuning(3), ParallelAdapter(4, 4.0, r"mlp$")),
    "houlsby with norms": lambda: Chain(Adapter(3), LayerNormTuning()),
    "full": lambda: FullFineTuning(),
    "norms": lambda: LayerNormTuning(),
    "encoded prefix": lambda: Encoded(PrefixTuning(4), mlp_width=6),
    "encoded prompt": lambda: Encoded(PromptTuning(3), mlp_width=6),
    "chain": lambda: Chain(
        LoRA(rank=2, alpha=3),
        PromptTuning(2),
        PrefixTuning(4),
        Encoded(PrefixTuning(1), mlp_width=6),
    ),
}

MORE = {}  # methods that are not in the laws, by name: for folders

ONE_STACK = {name: model for name, model in NETWORKS.items() if name not in SEQ2SEQ}
networks = pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS)
HEADS_TOO = NETWORKS | {"attention": ATTENTIVE}  # for some of the laws: its head has two layers
heads_too = pytest.mark.parametrize("model", HEADS_TOO.values(), ids=HEADS_TOO)
DISTINCT = ON_HOST if device.name == "fake" else NETWORKS  # the stand-in has the host's numbers
distinct_networks = pytest.mark.parametrize("model", DISTINCT.values(), ids=DISTINCT)
one_stack = pytest.mark.parametrize("model", ONE_STACK.values(), ids=ONE_STACK)
decoders = pytest.mark.parametrize("model", DECODERS.values(), ids=DECODERS)
classifiers = pytest.mark.parametrize("model", CLASSIFIERS.values(), ids=CLASSIFIERS)
methods = pytest.mark.parametrize("name", METHODS)


def head_method(model):
    """The method that trains the head: with a hidden layer for that of ATTENTIVE."""
    return Probe(hidden=12 if getattr(model, "pool", None) == "attention" else None)


def fresh(name, model, rng=None):
    """The method as it starts; under a head, with that."""
    rng, adaptation = rng or np.random.default_rng(0), (METHODS | MORE)[name]()
    if adaptation is not PLAIN:
        adaptation = adaptation.attach(model, rng)
    if not isinstance(model, Headed):
        return adaptation
    return Chain(adaptation, head_method(model).attach(model, rng))


def attached(name, model, user=0):
    """The method as some user has it, with no number where it started: new tensors at each call."""
    adaptation = trained(name, model, user)
    return adaptation if adaptation is PLAIN else adaptation.map(lambda p: parameter(p.data))


@cache
def trained(name, model, user):
    rng = np.random.default_rng([crc32(name.encode()), user])
    adaptation = fresh(name, model, rng)
    for p in adaptation.parameters():
        p.data = p.data + np.asarray(0.3 * rng.normal(size=p.shape), p.dtype, like=p.data)
        seal(p.data)  # every `attached` has this array
    return adaptation


class Family(Case):
    """One of METHODS on a network."""

    def __init__(self, name, model):
        self.name, self.model = name, model

    def fresh(self, rng=None):
        return fresh(self.name, self.model, rng)

    def attached(self, user=0):
        return attached(self.name, self.model, user)


def attach_random(method, model):
    """Return the method attached, with random parameters."""
    rng = np.random.default_rng(0)
    γ = method.attach(model, rng)
    for p in γ.parameters():
        p.data = p.data + np.asarray(0.3 * rng.normal(size=p.shape), p.dtype, like=p.data)
    return γ


@cache
def fusion_of_three(model):
    adapters = LoRA(2, 3, targets=r"attn\.[vo]$"), Adapter(3), ParallelAdapter(3)
    return Fusion([attach_random(method, model) for method in adapters])


class FusionOfThree(Method):
    """A Fusion whose adapters are the same for all users of a model."""

    def attach(self, model, rng=None):
        return fusion_of_three(model).attach(model, rng)


def mixture(model, users=1):
    """Each of all methods in one batch, each of some users."""
    return Each([attached(name, model, user) for user in range(users) for name in METHODS])


class Leaky(Method):
    """A fault: a row of the batch gets numbers of the other rows."""

    targets = r"(^|\.)blocks\.0\.mlp\.down$"

    def apply(self, layer, x):
        y = layer(x)
        return y + sum_over(y, axis=0)


class Doubled(Method):
    """A method that calls a layer with another input than its own."""

    targets = r"(^|\.)(blocks\.0\.mlp\.down|blocks\.1\.attn\.q)$"

    def apply(self, layer, x):
        return layer(x * 2.0)
