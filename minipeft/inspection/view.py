"""What an adaptation does to one text: `inspect` and the numbers that it returns.

L layers   R rows: virtual tokens and text   T tokens of the text   V vocabulary or classes
W words   S scales
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.each import Each
from ..adaptation.method import PLAIN, as_adaptation
from ..autograd.backend import host
from ..autograd.nn import replace, size
from ..autograd.tensor import Tensor, no_grad
from ..data.batches import pad
from ..methods import Probe
from ..model.heads import Classifier, SpanClassifier
from ..model.transformer import LanguageModel
from ..training.trainer import NonFinite
from .mechanisms import LIKELIEST, adds_tokens, panels, probes
from .reader import Reader, kl, log_softmax
from .recording import Pass, Recorder, place
from .results import Causes, Inspection, Outputs, Slider, Stack, View

SCALES = 0.0, 0.5, 1.0, 1.5, 2.0


def inspect(
    model,
    γ: Adaptation | None,
    ids,
    *,
    against: Adaptation | None = None,
    new_tokens: int = 12,
    examples: Sequence | None = None,
) -> Inspection:
    """Return what an adaptation does to a text: changes, likely words, causes, its mechanism.

    γ: an adaptation, an Each of one row, or None.
    ids (T,) or (1, T): token ids of the text; γ's template is put around it.
    against: a second adaptation, for the same text, or None.
    new_tokens: at most so many tokens are first generated greedily by γ, where the model writes
    text and has positions left; they are inspected, too.
    examples: (ids, label) of texts, for the probes of each layer that a Probe is compared with.

    Raises ValueError for ids that the model can't read, an adaptation of another model, more than
    one text or user, and examples without a Probe; NonFinite if logits are NaN or infinite.
    """
    ids = np.atleast_2d(np.asarray(ids))
    if len(ids) != 1 or ids.dtype.kind not in "iu":
        raise ValueError(
            f"inspect reads one text, integers ids (T,); got {ids.dtype} {ids.shape}: encode a "
            "text, and give one row"
        )
    if new_tokens < 0:
        raise ValueError(f"new_tokens={new_tokens} must be at least 0")
    users = [γ] if against is None else [γ, against]
    readers = [Reader(model, one_user(m), ids[0]) for m in users]
    base = Reader(model, PLAIN, readers[0].words)
    probing = [any(isinstance(m.method, Probe) for m in r.γ.leaves()) for r in readers]
    if examples is not None and not any(probing):
        raise ValueError("examples are for the probes of each layer, and no Probe is inspected")
    new = readers[0].generate(min(new_tokens, *(reader.room for reader in (base, *readers))))
    for reader in (base, *readers):
        reader.new = new
    read, passes = base.read(), [reader.read() for reader in readers]
    for passed in (read, *passes):
        if passed.logits is not None and not np.isfinite(passed.logits).all():
            raise NonFinite("logits are NaN or infinite: the parameters are too large, or broken")
    views = [view(*each, read) for each in zip(readers, passes)]
    for v, is_probe in zip(views, probing):
        if examples is not None and is_probe:
            v.panels.append(probes(base, examples))
    return Inspection(model, base.words, len(base.new), views, together(readers, passes))


def one_user(γ) -> Adaptation:
    """Return the adaptation of the row of an Each, or the user of a bank, resolved.

    Raises ValueError if there are several.
    """
    γ = as_adaptation(γ)
    γ.check_batch(1)
    γ = γ.parts[0] if isinstance(γ, Each) else γ
    return (γ.user(0) if γ.users else γ).resolve()


def view(reader: Reader, passed: Pass, base: Pass) -> View:
    """Return what an adaptation does to a text, from its pass and that of the base."""
    γ, at, outputs, causes, slider = reader.γ, {}, None, None, None
    stacks = {name: stack(reader, name, passed, base) for name in passed.stacks}
    if passed.logits is not None:
        outputs = compared(reader, passed, base)
        zero = reader.read(scale=lambda path: 0.0)
        causes = traced(reader, outputs, passed, zero)
        slider = slid(reader, outputs, base, {0.0: zero, 1.0: passed})
    counted: set[int] = set()  # a parameter at two paths counts at the first
    for m in γ.leaves():
        for path, parameters in m.at.items():
            new = {id(p): p.data.size for p in parameters.values() if id(p) not in counted}
            counted.update(new)
            sizes = at.setdefault(place(path), {})
            sizes[path] = sizes.get(path, 0) + sum(new.values())
    tokens = {name: s.tokens for name, s in stacks.items()}
    found = panels(reader, passed, tokens)
    return View(γ, size(γ), at, stacks, outputs, causes, slider, found)


# -- hidden states


def states(recorder: Recorder, blocks: list[str]) -> np.ndarray:
    """Return the input of the first block and the outputs of all blocks, (L + 1, T, D)."""
    outputs = (host(recorder.outputs[path])[0] for path in blocks)
    return np.stack([recorder.inputs[blocks[0]], *outputs])


def compare_states(reader: Reader, name: str, passed: Pass, base: Pass):
    """Return ‖h′ − h‖ and ‖h‖ (T, L + 1) of a stack, NaN where the base has no such row, and h′, h.

    h′ (L + 1, T, D) and h are the states of γ and of the base, in the rows that each of them has.
    """
    blocks, ours = block_paths(reader.model, name), passed.stacks[name]
    column = np.concatenate([np.full(ours.prompt, -1), reader.columns(name)])
    adapted, frozen = states(ours, blocks), states(base.stacks[name], blocks)
    change, norm = np.full((2, len(column), len(adapted)), np.nan)
    read, size = column >= 0, lambda h: np.linalg.norm(h, axis=-1).T
    change[read] = size(adapted[:, read] - frozen[:, column[read]])
    norm[read] = size(frozen[:, column[read]])
    return change, norm, adapted, frozen, column


def block_paths(model, name: str) -> list[str]:
    """Return the paths of the blocks of a stack."""
    return [block.path for block in (getattr(model, name) if name else model).blocks]


def stack(reader: Reader, name: str, passed: Pass, base: Pass) -> Stack:
    """Return what an adaptation changes in one stack of blocks."""
    change, norm, adapted, frozen, column = compare_states(reader, name, passed, base)
    ours, blocks = passed.stacks[name], block_paths(reader.model, name)
    attended = [ours.attended[f"{path}.attn"] for path in blocks]
    front = max(len(a.virtual) for a in attended) - len(column)  # rows of the longest prefix
    kinds = ["virtual"] * front + row_kinds(reader, name, ours.virtual, column)
    tokens = row_names(reader, kinds, np.concatenate([np.full(front + ours.prompt, -1), ours.ids]))
    received = np.full((len(kinds), len(blocks)), np.nan)
    for l, a in enumerate(attended):
        share, n = a.weights[:, ~ours.virtual].mean((0, 1)), len(a.virtual) - len(column)
        received[:n, l], received[front:, l] = share[:n], share[n:]
    behind = lambda x, empty: np.concatenate([np.full((front, x.shape[1]), empty), x])
    found = Stack(
        tokens, kinds, ["tokens", *blocks], behind(change, np.nan), behind(norm, np.nan), received
    )
    if isinstance(reader.model, LanguageModel) and name != "encoder":
        found.lens = behind(lens(reader, name, passed, adapted), -1)
        words = lens(reader, name, base, frozen)[column]
        found.base_lens = behind(np.where(column[:, None] < 0, -1, words), -1)
    return found


def row_kinds(reader: Reader, name: str, virtual, column) -> list[str]:
    """Return the kind of each row of a stack: virtual, template, text, or new."""
    words = {"encoder": len(reader.words), "decoder": 1}.get(name, len(reader.words))
    kind = lambda v, c: "virtual" if v else "template" if c < 0 else "new" if c >= words else "text"
    return list(map(kind, virtual, column))


def row_names(reader: Reader, kinds: list[str], ids) -> list[str]:
    """Return the name of each row: a word, or P and the number of a virtual token."""
    numbers = itertools.count()
    return [f"P{next(numbers)}" if k == "virtual" else reader.word(i) for k, i in zip(kinds, ids)]


def lens(reader: Reader, name: str, passed: Pass, h) -> np.ndarray:
    """Return the likeliest word (T, L + 1) of the states h (L + 1, T, D) of each layer, as ids.

    The states go through the last norm and the head, as those of the last block do.
    """
    model, recorder = reader.model, passed.stacks[name]
    trunk = getattr(model, name) if name else model
    forward = replace(recorder, inputs={}, outputs={})
    ids = np.full(h.shape[:2], -1)
    ids[-1, recorder.prompt :] = passed.logits.argmax(-1)
    with no_grad():
        for l, state in enumerate(h[:-1]):
            x = Tensor(np.asarray(state[None], like=model.reference_array))
            x = forward(trunk.ln, x) if trunk.order[-1] is trunk.ln else x
            ids[l] = host(model.logits(x, forward).data)[0].argmax(-1)
    return ids.T


# -- what comes next


def compared(reader: Reader, passed: Pass, base: Pass) -> Outputs:
    """Return the distributions of both models after each token, or for each output of a head."""
    log_p, log_p0 = log_softmax(reader.rows(passed.logits)), log_softmax(base.logits)
    best, best0 = likeliest(log_p), likeliest(log_p0)
    both = np.concatenate([best, best0], 1)
    p, p0 = (np.exp(np.take_along_axis(x, both, 1)) for x in (log_p, log_p0))
    per_token = not isinstance(reader.model, Classifier | SpanClassifier)
    if per_token:
        rows, at = [reader.word(i) for i in base.last.ids], len(p) - len(reader.new) - 1
    else:
        rows, at = ["start", "end"] if len(p) == 2 else ["class"], 0
    return Outputs(rows, best, best0, p, p0, kl(log_p, log_p0), at, per_token)


def likeliest(log_p) -> np.ndarray:
    """Return the indices (…, 5) of the largest numbers of the last axis, the largest first."""
    n = min(LIKELIEST, log_p.shape[-1])
    best = np.argpartition(-log_p, n - 1, axis=-1)[..., :n]
    order = np.argsort(-np.take_along_axis(log_p, best, -1), axis=-1, kind="stable")
    return np.take_along_axis(best, order, -1)


def after_text(reader: Reader, at: int, **options) -> tuple[np.ndarray, Pass]:
    """Return the log-probabilities (V,) of output `at`, and the pass that has computed them."""
    if isinstance(reader.model, Classifier | SpanClassifier):
        passed = reader.read(**options)
        return log_softmax(reader.rows(passed.logits)[at]), passed
    column = reader.columns("decoder" if reader.writes else "")
    passed = reader.read(at=int(np.flatnonzero(column >= 0)[at]), **options)
    return log_softmax(passed.logits[0]), passed


def acting(γ: Adaptation, passed: Pass, model) -> list[str]:
    """Return the places where γ acts: where it changes a layer, or adds keys to an attention."""
    paths = [path for m in γ.leaves() if not adds_tokens(m, model) for path in m.at]
    for recorder in passed.stacks.values():
        paths += [path for path, a in recorder.attended.items() if a.virtual.any()]
    found = {place(path) for path in paths}
    return [path for path, _ in model.modules() if path in found]


def traced(reader: Reader, outputs: Outputs, passed: Pass, zero: Pass) -> Causes:
    """Return the log-probabilities of the likeliest words with γ in parts of its places.

    zero: the pass of γ scaled by 0.
    The blocks before a place are not computed again: with γ at that place alone their outputs are
    those of γ scaled by 0, and with γ everywhere else those of the whole γ.
    """
    at, places = outputs.at, acting(reader.γ, passed, reader.model)
    both = np.concatenate([outputs.words[at], outputs.base_words[at]])
    words, first = np.unique(both, return_index=True)
    words, first = words[np.argsort(first)], np.sort(first)  # the likeliest first
    only, without = [], []
    for here in places:
        for found, known, inside in ((only, zero, 1.0), (without, passed, 0.0)):
            scale = at_one_place(here, inside)
            log_p, _ = after_text(reader, at, scale=scale, known=known.before(here))
            found.append(log_p[words])
    base, adapted = np.log(outputs.base_p[at, first]), np.log(outputs.p[at, first])
    shape = len(places), len(words)
    return Causes(words, places, base, adapted, *(np.reshape(x, shape) for x in (only, without)))


def at_one_place(here: str, inside: float) -> Callable:
    """Return the scale that is `inside` at a place, and 1 - inside elsewhere."""
    return lambda path: inside if place(path) == here else 1.0 - inside


def slid(reader: Reader, outputs: Outputs, base: Pass, known: dict[float, Pass]) -> Slider:
    """Return what comes after the text with γ scaled by each of SCALES; known: {scale: pass}."""
    found, name, log_p0 = [], [*base.stacks][-1], log_softmax(base.logits[outputs.at])
    for s in SCALES:
        if passed := known.get(s):
            log_p = log_softmax(reader.rows(passed.logits)[outputs.at])
        else:
            log_p, passed = after_text(reader, outputs.at, scale=lambda path, s=s: s)
        best = likeliest(log_p)
        change, norm, *_ = compare_states(reader, name, passed, base)
        found.append((best, np.exp(log_p[best]), kl(log_p, log_p0), np.nanmean(change / norm, 0)))
    words, p, kls, change = map(np.array, zip(*found))
    return Slider(SCALES, words, p, kls, change, how_scaled(reader, known[1.0]))


def how_scaled(reader: Reader, passed: Pass) -> str:
    """Return whether γ is scaled as what it adds to layers, at a gate of attention, or both."""
    gated = any(a.virtual.any() for r in passed.stacks.values() for a in r.attended.values())
    changed = any(not adds_tokens(m, reader.model) for m in reader.γ.leaves())
    return "both" if changed and gated else "gate" if gated else "additive"


def together(readers: list[Reader], passes: list[Pass]) -> float | None:
    """Return the largest difference of the logits of two adaptations alone and in one batch."""
    model = readers[0].model
    if len(readers) == 1 or passes[0].logits is None:
        return None
    ids, mask = pad([reader.ids for reader in readers])
    written = np.stack([reader.written for reader in readers])
    decoder = {"decoder_ids": written} if readers[0].writes else {}
    with no_grad():
        z = host(model(ids, Each([r.γ for r in readers]), mask=mask, **decoder).data)
    z = z[:, None] if z.ndim == 2 else z.swapaxes(1, 2) if isinstance(model, SpanClassifier) else z
    pairs = [(row[: len(p.logits), : p.logits.shape[1]], p.logits) for row, p in zip(z, passes)]
    return float(max(abs(row - alone).max() for row, alone in pairs))
