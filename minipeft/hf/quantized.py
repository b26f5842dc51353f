"""Quantised models, which are not supported: their files are recognised, and refused by name."""

from pathlib import Path

from ..storage.json import CheckpointError, Settings, read_json

FIELDS = "quantization_config", "compression_config", "quantization"  # of config.json
FILES = {  # beside config.json: the method that writes it
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
    "hf_quant_config.json": "modelopt",
}
BITS = "bits", "w_bit"
LOADED = {"load_in_8bit": 8, "load_in_4bit": 4}  # settings of bitsandbytes, and the bits they mean


def check_not_quantized(folder: Path, settings: Settings) -> None:
    """Raise CheckpointError if config.json, or a file beside it, says that a model is quantised."""
    found = [(settings.path, settings.get(field)) for field in FIELDS]
    for name, method in FILES.items():
        if (path := folder / name).is_file():
            found.append((path, {"quant_method": method} | read_json(path)))
    for path, quantization in found:
        if quantization:
            raise CheckpointError(
                f"{path}: the model is quantised{describe(quantization)}, which is not supported: "
                "use the model that it was made from, in float32, float16 or bfloat16"
            )


def describe(quantization) -> str:
    """Return the method and the bits, as far as the settings say them: " (gptq, 4 bits)"."""
    settings = quantization if isinstance(quantization, dict) else {"quant_method": quantization}
    bits = [settings[name] for name in BITS if type(settings.get(name)) is int]
    bits += [n for name, n in LOADED.items() if settings.get(name) is True]
    method = settings.get("quant_method", "bitsandbytes" if LOADED.keys() & settings else None)
    known = [method] * isinstance(method, str) + [f"{n} bits" for n in bits[:1]]
    return f" ({', '.join(known):.80})" if known else ""
