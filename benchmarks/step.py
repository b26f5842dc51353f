"""Time of a training step: minipeft against PyTorch (eager) with Hugging Face PEFT.

    pip install -e ".[oracle]" && python benchmarks/step.py

Both libraries train the same architecture on batches of the same size with AdamW, in float32.
Each runs in a process of its own, because two BLAS thread pools in one process slow each other
down; they take turns, and the medians are printed. minipeft calls `keep_memory()`, as its
commands do; PyTorch has its default allocator.
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


def minipeft_steps(family, size, method):
    """Yield the loss of every training step."""
    import numpy as np

    import minipeft as mp

    mp.keep_memory()
    V, D, layers, heads, B, T = SIZES[size]
    rng = np.random.default_rng(0)
    llama = {"positions": "rotary", "norm": "rms", "activation": "silu", "gated": True}
    llama |= {"biases": (), "tied_head": False}
    settings = llama if family == "llama" else {}
    model = mp.Decoder(mp.Config(V, D, layers, heads, T + 20, **settings), rng)
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


def torch_steps(family, size, method):
    """Yield the loss of every training step."""
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
    causal, gpt2 = {"task_type": "CAUSAL_LM"}, family == "gpt2"
    places = {"target_modules": ["c_attn"] if gpt2 else ["q_proj", "k_proj", "v_proj"]}
    places |= {"fan_in_fan_out": gpt2}
    adapter_config = {
        "full": lambda: None,
        "lora": lambda: peft.LoraConfig(r=8, lora_alpha=16, **places, **causal),
        "prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=20, **causal),
        "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=20, **causal),
    }[method]()
    model = peft.get_peft_model(model, adapter_config) if adapter_config else model
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


LIBRARIES = {"minipeft": minipeft_steps, "torch": torch_steps}


def work(library, family, size, method):
    """Take as many steps as each line of standard input says, and print the seconds of one."""
    steps = LIBRARIES[library](family, size, method)
    for _ in range(3):
        next(steps)
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            next(steps)
        print(json.dumps((time.perf_counter() - start) / int(line)), flush=True)


def measure(family, size, method, rounds):
    """Return the median seconds of a step, of each library."""
    options = ["--families", family, "--sizes", size, "--methods", method]
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", library, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for library in LIBRARIES
    ]
    for library, worker in zip(LIBRARIES, workers):
        if worker.stdout.readline() != "ready\n":
            raise RuntimeError(
                f"{library} did not start with {family} {size} {method}: is the extra `oracle` "
                "installed?"
            )
    seconds = [[] for _ in workers]
    for _ in range(rounds):
        for worker, of_worker in zip(workers, seconds):
            worker.stdin.write("20\n" if size == "tt" else "1\n")
            worker.stdin.flush()
            of_worker.append(float(worker.stdout.readline()))
    for worker in workers:
        worker.stdin.close()
        worker.wait()
    return list(map(statistics.median, seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="+", default=["gpt2"], choices=FAMILIES)
    parser.add_argument("--sizes", nargs="+", default=["tt", "tiny"], choices=SIZES)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.families[0], args.sizes[0], args.methods[0])
    else:
        titles = "family", "size", "method", "minipeft ms", "PyTorch + PEFT ms", "ratio"
        print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
        for family, size, method in product(args.families, args.sizes, args.methods):
            ours, theirs = measure(family, size, method, args.rounds)
            row = f"{1e3 * ours:.1f} | {1e3 * theirs:.1f} | {theirs / ours:.2f}"
            print(f"| {family} | {size} | {method} | {row} |", flush=True)
