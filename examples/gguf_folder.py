"""Convert a GGUF file with a Llama into a folder of Hugging Face's.

    python gguf_folder.py MODEL.gguf FOLDER

GGUF is llama.cpp's format: settings, the tokenizer and all matrices, mostly quantized, in one file.
Needs the package `gguf`, which reads and dequantizes it.
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, dequantize
from llama2c import reorder_rotary
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import minipeft as mp

LAYERS = {  # GGUF's name: Hugging Face's name
    "token_embd": "model.embed_tokens",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "output_norm": "model.norm",
    "output": "lm_head",
}
SIZES = {  # name in config.json: GGUF's name
    "vocab_size": "llama.vocab_size",
    "hidden_size": "llama.embedding_length",
    "num_hidden_layers": "llama.block_count",
    "num_attention_heads": "llama.attention.head_count",
    "num_key_value_heads": "llama.attention.head_count_kv",
    "max_position_embeddings": "llama.context_length",
    "intermediate_size": "llama.feed_forward_length",
    "rms_norm_eps": "llama.attention.layer_norm_rms_epsilon",
    "rope_theta": "llama.rope.freq_base",
}
SPECIAL_TOKENS = {"bos": "bos", "eos": "eos", "pad": "padding"}  # Hugging Face's name: GGUF's
SPECIAL = 3  # token_type of a special token


def hf_name(name: str) -> str:
    """Return Hugging Face's name: model.layers.3.mlp.up_proj.weight for blk.3.ffn_up.weight."""
    *block, layer, kind = name.split(".")
    return ".".join(["model.layers", *block[1:]] * bool(block) + [LAYERS[layer], kind])


def read_arrays(reader: GGUFReader, head_width: int) -> dict[str, np.ndarray]:
    """Return {Hugging Face's name: float32 array}; matrices are (out, in) in both formats.

    llama.cpp rotates numbers 2i and 2i + 1 of a head by angle i, as llama2.c does.
    """
    arrays = {}
    for tensor in reader.tensors:
        x = dequantize(tensor.data, tensor.tensor_type)
        if "attn_q." in tensor.name or "attn_k." in tensor.name:
            x = reorder_rotary(x, head_width)
        arrays[hf_name(tensor.name)] = np.ascontiguousarray(x, np.float32)
    return arrays


def read_config(settings: dict) -> dict:
    """Return the settings of config.json, without the special tokens."""
    if (kind := settings["general.architecture"]) != "llama":
        raise mp.CheckpointError(f"the model is a {kind!r}, and only 'llama' is supported")
    sizes = {name: settings[original] for name, original in SIZES.items()}
    fixed = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu"}
    return sizes | fixed


def read_tokenizer(settings: dict) -> Tokenizer:
    """Return SmolLM's tokenizer: byte-level BPE as GPT-2's, but each digit is a token."""
    model, pre = (settings[f"tokenizer.ggml.{name}"] for name in ("model", "pre"))
    if (model, pre) != ("gpt2", "smollm"):
        raise mp.CheckpointError(f"only SmolLM's tokenizer is supported, not {model!r}, {pre!r}")
    tokens, types = (settings[f"tokenizer.ggml.{name}"] for name in ("tokens", "token_type"))
    merges = [tuple(merge.split(" ")) for merge in settings["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: n for n, token in enumerate(tokens)}, merges))
    tokenizer.add_special_tokens([t for t, kind in zip(tokens, types) if kind == SPECIAL])
    digits = pre_tokenizers.Digits(individual_digits=True)
    without_space = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, without_space])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def special_tokens(settings: dict) -> tuple[dict, dict]:
    """Return {"bos_token_id": 1, …} and {"bos_token": "<|im_start|>", …}."""
    ids = {n: settings[f"tokenizer.ggml.{name}_token_id"] for n, name in SPECIAL_TOKENS.items()}
    tokens = settings["tokenizer.ggml.tokens"]
    return (
        {f"{name}_token_id": i for name, i in ids.items()},
        {f"{name}_token": tokens[i] for name, i in ids.items()},
    )


def convert(path: str | Path, folder: str | Path) -> None:
    """Write a folder of Hugging Face's with the model and the tokenizer of a GGUF file."""
    reader, folder = GGUFReader(path), Path(folder)
    settings = {name: field.contents() for name, field in reader.fields.items()}
    config, tokenizer = read_config(settings), read_tokenizer(settings)
    ids, tokens = special_tokens(settings)
    arrays = read_arrays(reader, config["hidden_size"] // config["num_attention_heads"])
    config |= ids | {"tie_word_embeddings": "lm_head.weight" not in arrays}
    files = {
        "config.json": config,
        "generation_config.json": ids,
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"} | tokens,
    }
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2))
    (folder / "chat_template.jinja").write_text(settings["tokenizer.chat_template"])
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(arrays, folder / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(*sys.argv[1:])
