"""Loaded DoRAs: a norm of 0 is an error, as in `attach`; other numbers are read as they are."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minipeft import Chain, DoRA, LoRA, Tensor, load_adaptation, save
from minipeft.hf import CheckpointError
from tests.support.families import GPT2, attach_random, decoder, nudged
from tests.support.folder_edits import ADAPTER, TENSORS, drop_metadata, set_fields

MODEL = nudged(decoder(GPT2))
IDS, J = np.array([[1, 2, 3, 4]]), 3  # the output whose weights are 0
PATH = "blocks.1.mlp.up"
LAYER = dict(MODEL.modules())[PATH]
MODULE = "base_model.model.transformer.h.1.mlp.c_fc"
SAYS = rf"norms of the columns of W₀ \+ .*, and that of column {J} is 0 or infinite at {PATH}"


def without_column():
    """Return the model with weights 0 for one output of a layer."""
    W = LAYER.W.data.copy()
    W[:, J] = 0
    return MODEL.map(lambda t: Tensor(W) if t is LAYER.W else t)


@pytest.fixture
def folder(tmp_path):
    """A DoRA in PEFT's format, as PEFT writes it, which does not change one output."""
    γ = attach_random(DoRA(2, targets="up$"), MODEL)
    γ.at[PATH]["B"].data[:, J] = 0
    save(γ, tmp_path / "a", dtype=np.float64)
    drop_metadata(tmp_path / "a" / TENSORS)
    return tmp_path / "a"


def edit(folder, name, change):
    tensors = load_file(folder / TENSORS)
    change(tensors[f"{MODULE}.{name}"])
    save_file(tensors, folder / TENSORS)


@pytest.mark.parametrize("compat", [None, "peft"])
def test_a_norm_of_0_is_refused(folder, compat):
    load_adaptation(folder, MODEL, compat=compat)
    with pytest.raises(CheckpointError, match=SAYS):
        load_adaptation(folder, without_column(), compat=compat)


def test_weights_of_0_that_are_changed_are_right(folder):
    edit(folder, "lora_B.weight", lambda B: np.add.at(B, J, 0.5))
    model = without_column()
    γ = load_adaptation(folder, model)
    A, B, m = (γ.at[PATH][name].data for name in "ABm")
    V = dict(model.modules())[PATH].W.data + γ.method.scale * A @ B
    (W,) = γ.merged(dict(model.modules())[PATH]).values()
    assert np.abs(W.data - m * V / np.linalg.norm(V, axis=0)).max() < 1e-12
    assert np.isfinite(model(IDS, γ).data).all()


def test_a_sum_of_weights_that_is_0_is_refused(folder):
    """W₀ + (α/r) B A is 0 where B A is its opposite."""
    scale = load_adaptation(folder, MODEL).method.scale
    edit(folder, "lora_A.weight", lambda A: np.copyto(A[0], LAYER.W.data[:, J]))
    edit(folder, "lora_B.weight", lambda B: np.copyto(B[J], [-1 / scale, 0]))
    with pytest.raises(CheckpointError, match=SAYS):
        load_adaptation(folder, MODEL)


@pytest.mark.parametrize("chain", [False, True])
def test_a_norm_of_0_is_refused_in_our_format(tmp_path, chain):
    method = DoRA(2, targets=PATH.replace(".", r"\."))
    γ = attach_random(Chain(method, LoRA(2), LoRA(2)) if chain else DoRA(2, targets="[qv]$"), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    path = PATH if chain else "blocks.1.attn.q"
    W, tensors = dict(MODEL.modules())[path].W.data, load_file(tmp_path / "a" / TENSORS)
    tensors[f"{'0.' * chain}{path}.A"][:, 0] = W[:, J]
    tensors[f"{'0.' * chain}{path}.B"][:, J] = [-1 / method.scale, 0]
    save_file(tensors, tmp_path / "a" / TENSORS)
    with pytest.raises(CheckpointError, match=SAYS.replace(PATH, path)):
        load_adaptation(tmp_path / "a", MODEL)


def test_a_negative_magnitude_is_read(folder):
    edit(folder, "lora_magnitude_vector", lambda m: np.copyto(m, -1))
    γ = load_adaptation(folder, MODEL)
    assert (γ.at[PATH]["m"].data == -1).all() and np.isfinite(MODEL(IDS, γ).data).all()


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"r": 0}, "r=0 must be a positive int"),
        ({"rank_pattern": {"c_fc": 0}}, "c_fc=0 must be a positive int"),
        ({"lora_alpha": "<NaN>"}, "lora_alpha=nan must be a finite float"),
        ({"alpha_pattern": {"c_fc": 1e39}}, "must be a finite float"),
    ],
)
def test_scales_that_are_no_numbers_are_refused(folder, fields, says):
    set_fields(ADAPTER, **fields)(folder)
    with pytest.raises(CheckpointError, match=says):
        load_adaptation(folder, MODEL)
