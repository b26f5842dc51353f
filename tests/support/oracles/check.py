"""Compare minipeft with a folder of oracles: logits, losses, gradients, generated tokens, merging.

Errors are relative to the size of the logits: 1e-4 for logits of size 10 is 1e-4.
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
from tests.support.oracles.table import PROMPTS, SEQ2SEQ, WRONG, like, listed

LIMITS = {"float32": 1e-4, "float64": 1e-9, "gradient32": 1e-4, "gradient64": 1e-9}
INPUTS = {"ids": "ids", "mask": "mask", "types": "token_types"}  # in the files: our arguments
TARGETS = {"labels", "pull"}


def pairs(folder):
    """Return the adaptations in a folder of oracles: family/task/method."""
    return sorted(path.parent for path in Path(folder).glob("*/*/*/expected.safetensors"))


def check(folder):
    """Return the worst error of each kind; raise AssertionError if one is too large."""
    return worst(folder, Pair(folder).errors())


def worst(folder, errors):
    """Return the worst of (kind, what, error) of each kind; raise if one is too large."""
    errors = list(errors)
    bad = [f"{what}: {error:.1e}" for kind, what, error in errors if not error <= LIMITS[kind]]
    assert not bad, f"{'/'.join(folder.parts[-3:])} differs from PEFT: {', '.join(bad)}"
    kinds = dict.fromkeys(kind for kind, *_ in errors)
    return {kind: max(e for k, _, e in errors if k == kind) for kind in kinds}


def difference(ours, theirs):
    """Return the largest difference, scaled as if the largest number were 10, or if below 1, 1."""
    assert ours.shape == theirs.shape, f"{ours.shape} is not {theirs.shape}"
    return 10 * abs(ours - theirs).max() / max(1, abs(theirs).max())


class Pair:
    """A model, an adaptation, and what PEFT computed with both."""

    def __init__(self, folder):
        self.folder, (self.task, self.method) = folder, folder.parts[-2:]
        self.has_prompt = like(self.method, PROMPTS)
        self.expected = load_file(folder / "expected.safetensors")
        self.model = hf.load(folder.parent / "base")
        self.exact = self.model.astype(np.float64)
        self.cases = defaultdict(dict)
        for name, x in self.expected.items():
            case, _, key = name.partition(".")
            if key in INPUTS or key in TARGETS:
                self.cases[case][key] = x

    def peft_model(self, model, folder=None):
        return hf.load_adaptation(folder or self.folder, model, compat="peft")

    def inputs(self, case):
        return {INPUTS[name]: x for name, x in self.cases[case].items() if name in INPUTS}

    def all_inputs(self, case):
        """Return the arguments of a forward pass; the decoder reads the labels, shifted."""
        inputs = self.inputs(case)
        if self.task == SEQ2SEQ:
            inputs["decoder_ids"] = self.model.shift_right(self.cases[case]["labels"])
        return inputs

    def errors(self):
        """Yield (kind, what, error)."""
        for model, kind in ((self.model, "float32"), (self.exact, "float64")):
            peft_model = self.peft_model(model)
            yield from self.logits_errors(peft_model, kind)
            yield from self.gradient_errors(peft_model, kind)
        yield from self.errors_without_compat()
        yield from self.encoder_errors()
        yield from self.merging_error(peft_model)
        self.check_generated(peft_model)

    def at_real_tokens(self, case, z):
        """Return logits at real tokens; all of them if they are not for each token."""
        mask = None if self.task == SEQ2SEQ else self.cases[case].get("mask")
        return z[mask > 0] if mask is not None and z.ndim == 3 else z

    def logits_errors(self, peft_model, kind):
        for case in self.cases:
            name = f"{case}.logits{kind[-2:]}"
            want = self.expected.get(name, self.expected[f"{case}.logits64"])
            z = peft_model(**self.all_inputs(case)).data
            if not self.has_prompt:
                z, want = self.at_real_tokens(case, z), self.at_real_tokens(case, want)
            yield kind, f"{kind} {name}", difference(z, want)

    def loss(self, peft_model, case):
        """Return the loss and None; without labels, the outputs and the gradient for them."""
        inputs, pull = self.inputs(case), self.cases[case].get("pull")
        if pull is None:
            return peft_model.loss(labels=self.cases[case]["labels"], **inputs), None
        z = peft_model(**inputs)
        front = z.shape[1] - pull.shape[1]
        return z, [np.pad(pull, ((0, 0), (front, 0), (0, 0))).astype(z.dtype)]

    def gradient_errors(self, peft_model, kind):
        """Compare derivatives along a step of a tensor in the file, and of our parameters."""
        cases = [case for case in self.cases if f"{case}.loss64" in self.expected]
        gradients = {case: self.peft_gradients(case) for case in cases}
        steps = self.steps({name for gs in gradients.values() for name in gs})
        for case in cases:
            y, pull = self.loss(peft_model, case)
            if not pull:
                want = self.expected[f"{case}.loss64"]
                yield kind, f"{kind} {case}.loss", difference(y.data, want)
            if not gradients[case]:
                continue
            gs = mp.grad(y, peft_model.parameters(), pull)
            largest = max(np.linalg.norm(g) for g in gradients[case].values())
            for name, g in gradients[case].items():
                δ, our_steps = steps[name]
                slope = sum(np.vdot(g, step) for g, step in zip(gs, our_steps, strict=True))
                scale = max(np.linalg.norm(g), 1e-2 * largest) * np.linalg.norm(δ)
                error = abs(slope - np.vdot(g, δ)) / scale
                yield f"gradient{kind[-2:]}", f"{kind} {case}.grad.{name}", error

    def peft_gradients(self, case):
        """Return {name in PEFT's file: gradient}."""
        start = f"{case}.grad."
        return {k.removeprefix(start): g for k, g in self.expected.items() if k.startswith(start)}

    def steps(self, names):
        """Return {name: (random step of that tensor, the steps of our parameters it causes)}."""
        file = load_file(self.folder / "adapter_model.safetensors")
        rng, steps = np.random.default_rng(0), {}
        with TemporaryDirectory() as place:
            place = Path(place)
            shutil.copy(self.folder / "adapter_config.json", place)
            before = self.parameters_after(place, file, [], 0)
            for name in names:
                δ = rng.normal(size=file[name].shape)
                copies = [other for other, x in file.items() if np.array_equal(x, file[name])]
                after = self.parameters_after(place, file, copies, δ)
                steps[name] = δ, [q - p for p, q in zip(before, after)]
        return steps

    def parameters_after(self, place, file, names, δ):
        """Return our parameters in float64 after a step δ of these tensors of the file."""
        new = {k: x.astype(np.float64) + (δ if k in names else 0) for k, x in file.items()}
        save_file(new, place / "adapter_model.safetensors")
        return [p.data for p in self.peft_model(self.exact, place).parameters()]

    def errors_without_compat(self):
        """Without compat="peft" the logits of the text are PEFT's wherever PEFT is right."""
        γ = hf.load_adaptation(self.folder, self.exact)
        for case in self.cases:
            if listed(WRONG, *self.folder.parts[-3:], case):
                continue
            inputs, want = self.all_inputs(case), self.expected[f"{case}.logits64"]
            z = self.exact(inputs.pop("ids"), γ, **inputs).data
            want = self.at_real_tokens(case, want[:, -z.shape[1] :])
            error = difference(self.at_real_tokens(case, z), want)
            yield "float64", f"{case}.logits by default", error

    def encoder_errors(self):
        """Compare the output of PEFT's encoder, whose weights its file lacks, and its gradients."""
        tensors = {k[8:]: x for k, x in self.expected.items() if k.startswith("encoder.")}
        if not tensors:
            return
        groups, file = encoder_groups(tensors), load_file(self.folder / "adapter_model.safetensors")
        θ = [mp.Tensor(x, requires_grad=True) for x in encoder_arrays(tensors, groups)]
        method = ENCODERS[self.method]
        names = method.network(1, 1, 1, np.random.default_rng(0))
        y = method.encode(**dict(zip(names, θ, strict=True)))
        yield "float32", "output of the encoder", difference(y.data, file["prompt_embeddings"])
        start = "plain.encoder."
        known = {k.removeprefix(start): g for k, g in self.expected.items() if k.startswith(start)}
        if known:
            gs = mp.grad(y, θ, [self.expected["plain.grad.prompt_embeddings"]])
            wanted = encoder_arrays(known, [group[:1] for group in groups])
            for group, g, want in zip(groups, gs, wanted, strict=True):
                error = abs(g - want).max() / max(1e-3, abs(want).max())
                yield "gradient64", f"gradient of the encoder's {group[0]}", error

    def check_generated(self, peft_model):
        """Raise AssertionError unless greedy generation gives PEFT's tokens."""
        for name, tokens in self.expected.items():
            if name.endswith(".generated"):
                inputs = self.inputs(name.partition(".")[0])
                new = peft_model.generate(**inputs, max_new_tokens=tokens.shape[1])
                assert np.array_equal(new, tokens), f"{self.folder} {name}: {new} is not {tokens}"

    def merging_error(self, peft_model):
        if "merged.logits64" in self.expected:
            merged = mp.merge(self.exact, peft_model.adaptation)
            z = merged(**self.all_inputs("plain")).data
            yield "float64", "merged.logits", difference(z, self.expected["merged.logits64"])


ENCODERS = {  # for any number of rows, and any width
    "ptuning-mlp": mp.PTuning("[P] {x}", "mlp", 3),
    "ptuning-mlp-half": mp.PTuning("[P] {x}", "mlp", 3),
    "ptuning-lstm": mp.PTuning("[P] {x}", "lstm", 1),
    "ptuning-lstm-half": mp.PTuning("[P] {x}", "lstm", 2),
    "prefix-projection": mp.Encoded(mp.PrefixTuning(1)),
}


def encoder_groups(tensors):
    """Return PEFT's names in the order of ours; each tensor of ours is the sum of a group."""
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


def encoder_arrays(tensors, groups):
    """Return our arrays in float64: PEFT's matrices are transposed, except for the embedding."""
    arrays = []
    for group in groups:
        x = np.atleast_2d(sum(tensors[name].astype(np.float64) for name in group))
        arrays.append(x.T if "weight" in group[0] and group[0] != "embedding.weight" else x)
    return arrays
