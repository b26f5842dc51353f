"""A training on disk, to go on with bit for bit: one file, which is replaced whole."""

import json
import re
from dataclasses import replace
from math import inf
from pathlib import Path
from zlib import crc32

import numpy as np

from ..autograd.backend import host
from ..storage.folders import write_atomically
from ..storage.json import CheckpointError, parse_json
from ..storage.safetensors import SafetensorsFile, named_arrays, serialize

FILE = "training.safetensors"


def save(trainer, folder):
    """Write what `load` needs.  Killed at any instant, the folder has the old file or the new."""
    path, optimizer, best = Path(folder, FILE), trainer.optimizer, trainer.best
    names, _ = named_arrays(trainer.adaptation)
    parts = {"adapt": names.values(), "m": optimizer.m, "v": optimizer.v, "best": best.arrays}
    tensors = {
        f"{part}.{name}": host(x) for part, xs in parts.items() for name, x in zip(names, xs)
    }
    tensors["rates"] = rates(trainer, trainer.t)
    state = {"t": trainer.t, "seen": trainer.seen, "logged": trainer.logged, "adam": optimizer.t}
    state |= {"best": best.value if best.t else None, "best_t": best.t, "since": best.since}
    content = serialize(tensors, {"training": json.dumps(made_as(trainer) | state)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        why = error.strerror or error
        raise CheckpointError(f"{path} can't be written: {why}; what was there is whole") from error


def load(trainer, folder):
    """Bring a trainer, made as the saved one was, to where that was; its workers may be others.

    CheckpointError, and nothing changed, for a file that is broken or of another training.
    """
    file, optimizer = SafetensorsFile(Path(folder, FILE)), trainer.optimizer
    said = parse_json(file.metadata.get("training", "null"), file.path)
    for name, here in made_as(trainer).items():
        if (there := said.get(name)) != here:
            raise CheckpointError(f"{file.path}: {name} was {there!r}, but here it is {here!r}")
    t, seen, adam, best_t, since = (
        whole(said, name) for name in ("t", "seen", "adam", "best_t", "since")
    )
    logged = None if said.get("logged") is None else whole(said, "logged")
    same_rates(trainer, file, t)
    new, m, v = (arrays(file, part, trainer.adaptation) for part in ("adapt", "m", "v"))
    best = arrays(file, "best", trainer.adaptation) if best_t else []
    lowest = said.field("best", inf, float)
    file.check_all_used()
    for p, x in zip(optimizer.parameters, new):
        p.data[...] = x
    optimizer.m, optimizer.v, optimizer.t = m, v, adam
    trainer.t, trainer.seen, trainer.logged = t, seen, logged
    trainer.best = replace(trainer.best, value=lowest, t=best_t, since=since, arrays=best)


def made_as(trainer):
    """What has to be the same for the same bits, as JSON has it."""
    model, optimizer = trainer.model, trainer.optimizer
    pool = getattr(model, "pool", "of all tokens")
    return {
        "model": f"{type(model).__name__} {pool}, {model.config}, weights {trainer.weighed:08x}",
        "method": re.sub(" at 0x[0-9a-f]+", "", repr(trainer.adaptation)),  # of what has no repr
        "seed": int(trainer.seed),
        "slices": int(trainer.slices),
        "clip": float(trainer.clip),
        "betas": list(map(float, optimizer.betas)),
        "eps": float(optimizer.eps),
        "weight_decay": float(optimizer.weight_decay),
    }


def rates(trainer, t):
    """What the schedule gives, or gave, the first t steps."""
    return np.array([trainer.rate(i) for i in range(t)], float)


def same_rates(trainer, file, t):
    """An error if the steps so far would have had other rates here."""
    then = file.require("rates", (t,))
    if (other := np.flatnonzero(then != rates(trainer, t))).size:
        i = int(other[0])
        raise CheckpointError(
            f"{file.path}: step {i + 1} had the rate {then[i]}, but here it is {trainer.rate(i)}: "
            "go on with the rate, schedule and number of steps that it began with"
        )


def whole(said, name):
    value = said.get(name)
    if type(value) is not int or value < 0:
        raise CheckpointError(f"{said.path}: {name}={value!r} must be a whole number from 0")
    return value


def arrays(file, part, adaptation):
    """Of a part of the file, copies of the arrays that stand for the parameters of γ."""
    found = []
    for name, p in named_arrays(adaptation)[0].items():
        x = file.require(f"{part}.{name}", p.shape)
        if x.dtype != p.dtype:
            raise CheckpointError(f"{file.path}: {part}.{name} is {x.dtype}, but here {p.dtype}")
        found.append(np.array(x, like=p))
    return found


def checksum(arrays, before=0):
    """Of arrays, after others; None counts as nothing."""
    for x in arrays:
        before = before if x is None else crc32(np.ascontiguousarray(host(x)), before)
    return before
