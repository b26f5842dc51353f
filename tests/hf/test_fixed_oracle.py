"""What we compute is what PEFT did, as tests/oracles/make.py has written it down: no torch."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minipeft as mp
from tests.support.oracles.check import check, difference, pairs
from tests.support.oracles.table import HEADS, KEPT, METHODS, TASKS, possible

FIXED = Path(__file__).parents[1] / "support/oracles/fixed"
PAIRS, BASES = pairs(FIXED), sorted(FIXED.glob("*/*/base"))
ids = lambda folder: "-".join(folder.parts[-3:])


@pytest.mark.parametrize("folder", PAIRS, ids=ids)
def test_we_compute_what_peft_does(folder):
    check(folder)


def both(one, other, name):
    """The settings and the tensors of two folders."""
    settings = [json.loads((folder / f"{name}_config.json").read_text()) for folder in (one, other)]
    return *settings, *(load_file(folder / f"{name}_model.safetensors") for folder in (one, other))


def alike(tensors, again, replace=()):
    assert {name for name in tensors if not name.endswith(replace or "-")} == again.keys()
    assert all(np.array_equal(x, tensors[name]) for name, x in again.items())


@pytest.mark.parametrize("base", BASES, ids=ids)
def test_what_transformers_wrote_is_written_again(base, tmp_path):
    mp.save(mp.load(base), tmp_path / "m")
    alike(*(load_file(folder / "model.safetensors") for folder in (base, tmp_path / "m")))
    theirs, ours = (
        json.loads((folder / "config.json").read_text()) for folder in (base, tmp_path / "m")
    )
    other = {name for name in theirs.keys() & ours.keys() if theirs[name] != ours[name]}
    assert other <= {"max_window_layers"}  # 0 is as good as any where there is no window


TWICE = "original_module.bias", "modules_to_save.bias", "embed_tokens.base_layer.weight"


@pytest.mark.parametrize("folder", PAIRS, ids=ids)
def test_what_PEFT_wrote_is_written_again(folder, tmp_path):
    """The tensors bit for bit, and settings that say the same of them."""
    model = mp.load(folder.parent / "base").astype(np.float64)
    γ = mp.load_adaptation(folder, model)
    mp.save(γ, tmp_path / "a")
    theirs, ours, tensors, again = both(folder, tmp_path / "a", "adapter")
    alike(tensors, again, TWICE)
    save_file(again, tmp_path / "a/adapter_model.safetensors")  # without what we wrote beside
    other, ids = mp.load_adaptation(tmp_path / "a", model), np.arange(6)[None]
    assert difference(model(ids, other).data, model(ids, γ).data) < 1e-9
    same = {"task_type", "fan_in_fan_out", "inference_mode", "num_virtual_tokens", "use_dora"}
    same |= {"token_dim", "num_layers", "num_attention_heads", "num_transformer_submodules"}
    assert {n for n in same & ours.keys() & theirs.keys() if ours[n] != theirs[n]} == set()
    saved = {name.rpartition(".")[2] for name in ours.get("modules_to_save", ())}
    heads = {head for head in HEADS if any(f".{head}." in name for name in again)}
    assert heads <= saved <= {*(theirs["modules_to_save"] or ())}


def test_there_is_an_oracle_of_every_family_task_and_method():
    have = {(family, task) for *_, family, task, _ in (folder.parts for folder in PAIRS)}
    assert have == {(f, t) for f in KEPT for t in TASKS if possible(f, t)}
    assert {folder.name for folder in PAIRS} == set(METHODS)


@pytest.mark.parametrize("name", ["plain.logits64", "right.loss64", "plain.grad", "generated"])
def test_a_wrong_number_is_noticed(name, tmp_path):
    family = next(f for f in PAIRS if f.parts[-2:] == ("CAUSAL_LM", "lora")).parent
    shutil.copytree(family, tmp_path / "CAUSAL_LM")
    folder = tmp_path / "CAUSAL_LM" / "lora"
    check(folder)
    found = load_file(folder / "expected.safetensors")
    x = found[next(n for n in found if name in n)]
    x.flat[0] += 1 if x.dtype.kind == "i" else 1e-2 * abs(x).max()
    save_file(found, folder / "expected.safetensors")
    with pytest.raises(AssertionError, match="differs from PEFT|is not"):
        check(folder)


def test_what_is_kept_is_small():
    files = [path for path in FIXED.rglob("*") if path.is_file()]
    assert len(files) < 400 and sum(path.stat().st_size for path in files) < 3e6
    assert np.all([path.suffix in {".json", ".safetensors"} for path in files])
