"""A training on disk: all that the next step depends on, so that it goes on with the same bits.

One safetensors file: γ, Adam's m and v, the best γ so far if dev was looked at; and as metadata the
step, the seed, and what was trained on what.  It takes the place of the one before it when it is
whole and on the disk, so there is always a whole one, whatever happens and whenever.
"""

import json
from pathlib import Path

import numpy as np

from .backend import host
from .hf.folders import CheckpointError, Tensors, packed, parsed, replace_file

PARTS = "parameter", "m", "v"


def named(trainer):
    """[(name, parameter)], each once."""
    names = {id(p): name for name, p in reversed([*trainer.adapt.named_parameters()])}
    return [(names[id(p)], p) for p in trainer.adapt.parameters()]


def made_as(trainer):
    """What must be the same when it goes on."""
    o = trainer.optimizer
    return {
        "adapt": repr(trainer.adapt),
        "config": repr(trainer.model.config),
        "mark": trainer.adapt.mark,
        "seed": trainer.seed,
        "optimizer": [o.lr, *o.betas, o.eps, o.weight_decay],
        "clip": trainer.clip,
        "slices": trainer.slices,
    }


def rates(trainer, t):
    """The sum of what the schedule gives the first t steps: another schedule has another."""
    return sum(trainer.schedule(i) for i in range(t))


def save(trainer, path):
    """Put a checkpoint there, or leave there what is."""
    o, tensors = trainer.optimizer, {}
    for (name, p), m, v in zip(named(trainer), o.m, o.v, strict=True):
        tensors |= {f"{part}.{name}": host(x) for part, x in zip(PARTS, (p.data, m, v))}
    state = {
        "t": trainer.t,
        "rates": rates(trainer, trainer.t),
        "optimizer_t": o.t,
        "since": trainer.since,
        "best": None,
    }
    if trainer.best:
        state["best"], best = trainer.best
        tensors |= {f"best.{name}": host(x) for (name, _), x in zip(named(trainer), best)}
    told = {"made_as": json.dumps(made_as(trainer)), "state": json.dumps(state)}
    replace_file(path, packed(tensors, told, next(iter(tensors.values())).dtype))


def restore(trainer, path):
    """Bring a trainer, made as the one that was saved, to where that was."""
    file = Tensors(Path(path))
    said = parsed(file.path, file.metadata.get("made_as", "{}"))
    for field, value in json.loads(json.dumps(made_as(trainer))).items():
        if said.get(field) != value:
            raise CheckpointError(
                f"{file.path}: {field} is {said.get(field)}, but this training has {value}: "
                "resume with the settings it was begun with"
            )
    state = parsed(file.path, file.metadata.get("state", "{}"))
    for field in ("t", "optimizer_t", "since"):
        if type(state.get(field)) is not int or state[field] < 0:
            raise CheckpointError(f"{file.path}: {field}={state.get(field)!r} is no count")
    if state.get("rates") != rates(trainer, state["t"]):
        raise CheckpointError(
            f"{file.path}: its steps had other rates than the schedule here gives: resume with the "
            "rate, the schedule and the number of steps it was begun with"
        )
    best = state.get("best")
    if best is not None and type(best) not in (int, float):
        raise CheckpointError(f"{file.path}: best={best!r} is no number")
    parts = PARTS if best is None else (*PARTS, "best")
    read = {part: [kept(file, f"{part}.{name}", p) for name, p in named(trainer)] for part in parts}
    file.end()
    for p, x in zip(trainer.adapt.parameters(), read["parameter"], strict=True):
        p.data = x
    trainer.optimizer.m, trainer.optimizer.v = read["m"], read["v"]
    trainer.t, trainer.optimizer.t, trainer.since = (
        state[field] for field in ("t", "optimizer_t", "since")
    )
    trainer.best = None if best is None else (best, read["best"])


def kept(file, name, p):
    """The tensor of this name, as one of p's kind and place, and nobody else's."""
    x = file.need(name, p.shape)
    if x.dtype != p.dtype:
        raise CheckpointError(f"{file.path}: {name} is {x.dtype}, but this training is {p.dtype}")
    return np.array(x, like=p.data)
