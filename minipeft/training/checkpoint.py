"""Checkpoints of a training: one file, written atomically; resuming gives the same bits."""

import dataclasses
import json
import re
from math import inf
from pathlib import Path
from zlib import crc32

import numpy as np

from ..autograd.backend import host
from ..storage.folders import write_atomically
from ..storage.json import CheckpointError, parse_json
from ..storage.renames import ADDED, RENAMED, TARGETS, stored_name
from ..storage.safetensors import SafetensorsFile, named_arrays, serialize

FILE = "training.safetensors"


def save(trainer, folder) -> None:
    """Write the state of a trainer to `folder`, atomically; raise CheckpointError on failure."""
    path, optimizer, best = Path(folder, FILE), trainer.optimizer, trainer.best
    names, _ = named_arrays(trainer.adaptation)
    parts = {"adapt": names.values(), "m": optimizer.m, "v": optimizer.v}
    parts |= {"best": best.arrays, "best_m": best.m, "best_v": best.v}
    tensors = {
        f"{part}.{name}": host(x) for part, xs in parts.items() for name, x in zip(names, xs)
    }
    tensors["learning_rates"] = learning_rates(trainer, trainer.t)
    state = {
        "t": trainer.t,
        "seen": trainer.batches_checksum,
        "logged": trainer.log_size,
        "adam": optimizer.t,
        "best": best.value if best.t else None,
        "best_t": best.t,
        "best_adam": best.adam_t,
        "since": best.since,
    }
    content = serialize(tensors, {"training": json.dumps(settings(trainer) | state)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        why = error.strerror or error
        raise CheckpointError(
            f"{path} can't be written: {why}; an earlier file is unchanged"
        ) from error


def load(trainer, folder) -> None:
    """Set the state of a trainer to that in `folder`; raise CheckpointError if it does not fit.

    The trainer must be created with the same settings as the saved one, except for workers.  If the
    file is malformed or of another training, the trainer is not changed.
    """
    file = SafetensorsFile(Path(folder, FILE))
    optimizer, adaptation = trainer.optimizer, trainer.adaptation
    stored = parse_json(file.metadata.get("training", "null"), file.path)
    check_settings(trainer, stored, file.path)
    t, checksum, adam_t, best_t, since = (
        count(stored, name) for name in ("t", "seen", "adam", "best_t", "since")
    )
    log_size = None if stored.get("logged") is None else count(stored, "logged")
    check_learning_rates(trainer, file, t)
    parameters, m, v = (read_arrays(file, part, adaptation) for part in ("adapt", "m", "v"))
    best = type(trainer.best)(stored.field("best", inf, float), best_t, since)
    if best_t:
        best.arrays = read_arrays(file, "best", adaptation)
        best.m, best.v, best.adam_t = [x.copy() for x in m], [x.copy() for x in v], adam_t
        if "best_adam" in stored:  # saved by version 0.2 or later
            best.m, best.v = (read_arrays(file, part, adaptation) for part in ("best_m", "best_v"))
            best.adam_t = count(stored, "best_adam")
    file.check_all_used()
    for p, x in zip(optimizer.parameters, parameters):
        p.data[...] = x
    optimizer.m, optimizer.v, optimizer.t = m, v, adam_t
    trainer.t, trainer.batches_checksum, trainer.log_size = t, checksum, log_size
    trainer.best = best


def has_steps(folder) -> bool:
    """Return whether a training of at least one step is saved in `folder`, or a malformed file."""
    if not Path(folder, FILE).exists():
        return False
    try:
        file = SafetensorsFile(Path(folder, FILE))
        return count(parse_json(file.metadata.get("training", "null"), file.path), "t") > 0
    except CheckpointError:
        return True


def settings(trainer) -> dict:
    """Return the settings that must be equal to get the same bits, as values of JSON."""
    model, optimizer = trainer.model, trainer.optimizer
    pool = getattr(model, "pool", "of all tokens")
    checksum = f"{trainer.model_checksum:08x}"
    decays = [*map(float, optimizer.decays)]
    return {
        "model": f"{type(model).__name__} {pool}, {model.config}, weights {checksum}",
        "method": re.sub(" at 0x[0-9a-f]+", "", str(trainer.adaptation)),  # of default reprs
        "seed": int(trainer.seed),
        "micro_batches": int(trainer.micro_batches),
        "clip": float(trainer.clip),
        "betas": list(map(float, optimizer.betas)),
        "eps": f"{optimizer.eps}, eps_hat" if optimizer.eps_hat else float(optimizer.eps),
        "weight_decay": decays[0] if len({*decays}) == 1 else decays,
    }


def check_settings(trainer, stored, path):
    """Raise CheckpointError if a setting differs from that of the saved training."""
    for name, value in settings(trainer).items():
        was = stored.get(stored_name(name, stored))
        known = without_new_fields(value, in_new_names(was), trainer.model.config)
        if was != value and in_new_names(was) != known:
            raise CheckpointError(
                f"{path}: {name} was {was!r}, and here it is {value!r}: make it equal"
            )


def in_new_names(text):
    """Return the repr of a configuration or method with the names and targets of version 0.2."""
    if not isinstance(text, str):
        return text
    encoded = "Encoded(" in text  # elsewhere `hidden` was the FFN width of a configuration
    for new, old in RENAMED.items():
        if encoded or new != "mlp_width":
            text = re.sub(rf"\b{old}=", f"{new}=", text)
    for old, new in TARGETS.items():
        text = text.replace(f"targets={old!r}", f"targets={new!r}")
    return text


def without_new_fields(text, before, config):
    """Return the repr of a configuration or method without fields that `before` lacks.

    They are left out at their default only.
    """
    fields = ADDED | {field.name: field.default for field in dataclasses.fields(config)}
    for name, default in fields.items() if isinstance(text, str) else ():
        if f"{name}=" not in str(before):
            text = text.replace(f", {name}={default!r}", "")
    return text


def learning_rates(trainer, t):
    """Return the learning rates (t,) of the first t steps."""
    return np.array([trainer.lr(i) for i in range(t)], float)


def check_learning_rates(trainer, file, t):
    """Raise CheckpointError if the first t steps of this trainer have other learning rates."""
    then = file.require(stored_name("learning_rates", file), (t,))
    if (differing := np.flatnonzero(then != learning_rates(trainer, t))).size:
        i = int(differing[0])
        raise CheckpointError(
            f"{file.path}: step {i + 1} had the learning rate {then[i]}, and here it has "
            f"{trainer.lr(i)}: continue with the same lr, schedule and number of steps"
        )


def count(stored, name):
    """Return the stored integer of this name; raise CheckpointError if it is not at least 0."""
    value = stored.get(name)
    if type(value) is not int or value < 0:
        raise CheckpointError(f"{stored.path}: {name}={value!r} must be an integer of at least 0")
    return value


def read_arrays(file, part, adaptation):
    """Return a copy of the array "part.name" of the file for each parameter of the adaptation."""
    arrays = []
    for name, p in named_arrays(adaptation)[0].items():
        x = file.require(stored_name(f"{part}.{name}", file), p.shape)
        if x.dtype != p.dtype:
            raise CheckpointError(
                f"{file.path}: {part}.{name} is {x.dtype}, and here it is {p.dtype}"
            )
        arrays.append(np.array(x, like=p))
    return arrays


def checksum(arrays, before: int = 0) -> int:
    """Return the CRC-32 of arrays, continued from the checksum `before`; None is skipped."""
    for x in arrays:
        before = before if x is None else crc32(np.ascontiguousarray(host(x)).data, before)
    return before
