"""llama2.c's files as a folder of Hugging Face's.

    python llama2c.py stories260K.bin tok512.bin FOLDER

The model is of version 0 of https://github.com/karpathy/llama2.c: seven whole numbers and all the
matrices.  The tokens are a score and some bytes each.
"""

import math
import struct
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, processors

import minipeft as mp

HEADER = "width", "ffn_width", "layers", "heads", "key_heads", "vocabulary", "length"
PARTS = {  # L layers   D width   K width of the keys   F hidden   V vocabulary   T length   P pairs
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
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]  # of what is no token


def configuration(path, raw):
    """What the first 28 bytes of the file say."""
    if len(raw) < 28:
        raise mp.CheckpointError(
            f"{path}: {len(raw)} bytes are no llama2.c model, which has 28 first"
        )
    said = dict(zip(HEADER, struct.unpack_from("<7i", raw)))
    tied_head = said["vocabulary"] > 0  # a head of its own is said by a minus
    said["vocabulary"] = abs(said["vocabulary"])
    kind = {"positions": "rotary", "norm": "rms", "activation": "silu", "gated": True, "biases": ()}
    try:
        if min(said.values()) < 1:
            raise ValueError("no size is less than 1")
        return mp.Config(**said, tied_head=tied_head, **kind)
    except ValueError as e:
        raise mp.CheckpointError(f"{path} is no llama2.c model of version 0: {e}; {said}") from None


def matrices(path, raw, c):
    """{part: its array}, each as large as the configuration says."""
    sizes = {"L": c.layers, "D": c.width, "K": c.key_heads * c.d, "F": c.ffn_width}
    sizes |= {"V": c.vocabulary, "T": c.length, "P": c.d // 2}
    shapes = {name: tuple(sizes[s] for s in letters) for name, letters in PARTS.items()}
    if c.tied_head:
        del shapes["head.W"]
    want = 28 + 4 * sum(map(math.prod, shapes.values()))
    if len(raw) != want:
        raise mp.CheckpointError(f"{path} has {len(raw)} bytes, but {want} by its sizes: {c}")
    parts, at = {}, 28
    for name, shape in shapes.items():
        parts[name] = np.frombuffer(raw, "<f4", math.prod(shape), at).reshape(shape)
        at += parts[name].nbytes
    return parts


def halves(W, d):
    """The rows of each head in the order 0, 2, 4, …, 1, 3, 5, …

    llama2.c turns numbers 2i and 2i + 1 of a head by the i-th angle, Hugging Face i and i + d/2.
    """
    return W.reshape(-1, d // 2, 2, W.shape[-1]).swapaxes(1, 2).reshape(W.shape)


def placed(parts, d):
    """Yield the name of a tensor of ours, and its array: our matrices are (in, out)."""
    for name, x in parts.items():
        layers = enumerate(x) if PARTS[name][0] == "L" else [(None, x)]
        for n, x in layers:
            x = halves(x, d) if name in ("attn.q.W", "attn.k.W") else x
            x = x.T if name.endswith("W") and name != "tokens.W" else x
            yield name if n is None else f"blocks.{n}.{name}", x


def read_model(path):
    raw = Path(path).read_bytes()
    c = configuration(path, raw)
    arrays = dict(placed(matrices(path, raw, c), c.d))
    model = mp.Decoder(c, np.random.default_rng(0))
    places = model.named_parameters()
    new = {id(t): mp.Tensor(arrays[place]) for place, t in places if place in arrays}
    return model.map(lambda t: new[id(t)])


def scored(path):
    """[(score, token)] of a file of tokens."""
    raw, at, found = Path(path).read_bytes(), 4, []
    try:
        while at < len(raw):
            score, length = struct.unpack_from("<fI", raw, at)
            token = struct.unpack_from(f"{length}s", raw, at + 8)[0]
            found.append((score, token.decode()))
            at += 8 + length
    except (struct.error, UnicodeDecodeError) as e:
        raise mp.CheckpointError(f"{path} is no whole file of tokens: {e}, at byte {at}") from None
    if [token for _, token in found[3:259]] != BYTES or len({token for _, token in found}) < len(
        found
    ):
        raise mp.CheckpointError(
            f"{path} holds no tokens of llama2.c's: <0x00> to <0xFF> come first"
        )
    return found


def read_tokenizer(path):
    """Pairs are joined whose token has the highest score, the first of them first.

    As in llama2.c, but that <s> in a text is the token, as with Hugging Face.
    """
    found = scored(path)
    tokens = SPECIAL + [token for _, token in found[3:]]
    scores = {token: score for score, token in found[259:]}
    splits = [(token[:i], token[i:]) for token in scores for i in range(1, len(token))]
    pairs = [(a, b) for a, b in splits if a in scores and b in scores]
    pairs.sort(key=lambda pair: -scores["".join(pair)])
    vocabulary = {token: n for n, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, byte_fallback=True))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    pieces = [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(pieces)
    return tokenizer


def convert(model, tokens, folder):
    """Write the folder, of a file of a model and one of its tokens."""
    model, tokenizer = read_model(model), read_tokenizer(tokens)
    if (V := model.config.vocabulary) != (have := tokenizer.get_vocab_size()):
        raise mp.CheckpointError(f"{tokens} has {have} tokens, the model {V}: are they of another?")
    model.kept = {"bos_token_id": 1, "eos_token_id": 1}  # a story ends where the next begins
    mp.save(model, folder, tokenizer)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    convert(*sys.argv[1:])
