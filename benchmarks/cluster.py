"""Measure what a step on a Dask cluster sends, and predict it for 100 workers.

python -m benchmarks.cluster prints the table; --json prints what was measured.
"""

import json
import sys
import time

import numpy as np
from distributed import LocalCluster

import minipeft as mp
from minipeft.tasks.report import markdown_table
from minipeft.training import cluster
from minipeft.training.parallel import ONE_BLAS_THREAD

from .cases import SIZES, batch
from .numbers import mebibytes, short
from .start import METHODS, config

CASES = [("tiny", 4), ("small", 2)]  # size, and micro-batches of a step
STEPS, WORKERS = 3, 2
LARGEST = 2**25  # parameters of γ: a larger one is not sent, but its bytes are counted
PREDICTED = 100  # workers
NETWORKS = {"1 Gbit/s": 1.25e8, "10 Gbit/s": 1.25e9}  # bytes a second, of the client


def measure() -> dict:
    """Return {"cells": one result for each size and method, ...}."""
    cells = []
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as local:
        for size, parts in CASES:
            model = mp.Decoder(config(SIZES[size]), np.random.default_rng(0))
            for method in ("lora", "prefix", "full"):
                γ = METHODS[method](SIZES[size]).attach(model, np.random.default_rng(1))
                cells.append(cell(local, size, method, parts, model, γ))
    return {"steps": STEPS, "workers": WORKERS, "cells": cells}


def cell(local, size, method, parts, model, γ) -> dict:
    """Return the bytes and seconds of one size and method, for each of `parts` micro-batches."""
    ids, labels = batch(size, method, "everywhere")
    found = {"size": size, "method": method, "parts": parts}
    found["base"] = sum(p.data.nbytes for p in model.parameters())
    found["parameters"] = sum(p.data.nbytes for p in γ.parameters())
    rows = slice(0, len(ids) // parts)
    found["part_seconds"] = min(part_seconds(model, γ, ids[rows], labels[rows]) for _ in range(3))
    if found["parameters"] > 4 * LARGEST:
        return found | {"sent": found["parameters"], "received": found["parameters"]}
    sent, received = [], []
    with cluster.Cluster(local.scheduler_address) as executor, counted(sent, received):
        trainer = mp.Trainer(
            model, γ, mp.AdamW(γ.parameters()), micro_batches=parts, executor=executor
        )
        trainer.step(ids, labels)  # sends the model, too
        sent.clear(), received.clear()
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(STEPS):
            trainer.step(ids, labels)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    calls = STEPS * parts
    found |= {"sent": sum(sent) // calls, "received": sum(received) // calls}
    return found | {"step_seconds": seconds / STEPS, "call_seconds": cpu / calls}


def part_seconds(model, γ, ids, labels) -> float:
    """Return the seconds of loss and gradients of one micro-batch on one core."""
    with ONE_BLAS_THREAD:
        start = time.process_time()
        mp.grad(model.loss(ids, labels, γ), γ.parameters())
        return time.process_time() - start


class counted:
    """Context manager that appends the bytes of each call and of each result to two lists."""

    def __init__(self, sent, received):
        self.lists = {"dumps": sent, "loads": received}

    def __enter__(self):
        self.before = {name: getattr(cluster, name) for name in self.lists}

        def dumps(*args):
            data = self.before["dumps"](*args)
            self.lists["dumps"].append(len(data))
            return data

        def loads(data):
            self.lists["loads"].append(len(data))
            return self.before["loads"](data)

        cluster.dumps, cluster.loads = dumps, loads

    def __exit__(self, *error):
        for name, function in self.before.items():
            setattr(cluster, name, function)


def call_seconds(cell: dict, bandwidth: float) -> float:
    """Return the seconds that one call takes of the client, which handles one after another."""
    return cell.get("call_seconds", 0) + (cell["sent"] + cell["received"]) / bandwidth


def table(found: dict) -> str:
    """Return the measurements, and what they predict, as a table in Markdown.

    A step of n workers, each with one micro-batch, takes part + n · call, where part is the time of
    a micro-batch on one core.  "50 % at": the number of workers at which half of it is overhead.
    """
    titles = ["size", "method", "base MiB, once", "to a worker KiB", "back KiB", "part ms"]
    titles += ["call ms", f"step ms, {found['workers']} workers"]
    for name in NETWORKS:
        titles += [f"{name}: {PREDICTED} workers, s", "efficiency", "50 % at"]
    rows = [titles]
    for c in found["cells"]:
        times = [c["part_seconds"], c.get("call_seconds"), c.get("step_seconds")]
        row = [c["size"], c["method"], mebibytes(c["base"])]
        row += [f"{c[name] / 1024:,.0f}" for name in ("sent", "received")]
        row += ["" if t is None else short(1e3 * t) for t in times]
        for bandwidth in NETWORKS.values():
            part, call = c["part_seconds"], call_seconds(c, bandwidth)
            seconds = part + PREDICTED * call
            row += [short(seconds), f"{100 * part / seconds:.0f} %", f"{part / call:.0f}"]
        rows.append(row)
    return markdown_table(rows)


if __name__ == "__main__":
    found = measure()
    print(json.dumps(found, indent=1) if "--json" in sys.argv else table(found))
