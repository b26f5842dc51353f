"""minipeft convert: a folder in another float type, merged, or in PEFT's format."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import Positional, arg

from .. import hf
from ..adaptation.merge import merge
from ..adaptation.method import PLAIN
from ..autograd.nn import size
from ..data.words import count
from ..hf.pretrained import ADAPTATION_FILES, MODEL_FILES
from ..hf.tokenizer import read_beside
from ..inspection.recording import Pass
from ..storage.folders import replace_folder
from ..storage.part import locked_part
from . import evaluation
from .common import Command, Config, Json, optional, print_line
from .folders import base_of, folder_path, holds_adaptation, load_with_network

COMPARED = "difference", "logits_std"
BASE = "Base of the adaptation SOURCE. (default: the one it names, or decoder)"


@dataclass
class Convert(Command):
    """Write a model or an adaptation in another float type, merged, or for PEFT."""

    source: Positional[Annotated[str, arg(metavar="SOURCE")]]
    """Folder from Hugging Face, PEFT or minipeft, or `decoder`, `encoder` or `seq2seq`."""
    out: Positional[Annotated[Path, arg(metavar="OUT")]]
    """Folder to write; it may hold a model or an adaptation, which is replaced."""
    adaptation: optional(Path, "FOLDER", "Merge this adaptation into the model SOURCE.") = None
    model: optional(str, "FOLDER", BASE) = None
    dtype: optional(Literal["float16", "bfloat16", "float32", "float64"], "FLOAT") = None
    """float16, bfloat16, float32 or float64. (default: float64 if SOURCE has it, else float32)"""
    config: Config = None
    json: Json = False

    def run(self):
        source = folder_path(self.source)
        is_adaptation = holds_adaptation(source)
        if is_adaptation and self.adaptation:
            raise ValueError(
                f"{source} is an adaptation; to merge it into a model: minipeft convert MODEL "
                f"{self.out} --adaptation {source}"
            )
        if self.model and not is_adaptation:
            raise ValueError(f"--model is the base of an adaptation, and {source} is not one")
        names = ADAPTATION_FILES if is_adaptation else MODEL_FILES
        with locked_part(self.out), replace_folder(self.out, *names) as new:
            thing = self.load_adaptation(source) if is_adaptation else self.load_model(source)
            dtype = self.dtype or thing.parameters()[0].dtype.name
            has_tokenizer = (source / "tokenizer.json").is_file()
            hf.save(thing, new, hf.load_tokenizer(source) if has_tokenizer else None, dtype)
            for name, content in read_beside(source).items():  # also without a tokenizer.json
                (new / name).write_bytes(content)
            if is_adaptation and (source / evaluation.LABELS).is_file():
                shutil.copy(source / evaluation.LABELS, new)
            compared = self.compared(new) if self.adaptation else dict.fromkeys(COMPARED)
            files = {path.name: path.stat().st_size for path in sorted(new.iterdir())}
        self.output(
            {
                "out": str(self.out),
                "type": "adaptation" if is_adaptation else "model",
                "class": str(thing) if is_adaptation else type(thing).__name__,
                "params": size(thing),
                "dtype": dtype,
                **compared,
                "files": files,
            }
        )

    def load_adaptation(self, source):
        """Return the adaptation in a folder."""
        adaptation, _ = load_with_network(source, hf.load(base_of(self.model, source)))
        return adaptation

    def load_model(self, source):
        """Return the model in a folder, with --adaptation merged into it."""
        model = hf.load(source)
        if self.adaptation is None:
            return model
        self.unmerged = adaptation, network = load_with_network(self.adaptation, model)
        merged = merge(network, adaptation)
        if (self.adaptation / evaluation.LABELS).is_file():
            names = dict(enumerate(evaluation.read_labels(self.adaptation)))
            ids = {name: i for i, name in names.items()}
            merged.folder_settings = merged.folder_settings | {"id2label": names, "label2id": ids}
        return merged

    def compared(self, folder) -> dict:
        """Return the largest difference of logits, and the standard deviation of logits.

        Of the folder's and the adapted model's, which read the same 32 random tokens, or as many as
        the model can; the standard deviation is that of the adapted model's.
        """
        (adaptation, network), written = self.unmerged, hf.load(folder)
        c = network.config
        ids = np.random.default_rng(0).integers(0, c.vocabulary, min(32, c.length))
        pairs = (network, adaptation), (written, PLAIN)
        unmerged, merged = (Pass(model, ids, γ.resolve(), ids).logits for model, γ in pairs)
        return dict(zip(COMPARED, (float(abs(unmerged - merged).max()), float(unmerged.std()))))

    def show(self, report):
        print_line(f"{report['class']}: {count(report['params'], 'parameter')}, {report['dtype']}")
        for name, n in report["files"].items():
            print_line(f"  {name}, {count(n, 'byte')}")
        print_line(f"saved in {report['out']}")
        if report["difference"] is not None:
            print_line(
                "its logits on 32 random tokens differ from the unmerged model's by "
                f"{report['difference']:.1e}\nat most; their standard deviation is "
                f"{report['logits_std']:.1f}"
            )
