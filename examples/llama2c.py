"""Convert a model of llama2.c into a folder of Hugging Face's.

    python llama2c.py stories260K.bin tok512.bin FOLDER

The model file is of version 0 of https://github.com/karpathy/llama2.c: seven integers, then all
matrices.  The tokenizer file has a score and some bytes for each token.
"""

import math
import struct
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, processors

import minipeft as mp

HEADER = "width", "ffn_width", "layers", "heads", "key_heads", "vocabulary", "length"
SHAPES = {  # in the file's order; see `read_arrays` for the letters
    "tokens.W": "VD",
    "ln1.g": "LD",
    "attn.q.W": "LDD",
    "attn.k.W": "LKD",
    "attn.v.W": "LKD",
    "attn.o.W": "LDD",
    "ln2.g": "LD",
    "mlp.gate.W": "LFD",
    "mlp.down.W": "LDF",
    "mlp.up.W": "LFD",
    "ln.g": "D",
    "cosines": "TP",
    "sines": "TP",
    "head.W": "VD",
}
SPECIAL_TOKENS = ["<unk>", "<s>", "</s>"]
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


def read_config(path: Path, raw: bytes) -> mp.Config:
    """Return the configuration in the first 28 bytes of a model file."""
    if len(raw) < 28:
        raise mp.CheckpointError(
            f"{path} has {len(raw)} bytes; a llama2.c model begins with a header of 28"
        )
    sizes = dict(zip(HEADER, struct.unpack_from("<7i", raw)))
    tied_head = sizes["vocabulary"] > 0  # a negative size means that the head is not tied
    sizes["vocabulary"] = abs(sizes["vocabulary"])
    llama = {"positions": "rotary", "norm": "rms", "activation": "silu", "gated": True}
    try:
        if min(sizes.values()) < 1:
            raise ValueError("every size must be at least 1")
        return mp.Config(**sizes, **llama, biases=(), tied_head=tied_head)
    except ValueError as error:
        raise mp.CheckpointError(
            f"{path} is not a llama2.c model of version 0: {error}; {sizes}"
        ) from None


def read_arrays(path: Path, raw: bytes, c: mp.Config) -> dict[str, np.ndarray]:
    """Return {name: array} of a model file, which must have the size that its header implies.

    L layers   D width   K width of keys   F width of the MLP   V vocabulary   T length   P = d/2
    """
    sizes = {"L": c.layers, "D": c.width, "K": c.key_heads * c.d, "F": c.ffn_width}
    sizes |= {"V": c.vocabulary, "T": c.length, "P": c.d // 2}
    shapes = {name: tuple(sizes[s] for s in letters) for name, letters in SHAPES.items()}
    if c.tied_head:
        del shapes["head.W"]
    expected = 28 + 4 * sum(map(math.prod, shapes.values()))
    if len(raw) != expected:
        raise mp.CheckpointError(f"{path} has {len(raw)} bytes; its header implies {expected}: {c}")
    arrays, offset = {}, 28
    for name, shape in shapes.items():
        arrays[name] = np.frombuffer(raw, "<f4", math.prod(shape), offset).reshape(shape)
        offset += arrays[name].nbytes
    return arrays


def reorder_rotary(W: np.ndarray, d: int) -> np.ndarray:
    """Return W with the rows of each head in the order 0, 2, 4, …, 1, 3, 5, …

    llama2.c rotates numbers 2i and 2i + 1 of a head by angle i, Hugging Face i and i + d/2.
    """
    return W.reshape(-1, d // 2, 2, W.shape[-1]).swapaxes(1, 2).reshape(W.shape)


def rename(arrays, d):
    """Yield (name of a parameter of mp.Decoder, array): its matrices are (in, out)."""
    for name, x in arrays.items():
        for n, y in enumerate(x) if SHAPES[name][0] == "L" else [(None, x)]:
            if name in ("attn.q.W", "attn.k.W"):
                y = reorder_rotary(y, d)
            if name.endswith("W") and name != "tokens.W":
                y = y.T
            yield name if n is None else f"blocks.{n}.{name}", y


def read_model(path: str | Path) -> mp.Decoder:
    """Return the model in a file of llama2.c's."""
    raw = Path(path).read_bytes()
    c = read_config(path, raw)
    arrays = dict(rename(read_arrays(path, raw, c), c.d))
    model = mp.Decoder(c, np.random.default_rng(0))
    parameters = model.named_parameters()
    new = {id(t): mp.Tensor(arrays[name]) for name, t in parameters if name in arrays}
    return model.map(lambda t: new[id(t)])


def read_scores(path: str | Path) -> list[tuple[float, str]]:
    """Return [(score, token)] of a tokenizer file."""
    raw, offset, tokens = Path(path).read_bytes(), 4, []
    try:
        while offset < len(raw):
            score, length = struct.unpack_from("<fI", raw, offset)
            token = struct.unpack_from(f"{length}s", raw, offset + 8)[0]
            tokens.append((score, token.decode()))
            offset += 8 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise mp.CheckpointError(
            f"{path} is not a tokenizer of llama2.c: {error}, at byte {offset}"
        ) from None
    texts = [token for _, token in tokens]
    if texts[3:259] != BYTE_TOKENS or len({*texts}) < len(texts):
        raise mp.CheckpointError(
            f"{path} is not a tokenizer of llama2.c: tokens 3 to 258 must be <0x00> to <0xFF>, and "
            "no token may come twice"
        )
    return tokens


def read_tokenizer(path: str | Path) -> Tokenizer:
    """Return a tokenizer that merges the pair with the best score first, as llama2.c does.

    One difference: "<s>" in a text is the special token, as in Hugging Face's tokenizers.
    """
    scores = read_scores(path)
    tokens = SPECIAL_TOKENS + [token for _, token in scores[3:]]
    score = {token: s for s, token in scores[259:]}
    splits = [(token[:i], token[i:]) for token in score for i in range(1, len(token))]
    merges = [(a, b) for a, b in splits if a in score and b in score]
    merges.sort(key=lambda pair: -score["".join(pair)])
    vocabulary = {token: n for n, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True))
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    pieces = [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(pieces)
    return tokenizer


def convert(model_file: str | Path, tokenizer_file: str | Path, folder: str | Path) -> None:
    """Write a folder of Hugging Face's with the model and the tokenizer in two files."""
    model, tokenizer = read_model(model_file), read_tokenizer(tokenizer_file)
    if (V := model.config.vocabulary) != (n := tokenizer.get_vocab_size()):
        raise mp.CheckpointError(
            f"{tokenizer_file} has {n} tokens, and the model has {V}: they do not belong together"
        )
    model.folder_settings = {"bos_token_id": 1, "eos_token_id": 1}  # stories are separated by <s>
    mp.save(model, folder, tokenizer)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    convert(*sys.argv[1:])
