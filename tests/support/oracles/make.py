"""Oracles: what transformers and PEFT compute with tiny random models, for family × task × method.

    python -m tests.support.oracles.make OUT --seed 0 --families gpt2 bert --tasks CAUSAL_LM
    python -m tests.support.oracles.make --fixed    the small set in tests/support/oracles/fixed

OUT/family/task/base is a model as transformers saves it, OUT/family/task/method an adaptation as
PEFT saves it, and expected.safetensors in the latter what they compute.  Nothing of it is
computed by minipeft.

B texts, T tokens, NV virtual tokens, V words
"""

import argparse
import json
import os
import re
import shutil
import warnings
import zlib
from contextlib import contextmanager
from itertools import cycle, islice, product
from pathlib import Path
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded

import numpy as np
import peft
import torch
import transformers
from safetensors.numpy import load_file, save_file

from tests.support.oracles.cases import cases
from tests.support.oracles.table import (
    ENCODED,
    FAMILIES,
    KEPT,
    METHODS,
    PARTS,
    PROMPTS,
    ROWS,
    SEQ2SEQ,
    TASKS,
    T,
    V,
    configurations,
    like,
    possible,
)

NEW = 8  # generated tokens

# -- a model and an adaptation


def add_noise(network):
    """Change every trained number, since zeros and ones could hide a mistake."""
    for p in network.parameters():
        if p.requires_grad:
            p.data += 0.3 * torch.randn_like(p)
    return network.eval()


def random_model(family, task):
    """Return a model all of whose parameters are random."""
    kind, settings = FAMILIES[family]
    shape = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, vocab_size=V)
    shape |= dict(max_position_embeddings=32, pad_token_id=0, num_labels=3)
    config = getattr(transformers, kind)(**shape | settings)
    if task == "QUESTION_ANS":
        config.num_labels = 2
    config._attn_implementation = "eager"
    network = auto_class(task).from_config(config)
    for module in network.modules():
        for name, p in module.named_parameters(recurse=False):
            of_norm = p.ndim == 1 and name == "weight"
            p.data = torch.ones_like(p) if of_norm else torch.zeros_like(p)
    return add_noise(network)


def auto_class(task):
    return getattr(transformers, f"AutoModelFor{TASKS[task]}".removesuffix("For"))


def adapt(family, task, method, base):
    """Return the base with a method all of whose tensors are random."""
    network = auto_class(task).from_pretrained(base, attn_implementation="eager")
    kind, settings = configurations(PARTS[family], task)[method]
    config = getattr(peft, kind)(task_type=task if task != "MASKED_LM" else None, **settings)
    return add_noise(peft.get_peft_model(network, config))


def load_adapted(folder, base, task):
    """Return the base in float64 with the adaptation in a folder, as PEFT reads it."""
    network = auto_class(task).from_pretrained(base, attn_implementation="eager").double()
    return peft.PeftModel.from_pretrained(network, folder).eval()


@contextmanager
def exact(network):
    """Compute in float64 also where transformers uses float32: norms, softmax, losses."""
    double = torch.float64
    with (
        mock.patch.object(torch, "float32", double),
        mock.patch.object(torch, "float", double),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        network.double()
        for module in network.modules():
            if hasattr(module, "inv_freq"):
                module.inv_freq = type(module)(module.config).inv_freq
        yield network


# -- what it computes


def logits_and_loss(network, task, method, case):
    """Return (logits, loss) of a case; the loss is None without labels."""
    inputs = {"input_ids": case["ids"], "attention_mask": case.get("mask")}
    inputs["token_type_ids"] = case.get("types")
    labels = case.get("labels")
    counts_padding = task != SEQ2SEQ and network.config.model_type != "roberta"
    if "mask" in case and counts_padding and not like(method, PROMPTS):
        inputs["position_ids"] = (case["mask"].cumsum(1) - 1).clamp(min=0)
    if labels is not None and task == "QUESTION_ANS":
        inputs["start_positions"], inputs["end_positions"] = labels.T
    elif labels is not None:
        inputs["labels"] = labels
    inputs = {name: x for name, x in inputs.items() if x is not None}
    out = network(**inputs)
    z = logits_of(out, task)
    if "pull" in case:
        return z, (z[:, -T:] * case["pull"]).sum()
    return z, out.loss if labels is not None else None


def use_saved_rows(network):
    """Round the output of an encoder as in PEFT's file, which is float32."""
    rows = network.get_prompt_embedding_to_save("default")
    network.prompt_encoder["default"].register_forward_hook(
        lambda module, inputs, out: out + (rows.to(out.dtype) - out).detach()
    )


@contextmanager
def record_encoder(network, method):
    """Yield a list that gets the outputs of the encoder of a prompt, with their gradients."""
    outputs = []

    def keep(module, inputs, out):
        out.retain_grad()
        outputs.append(out)

    if not like(method, ROWS):
        yield outputs
        return
    handle = network.prompt_encoder["default"].register_forward_hook(keep)
    yield outputs
    handle.remove()


def gradients(network, task, method, case):
    """Return {name in PEFT's file: gradient of the loss}, and gradients of an encoder's weights."""
    network.zero_grad()
    with record_encoder(network, method) as outputs:
        logits_and_loss(network, task, method, case)[1].backward()
    state = {
        name: p.grad if p.grad is not None else torch.zeros_like(p)
        for name, p in network.named_parameters()
    }
    named = peft.get_peft_model_state_dict(network, state, save_embedding_layers=False)
    copies = re.compile(r"\.(modules_to_save|original_module)\.")  # of a head, with bias="all"
    found = {f"grad.{name}": x for name, x in named.items() if not copies.search(name)}
    if outputs:
        found["grad.prompt_embeddings"] = outputs[0].grad.sum(0)
        if like(method, ENCODED):
            for name, p in network.prompt_encoder["default"].named_parameters():
                found[f"encoder.{name}"] = p.grad
    return found


def generate(network, case):
    """Return the most likely new tokens (B, NEW)."""
    out = network.generate(
        input_ids=case["ids"],
        attention_mask=case.get("mask", torch.ones_like(case["ids"])),
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[:, -NEW:]


def expected(network, family, task, method, cases):
    """Return {name: tensor} of all that is compared."""
    found = {f"{c}.{name}": x for c, case in cases.items() for name, x in case.items()}
    with torch.no_grad():
        for c, case in cases.items():
            found[f"{c}.logits32"] = logits_and_loss(network, task, method, case)[0]
    if like(method, ENCODED):
        use_saved_rows(network)
        encoder = network.prompt_encoder["default"].state_dict()
        found |= {f"encoder.{name}": x.clone() for name, x in encoder.items()}
    with exact(network):
        for c, case in cases.items():
            results = expected_exactly(network, task, method, c, case)
            found |= {f"{c}.{name}": x.clone() for name, x in results.items()}
        if can_be_merged(network, task, method):
            inputs = {"input_ids": cases["plain"]["ids"]}
            inputs |= {"labels": cases["plain"]["labels"]} if task == SEQ2SEQ else {}
            merged = network.merge_and_unload()(**inputs)
            found["merged.logits64"] = logits_of(merged, task)
    return found


def expected_exactly(network, task, method, name, case):
    """Return {name: tensor} of a case in float64."""
    z, loss = logits_and_loss(network, task, method, case)
    found = {"logits64": z} | ({} if loss is None else {"loss64": loss})
    if loss is not None and name in ("plain", "right"):
        found |= gradients(network, task, method, case)
    if task in ("CAUSAL_LM", SEQ2SEQ) and name in ("plain", "left"):
        found["generated"] = generate(network, case)
    return found


def can_be_merged(network, task, method):
    """Return whether it can be merged; a tied head and its embedding must change alike."""
    tied_head = network.config.tie_word_embeddings and task in ("CAUSAL_LM", "MASKED_LM", SEQ2SEQ)
    head_of_layers = task == "SEQ_CLS" and network.config.model_type == "roberta"
    return (
        not like(method, ROWS)
        and not (tied_head and method in ("lora-embeddings", "lora-modules"))
        and not (head_of_layers and like(method, ["ia3*"]))  # PEFT: AttributeError
    )


def logits_of(out, task):
    if task == "QUESTION_ANS":
        return torch.stack([out.start_logits, out.end_logits], -1)
    return out.last_hidden_state if task == "FEATURE_EXTRACTION" else out.logits


# -- folders


def seed_of(*names):
    return zlib.crc32(" ".join(map(str, names)).encode())


def write_base(folder, seed, family, task):
    torch.manual_seed(seed_of(seed, family, task))
    random_model(family, task).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def write(folder, seed, family, task, method):
    """Write an adaptation of folder/../base, and what is expected of it."""
    name = seed_of(seed, family, task, method)
    torch.manual_seed(name)
    network = adapt(family, task, method, folder.parent / "base")
    network.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    normalize(folder / "adapter_config.json")
    inputs = {
        case: {key: torch.tensor(x) for key, x in arrays.items()}
        for case, arrays in cases(family, task, method, np.random.default_rng(name)).items()
    }
    found = expected(network, family, task, method, inputs)
    arrays = {name: np.array(x.detach(), order="C") for name, x in found.items()}
    save_file(arrays, folder / "expected.safetensors")


def normalize(path):
    """Rewrite a configuration without the path of its base, and with sets in order."""
    config = json.loads(path.read_text()) | {"base_model_name_or_path": "base"}
    for name in ("target_modules", "exclude_modules", "feedforward_modules"):
        if isinstance(config.get(name), list):
            config[name].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True))


def make(out, seed, families=FAMILIES, tasks=TASKS, methods=METHODS):
    """Write the oracles of these families, tasks and methods; return their folders."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folders = []
    for family in families:
        for task in tasks:
            chosen = [m for m in possible(family, task) if m in methods]
            folder = Path(out) / family / task
            if chosen:
                write_base(folder / "base", seed, family, task)
            for method in chosen:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    write(folder / method, seed, family, task, method)
                folders.append(folder / method)
    return folders


def fixed(out):
    """Write a few methods of every family and task, without the largest arrays.

    Every method occurs a few times.
    """
    shutil.rmtree(out, ignore_errors=True)
    methods = cycle(METHODS)
    for family, task in product(KEPT, TASKS):
        allowed = possible(family, task)
        count = {"CAUSAL_LM": 4, "MASKED_LM": 2}.get(task, 3) if allowed else 0
        chosen = [*islice((m for m in methods if m in allowed), count)]
        for folder in make(out, 2026, [family], [task], chosen):
            path = folder / "expected.safetensors"
            large = r"(right|left|types)\.logits32|right\.encoder"
            large += "|.*encoder" * (family != "llama")
            found = {k: x for k, x in load_file(path).items() if not re.match(large, k)}
            save_file(found, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", default=Path(__file__).parent / "fixed")
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", nargs="+", default=[*FAMILIES], choices=FAMILIES)
    parser.add_argument("--tasks", nargs="+", default=[*TASKS], choices=TASKS)
    parser.add_argument("--methods", nargs="+", default=[*METHODS], choices=METHODS)
    args = parser.parse_args()
    if args.fixed:
        return fixed(args.out)
    for folder in make(args.out, args.seed, args.families, args.tasks, args.methods):
        print(folder)


if __name__ == "__main__":
    main()
