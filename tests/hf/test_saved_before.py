"""Folders that an earlier version saved still load, and compute the logits that it computed.

tests/support/saved_before/FAMILY/METHOD is such a folder; FAMILY/base and FAMILY/classifier are the
models, and FAMILY/logits.safetensors has the token ids and the logits, which were float64.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import minipeft as mp
from minipeft.adaptation.method import PSEUDO

SAVED = Path(__file__).parents[1] / "support/saved_before"
FOLDERS = sorted(path.parent for path in SAVED.glob("*/*/adapter_config.json"))
ENCODED = [folder for folder in FOLDERS if (folder / "reparametrization.safetensors").exists()]
ids_of = lambda folder: "/".join(folder.parts[-2:])


def loaded(folder, resume):
    """Return the logits computed now and those computed then, and the adaptation."""
    then = load_file(folder.parent / "logits.safetensors")
    base = "classifier" if folder.name.endswith("probe") else "base"
    model = mp.load(folder.parent / base).astype(np.float64)
    adaptation = mp.load_adaptation(folder, model, resume=resume)
    name = f"{folder.name}.resumed" if resume and folder in ENCODED else folder.name
    ids, V = then[f"{folder.name}.ids"], model.config.vocabulary
    ids = np.where(ids < V, ids, PSEUDO - (ids - V))  # pseudo-token i was V + i
    return model(ids, adaptation).data, then[name], adaptation


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("folder", FOLDERS, ids=ids_of)
def test_a_folder_of_an_earlier_version_loads(folder, resume):
    now, then, _ = loaded(folder, resume)
    assert np.abs(now - then).max() < 1e-12


@pytest.mark.parametrize("folder", ENCODED, ids=ids_of)
def test_a_reparametrisation_network_of_an_earlier_version_can_be_trained_on(folder):
    *_, adaptation = loaded(folder, resume=True)
    methods = getattr(adaptation.method, "methods", [adaptation.method])
    assert any(isinstance(m, mp.methods.Reparametrised) for m in methods)
    assert any("encoder.E" in name for name, _ in adaptation.named_parameters())


def test_the_width_of_an_encoder_keeps_its_value():
    *_, adaptation = loaded(SAVED / "gpt2/encoded-prefix", resume=True)
    prefix = mp.PrefixTuning(4, targets="attn$")
    assert adaptation.method == mp.Encoded(prefix, mlp_width=6)


def test_a_folder_of_an_earlier_version_is_of_one_base():
    """The metadata has the old names of a configuration's fields, and is checked all the same."""
    config = json.loads((SAVED / "llama/base/config.json").read_text())
    model = mp.load(SAVED / "llama/base")
    assert model.config.ffn_width == config["intermediate_size"] == 12
    other = mp.Decoder(
        mp.Config(**vars(model.config) | {"ffn_width": 16}), np.random.default_rng(0)
    )
    with pytest.raises(mp.CheckpointError, match="ffn_width=12, and this model has 16"):
        mp.load_adaptation(SAVED / "llama/lora", other)


def test_every_method_was_saved():
    saved = {json.loads((f / "adapter_config.json").read_text())["peft_type"] for f in FOLDERS}
    assert len(FOLDERS) == 31 and len(saved) == 20
