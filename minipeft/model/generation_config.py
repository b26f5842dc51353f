"""Settings of generation: of the call, else of the model's folder, else the defaults."""

import math
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real

from .special_tokens import special_ids

# Lengths n of new text by which a beam search divides the sum of log-probabilities, with penalty α.
LENGTHS = {
    "transformers": lambda n, α: n**α,
    "gnmt": lambda n, α: ((5 + n) / 6) ** α,  # Wu et al. 2016, eq. 14
}
EARLY = [False, True, "never"]  # values of early_stopping
COUNTS = {  # the least value of each integer
    "max_new_tokens": 1,
    "min_new_tokens": 0,
    "top_k": 0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
}
RANGES = {  # of numbers
    "temperature": (lambda x: 0 <= x < math.inf, "at least 0"),
    "top_p": (lambda x: 0 < x <= 1, "above 0, and at most 1"),
    "repetition_penalty": (lambda x: 0 < x < math.inf, "above 0"),
    "length_penalty": (lambda x: abs(x) < math.inf, "finite"),
}
# Settings of transformers that change the tokens, with the values that do not.
UNSUPPORTED: dict[str, list] = {
    "bad_words_ids": [None, []],
    "begin_suppress_tokens": [None, []],
    "constraints": [None],
    "diversity_penalty": [None, 0],
    "dola_layers": [None],
    "encoder_no_repeat_ngram_size": [None, 0],
    "encoder_repetition_penalty": [None, 1],
    "epsilon_cutoff": [None, 0],
    "eta_cutoff": [None, 0],
    "exponential_decay_length_penalty": [None],
    "force_words_ids": [None],
    "forced_decoder_ids": [None, []],
    "guidance_scale": [None, 1],
    "max_time": [None],
    "min_p": [None, 0],
    "num_beam_groups": [None, 1],
    "num_return_sequences": [None, 1],
    "penalty_alpha": [None, 0],
    "renormalize_logits": [None, False],
    "sequence_bias": [None],
    "suppress_tokens": [None, []],
    "token_healing": [None, False],
    "top_h": [None],
    "typical_p": [None, 1],
    "watermarking_config": [None],
}


@dataclass(frozen=True)
class GenerationConfig:
    """Settings of `generate`, with the names of transformers; raises ValueError for bad values."""

    max_new_tokens: int = 32
    min_new_tokens: int = 0  # no text ends by eos before
    temperature: float = 0.0  # 0: the most likely token; τ: a token drawn from softmax(z / τ)
    top_k: int = 0  # draw from the k most likely tokens; 0: from all
    top_p: float = 1.0  # draw from the fewest tokens that have this probability together
    repetition_penalty: float = 1.0  # of the tokens so far; 1: none
    no_repeat_ngram_size: int = 0  # n: no n tokens in a row occur twice; 0: no limit
    num_beams: int = 1  # K of a beam search; 1: none
    length_penalty: float = 1.0  # α, for a beam search
    length_formula: str = "transformers"  # what α is the exponent of: transformers | gnmt
    early_stopping: bool | str = False  # of a beam search: False | True | never
    eos: tuple = ()  # a token id or a list of them, at which a text ends
    stop_strings: tuple = ()  # a text or a list of them, after which a text ends
    pad_token_id: int | None = None  # after the end of a text; None: the first of eos
    forced_bos_token_id: int | None = None  # the second token of a text
    forced_eos_token_id: int | None = None  # the last of max_new_tokens

    def __post_init__(self):
        for name in ("eos", "stop_strings"):
            value = getattr(self, name)
            value = value.tolist() if hasattr(value, "tolist") else value
            one = isinstance(value, str | Integral)
            values = () if value is None else (value,) if one else tuple(value)
            object.__setattr__(self, name, values)
        for name, least in COUNTS.items():
            valid = is_a(Integral, value := getattr(self, name)) and value >= least
            require(valid, name, value, f"an integer of at least {least}")
        for name, (inside, words) in RANGES.items():
            valid = is_a(Real, value := getattr(self, name)) and inside(value)
            require(valid, name, value, words)
        for name, choices in (("length_formula", [*LENGTHS]), ("early_stopping", EARLY)):
            value = getattr(self, name)
            require(value in choices, name, value, " or ".join(map(repr, choices)))
        valid = all(is_a(Integral, i) and i >= 0 for i in self.eos)
        require(valid, "eos", [*self.eos], "a token id, or a list of them")
        valid = all(isinstance(text, str) and text for text in self.stop_strings)
        require(valid, "stop_strings", [*self.stop_strings], "a text, or a list of them")
        for name in ("pad_token_id", "forced_bos_token_id", "forced_eos_token_id"):
            value = getattr(self, name)
            require(
                value is None or is_a(Integral, value) and value >= 0, name, value, "a token id"
            )

    @property
    def pad(self) -> int:
        """The token that a text repeats after its end."""
        return next(iter(self.eos), 0) if self.pad_token_id is None else self.pad_token_id


NAMES = [field.name for field in fields(GenerationConfig)]


def is_a(kind, value) -> bool:
    """Return whether a value is a number of this kind, and not True or False."""
    return isinstance(value, kind) and not isinstance(value, bool)


def require(valid, name, value, words) -> None:
    """Raise ValueError for a setting that is not valid, with what it must be."""
    if not valid:
        raise ValueError(f"{name}={value!r:.60} must be {words}")


def generation_config(model, width: int, **given) -> GenerationConfig:
    """Return the settings of a generation: `given` ones, else those of the folder, else defaults.

    width: number of tokens of the text that max_length and min_length count before the new ones.
    Raises TypeError for an unknown name, ValueError for a setting that is not supported.
    """
    if unknown := given.keys() - {*NAMES}:
        raise TypeError(
            f"generate has no setting {min(unknown)!r}; its settings are {', '.join(NAMES)}"
        )
    file = "generation_config.json" if model.generation_config else "config.json"
    settings = model.generation_config or model.folder_settings
    try:
        config = GenerationConfig(**from_folder(model, settings, width, given))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return check_ids(replace(config, **given), model.config.vocabulary)


def from_folder(model, settings: dict, width: int, given: dict) -> dict:
    """Return the settings that a folder has, by the names of GenerationConfig.

    do_sample without top_k means top_k=50 and, without temperature, temperature=1, as there.
    """
    for name, neutral in UNSUPPORTED.items():
        if settings.get(name) not in neutral:
            raise ValueError(f"{name}={settings[name]!r:.60} is not supported: remove it")
    start, ours = settings.get("decoder_start_token_id"), model.config.decoder_start
    if model.config.decoder_layers and start not in (None, ours):
        raise ValueError(f"decoder_start_token_id={start!r:.60} is not that of the model, {ours}")
    found = {name: settings[name] for name in NAMES if settings.get(name) is not None}
    if settings.get("do_sample"):
        found = {"temperature": 1.0, "top_k": 50} | found
    else:
        found.pop("temperature", None)
    for name in ("max", "min"):
        length, new = settings.get(f"{name}_length"), f"{name}_new_tokens"
        if length is not None and new not in found | given:
            require(is_a(Integral, length), f"{name}_length", length, "an integer")
            found[new] = length - width if name == "max" else max(0, length - width)
    if found.get("max_new_tokens", 1) < 1 and "max_new_tokens" not in given:
        raise ValueError(
            f"max_length={settings['max_length']!r:.60} leaves no room after {width} tokens: give "
            "max_new_tokens"
        )
    special = {name: special_ids(name, model, None) for name in ("eos", "pad")}
    return found | {"eos": special["eos"], "pad_token_id": next(iter(special["pad"]), None)}


def check_ids(config: GenerationConfig, vocabulary: int) -> GenerationConfig:
    """Return the settings; raise ValueError for a token or a number of beams beyond the model's."""
    for name in ("forced_bos_token_id", "forced_eos_token_id"):
        if (getattr(config, name) or 0) >= vocabulary:
            raise ValueError(
                f"{name}={getattr(config, name)} is not in the vocabulary of {vocabulary}"
            )
    if config.num_beams > vocabulary:
        raise ValueError(
            f"num_beams={config.num_beams} must be at most the vocabulary of {vocabulary}"
        )
    return config
