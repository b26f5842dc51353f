"""What is particular to a method: the numbers of its own mechanism, as tables.

T tokens   H heads   P virtual tokens   D width   r rank or bottleneck
"""

from collections.abc import Callable
from functools import singledispatch

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..autograd.backend import host
from ..autograd.functional import gelu, relu
from ..autograd.nn import replace
from ..autograd.tensor import Tensor, no_grad
from ..data.batches import pad
from ..data.splits import split
from ..methods import (
    IA3,
    Adapter,
    BiasTuning,
    BitFit,
    FullFineTuning,
    Fusion,
    LayerNormTuning,
    LoRA,
    ParallelAdapter,
    PrefixTuning,
    Probe,
    nearest,
)
from ..tasks.probing import (
    LayerHead,
    accuracy_by_layer,
    control_labels,
    every_layer,
    pool_states,
    train_probes,
)
from .panel import Look, Panel
from .reader import Reader, logsumexp
from .recording import Attended, Pass, Recorder, place

LIKELIEST = 5  # words that are shown
LARGEST = 8  # entries of a vector, units of a bottleneck, singular values that are shown


def panels(reader: Reader, passed: Pass, tokens: dict[str, list[str]]) -> list[Panel]:
    """Return the tables of an adaptation, in the order of the model's layers.

    passed: its pass.  tokens: {stack: names of its rows}.
    """
    found, layers, taken = [], dict(reader.model.modules()), dict.fromkeys(passed.stacks, 0)
    for name, recorder in passed.stacks.items():
        rows = tokens[name][-len(recorder.virtual) :]
        for path, a in recorder.attended.items():
            if a.virtual.any():
                found.append(shares(path, a, recorder, rows))
    for leaf in reader.γ.leaves():
        for path, parameters in leaf.at.items():
            name = next((n for n in passed.stacks if path.startswith(f"{n}.")), [*tokens][-1])
            recorder = passed.stacks[name]
            if path not in recorder.inputs:  # a layer that this network does not use
                continue
            reads_encoder = path.endswith(("cross.k", "cross.v"))
            rows = tokens["encoder" if reads_encoder else name]
            first = recorder.prompt if leaf.method.pseudo_tokens else taken[name]
            look = Look(reader, leaf, recorder, rows, path, layers[path], first)
            if path.endswith("tokens") and (front := leaf.prepended(layers[path], 1)):
                taken[name] += front.real.shape[1]
            θ = {name: host(p.data) for name, p in parameters.items()}
            with no_grad():
                found += mechanism(leaf.method, look, **θ)
    order = {path: i for i, path in enumerate(layers)}
    return sorted(found, key=lambda panel: order[panel.path])


def adds_tokens(γ: Adaptation, model) -> bool:
    """Return whether an adaptation of one method adds virtual tokens, in front or in a template."""
    layers = dict(model.modules())
    front = any(γ.prepended(layers[path], 1) for path in γ.at)
    return front or γ.method.pseudo_tokens > 0


@singledispatch
def mechanism(method, look: Look, **θ) -> list[Panel]:
    """Return the tables of a method at one layer with parameters θ: here those of any method.

    Of virtual tokens of the embedding, see `described`; else ‖γ(h) - h‖ / ‖h‖ of the layer's output
    h for each token.
    """
    if method.pseudo_tokens:
        return described(look, θ["h"])
    rows = method.prepend(look.layer, **{name: look.tensor(x) for name, x in θ.items()})
    if rows is None:
        return [layer_change(look)]
    return described(look, host(rows[0].data)) if len(rows) == 1 else []


@mechanism.register
def gate(method: PrefixTuning, look: Look, **θ) -> list[Panel]:
    """Return the gate g (1, H) of a prefix with one; the λ of a prefix is in `shares`."""
    if "g" not in θ:
        return []
    columns = [f"head {i}" for i in range(θ["g"].size)]
    return [look.table("gate", columns, θ["g"], ["g"]), layer_change(look)]


def layer_change(look: Look) -> Panel:
    """Return ‖γ(h) - h‖ / ‖h‖ (T, 1) of the output h of a layer."""
    h, adapted = look.h, host(look.recorder.outputs[look.path])[0]
    change, size = (np.linalg.norm(z, axis=-1)[:, None] for z in (adapted - h, h))
    terms = {"change": change, "size": size}
    return look.table("layer", ["‖γ(h) − h‖ / ‖h‖"], ratio(change, size), terms=terms)


def ratio(a, b):
    """Return a / b, and 0 where both are 0."""
    return np.divide(a, b, out=np.where(a == 0, 0.0, np.inf), where=b != 0)


# -- virtual tokens


def shares(path: str, a: Attended, recorder: Recorder, rows: list[str]) -> Panel:
    """Return λ (T, H), the attention of each query to virtual tokens        He et al. 2022, eq. 7

    The note is the largest difference of the heads, computed as a whole, to
    (1 - λ) Attn(Q, K, V) + λ Attn(Q, P_key, P_value).
    """
    text = ~recorder.virtual
    scores, queries = np.asarray(a.scores[:, text], float), [r for r, t in zip(rows, text) if t]
    virtual, words = (logsumexp(scores[..., c]) for c in (a.virtual, ~a.virtual))  # (H, T)
    λ = np.exp(virtual - np.logaddexp(virtual, words))
    part = lambda c, total: np.exp(scores[..., c] - total[..., None]) @ a.v[:, c]
    both = (1 - λ)[..., None] * part(~a.virtual, words) + λ[..., None] * part(a.virtual, virtual)
    heads = recorder.inputs[f"{path}.o"][text].reshape(len(queries), len(λ), -1)
    error = float(abs(both.swapaxes(0, 1) - heads).max())
    columns = [f"head {i}" for i in range(len(λ))]
    terms = {"a": virtual.T, "b": words.T}
    return Panel("lambda", path, queries, columns, λ.T, terms, note=("both ways", error))


def described(look: Look, P) -> list[Panel]:
    """Return the nearest words of virtual tokens P (k, D), norms, attention, and worth.

    The nearest word says nothing if its cosine is at most that of a random vector, the note: the
    mean largest one of 100; or if many words are about as near, as rarely trained ones are.
    """
    reader, W, k = look.reader, host(look.layer.W.data), len(P)
    ids, cosines = nearest(P, W, LIKELIEST)
    rows, columns = [f"P{i}" for i in range(k)], [str(i + 1) for i in range(LIKELIEST)]
    words = [[reader.word(i) for i in row] for row in ids]
    random = np.random.default_rng(0).normal(size=(100, W.shape[1])).astype(W.dtype)
    chance = float(nearest(random, W)[1].mean())
    all_cosines = nearest(P, W, len(W))[1]
    as_near = (all_cosines >= all_cosines[:, :1] - 0.01).sum(1)[:, None] - 1.0
    size, mean = np.linalg.norm(P, axis=1)[:, None], np.linalg.norm(W, axis=1).mean()
    terms = {"size": size, "mean": np.full_like(size, mean)}
    received = attention_received(look.recorder)
    blocks, shares = [*received], np.stack([*received.values()], 1)[look.first : look.first + k]
    most = np.sort(np.argsort(-shares.mean(1), kind="stable")[:LARGEST])
    whole, number = reader.loss(), np.arange(look.recorder.virtual.sum()) - look.first
    kept = ((number != i).astype(float) for i in most)
    worth = np.array([[reader.loss(scale=at_keys_of(look.path, s))] for s in kept])
    lost = {"without": worth, "whole": np.full_like(worth, whole)}
    table, names = look.table, [rows[i] for i in most]
    return [
        table("cosine", columns, cosines, rows, words=words, note=("chance", chance)),
        table("as near", ["words"], as_near, rows),
        table("norm", ["‖p‖ / mean ‖w‖"], size / mean, rows, terms=terms),
        table("received", blocks, shares, rows),
        table("worth", ["loss without it − loss"], worth - whole, names, terms=lost),
    ]


def at_keys_of(path: str, s: np.ndarray) -> Callable:
    """Return the scale s of the attentions whose keys are rows of the stack of a layer, and 1."""
    stack = path.split(".")[0] if path.startswith(("encoder.", "decoder.")) else ""
    reads = lambda path: path.endswith("attn") and path.startswith(stack)
    return lambda path: s if reads(path) or stack == "encoder" and path.endswith("cross") else 1.0


def attention_received(recorder: Recorder) -> dict[str, np.ndarray]:
    """Return {block: attention (k,) of the text to the k virtual rows}, a mean over the heads."""
    rows, virtual = len(recorder.virtual), recorder.virtual
    received = {}
    for path, a in recorder.attended.items():
        if path.endswith("attn"):  # not to an encoder's rows
            weights = a.weights[:, ~virtual, -rows:][..., virtual]
            received[place(path)] = weights.mean((0, 1))
    return received


@mechanism.register
def fusion(method: Fusion, look: Look, **θ) -> list[Panel]:
    """Return the attention s (T, N) of each token to the adapters."""
    recording = replace(look.γ, recorded={})
    recording(look.frozen, look.x)
    s, columns = recording.recorded[look.path][0], [str(m) for m in method.adapters]
    return [look.table("weights", columns, s), layer_change(look)]


# -- weights and vectors


@mechanism.register
def low_rank(method: LoRA, look: Look, A, B, m=None) -> list[Panel]:
    """Return the singular values of (α/r) B A, ‖(α/r) B A x‖ / ‖W₀ x‖ and, of DoRA, m / ‖W₀‖."""
    W = host(look.layer.oriented(look.layer.W).data)
    inner = np.linalg.qr(A)[1] @ np.linalg.qr(B.T)[1].T  # has the singular values of A B
    σ = method.scale * np.linalg.svd(inner, compute_uv=False)[None, :LARGEST]
    change = host(method.branch(look.layer, look.x, *map(look.tensor, (A, B))).data)[0]
    frozen = look.h - host(look.layer.tensors().get("b", Tensor(np.zeros(1))).data)
    sizes = [np.linalg.norm(z, axis=-1)[:, None] for z in (change, frozen)]
    terms = dict(zip(("change", "size"), sizes))
    share = float(np.linalg.norm(σ) / np.linalg.norm(W))
    found = [
        look.table("singular", numbered(σ), σ, ["ΔW"], note=("‖ΔW‖ / ‖W₀‖", share)),
        look.table("low rank", ["‖(α/r) B A x‖ / ‖W₀ x‖"], ratio(*sizes), terms=terms),
    ]
    if m is not None:
        found.append(largest(look, "magnitude", m / np.linalg.norm(W, axis=0), around=1.0))
    return found


@mechanism.register
def _(method: Adapter, look: Look, D, b, U, c) -> list[Panel]:
    return [units(look, host(gelu(Tensor(look.h @ D + b)).data)), layer_change(look)]


@mechanism.register
def _(method: ParallelAdapter, look: Look, W_down, W_up) -> list[Panel]:
    x = look.recorder.inputs[look.path]
    return [units(look, host(relu(Tensor(x @ W_down)).data)), layer_change(look)]


@mechanism.register
def _(method: IA3, look: Look, l) -> list[Panel]:
    return [largest(look, "scaling", l, around=1.0), layer_change(look)]


@mechanism.register
def _(method: BitFit, look: Look, delta) -> list[Panel]:
    return [largest(look, "vector", delta), layer_change(look)]


@mechanism.register
def _(method: BiasTuning, look: Look, b) -> list[Panel]:
    return [largest(look, "vector", b - host(look.layer.b.data)), layer_change(look)]


@mechanism.register
def tensors(method: FullFineTuning, look: Look, **θ) -> list[Panel]:
    """Return ‖W′ − W‖ / ‖W‖ of each tensor of a layer."""
    old = {name: host(t.data) for name, t in look.layer.tensors().items()}
    pairs = [(θ[n].reshape(W.shape) - W, W) for n, W in old.items() if n in θ]
    sizes = [np.array([[np.linalg.norm(z)] for z in part]) for part in zip(*pairs)]
    terms = dict(zip(("change", "size"), sizes))
    return [
        look.table("tensor", ["‖W′ − W‖ / ‖W‖"], ratio(*sizes), [*old], terms=terms),
        layer_change(look),
    ]


@mechanism.register
def _(method: LayerNormTuning, look: Look, **θ) -> list[Panel]:
    old = look.layer.tensors()
    changes = {name: θ[name] - host(t.data) for name, t in old.items()}
    return [*(largest(look, "vector", z, name) for name, z in changes.items()), layer_change(look)]


@mechanism.register
def _(method: Probe, look: Look, **θ) -> list[Panel]:
    return []  # see `probes`


def probes(reader: Reader, examples) -> Panel:
    """Return the accuracy (L + 1, 3) of linear probes of each layer        Hewitt & Liang 2019

    examples: (ids, label) of texts, at least 20; half of each label's, drawn at random, train the
    probes, and the others test them.  The columns are the accuracy, that of the control task, a
    random label for each text, and the selectivity, their difference.
    """
    halves = split(list(examples), np.random.default_rng(0), test=0.5)
    n = len(halves["train"])
    texts, names = zip(*halves["train"], *halves["test"])
    classes, labels = np.unique(names, return_inverse=True)
    ids, mask = pad(list(texts))
    pool = getattr(reader.model, "pool", "last" if reader.model.causal else "mean")
    pool = "mean" if pool == "attention" else pool
    x = pool_states(every_layer(reader.model, ids, mask), mask, pool)
    head, half = LayerHead(reader.model, len(classes)), (slice(None, n), slice(n, None))
    control = control_labels([str(text) for text in texts], len(classes))
    scores = []
    for y in (labels, control):
        trained = train_probes(head, x[:, half[0]], y[half[0]])
        scores.append(accuracy_by_layer(head, trained, x[:, half[1]], y[half[1]]))
    values = np.stack([*scores, scores[0] - scores[1]], 1)
    rows = ["embedding", *(f"block {l}" for l in range(len(values) - 1))]
    return Panel("accuracy", "", rows, ["accuracy", "control", "selectivity"], values)


def numbered(values) -> list[str]:
    """Return the numbers of the columns of a table."""
    return [str(i) for i in range(1, values.shape[-1] + 1)]


def units(look: Look, z) -> Panel:
    """Return the activations (T, 8) of the units of a bottleneck, z (T, r), that are largest.

    The note is the share of all activations that are above 0.
    """
    best = np.sort(np.argsort(-abs(z).mean(0), kind="stable")[:LARGEST])
    columns = [f"unit {i}" for i in best]
    return look.table("bottleneck", columns, z[:, best], note=("active", float((z > 0).mean())))


def largest(look: Look, kind: str, vector, row: str = "", around: float = 0.0) -> Panel:
    """Return the 8 entries of a vector that are furthest from a number, and where they are.

    The note is the root mean square of the distances.
    """
    z = vector.reshape(-1)
    at = np.argsort(-abs(z - around), kind="stable")[:LARGEST]
    note = "root mean square", float(np.sqrt(((z - around) ** 2).mean()))
    words, row = [[f"[{i}]" for i in at]], row or "b" * (kind == "vector") or "l"
    return look.table(kind, numbered(at), z[None, at], [row], words=words, note=note)
