"""kill -9 at random instants of a training that saves itself: python tests/kills.py --times 100

After each the checkpoint is whole, and going on from it ends in the bits of never being killed.
"""

import argparse
import os
import random
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import minipeft as mp
from minipeft.data import passages

STEPS = 40


def training(seed=0):
    """A trainer, and its batches."""
    rng = np.random.default_rng(0)
    model = mp.Decoder(mp.Config(vocabulary=31, width=16, layers=2, heads=2, length=40), rng)
    adapt = mp.LoRA(rank=2, dropout=0.2).attach(model, rng)
    optimizer = mp.AdamW(adapt.parameters(), 1e-2)
    trainer = mp.Trainer(model, adapt, optimizer, mp.schedule("linear", STEPS), workers=1)
    text = np.random.default_rng(1).integers(0, 31, 500)
    return trainer, passages(text, 4, 12, np.random.default_rng(2))


def whole(path):
    """Train to the end, from the checkpoint if there is one; the bits of γ."""
    trainer, batches = training()
    if path.exists():
        trainer.resume(path)
    trainer.fit(batches, STEPS, progress=False, path=path, every=1)
    return b"".join(p.data.tobytes() for p in trainer.adapt.parameters())


def killed(path, after):
    """Did a process that trains end before it was killed, so many seconds after its first save?"""
    pid = os.fork()
    if pid == 0:
        whole(path)
        os._exit(0)
    while not path.exists():
        time.sleep(1e-4)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw, done, parts, steps = random.Random(args.seed), 0, 0, set()
    with TemporaryDirectory() as place:
        start = time.perf_counter()
        want = whole(Path(place, "never"))
        seconds = time.perf_counter() - start
        for i in range(args.times):
            path = Path(place, f"{i}")
            done += killed(path, draw.uniform(0, seconds))
            parts += path.with_name(f".{path.name}.part").exists()
            trainer, _ = training()
            trainer.resume(path)
            steps.add(trainer.t)
            if whole(path) != want:
                sys.exit(f"kill {i}, at step {trainer.t}: it ended in other bits")
    print(
        f"{args.times} kills, {done} too late, at {len(steps)} different steps, "
        f"{parts} in the middle of a save: every checkpoint whole, every end the same"
    )


if __name__ == "__main__":
    main()
