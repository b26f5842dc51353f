"""minipeft against a folder of oracles: what it reads, computes, differentiates, says and merges.

An error is relative, so that 1e-4 on logits of size 10 is 1e-4.
"""

import shutil
from collections import defaultdict
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import load_file, save_file

import minipeft as mp
from minipeft import hf
from tests.support.oracles.table import PROMPTS, WRONG, like, listed

LIMITS = {"float32": 1e-4, "float64": 1e-9, "gradient32": 1e-4, "gradient64": 1e-9}


def pairs(folder):
    """The adaptations in a folder of oracles: family/task/method."""
    return sorted(path.parent for path in Path(folder).glob("*/*/*/expected.safetensors"))


def check(folder):
    """The worst error of each kind; an AssertionError if one is too large."""
    return judged(folder, Pair(folder).errors())


def judged(folder, errors):
    """The worst of (kind, what, error) of each kind; an AssertionError if one is too large."""
    found = list(errors)
    bad = [f"{what}: {error:.1e}" for kind, what, error in found if not error <= LIMITS[kind]]
    assert not bad, f"{'/'.join(folder.parts[-3:])} differs from PEFT: {', '.join(bad)}"
    return {kind: max(e for k, _, e in found if k == kind) for kind, _, _ in found}


def apart(ours, theirs):
    """The largest difference, as if the largest number were 10, or 10 times it if below 1."""
    assert ours.shape == theirs.shape, f"{ours.shape} is not {theirs.shape}"
    return 10 * abs(ours - theirs).max() / max(1, abs(theirs).max())


class Pair:
    """A model, what adapts it, and what PEFT made of both."""

    def __init__(self, folder):
        self.folder, (self.task, self.method) = folder, folder.parts[-2:]
        self.prompts = like(self.method, PROMPTS)
        self.expected = load_file(folder / "expected.safetensors")
        self.model = hf.load(folder.parent / "base")
        self.exact = self.model.astype(np.float64)
        self.cases = defaultdict(dict)
        for name, x in self.expected.items():
            if (key := name.partition(".")) and key[2] in INPUTS | LABELS:
                self.cases[key[0]][key[2]] = x

    def adaptation(self, model, folder=None, compat="peft"):
        return hf.load_adaptation(folder or self.folder, model, compat=compat)

    def errors(self):
        """(kind, what, error)"""
        for model, kind in ((self.model, "float32"), (self.exact, "float64")):
            γ = self.adaptation(model)
            yield from self.logits(model, γ, kind)
            yield from self.gradients(model, γ, kind)
        yield from self.default()
        yield from self.encoder()
        yield from self.others(self.exact, γ)

    def said(self, model, γ, case):
        given = {name: x for name, x in self.cases[case].items() if name in INPUTS}
        return model(given.pop("ids"), γ, **given).data

    def real(self, case, z):
        """The numbers that stand at real tokens, or all of them, where PEFT has no others."""
        mask = self.cases[case].get("mask")
        return z[mask > 0] if mask is not None and z.ndim == 3 else z

    def logits(self, model, γ, kind):
        for case in self.cases:
            name = f"{case}.logits{kind[-2:]}"
            want = self.expected.get(name, self.expected[f"{case}.logits64"])
            z = self.said(model, γ, case)
            if not self.prompts:
                z, want = self.real(case, z), self.real(case, want)
            yield kind, f"{kind} {name}", apart(z, want)

    def loss(self, model, γ, case):
        """Its loss, or where there is none, its logits and what they are pulled by."""
        given = dict(self.cases[case])
        ids, labels, pull = (given.pop(name, None) for name in ("ids", "labels", "pull"))
        if pull is None:
            return model.loss(ids, labels, γ, **given), None
        z = model(ids, γ, **given)
        front = z.shape[1] - pull.shape[1]
        return z, [np.pad(pull, ((0, 0), (front, 0), (0, 0))).astype(z.dtype)]

    def gradients(self, model, γ, kind):
        """Of each tensor in the file: a step there is a step here, and the loss rises as much."""
        cases = [case for case in self.cases if f"{case}.loss64" in self.expected]
        known = {case: self.known(case) for case in cases}
        steps = self.steps({name for gs in known.values() for name in gs})
        for case in cases:
            y, pull = self.loss(model, γ, case)
            if not pull:
                yield kind, f"{kind} {case}.loss", apart(y.data, self.expected[f"{case}.loss64"])
            if not known[case]:
                continue
            gs = mp.grad(y, γ.parameters(), pull)
            most = max(np.linalg.norm(g) for g in known[case].values())
            for name, g in known[case].items():
                δ, moved = steps[name]
                rise = sum(np.vdot(g, step) for g, step in zip(gs, moved, strict=True))
                size = max(np.linalg.norm(g), 1e-2 * most) * np.linalg.norm(δ)
                error = abs(rise - np.vdot(g, δ)) / size
                yield f"gradient{kind[-2:]}", f"{kind} {case}.grad.{name}", error

    def known(self, case):
        """{name in PEFT's file: gradient}"""
        start = f"{case}.grad."
        return {k.removeprefix(start): g for k, g in self.expected.items() if k.startswith(start)}

    def steps(self, names):
        """{name: (a random step of that tensor, the steps of our parameters that it makes)}"""
        file = load_file(self.folder / "adapter_model.safetensors")
        rng, found = np.random.default_rng(0), {}
        with TemporaryDirectory() as there:
            there = Path(there)
            shutil.copy(self.folder / "adapter_config.json", there)
            at = self.moved(there, file, [], 0)
            for name in names:
                δ = rng.normal(size=file[name].shape)
                copies = [other for other, x in file.items() if np.array_equal(x, file[name])]
                found[name] = δ, [q - p for p, q in zip(at, self.moved(there, file, copies, δ))]
        return found

    def moved(self, folder, file, names, δ):
        """Our parameters, exact, when these tensors of the file are δ further."""
        new = {k: x.astype(np.float64) + (δ if k in names else 0) for k, x in file.items()}
        save_file(new, folder / "adapter_model.safetensors")
        return [p.data for p in self.adaptation(self.exact, folder).parameters()]

    def default(self):
        """By itself it is right: where PEFT is too, the text's logits are PEFT's."""
        γ = self.adaptation(self.exact, compat=None)
        for case in self.cases:
            if listed(WRONG, *self.folder.parts[-3:], case):
                continue
            z, want = self.said(self.exact, γ, case), self.expected[f"{case}.logits64"]
            want = want[:, -z.shape[1] :]
            error = apart(self.real(case, z), self.real(case, want))
            yield "float64", f"{case}.logits by default", error

    def encoder(self):
        """What PEFT's network makes of its rows, which its file leaves out, and the derivatives."""
        tensors = {k[8:]: x for k, x in self.expected.items() if k.startswith("encoder.")}
        if not tensors:
            return
        names, file = ours(tensors), load_file(self.folder / "adapter_model.safetensors")
        θ = [mp.Tensor(x, requires_grad=True) for x in gathered(tensors, names)]
        y = ENCODERS[self.method].encode(*θ)
        yield "float32", "encoder's rows", apart(y.data, file["prompt_embeddings"])
        start = "plain.encoder."
        known = {k.removeprefix(start): g for k, g in self.expected.items() if k.startswith(start)}
        if known:
            gs = mp.grad(y, θ, [self.expected["plain.grad.prompt_embeddings"]])
            first = gathered(known, [group[:1] for group in names])
            for group, g, want in zip(names, gs, first, strict=True):
                error = abs(g - want).max() / max(1e-3, abs(want).max())
                yield "gradient64", f"gradient of encoder's {group[0]}", error

    def others(self, model, γ):
        """Greedy tokens, and the merged model."""
        for name, tokens in self.expected.items():
            if name.endswith(".generated"):
                case = self.cases[name.partition(".")[0]]
                n = tokens.shape[1]
                new = mp.generate(model, case["ids"], γ, case.get("mask"), max_new_tokens=n)
                assert np.array_equal(new, tokens), f"{self.folder} {name}: {new} is not {tokens}"
        if "merged.logits64" in self.expected:
            z = self.said(mp.merge(model, γ), mp.PLAIN, "plain")
            yield "float64", "merged.logits", apart(z, self.expected["merged.logits64"])


INPUTS, LABELS = {"ids", "mask", "types"}, {"labels", "pull"}
ENCODERS = {  # of any number of rows, and any width
    "ptuning-mlp": mp.PTuning("[P] {x}", "mlp", 3),
    "ptuning-mlp-half": mp.PTuning("[P] {x}", "mlp", 3),
    "ptuning-lstm": mp.PTuning("[P] {x}", "lstm", 1),
    "ptuning-lstm-half": mp.PTuning("[P] {x}", "lstm", 2),
    "prefix-projection": mp.Encoded(mp.PrefixTuning(1)),
}


def ours(tensors):
    """The names of an encoder's tensors in the order of ours, each a sum of theirs."""
    groups = [["embedding.weight"]]
    for n in count():
        if f"lstm_head.weight_ih_l{n}" not in tensors:
            break
        for end in (f"l{n}", f"l{n}_reverse"):
            groups += [[f"lstm_head.weight_ih_{end}"], [f"lstm_head.weight_hh_{end}"]]
            groups += [[f"lstm_head.bias_ih_{end}", f"lstm_head.bias_hh_{end}"]]
    for layer in sorted({k.rpartition(".")[0] for k in tensors if like(k, ["mlp*", "trans*"])}):
        groups += [[f"{layer}.weight"], [f"{layer}.bias"]]
    return groups


def gathered(tensors, groups):
    """Our arrays, in float64: the transpose of their matrices, but for the rows to start from."""
    found = []
    for group in groups:
        x = np.atleast_2d(sum(tensors[name].astype(np.float64) for name in group))
        found.append(x.T if "weight" in group[0] and group[0] != "embedding.weight" else x)
    return found
