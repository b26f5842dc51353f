"""minipeft convert: a folder, written anew."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import Positional, arg

from .. import hf
from ..adaptation.merge import merge
from ..autograd.nn import size
from ..storage.folders import replacing
from . import evaluation as measure
from .common import Command, Config, Json, optional, out
from .folders import adapts, loaded, place


@dataclass
class Convert(Command):
    """Write a folder anew: a model in one file, or with what adapts it; an adaptation as PEFT's."""

    source: Positional[Annotated[str, arg(metavar="SOURCE")]]
    """A folder of Hugging Face's, PEFT's, or `minipeft train`; `decoder`, `encoder`: built in."""
    out: Positional[Annotated[Path, arg(metavar="OUT")]]
    """Where it goes; a model or an adaptation that was saved there is replaced."""
    adaptation: optional(Path, "FOLDER", "Merged into the model that SOURCE is.") = None
    model: optional(str, "FOLDER", "The base of the adaptation that SOURCE is.") = None
    dtype: optional(Literal["float16", "float32", "float64"], "FLOAT") = None
    """Of the numbers; without: float64 of a float64 file, else float32."""
    config: Config = None
    json: Json = False

    def run(self):
        source = place(self.source)
        adapting = adapts(source)
        if adapting and self.adaptation:
            raise ValueError(
                f"{source} is an adaptation, and none is merged into it: "
                f"minipeft convert MODEL {self.out} --adaptation {source}"
            )
        if self.model and not adapting:
            raise ValueError(f"--model is the base of an adaptation, and {source} holds none")
        with replacing(self.out, *(hf.ADAPTATION if adapting else hf.MODEL)) as new:
            thing = self.adapter(source) if adapting else self.whole(source)
            dtype = np.dtype(self.dtype or thing.parameters()[0].dtype)
            there = (source / "tokenizer.json").is_file()
            hf.save(thing, new, hf.load_tokenizer(source) if there else None, dtype)
            if adapting and (source / measure.LABELS).is_file():
                shutil.copy(source / measure.LABELS, new)
            files = {path.name: path.stat().st_size for path in sorted(new.iterdir())}
        kind = repr(thing) if adapting else type(thing).__name__
        report = {"out": str(self.out), "holds": "adaptation" if adapting else "model"}
        report |= {"kind": kind, "numbers": size(thing), "dtype": dtype.name}
        self.tell(report | {"files": files})

    def adapter(self, source):
        adaptation, _ = loaded(source, hf.load(self.model))
        return adaptation

    def whole(self, source):
        """The model, with what is merged into it."""
        model = hf.load(source)
        if self.adaptation is None:
            return model
        adaptation, network = loaded(self.adaptation, model)
        merged = merge(network, adaptation)
        if (self.adaptation / measure.LABELS).is_file():
            names = dict(enumerate(measure.labels_of(self.adaptation)))
            label2id = {name: i for i, name in names.items()}
            merged.kept = merged.kept | {"id2label": names, "label2id": label2id}
        return merged

    def show(self, report):
        say = lambda line: out.print(line, markup=False, highlight=False, soft_wrap=True)
        say(f"{report['kind']}: {report['numbers']:,} numbers in {report['dtype']}")
        for name, count in report["files"].items():
            say(f"  {name}, {count:,} bytes")
        say(f"saved in {report['out']}")
