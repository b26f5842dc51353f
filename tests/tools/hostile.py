"""Folders made to harm, which must be refused by name, and valid ones with faults at random.

python tests/hostile.py --times 2000 [--seed 0]

What a fault leaves is refused with a CheckpointError, or loads and computes; nothing else happens.
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
from minipeft.methods import BiasTuning
from tests.support.families import BERT, GPT2, ROTARY, C, attached, decoder, encoder
from tests.support.families import METHODS as SHARED
from tests.support.spoil import ADAPTER, ADDED, CONFIG, ENCODER, EXPLODES, MODEL, closed, opened
from tests.support.spoiled import adaptations, models, safetensors, tokenizers

LLAMA = replace(ROTARY, gated=True, activation="silu", biases=())
SECONDS, BYTES = 10, 2**26  # that reading a folder may take
PLACE = "/dev/shm" if os.path.isdir("/dev/shm") else None  # 3 s instead of 10 on a disk
FAMILIES = {
    "gpt2": lambda: decoder(GPT2),
    "llama": lambda: decoder(LLAMA),
    "bert": lambda: encoder(BERT),
}
MORE = {  # families, and heads on them
    "qwen2": lambda: decoder(replace(LLAMA, biases=("q", "k", "v"), window=6)),
    "mistral": lambda: decoder(replace(LLAMA, window=6)),
    "gpt2 for texts": lambda: Classifier(decoder(GPT2), C),
    "bert for tokens": lambda: TokenClassifier(encoder(BERT), C, bias=True),
    "llama for spans": lambda: SpanClassifier(decoder(LLAMA)),
}
METHODS = "lora", "prompt of 3", "prefix of 2", "houlsby", "encoded prefix", "chain"  # as there
SHARED |= {
    "p-tuning in front": lambda: PTuning("[P]*3 {x}", "mlp", 1),
    "lora and biases": lambda: Chain(LoRA(2, 3), BiasTuning(r"attn\.[qkv]$")),
    "lora and norms": lambda: Chain(LoRA(2, 3), FullFineTuning(r"ln\d?$")),
}
RESUMED, AS_PEFT = ", resumed", ", as PEFT"
FOLDERS = ["tokenizer", *FAMILIES, *MORE] + [
    f"{method} of {family}{way}"
    for family in FAMILIES
    for method in METHODS
    for way in ("", *[RESUMED] * (method in ("encoded prefix", "chain")))
]
FAMILIES |= MORE
OTHERS = [  # of each kind one
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
FOLDERS += OTHERS


# -- reading


def valid(of, place):
    """A folder that is none of these, and how it is read."""
    method, _, family = of.removesuffix(RESUMED).removesuffix(AS_PEFT).rpartition(" of ")
    if of == "tokenizer":
        save(decoder(GPT2), place, Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a")))
        return place, reads_tokenizer
    make = FAMILIES[family]
    save(attached(method, make()) if method else make(), place)
    how = {"resume": of.endswith(RESUMED), "compat": "peft" if of.endswith(AS_PEFT) else None}
    return place, partial(reads_adaptation, make(), **how) if method else reads_model


def reads_model(folder):
    return (load(folder),)


def reads_adaptation(model, folder, **how):
    return model, load_adaptation(folder, model, **how)


def reads_tokenizer(folder):
    load_tokenizer(folder)
    return ()


def computes(model, *adaptation):
    """Are all its numbers finite, and what it makes of a text?"""
    parts = (model, *adaptation)
    assert all(np.isfinite(p.data).all() for part in parts for p in part.parameters())
    return np.isfinite(model(np.array([[1, 2, 3, 4]]), *adaptation).data).all()


class Late(BaseException):
    """It takes too long."""


@contextmanager
def bounded():
    """An error if it takes too much time or memory, or if it warns."""

    def late(number, frame):
        raise Late(f"more than {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
        assert tracemalloc.get_traced_memory()[1] <= BYTES, "too much memory"
    finally:
        tracemalloc.stop()
        signal.alarm(0)


def named(of, folder):
    """(name, change, file, what is said) of each way to spoil the valid folder."""
    if of in FAMILIES:
        yield from models(of)
    elif of == "tokenizer":
        yield from tokenizers()
    elif of.endswith(RESUMED):
        for name, change, says in safetensors(ENCODER):
            yield name, change, ENCODER, says
    else:
        yield from adaptations(json.loads((folder / ADAPTER).read_text())["peft_type"])


def copied(folder, to):
    to.mkdir(parents=True)
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def refused(valid, change, file, says):
    """What is said; an AssertionError if it is not refused as it should be."""
    folder, read = valid
    with TemporaryDirectory(dir=PLACE) as place:
        copy = copied(folder, Path(place, "copy"))
        change(copy)
        try:
            with bounded():
                read(copy)
        except CheckpointError as e:
            found = str(e)
        else:
            raise AssertionError("it was accepted")
        assert str(copy / file) in found and re.search(says, found), found
        assert len(found) < 2000, f"{len(found)} letters"
        assert not Path(place, "exploded").exists(), "a pickle was opened"
    return found


# -- faults at random

VALUES = (
    *(None, True, False, 0, -1, 1, 2, 3, 31, 10**9, 10**12, 10**30, 1.5, -0.5, 1e-30, 1e39),
    *("", "x", "(", EXPLODES, "\0", "F64", [], [1], [[]], {}, {"a": 1}, np.nan, np.inf),
)


def spots(said):
    """Every place in a JSON value: what holds it, and its key or index there."""
    for key in said if isinstance(said, dict) else range(len(said)):
        yield said, key
        if isinstance(said[key], (dict, list)):
            yield from spots(said[key])


def misstated(text, draw):
    """JSON in which one value is another, has gone, or has another name."""
    said = json.loads(text)
    for key, value in (metadata := said.get("__metadata__", {})).items():
        metadata[key] = json.loads(value) if value[:1] == "{" else value
    where, key = draw.choice([*spots(said)])
    how = draw.random()
    if how < 0.7:
        where[key] = draw.choice(VALUES)
    else:
        value = where.pop(key)
        if how < 0.8 and isinstance(where, dict):
            where[draw.choice(["x", key.upper(), key[1:], "r"])] = value
    metadata = said.get("__metadata__")
    for key, value in metadata.items() if isinstance(metadata, dict) else ():
        metadata[key] = json.dumps(value) if isinstance(value, dict) else value
    return json.dumps(said)


def garbled(raw, draw):
    """Bytes of which some are others, have gone, are more, or have changed places."""
    head = min(len(raw), 8 + int.from_bytes(raw[:8], "little"))
    i, j = sorted(draw.randrange(draw.choice([head, len(raw)])) for _ in range(2))
    n = draw.choice([1, 4, 8, 50])
    return draw.choice(
        [
            raw[:i] + bytes([raw[i] ^ 1 << draw.randrange(8)]) + raw[i + 1 :],
            raw[:i] + raw[i + n :],
            raw[:i],
            raw[:i] + draw.randbytes(n) + raw[i:],
            raw[:i] + raw[j : j + n] + raw[i + n : j] + raw[i : i + n] + raw[j + n :],
        ]
    )


def fault(path, draw):
    """Change a file; is what it says changed, and no number?"""
    if draw.random() < 0.5:
        path.write_bytes(garbled(path.read_bytes(), draw))
        return False
    if path.suffix == ".json":
        path.write_text(misstated(path.read_text(), draw))
    else:
        header, data = opened(path)
        closed(path, misstated(json.dumps(header), draw), data)
    return True


def survived(of, valid, draw):
    """Is a folder with a fault refused?  If not, it computes."""
    folder, read = valid
    files = [CONFIG, MODEL] if of in FAMILIES else [ADAPTER, ADDED]
    files = ["tokenizer.json"] if of == "tokenizer" else files
    files = [ENCODER] if of.endswith(RESUMED) else files
    with TemporaryDirectory(dir=PLACE) as place:
        copy = copied(folder, Path(place, "copy"))
        said = fault(copy / draw.choice(files), draw)
        try:
            with bounded():
                found = read(copy)
        except CheckpointError as e:
            assert str(copy) in str(e), e
            return True
        for file in (copy / name for name in files if name.endswith(".safetensors")):
            deserialize(file.read_bytes())  # what the library refuses, so do we
        how = "raise" if said else "ignore"
        with np.errstate(over=how, invalid=how, divide=how):
            finite = computes(*found) if found else True
        assert finite or not said, "it computes no number"
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with TemporaryDirectory(dir=PLACE) as place:
        ready = {of: valid(of, Path(place, of)) for of in FOLDERS}
        cases = [(of, *case) for of in FOLDERS for case in named(of, ready[of][0])]
        for of, name, *case in cases:
            try:
                refused(ready[of], *case)
            except BaseException:
                print(f"{of}, {name}:")
                raise
        print(f"{len(cases)} hostile folders are refused")
        count = 0
        for i in range(args.times):
            draw = random.Random(f"{args.seed} {i}")
            of = draw.choice(FOLDERS)
            try:
                count += survived(of, ready[of], draw)
            except BaseException:
                print(f"seed {args.seed}, time {i}, {of}:")
                raise
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{args.times} faults: {count} refused, {args.times - count} compute; {most} MiB at most")


if __name__ == "__main__":
    main()
