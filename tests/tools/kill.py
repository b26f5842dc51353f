"""Kill -9 a training at random instants; what it saved must load, and end with the same bits.

python -m tests.tools.kill --times 100 [--seed 0]
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # no threads yet: each training is a fork of this process

import argparse
import hashlib
import json
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import minipeft as mp
from minipeft.data.batches import passages
from minipeft.training.checkpoint import FILE

STEPS, END = 8, "end.txt"


def train(folder):
    """Train to the end, from where an earlier process was killed, and write the result."""
    rng = np.random.default_rng(0)
    model = mp.Decoder(mp.Config(vocabulary=31, width=16, layers=2, heads=2, length=40), rng)
    lora, text = mp.LoRA(rank=2, dropout=0.3).attach(model, rng), rng.integers(0, 31, (2, 200))
    optimizer, schedule = mp.AdamW(lora.parameters(), 1e-2), mp.schedule("linear", STEPS, 2)
    trainer = mp.Trainer(model, lora, optimizer, schedule=schedule, micro_batches=2)
    if (folder / FILE).exists():
        trainer.resume(folder)
    trainer.fit(
        passages(text[0], 8, 12, rng),
        STEPS,
        log=folder / "metrics.jsonl",
        progress=False,
        evaluate=lambda: float(model.loss(text[1:, :40], text[1:, :40], lora)),
        every=2,
        folder=folder,
        save_every=1,
    )
    end = hashlib.sha256(b"".join(p.data.tobytes() for p in lora.parameters())).hexdigest()
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    steps = [(line["step"], line["loss"], line.get("dev")) for line in lines]
    (folder / END).write_text(repr((end, steps)))


def forked(folder):
    """The process that trains there."""
    if child := os.fork():
        return child
    try:
        train(folder)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def ended(folder):
    _, status = os.waitpid(forked(folder), 0)
    if status:
        sys.exit(f"{folder}: what was left could not be trained to the end")
    return (folder / END).read_text()


def killed(folder, delay):
    """Was a training there killed, so many seconds after its first save, before its end?"""
    child = forked(folder)
    while not (folder / FILE).exists():
        time.sleep(1e-4)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw, done, within = random.Random(args.seed), 0, 0
    with TemporaryDirectory() as place:
        start = time.perf_counter()
        want, tries = ended(Path(place, "whole")), 0
        length = time.perf_counter() - start
        while done < args.times:
            folder = Path(place, str(tries := tries + 1))
            folder.mkdir()
            if killed(folder, draw.uniform(0, length)):
                within += any(folder.glob("*.part"))
                if ended(folder) != want:
                    sys.exit(f"killed at random, seed {args.seed}, time {tries}: it ends elsewhere")
                done += 1
    print(f"{done} killed, {within} of them within a save: every end has the same bits")


if __name__ == "__main__":
    main()
