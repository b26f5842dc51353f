"""The way out: what minipeft writes, PEFT loads, computes the same with, and writes again."""

import json
import shutil
import warnings

import numpy as np
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as CONFIGS
from safetensors.numpy import load_file

from minipeft import hf
from tests.support.oracles.check import Pair, difference
from tests.support.oracles.make import exact, load_adapted, logits_and_loss
from tests.support.oracles.table import PARTS

DERIVED = {  # from the model, or without effect after training
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


def minimal_config(config, sizes=()):
    """Return the fields of a configuration that PEFT needs: those that differ from its defaults.

    sizes: those fields of the model's sizes that PEFT does not find in its configuration.
    """
    default, derived = CONFIGS[config["peft_type"]]().to_dict(), DERIVED - {*sizes}
    kept = {k: v for k, v in config.items() if k not in derived and v != default.get(k)}
    return kept | {name: config[name] for name in ("peft_type", "task_type") if name in config}


def copy_minimal(folder, new, sizes=()):
    """Copy a folder with the minimal configuration; return the copy."""
    new.mkdir()
    for name in FILES:
        shutil.copy(folder / name, new)
    path = new / "adapter_config.json"
    path.write_text(json.dumps(minimal_config(json.loads(path.read_text()), sizes)))
    return new


class WayOut(Pair):
    """An adaptation of PEFT's, as minipeft writes it and PEFT reads it."""

    def errors(self, place):
        """Yield (kind, what, error) of folders that are written to `place`."""
        hf.save(hf.load_adaptation(self.folder, self.exact), place / "ours", dtype=np.float64)
        yield self.error_in_peft(place / "ours", "what we save", place / "again")
        yield self.error_here(place / "again", "what PEFT saves of it")
        sizes = PARTS[self.folder.parts[-3]].get("sizes", ())
        minimal = copy_minimal(place / "ours", place / "minimal", sizes)
        yield self.error_in_peft(minimal, "the least that we save")
        minimal = copy_minimal(self.folder, place / "minimal of PEFT")
        yield self.error_here(minimal, "the least that PEFT saves")

    def error_in_peft(self, folder, what, again=None):
        """Return the error of PEFT's logits with a folder, which it must load without a warning.

        again: a folder for PEFT to save the adaptation to.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            network = load_adapted(folder, self.folder.parent / "base", self.task)
        messages = [str(w.message) for w in caught]
        bad = [m for m in messages if any(w in m for w in ("missing", "unexpected", "keyword"))]
        assert not bad, f"{what}: {bad}"
        if again:
            network.save_pretrained(again)
            ignored = load_file(folder / FILES[1]).keys() - load_file(again / FILES[1]).keys()
            assert not ignored, f"{what} has {ignored}, which PEFT ignores"
        errors = []
        for name, case in self.cases.items():
            case = {key: torch.tensor(x) for key, x in case.items()}
            with exact(network), torch.no_grad(), warnings.catch_warnings(action="ignore"):
                z = logits_and_loss(network, self.task, self.method, case)[0].numpy()
            errors.append(difference(z, self.expected[f"{name}.logits64"]))
        return "float64", f"{what}, in PEFT", max(errors)

    def error_here(self, folder, what):
        peft_model = self.peft_model(self.exact, folder)
        largest = max(error for *_, error in self.logits_errors(peft_model, "float64"))
        return "float64", f"{what}, here", largest
