"""A family of Hugging Face's models: how its folders name what our networks are made of."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...autograd.tensor import Tensor
from ...model.bert import Encoder, MaskedLM
from ...model.heads import Classifier, Features, SpanClassifier, TokenClassifier
from ...model.transformer import Decoder, Transformer
from ...storage.json import CheckpointError, parsed
from ...storage.safetensors import Tensors, floating

PARAMETERS = {"W": "weight", "g": "weight", "b": "bias"}
LINEAR = re.compile(r"attn\.|mlp\.|(pooler|dense|head|score)$")
BARE = Features, Encoder
HEADS = {  # our network with a head: what the name of their architecture ends in
    Classifier: "ForSequenceClassification",
    TokenClassifier: "ForTokenClassification",
    SpanClassifier: "ForQuestionAnswering",
} | dict.fromkeys(BARE, "Model")


@dataclass(frozen=True, eq=False)
class Family:
    """Its table.  Of "h.3.attn.c_attn" `blocks` is "h", and "attn.c_attn" the name of a layer."""

    name: str  # in errors
    stems: dict  # model_type: what the names of its architectures begin with
    lm: str  # what that of a language model ends in
    trunk: str  # what stands before the trunk's names beside a head
    blocks: str
    layers: dict  # ours: theirs.  Those of one name lie side by side there
    scores: dict  # our network with a head: what its head is called
    kind: dict  # fields of our configuration, and the values that the family has there
    config: Callable  # their settings -> our configuration
    settings: Callable  # and back
    queries: tuple  # what PEFT's LoRA adapts where nothing is said
    beside_spans: Callable | None = None  # of a configuration: `trunk`, where spans have another
    conv: bool = False  # the matrices of its blocks are (in, out), as ours
    ties: tuple = ()  # pairs of names: if the first is in a file, it is the second again
    left: str = r"(?!)"  # tensors of a file that are none of the model's

    # -- names

    def theirs(self, path, network=Transformer):
        """blocks.3.attn.q -> h.3.attn.c_attn"""
        n, layer = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.+)", path).groups()
        if layer == "score":
            return self.scores[network]
        return f"{self.blocks}.{n}.{self.layers[layer]}" if n else self.layers[layer]

    def full(self, path, network, c):
        """transformer.h.3.attn.c_attn, as it is called in all of their network."""
        name = self.theirs(path, network)
        if network in BARE or re.match(r"head|score|transform\.", path):
            return name
        other = self.beside_spans if network is SpanClassifier else None
        return (other(c) if other else self.trunk) + name

    def beside(self, path):
        """The paths that lie side by side in one layer of theirs, in order."""
        front, layer = re.fullmatch(r"(blocks\.\d+\.)?(.+)", path).groups("")
        name = self.layers.get(layer)
        return [front + ours for ours, other in self.layers.items() if other == name] or [path]

    def layers_of(self, paths):
        """The layers of theirs that these are in: all the paths that lie side by side there."""
        return [*dict.fromkeys(tuple(self.beside(path)) for path in paths)]

    def called(self, name):
        """A name in a file as in this table, whatever stands before it; None: it is left out."""
        name = re.sub(rf"^({re.escape(self.trunk)}|transformer\.)", "", name)
        return None if re.match(self.left, name) else name

    def linear(self, path):
        """Is it a layer x W?"""
        return bool(LINEAR.search(path))

    def turned(self, path, c):
        """Is their matrix of this layer (out, in), the transpose of ours?"""
        back = self.conv and path.startswith("blocks.") or c.tied_head and path == "head"
        return self.linear(path) and not back

    def endings(self, modules, layers):
        """The modules, without their blocks if all blocks have them and no others end so."""
        block = re.compile(rf"(.*\b)?{re.escape(self.blocks)}\.\d+\.")
        short = [*dict.fromkeys(block.sub("", m) for m in modules)]
        longer = {n for n in self.layers.values() for s in short if n.endswith(f".{s}")}
        each = all(map(block.match, modules)) and len(short) * layers == len(modules)
        return short if each and not longer else list(modules)

    def joined(self, model):
        """{their name: (those of our tensors that lie side by side in it, is it turned?)}"""
        found, seen, c = {}, set(), model.config
        for place, t in model.named_parameters():
            path, name = place.rsplit(".", 1)
            if id(t) not in seen:  # a tied head is the embedding
                full = f"{self.full(path, type(model), c)}.{PARAMETERS[name]}"
                found.setdefault(full, ([], name == "W" and self.turned(path, c)))[0].append(t)
            seen.add(id(t))
        return found

    def lacks(self, c):
        """What of a configuration the family can't have, or nothing."""
        for field, known in self.kind.items():
            if (value := getattr(plain(c), field)) not in known:
                return f"{self.name}'s {field} is {' or '.join(map(repr, known))}, not {value!r}"

    # -- folders

    def read(self, folder, settings, tensors=Tensors):
        """The network in a folder, of the kind that it says it is."""
        settings.only({"problem_type": ("single_label_classification",)})
        c = self.config(settings)
        file = tensors(folder / "model.safetensors", self.called)
        for path, shape in claims(c):  # before any claimed size is made
            file.need(f"{self.theirs(path)}.weight", shape[::-1] if self.turned(path, c) else shape)
        for name, original in self.ties if c.tied_head else ():
            x = file.get(original)
            if not np.array_equal(file.pop(name, x), x):
                raise CheckpointError(f"{file.path}: {name} is not {original}, so not tied to it")
        model = self.unset(settings, file, c)
        new, dtype = {}, file.dtype
        for name, (ts, turned) in self.joined(model).items():
            shape = (*ts[0].shape[:-1], sum(t.shape[-1] for t in ts))
            whole = file.need(self.called(name), shape[::-1] if turned else shape)
            parts = np.split(whole.T if turned else whole, len(ts), axis=-1)
            for t, part in zip(ts, parts, strict=True):
                new[id(t)] = Tensor(np.asarray(part, dtype))
        file.end()
        for name in ("id2label", "label2id"):
            settings.field(name, None, dict)  # an error, if it is something else
        model.folder_settings = {name: settings[name] for name in KEPT if name in settings}
        return model.map(lambda t: new[id(t)])

    def unset(self, settings, file, c):
        """The network that a file is of, with no number in it yet."""
        said = [*settings.names("architectures"), ""][0]
        kinds = {stem + end: kind for stem in self.stems.values() for kind, end in HEADS.items()}
        kind, trunk = kinds.get(said), Transformer(Unset(), c) if c.causal else Encoder(c, Unset())
        if kind in self.scores:
            score = self.scores[kind]
            bias, (classes, *_) = f"{score}.bias" in file, file.shape(f"{score}.weight") or [0]
            if not classes:
                raise CheckpointError(f"{file.path}: {score}.weight is missing or of no classes")
            if kind is Classifier:
                return Classifier(trunk, classes, POOL[c.causal], bias)
            return kind(trunk, bias=bias) if kind is SpanClassifier else kind(trunk, classes, bias)
        if c.causal:
            lm = kind is None and (c.tied_head or "lm_head.weight" in file)
            return Decoder(c, Unset()) if lm else Features(trunk)
        model = MaskedLM(c, Unset()) if "cls.predictions.bias" in file else trunk
        if "pooler.dense.weight" not in file:
            del model.pooler
        return model

    def files(self, model, dtype):
        """What a folder of this model holds."""
        network, settings = type(model), self.settings(model.config)
        said = parsed("config.json", json.dumps(settings, default=lambda x: x.tolist()))
        if (again := self.config(said)) != plain(model.config):
            told = f"{self.name}'s config.json can't say {model.config}, only {again}"
            raise CheckpointError(f"no format holds this configuration: {told}")
        stem, end = self.stems[settings["model_type"]], HEADS.get(network, self.lm)
        settings |= model.folder_settings | {"architectures": [stem + end], "dtype": floating(dtype).name}
        tensors = {}
        for name, (ts, turned) in self.joined(model).items():
            whole = np.concatenate([t.data for t in ts], axis=-1)
            tensors[name] = whole.T if turned else whole
        if network in self.scores:
            classes, bias = model.score.shape[1], f"{self.scores[network]}.bias"
            if len(settings.get("id2label") or ()) != classes:
                settings["id2label"] = {i: f"LABEL_{i}" for i in range(classes)}
                settings["label2id"] = {f"LABEL_{i}": i for i in range(classes)}
            if self.head_has_bias(model.config, network):
                tensors.setdefault(bias, np.zeros(classes, "f4"))
            elif bias in tensors:
                raise CheckpointError(f"{self.name}'s classifiers have no {bias}")
        if network is Classifier and model.pool != POOL[model.config.causal]:
            raise CheckpointError(f"{self.name}'s classifiers don't have pool={model.pool!r}")
        return {"config.json": settings, "model.safetensors": (tensors, {})}

    def head_has_bias(self, c, network):
        return not (c.causal and network is Classifier)


POOL = {True: "last", False: "cls"}  # of a network that is causal or is not
KEPT = "bos_token_id", "eos_token_id", "pad_token_id", "id2label", "label2id"  # for a save


class Unset:
    """In place of a generator: the numbers come from a file, and until then take no memory."""

    def __init__(self, shape=()):
        self.shape = shape

    def standard_normal(self, shape):
        return Unset(shape)

    def __rmul__(self, deviation):
        return self

    def astype(self, dtype):
        return np.broadcast_to(np.zeros((), dtype), self.shape)


def claims(c):
    """[(path, shape)] of layers in which every size of a configuration is to be seen."""
    yield "tokens", (c.vocabulary, c.width)
    for n in reversed(range(c.layers)):
        yield f"blocks.{n}.mlp.up", (c.width, c.ffn_width or 4 * c.width)
        yield f"blocks.{n}.attn.o", (c.heads * c.d, c.width)
    if c.positions == "learned":
        yield "positions", (c.length, c.width)
    if c.token_types:
        yield "types", (c.token_types, c.width)


def plain(c):
    """The configuration without the sizes that follow from others."""
    return replace(
        c,
        key_heads=None if c.key_heads == c.heads else c.key_heads,
        head_width=None if c.head_width and c.head_width * c.heads == c.width else c.head_width,
        ffn_width=None if c.ffn_width == 4 * c.width else c.ffn_width,
    )


def configured(settings, fields, make, **more):
    """The configuration that the settings tell of, in fields {ours: (theirs, default, kind)}."""
    found = {ours: settings.field(*f) for ours, f in fields.items()}
    try:
        return plain(make(**found | more))
    except ValueError as e:
        raise CheckpointError(f"{settings.path}: {e}") from None


def told(c, fields):
    """The settings that tell of a configuration."""
    return {theirs: getattr(c, ours) for ours, (theirs, *_) in fields.items()}
