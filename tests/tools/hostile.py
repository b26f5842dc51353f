"""Read hostile folders, which must be refused, and folders with random faults.

    python -m tests.tools.hostile --times 2000 [--seed 0]

Every hostile folder must raise a CheckpointError that names the file.  A folder with a random fault
must raise a CheckpointError, or load and compute; nothing else may happen.
"""

import argparse
import json
import os
import random
import re
import resource
import signal
import tracemalloc
import warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors import deserialize
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from minipeft import (
    Chain,
    Classifier,
    FullFineTuning,
    LoRA,
    PTuning,
    SpanClassifier,
    TokenClassifier,
)
from minipeft.hf import CheckpointError, load, load_adaptation, load_tokenizer, save
from minipeft.hf.peft.compat import PeftModel
from minipeft.methods import BiasTuning
from tests.support.families import BERT, GPT2, MORE, ROTARY, C, attached, decoder, encoder
from tests.support.folder_edits import (
    ADAPTER,
    CONFIG,
    ENCODER,
    MODEL,
    SLOW_PATTERN,
    TENSORS,
    read_parts,
    write_parts,
)
from tests.support.hostile_adaptations import adaptation_cases
from tests.support.hostile_folders import model_cases, safetensors_cases, tokenizer_cases

LLAMA = replace(ROTARY, gated=True, activation="silu", biases=())
MAX_SECONDS, MAX_BYTES = 10, 2**26  # to read a folder
PLACE = "/dev/shm" if os.path.isdir("/dev/shm") else None  # 3 s instead of 10 on a disk
FAMILIES = {
    "gpt2": lambda: decoder(GPT2),
    "llama": lambda: decoder(LLAMA),
    "bert": lambda: encoder(BERT),
}
MORE_MODELS = {
    "qwen2": lambda: decoder(replace(LLAMA, biases=("q", "k", "v"), window=6)),
    "mistral": lambda: decoder(replace(LLAMA, window=6)),
    "gpt2 for texts": lambda: Classifier(decoder(GPT2), C),
    "bert for tokens": lambda: TokenClassifier(encoder(BERT), C, bias=True),
    "llama for spans": lambda: SpanClassifier(decoder(LLAMA)),
}
MODELS = FAMILIES | MORE_MODELS
METHODS = "lora", "prompt of 3", "prefix of 2", "houlsby", "encoded prefix", "chain"
MORE |= {
    "p-tuning in front": lambda: PTuning("[P]*3 {x}", "mlp", 1),
    "lora and biases": lambda: Chain(LoRA(2, 3), BiasTuning(r"attn\.[qkv]$")),
    "lora and norms": lambda: Chain(LoRA(2, 3), FullFineTuning(r"ln\d?$")),
}
RESUMED, AS_PEFT = ", resumed", ", as PEFT"
OTHER_ADAPTATIONS = [  # one of each further kind
    "ia3 of gpt2",
    "norms of llama",
    "multitask prompt of llama",
    "dora of bert",
    "p-tuning in front of gpt2",
    f"p-tuning in front of llama{RESUMED}",
    "lora and biases of gpt2",
    "lora and norms of gpt2",
    "prefix of 2 of qwen2",
    "lora of mistral",
    "ia3 of gpt2 for texts",
    "prompt of 3 of bert for tokens",
    "lora of llama for spans",
    f"lora of gpt2 for texts{AS_PEFT}",
    f"prompt of 3 of llama for spans{AS_PEFT}",
    f"dora of bert{AS_PEFT}",
]
FOLDERS = ["tokenizer", *MODELS]
FOLDERS += [
    f"{method} of {family}{how}"
    for family in FAMILIES
    for method in METHODS
    for how in ("", *[RESUMED] * (method in ("encoded prefix", "chain")))
]
FOLDERS += OTHER_ADAPTATIONS


# -- reading


def save_valid(kind, folder):
    """Save a valid folder of this kind, and return it and a function that reads such folders."""
    method, _, model = kind.removesuffix(RESUMED).removesuffix(AS_PEFT).rpartition(" of ")
    if kind == "tokenizer":
        save(decoder(GPT2), folder, Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a")))
        return folder, read_tokenizer
    make = MODELS[model]
    save(attached(method, make()) if method else make(), folder)
    how = {"resume": kind.endswith(RESUMED), "compat": "peft" if kind.endswith(AS_PEFT) else None}
    return folder, partial(read_adaptation, make(), **how) if method else read_model


def read_model(folder):
    return (load(folder),)


def read_adaptation(model, folder, **how):
    return model, load_adaptation(folder, model, **how)


def read_tokenizer(folder):
    load_tokenizer(folder)
    return ()


def computes(model, adaptation=None):
    """Return whether the logits are finite; the parameters must be."""
    ids, γ = np.array([[1, 2, 3, 4]]), adaptation
    if isinstance(adaptation, PeftModel):
        logits, γ = adaptation(ids), adaptation.adaptation
    else:
        logits = model(ids, adaptation)
    for part in (model, *[γ] * (γ is not None)):
        assert all(np.isfinite(p.data).all() for p in part.parameters())
    return np.isfinite(logits.data).all()


class Late(BaseException):
    """Reading takes too long."""


@contextmanager
def limits():
    """Raise an error if it takes too much time or memory, or warns."""

    def late(number, frame):
        raise Late(f"more than {MAX_SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(MAX_SECONDS)
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
        assert tracemalloc.get_traced_memory()[1] <= MAX_BYTES, "too much memory"
    finally:
        tracemalloc.stop()
        signal.alarm(0)


# -- hostile folders


def hostile_cases(kind, folder):
    """Yield (name, edit, file, message) of each hostile case of a valid folder."""
    if kind in MODELS:
        yield from model_cases(kind)
    elif kind == "tokenizer":
        yield from tokenizer_cases()
    elif kind.endswith(RESUMED):
        for name, edit, message in safetensors_cases(ENCODER):
            yield name, edit, ENCODER, message
    else:
        yield from adaptation_cases(json.loads((folder / ADAPTER).read_text())["peft_type"])


def copy_folder(folder, to):
    to.mkdir(parents=True)
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def check_refused(valid, edit, file, message):
    """Raise AssertionError unless the edited folder raises CheckpointError with this message."""
    folder, read = valid
    with TemporaryDirectory(dir=PLACE) as place:
        copy = copy_folder(folder, Path(place, "copy"))
        edit(copy)
        try:
            with limits():
                read(copy)
        except CheckpointError as error:
            text = str(error)
        else:
            raise AssertionError("it was accepted")
        assert str(copy / file) in text and re.search(message, text), text
        assert len(text) < 2000, f"{len(text)} characters"
        assert not Path(place, "exploded").exists(), "a pickle was opened"


# -- random faults

VALUES = (
    *(None, True, False, 0, -1, 1, 2, 3, 31, 10**9, 10**12, 10**30, 1.5, -0.5, 1e-30, 1e39),
    *("", "x", "(", SLOW_PATTERN, "\0", "F64", [], [1], [[]], {}, {"a": 1}, np.nan, np.inf),
)


def places(value):
    """Yield (container, key or index) of every value inside a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def edit_json(text, rng):
    """Return JSON in which one value is replaced, removed or renamed."""
    value = json.loads(text)
    for key, entry in (metadata := value.get("__metadata__", {})).items():
        metadata[key] = json.loads(entry) if entry[:1] == "{" else entry
    container, key = rng.choice([*places(value)])
    how = rng.random()
    if how < 0.7:
        container[key] = rng.choice(VALUES)
    else:
        removed = container.pop(key)
        if how < 0.8 and isinstance(container, dict):
            container[rng.choice(["x", key.upper(), key[1:], "r"])] = removed
    metadata = value.get("__metadata__")
    for key, entry in metadata.items() if isinstance(metadata, dict) else ():
        metadata[key] = json.dumps(entry) if isinstance(entry, dict) else entry
    return json.dumps(value)


def edit_bytes(raw, rng):
    """Return the bytes with one bit changed, or some removed, added or exchanged."""
    head = min(len(raw), 8 + int.from_bytes(raw[:8], "little"))
    i, j = sorted(rng.randrange(rng.choice([head, len(raw)])) for _ in range(2))
    n = rng.choice([1, 4, 8, 50])
    return rng.choice(
        [
            raw[:i] + bytes([raw[i] ^ 1 << rng.randrange(8)]) + raw[i + 1 :],
            raw[:i] + raw[i + n :],
            raw[:i],
            raw[:i] + rng.randbytes(n) + raw[i:],
            raw[:i] + raw[j : j + n] + raw[i + n : j] + raw[i : i + n] + raw[j + n :],
        ]
    )


def add_fault(path, rng):
    """Change a file; return whether the fault leaves the data of tensors alone."""
    if rng.random() < 0.5:
        path.write_bytes(edit_bytes(path.read_bytes(), rng))
        return False
    if path.suffix == ".json":
        path.write_text(edit_json(path.read_text(), rng))
    else:
        header, data = read_parts(path)
        write_parts(path, edit_json(json.dumps(header), rng), data)
    return True


def check_fault(kind, valid, rng):
    """Add a fault; return whether it is refused.  If it is not, the folder must compute."""
    folder, read = valid
    files = [CONFIG, MODEL] if kind in MODELS else [ADAPTER, TENSORS]
    files = ["tokenizer.json"] if kind == "tokenizer" else files
    files = [ENCODER] if kind.endswith(RESUMED) else files
    with TemporaryDirectory(dir=PLACE) as place:
        copy = copy_folder(folder, Path(place, "copy"))
        data_intact = add_fault(copy / rng.choice(files), rng)
        try:
            with limits():
                loaded = read(copy)
        except CheckpointError as error:
            assert str(copy) in str(error), error
            return True
        for file in (copy / name for name in files if name.endswith(".safetensors")):
            deserialize(file.read_bytes())  # what the library refuses, minipeft refuses
        how = "raise" if data_intact else "ignore"
        with np.errstate(over=how, invalid=how, divide=how):
            finite = computes(*loaded) if loaded else True
        assert finite or not data_intact, "the logits are not finite"
    return False


@contextmanager
def announce(*what):
    """Print what was done if it raises an error."""
    try:
        yield
    except BaseException:
        print(*what, sep=", ")
        raise


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with TemporaryDirectory(dir=PLACE) as place:
        valid = {kind: save_valid(kind, Path(place, kind)) for kind in FOLDERS}
        cases = [(kind, *case) for kind in FOLDERS for case in hostile_cases(kind, valid[kind][0])]
        for kind, name, *case in cases:
            with announce(kind, name):
                check_refused(valid[kind], *case)
        print(f"{len(cases)} hostile folders are refused")
        refused = 0
        for i in range(args.times):
            rng = random.Random(f"{args.seed} {i}")
            kind = rng.choice(FOLDERS)
            with announce(f"seed {args.seed}", f"time {i}", kind):
                refused += check_fault(kind, valid[kind], rng)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    computed = args.times - refused
    print(f"{args.times} faults: {refused} refused, {computed} compute; {peak} MiB at most")


if __name__ == "__main__":
    main()
