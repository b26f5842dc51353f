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
from itertools import product

SIZES = {  # vocabulary, width, layers, heads, batch, tokens
    "tt": (256, 64, 2, 2, 8, 32),
    "tiny": (1024, 128, 4, 4, 32, 64),
    "small": (50257, 768, 12, 12, 4, 128),
}
METHODS = "full", "lora", "prompt", "prefix"
FAMILIES = "gpt2", "llama"


def ours(family, size, method):
    """Yield after every step."""
    import numpy as np

    import minipeft as mp

    mp.keep_memory()
    V, D, layers, heads, B, T = SIZES[size]
    rng = np.random.default_rng(0)
    llama = {"positions": "rotary", "norm": "rms", "activation": "silu", "gated": True}
    llama |= {"biases": (), "tied_head": False}
    kind = llama if family == "llama" else {}
    model = mp.Decoder(mp.Config(V, D, layers, heads, T + 20, **kind), rng)
    adaptation = {
        "full": mp.FullFineTuning(),
        "lora": mp.LoRA(rank=8, alpha=16, targets=r"attn\.[qkv]$"),
        "prompt": mp.PromptTuning(length=20),
        "prefix": mp.PrefixTuning(length=20),
    }[method].attach(model, rng)
    trainer = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters(), 1e-3))
    ids = rng.integers(0, V, (B, T))
    while True:
        yield trainer.step(ids, ids)


def theirs(family, size, method):
    """Yield after every step."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

    V, D, layers, heads, B, T = SIZES[size]
    shape = {"vocab_size": V, "hidden_size": D, "num_hidden_layers": layers}
    shape |= {"num_attention_heads": heads, "max_position_embeddings": T + 20}
    if family == "llama":
        config = LlamaConfig(intermediate_size=4 * D, **shape)
    else:
        config = GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **shape)
    model = AutoModelForCausalLM.from_config(config)
    common, gpt2 = {"task_type": "CAUSAL_LM"}, family == "gpt2"
    own = {"target_modules": ["c_attn"] if gpt2 else ["q_proj", "k_proj", "v_proj"]}
    own |= {"fan_in_fan_out": gpt2}
    chosen = {
        "full": lambda: None,
        "lora": lambda: peft.LoraConfig(r=8, lora_alpha=16, **own, **common),
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


def worker(side, family, size, method):
    steps = {"ours": ours, "theirs": theirs}[side](family, size, method)
    for _ in range(3):
        next(steps)
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            next(steps)
        print(json.dumps((time.perf_counter() - start) / int(line)), flush=True)


def measure(family, size, method, rounds):
    """Median seconds of a step on either side."""
    labelled_positions = ["--families", family, "--sizes", size, "--methods", method]
    sides = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", side, *labelled_positions],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for side in ("ours", "theirs")
    ]
    for side in sides:
        if side.stdout.readline() != "ready\n":
            raise RuntimeError(
                f"{family} {size} {method}: a side did not start; are the extras installed?"
            )
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
    parser.add_argument("--families", nargs="+", default=["gpt2"], choices=FAMILIES)
    parser.add_argument("--sizes", nargs="+", default=["tt", "tiny"], choices=SIZES)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.families[0], args.sizes[0], args.methods[0])
    else:
        head = "family", "size", "method", "minipeft ms", "PyTorch + PEFT ms", "ratio"
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for family, size, method in product(args.families, args.sizes, args.methods):
            a, b = measure(family, size, method, args.rounds)
            row = f"{1e3 * a:.1f} | {1e3 * b:.1f} | {b / a:.2f}"
            print(f"| {family} | {size} | {method} | {row} |", flush=True)
