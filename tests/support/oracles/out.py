"""The way out: what we write, PEFT loads, and PEFT's own round trip keeps."""

import json
import shutil
import warnings

import numpy as np
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as CONFIGS
from safetensors.numpy import load_file

from minipeft import hf
from tests.support.oracles.check import Pair, apart
from tests.support.oracles.make import adapted_by, exact, said

DERIVED = {  # from the model, or of no consequence once it is trained
    "auto_mapping",
    "base_model_name_or_path",
    "encoder_hidden_size",
    "encoder_num_layers",
    "inference_mode",
    "num_attention_heads",
    "num_layers",
    "num_transformer_submodules",
    "peft_version",
    "token_dim",
}
FILES = "adapter_config.json", "adapter_model.safetensors"


def minimal(config):
    """Of a configuration what PEFT can't do without: what differs from its defaults."""
    default = CONFIGS[config["peft_type"]]().to_dict()
    kept = {k: v for k, v in config.items() if k not in DERIVED and v != default.get(k)}
    return kept | {name: config[name] for name in ("peft_type", "task_type") if name in config}


def reduced(folder, new):
    """A copy of the folder with the least configuration, and no metadata but the tensors'."""
    new.mkdir()
    for name in FILES:
        shutil.copy(folder / name, new)
    path = new / "adapter_config.json"
    path.write_text(json.dumps(minimal(json.loads(path.read_text()))))
    return new


class WayOut(Pair):
    """What adapts a model, as we write it and PEFT reads it."""

    def errors(self, there):
        """(kind, what, error)"""
        γ = self.adaptation(self.exact, compat=None)
        hf.save(γ, there / "ours", dtype=np.float64)
        yield self.theirs(there / "ours", "what we save", there / "again")
        yield self.ours(there / "again", "what PEFT saves of it")
        yield self.theirs(reduced(there / "ours", there / "less"), "the least that we save")
        yield self.ours(reduced(self.folder, there / "least"), "the least that PEFT saves")

    def theirs(self, folder, what, again=None):
        """PEFT's logits with the adaptation in a folder, which it loads without a complaint."""
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            network = adapted_by(folder, self.folder.parent / "base", self.task)
        told = [str(w.message) for w in complaints]
        bad = [m for m in told if any(word in m for word in ("missing", "unexpected", "keyword"))]
        assert not bad, f"{what}: {bad}"
        if again:
            network.save_pretrained(again)
            left = load_file(folder / FILES[1]).keys() - load_file(again / FILES[1]).keys()
            assert not left, f"{what} has {left}, which PEFT has no place for"
        errors = []
        for name, case in self.cases.items():
            given = {key: torch.tensor(x) for key, x in case.items()}
            with exact(network), torch.no_grad(), warnings.catch_warnings(action="ignore"):
                z = said(network, self.task, self.method, given)[0].numpy()
            errors.append(apart(z, self.expected[f"{name}.logits64"]))
        return "float64", f"{what}, in PEFT", max(errors)

    def ours(self, folder, what):
        γ = self.adaptation(self.exact, folder)
        worst = max(error for *_, error in self.logits(self.exact, γ, "float64"))
        return "float64", f"{what}, here", worst
