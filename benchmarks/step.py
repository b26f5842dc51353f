"""One training step, minipeft against PyTorch eager + Hugging Face PEFT, in turn; the medians.

    pip install -e ".[oracle]" && python benchmarks/step.py

Each side has a process of its own (two BLAS pools in one process wreck each other) and takes its
turn on the word of this one.  Same architecture, batch, labels, AdamW; float32; stock allocators
for PyTorch, `keep_memory` for minipeft, as its commands set it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

SIZES = {  # vocabulary, width, layers, heads, batch, tokens
    "tt": (256, 64, 2, 2, 8, 32),
    "tiny": (1024, 128, 4, 4, 32, 64),
    "small": (50257, 768, 12, 12, 4, 128),
}
METHODS = "full", "lora", "prompt", "prefix"


def ours(size, method):
    """Yield after every step."""
    import numpy as np

    import minipeft as mp

    mp.keep_memory()
    V, D, layers, heads, B, T = SIZES[size]
    rng = np.random.default_rng(0)
    model = mp.Decoder(mp.Config(V, D, layers, heads, T + 20), rng)
    adapt = {
        "full": mp.FullFineTuning(),
        "lora": mp.LoRA(rank=8, alpha=16, targets=r"attn\.[qkv]$"),
        "prompt": mp.PromptTuning(length=20),
        "prefix": mp.PrefixTuning(length=20),
    }[method].attach(model, rng)
    trainer = mp.Trainer(model, adapt, mp.AdamW(adapt.parameters(), 1e-3))
    ids = rng.integers(0, V, (B, T))
    while True:
        yield trainer.step(ids, ids)


def theirs(size, method):
    """Yield after every step."""
    import peft
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    V, D, layers, heads, B, T = SIZES[size]
    shape = {"vocab_size": V, "n_positions": T + 20, "n_embd": D, "n_layer": layers}
    config = GPT2Config(n_head=heads, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **shape)
    model = GPT2LMHeadModel(config)
    common = {"task_type": "CAUSAL_LM"}
    chosen = {
        "full": lambda: None,
        "lora": lambda: peft.LoraConfig(r=8, lora_alpha=16, fan_in_fan_out=True, **common),
        "prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=20, **common),
        "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=20, **common),
    }[method]()
    model = peft.get_peft_model(model, chosen) if chosen else model
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-3, weight_decay=0.0)
    ids = torch.randint(0, V, (B, T))
    while True:
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        yield float(loss.detach())


def worker(side, size, method):
    steps = {"ours": ours, "theirs": theirs}[side](size, method)
    for _ in range(3):
        next(steps)
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            next(steps)
        print(json.dumps((time.perf_counter() - start) / int(line)), flush=True)


def measure(size, method, rounds):
    """Median seconds of a step on either side."""
    sides = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", side, "--sizes", size, "--methods", method],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for side in ("ours", "theirs")
    ]
    for side in sides:
        if side.stdout.readline() != "ready\n":
            raise RuntimeError(f"{size} {method}: a side did not start; are the extras installed?")
    times = [[], []]
    for _ in range(rounds):
        for side, own in zip(sides, times):
            side.stdin.write("20\n" if size == "tt" else "1\n")
            side.stdin.flush()
            own.append(float(side.stdout.readline()))
    for side in sides:
        side.stdin.close()
        side.wait()
    return [statistics.median(own) for own in times]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["tt", "tiny"], choices=SIZES)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.sizes[0], args.methods[0])
    else:
        print("| size | method | minipeft ms | PyTorch + PEFT ms | ratio |\n|---|---|---|---|---|")
        for size in args.sizes:
            for method in args.methods:
                a, b = measure(size, method, args.rounds)
                row = f"{1e3 * a:.1f} | {1e3 * b:.1f} | {b / a:.2f}"
                print(f"| {size} | {method} | {row} |", flush=True)
