"""Models whose folders are tested, and what reads, writes and compares folders."""

import json

import numpy as np
from safetensors.numpy import save_file

from minipeft import PLAIN
from tests.support import families
from tests.support.families import DECODERS, ENCODERS, METHODS, batch, nudged, seq2seq

GPT2, LLAMA, BERT = DECODERS["gpt2"], DECODERS["llama"], ENCODERS["bert"]  # in float64
T5, BART = (nudged(seq2seq(c)) for c in (families.T5, families.BART))
IDS, _, MASK = batch(GPT2, 4)
SAVED = [name for name in METHODS if name != "plain"]


def logits(model, adaptation=PLAIN):
    return model(IDS, adaptation, mask=MASK).data


def assert_same(a, b):
    """Raise AssertionError unless names, dtypes, bits and sharing of all parameters are equal."""
    a, b = dict(a.named_parameters()), dict(b.named_parameters())
    first = lambda ts: {name: next(n for n, u in ts.items() if u is t) for name, t in ts.items()}
    assert first(a) == first(b)
    for name, t in a.items():
        assert t.dtype == b[name].dtype and np.array_equal(t.data, b[name].data), name


def read_config(folder):
    return json.loads((folder / "adapter_config.json").read_text())


def write_adaptation(folder, config, arrays):
    """Write a folder as PEFT does, with only these fields and arrays."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    arrays = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
    save_file(arrays, folder / "adapter_model.safetensors")
    return folder


def contents(folder):
    """Return {path: bytes} of everything in a folder, False for a folder."""
    return {str(p.relative_to(folder)): p.is_file() and p.read_bytes() for p in folder.rglob("*")}
