"""A family of Hugging Face's models: how its folders name and store what our networks are made of.

Folders are untrusted: anything malformed raises CheckpointError naming file and field.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...autograd.tensor import Tensor
from ...model.bert import Encoder, MaskedLM, Pooler
from ...model.config import Config
from ...model.encoder_decoder import EncoderDecoder
from ...model.heads import Classifier, Features, SpanClassifier, TokenClassifier, has_pooler
from ...model.transformer import Decoder, Transformer
from ...storage.json import CheckpointError, Settings, parse_json, short_repr
from ...storage.safetensors import SafetensorsFile, dtype_name
from .shapes import ZeroGenerator, expected_shapes

PARAMETERS = {"W": "weight", "g": "weight", "b": "bias"}
PATH = re.compile(r"(?:(encoder|decoder)\.)?(?:blocks\.(\d+)\.)?(.+)")  # stack, block, layer
LINEAR = re.compile(r"(attn|cross|mlp)\.|(pooler|dense|head|score)$")
HEADLESS = Features, Encoder
HEAD_SUFFIXES = {  # class of our network: how the name of its Hugging Face class ends
    Classifier: "ForSequenceClassification",
    TokenClassifier: "ForTokenClassification",
    SpanClassifier: "ForQuestionAnswering",
} | dict.fromkeys(HEADLESS, "Model")
ONE_STACK = {  # fields of Config, and their values in a family that does not say otherwise
    "decoder_layers": (0,),
    "scaled_attention": (True,),
    "scaled_head": (False,),
}
DEFAULT_POOL = {True: "last", False: "cls"}  # pool of a Classifier, by `causal`
SPECIAL_TOKENS = "bos_token_id", "eos_token_id", "pad_token_id"
REPLACED = (  # settings of a folder that contradict what is written, and have no name here
    "torch_dtype",
    "num_labels",
    "quantization_config",
)


@dataclass(frozen=True, eq=False)
class Family:
    """A table of names, and methods that read and write folders by it.

    "h.3.attn.c_attn" is layer "attn.c_attn" of block 3, and `blocks` is "h".  A layer may be fused:
    c_attn has our layers q, k and v side by side.  Where the two stacks of an encoder–decoder have
    other names for a layer, `layers` has both, "encoder.ln2" and "decoder.ln2".
    """

    name: str  # for errors
    class_prefixes: dict  # model_type: how the names of its Hugging Face classes begin
    lm_suffix: str  # how the name of its language model's class ends
    base_model_prefix: str  # of the names of the trunk's layers in a model with a head
    blocks: str
    layers: dict  # our name: the Hugging Face name; fused layers have the same
    head_names: dict  # class of our network with a head: the Hugging Face name of the head
    supported: dict  # fields of Config, and the values that they can have in this family
    to_config: Callable[[Settings], Config]
    to_settings: Callable[[Config], dict]
    lora_targets: tuple  # PEFT's default target_modules of LoRA
    head_pooler: str = ""  # Hugging Face name of the pooler, if it is in the head of a Classifier
    pads_uncounted: bool = False  # transformers gives padding the position before the first
    span_prefix: Callable[[Config], str] | None = None  # base_model_prefix beside a span head
    conv1d: bool = False  # the matrices of blocks are (in, out), as ours
    tied_names: tuple = ()  # (a, b): if a file has a, it must equal b
    ignored_keys: str = r"(?!)"  # tensors of a file that the model does not have: a pattern

    # -- names

    def hf_name(self, path: str, network: type = Transformer) -> str:
        """Return the Hugging Face name of a layer: h.3.attn.c_attn for blocks.3.attn.q."""
        stack, n, layer = PATH.fullmatch(path).groups()
        if layer == "score":
            return self.head_names[network]
        if layer == "pooler" and network is Classifier and self.head_pooler:
            return self.head_pooler
        name = self.layers.get(f"{stack}.{layer}") or self.layers[layer]
        return ".".join([*[stack] * bool(stack), *[self.blocks, n] * bool(n), name])

    def full_hf_name(self, path: str, network: type, config: Config) -> str:
        """Return the Hugging Face name in a network of this class: transformer.h.3.attn.c_attn."""
        return self.prefix(path, network, config) + self.hf_name(path, network)

    def prefix(self, path: str, network: type, config: Config) -> str:
        """Return what the name of a layer begins with in a network of this class: transformer."""
        in_head = path == "pooler" and network is Classifier and self.head_pooler
        if network in HEADLESS or in_head or re.match(r"head|score|transform\.", path):
            return ""
        if network is SpanClassifier and self.span_prefix:
            return self.span_prefix(config)
        return self.base_model_prefix

    def ties(self, config: Config) -> dict[str, str]:
        """Return {name in a file: name of the tensor that it must equal}."""
        head = self.layers["head"] + "."
        tied = lambda name: config.tied_head or not name.startswith(head)
        return {name: original for name, original in self.tied_names if tied(name)}

    def fused_with(self, path: str) -> list[str]:
        """Return the paths of the layers that are fused in the Hugging Face layer of `path`."""
        block, layer = re.fullmatch(r"(blocks\.\d+\.)?(.+)", path).groups("")
        name = self.layers.get(layer)
        return [block + ours for ours, other in self.layers.items() if other == name] or [path]

    def fused_groups(self, paths: Iterable[str]) -> list[tuple[str, ...]]:
        """Return the Hugging Face layers that the paths are in, each as all paths fused in it."""
        return [*dict.fromkeys(tuple(self.fused_with(path)) for path in paths)]

    def file_key(self, name: str) -> str | None:
        """Return a name in a file without the prefix of the base model, or None to ignore it."""
        prefixes = [self.base_model_prefix] + ["transformer."] * bool(self.span_prefix)
        name = re.sub(rf"^({'|'.join(map(re.escape, prefixes))})", "", name)
        return None if re.match(self.ignored_keys, name) else name

    def is_linear(self, path: str) -> bool:
        """Return whether the layer is a matrix product."""
        return bool(LINEAR.search(path))

    def is_transposed(self, path: str, config: Config) -> bool:
        """Return whether files have the matrix of this layer as (out, in); ours is (in, out)."""
        as_ours = self.conv1d and path.startswith("blocks.") or config.tied_head and path == "head"
        return self.is_linear(path) and not as_ours

    def common_suffixes(self, modules: Sequence[str], c: Config) -> list[str]:
        """Return the modules without their block, if all blocks have them and no other matches."""
        block = re.compile(rf"(.*\b)?{re.escape(self.blocks)}\.\d+\.")
        suffixes = [*dict.fromkeys(block.sub("", m) for m in modules)]
        longer = {n for n in self.layers.values() for s in suffixes if n.endswith(f".{s}")}
        count = len(suffixes) * (c.layers + c.decoder_layers)
        in_all_blocks = all(map(block.match, modules)) and count == len(modules)
        return suffixes if in_all_blocks and not longer else list(modules)

    def hf_tensors(self, model: Transformer) -> dict[str, tuple[list[Tensor], bool]]:
        """Return {name in a file: (our tensors that are fused in it, whether it is transposed)}."""
        found, seen, c = {}, set(), model.config
        ties, network = self.ties(c), type(model)
        for place, t in model.named_parameters():
            path, name = place.rsplit(".", 1)
            if id(t) not in seen:  # a tied head is the embedding
                key = f"{self.hf_name(path, network)}.{PARAMETERS[name]}"
                key = self.prefix(path, network, c) + ties.get(key, key)
                transposed = name == "W" and self.is_transposed(path, c)
                found.setdefault(key, ([], transposed))[0].append(t)
            seen.add(id(t))
        return found

    def unsupported(self, config: Config) -> str | None:
        """Return why the family can't have a configuration, or None if it can."""
        c = normalized(config)
        for field, values in (ONE_STACK | self.supported).items():
            if (value := getattr(c, field)) not in values:
                some = f"at least {values[0]}" if isinstance(values, range) else ""
                known = some or " or ".join(map(repr, values))
                return f"{self.name} has {field}={known}, not {value!r}"
        return None

    # -- folders

    def load(self, folder, settings: Settings, open_file=SafetensorsFile) -> Transformer:
        """Return the model in a folder with these settings; `open_file` opens its tensors."""
        settings.check_supported({"problem_type": ("single_label_classification",)})
        check_special_tokens(settings)
        for name in ("id2label", "label2id"):
            settings.field(name, None, dict)
        c = self.to_config(settings)
        file = open_file(folder / "model.safetensors", self.file_key)
        self.check_sizes(file, c)
        for name, original in self.ties(c).items():
            x = file.get(original)
            if not np.array_equal(file.pop(name, x), x):
                raise CheckpointError(
                    f"{file.path}: {name} differs from {original}, but config.json says that they "
                    "are tied"
                )
        model = self.empty_model(settings, file, c)
        new = {}
        for name, (tensors, transposed) in self.hf_tensors(model).items():
            shape = (*tensors[0].shape[:-1], sum(t.shape[-1] for t in tensors))
            x = file.require(self.file_key(name), shape[::-1] if transposed else shape)
            parts = np.split(x.T if transposed else x, len(tensors), axis=-1)
            for t, part in zip(tensors, parts, strict=True):
                new[id(t)] = Tensor(np.asarray(part, file.dtype))
        file.check_all_used()
        settings.check_depth()
        model.folder_settings = {n: x for n, x in settings.items() if n not in REPLACED}
        return model.map(lambda t: new[id(t)])

    def check_sizes(self, file, config):
        """Raise CheckpointError unless the file has the sizes of a configuration.

        No array of an untrusted size is made before this.
        """
        ties = self.ties(config)
        for path, shape in expected_shapes(config):
            key, transposed = f"{self.hf_name(path)}.weight", self.is_transposed(path, config)
            file.require(ties.get(key, key), shape[::-1] if transposed else shape)

    def empty_model(self, settings, file, c):
        """Return a network of zeros of the class that the settings name or the file shows."""
        architecture = [*settings.names("architectures"), ""][0]
        named = {
            prefix + suffix: network
            for prefix in self.class_prefixes.values()
            for network, suffix in HEAD_SUFFIXES.items()
        }
        network, zeros = named.get(architecture), ZeroGenerator()
        if c.decoder_layers:
            known = [p + s for p in self.class_prefixes.values() for s in (self.lm_suffix, "Model")]
            settings.check_supported({"architectures": [[name] for name in known]})
            return EncoderDecoder(c, zeros)
        trunk = (Transformer if c.causal else Encoder)(c, zeros)
        if network in self.head_names:
            head = self.head_names[network]
            bias, (classes, *_) = f"{head}.bias" in file, file.shape(f"{head}.weight") or [0]
            if not classes:
                raise CheckpointError(f"{file.path}: {head}.weight is missing or has no classes")
            if network is not Classifier or self.head_pooler:  # older files have one
                for name in PARAMETERS.values():
                    file.pop(f"{self.layers.get('pooler')}.{name}", None)
            if network is Classifier:
                return Classifier(trunk, classes, DEFAULT_POOL[c.causal], bias)
            if network is SpanClassifier:
                return SpanClassifier(trunk, bias=bias)
            return network(trunk, classes, bias)
        if c.causal:
            has_head = network is None and (c.tied_head or "lm_head.weight" in file)
            return Decoder(c, zeros) if has_head else Features(trunk)
        bias = f"{self.layers['head']}.bias"
        model = MaskedLM(c, zeros) if self.ties(c).get(bias, bias) in file else trunk
        if f"{self.layers.get('pooler')}.weight" not in file:
            vars(model).pop("pooler", None)
        elif not has_pooler(model):
            model.pooler = Pooler(c, zeros)
        return model

    def files(self, model: Transformer, dtype) -> dict:
        """Return {file name: content} of the folder of a model: settings; arrays and metadata."""
        self.check_pool(model)
        settings = self.settings(model)
        prefix = self.class_prefixes[settings["model_type"]]
        architecture = prefix + HEAD_SUFFIXES.get(type(model), self.lm_suffix)
        settings |= {"architectures": [architecture], "dtype": dtype_name(dtype)}
        arrays = {}
        for name, (tensors, transposed) in self.hf_tensors(model).items():
            x = np.concatenate([t.data for t in tensors], axis=-1)
            arrays[name] = x.T if transposed else x
        if type(model) in self.head_names:
            self.add_head_fields(model, settings, arrays)
        return {"config.json": settings, "model.safetensors": (arrays, {})}

    def settings(self, model) -> dict:
        """Return the settings of a model, and those of its folder that do not contradict them.

        Raises CheckpointError if they would be read as another configuration.
        """
        c, folder = normalized(model.config), model.folder_settings
        settings = self.to_settings(model.config)
        special = {n: settings.pop(n) for n in SPECIAL_TOKENS if n in settings}
        settings = ({} if "model_type" in folder else special) | folder | settings
        if type(model) is not SpanClassifier or not self.span_prefix:  # its names have a prefix
            own_type = settings | {"model_type": folder.get("model_type", settings["model_type"])}
            settings = own_type if self.reread(own_type) == c else settings
        if (read := self.reread(settings)) != c:
            raise CheckpointError(
                f"{self.name}'s config.json can't hold {c}: it would be read as {read}"
            )
        return settings

    def reread(self, settings: dict) -> Config:
        """Return the configuration that the settings are read as."""
        text = json.dumps(settings, default=lambda x: x.tolist())
        return self.to_config(parse_json(text, "config.json"))

    def add_head_fields(self, model, settings, arrays):
        """Add what the folder of a model with a head has: names of the classes, and a bias."""
        network = type(model)
        classes, bias = model.score.shape[1], f"{self.head_names[network]}.bias"
        if len(settings.get("id2label") or ()) != classes:
            settings["id2label"] = {i: f"LABEL_{i}" for i in range(classes)}
            settings["label2id"] = {f"LABEL_{i}": i for i in range(classes)}
        if self.head_has_bias(model.config, network):
            arrays.setdefault(bias, np.zeros(classes, "f4"))
        elif bias in arrays:
            raise CheckpointError(f"{self.name}'s classifiers have no {bias}")

    def check_pool(self, model) -> None:
        """Raise CheckpointError for a Classifier with another pool than Hugging Face's class."""
        pool = DEFAULT_POOL[model.config.causal]
        if type(model) is Classifier and model.pool != pool:
            raise CheckpointError(
                f"{self.name}'s classifiers have pool={pool!r}, not {model.pool!r}"
            )

    def head_has_bias(self, config: Config, network: type) -> bool:
        """Return whether the head of Hugging Face's class has a bias."""
        return not (config.causal and network is Classifier)


def check_special_tokens(settings: Settings) -> Settings:
    """Return the settings; raise CheckpointError if one of SPECIAL_TOKENS is no token id.

    Only the end of a text may be a list of token ids.
    """
    for name in SPECIAL_TOKENS:
        value = settings.get(name)
        ids = value if isinstance(value, list) and name == "eos_token_id" else [value]
        if value is not None and not all(type(i) is int for i in ids):
            must = "a token id" + " or a list of token ids" * (name == "eos_token_id")
            raise CheckpointError(f"{settings.path}: {name}={short_repr(value)} must be {must}")
    return settings


def normalized(c: Config) -> Config:
    """Return the configuration with None for sizes that have their default value."""
    return replace(
        c,
        key_heads=None if c.key_heads == c.heads else c.key_heads,
        head_width=None if c.head_width and c.head_width * c.heads == c.width else c.head_width,
        ffn_width=None if c.ffn_width == 4 * c.width else c.ffn_width,
    )


def config_from(settings: Settings, fields: dict, make: Callable = Config, **more) -> Config:
    """Return the configuration in the settings.

    fields: {our field: (name in config.json, default, type)}.  more: other fields of `make`.
    """
    values = {ours: settings.field(*field) for ours, field in fields.items()}
    try:
        return normalized(make(**values | more))
    except ValueError as error:
        raise CheckpointError(f"{settings.path}: {error}") from None


def settings_from(c: Config, fields: dict) -> dict:
    """Return {name in config.json: value} of these fields of a configuration."""
    return {name: getattr(c, ours) for ours, (name, *_) in fields.items()}
