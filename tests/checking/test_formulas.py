"""Equations of `minipeft check --as`: each is right, and each of its usual slips is told apart."""

import re
from inspect import signature
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft import check
from minipeft.autograd.functional import attention, gelu, layer_norm
from minipeft.checking.finding import FAILS, NOT_APPLICABLE, OK
from minipeft.checking.formulas import FORMULAS
from minipeft.feedback.returns import gae
from minipeft.model.heads import mean
from tests.tools.slips import told_apart

SLIPS = [(name, slip) for name, f in FORMULAS.items() for slip in f.slips]
VARIANTS = [(name, variant) for name, f in FORMULAS.items() for variant in f.variants]


def with_arguments(formula, f):
    """Return f as a function whose arguments have the letters of the equation."""
    names = ", ".join(formula.arguments)
    made = {}
    exec(f"def own({names}):\n    return f({names})", {"f": f}, made)
    return made["own"]


def findings(f, name):
    return {finding.law: finding for finding in check(f, name).findings}


@pytest.mark.parametrize("name", FORMULAS)
def test_an_equation_keeps_all_laws(name):
    formula = FORMULAS[name]
    report = check(formula.right, name)
    assert report.ok and report.findings[0].says == f"{formula.equation}\n{formula.source}"
    assert [*signature(formula.right).parameters] == [*formula.arguments]
    path, line = formula.place.split(":")
    assert path.startswith("minipeft/") and int(line) and formula.slips


@pytest.mark.parametrize("name, variant", VARIANTS)
def test_a_variant_is_right_and_named(name, variant):
    formula = FORMULAS[name]
    report = check(with_arguments(formula, formula.variants[variant]), name)
    assert report.ok and report.findings[0].why == variant


@pytest.mark.parametrize("name, slip", SLIPS, ids=lambda x: getattr(x, "name", x))
def test_a_slip_is_named(name, slip):
    report = check(with_arguments(FORMULAS[name], slip.wrong), name)
    finding = report.findings[0]
    assert finding.result == FAILS and not report.ok
    assert finding.why.startswith(f"{slip.name}: {slip.says}.")
    assert finding.why.endswith(f"Compare with {FORMULAS[name].place}.")
    assert slip.seen in finding.why


@pytest.mark.parametrize("name", FORMULAS)
def test_slips_differ_from_the_equation_and_from_one_another(name):
    """On thousands of other draws: python -m tests.tools.slips."""
    assert told_apart(FORMULAS[name], range(60)) == []


# -- functions that are right


def stable_softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


LIBRARY = {  # the library's own, under the letters of the equations
    "attention": lambda q, k, v, masked: attention(
        *(x[None, None, None] for x in (q, k, v)), masked=masked, scale=q.shape[1] ** -0.5
    )[0, 0, 0],
    "adapter": lambda h, D, b, U, c: h + gelu(h @ D + b) @ U + c,
    "gae": lambda r, V, mask, gamma, lam: gae(r, V, mask != 0, gamma, lam),
    "pooling": lambda h, mask: (mean(mask != 0)[1] @ h)[:, 0],
    "norm_backward": lambda x, g: mp.grad(
        layer_norm(t := mp.Tensor(x, True), np.ones(len(x[0])), np.zeros(len(x[0]))), t, [g]
    )[0],
}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_is_right(name):
    found = findings(LIBRARY[name], name)
    assert found["equation"].result == OK and found["frozen"].result == OK


def test_gradients_of_tensors_are_compared():
    def lora(x, W, A, B, alpha):
        return x @ W + alpha / A.shape[1] * (x @ A @ B)

    def detached(x, W, A, B, alpha):
        return x @ W + alpha / A.shape[1] * (x @ (A.data if isinstance(A, mp.Tensor) else A) @ B)

    assert findings(lora, "lora")["derivatives"].result == OK
    found = findings(detached, "lora")["derivatives"]
    assert found.result == FAILS and found.why == "the gradient of A"
    arrays = findings(lambda X, P: np.vstack([P, X]), "prompt")["derivatives"]
    assert arrays.result == NOT_APPLICABLE


def test_arguments_may_have_any_order_and_optional_ones_may_be_left_out():
    def lora(alpha, B, A, W, x, note="of mine"):
        return x @ W + alpha / A.shape[1] * (x @ A @ B)

    assert check(lora, "lora").ok
    assert check(lambda **a: FORMULAS["lora"].right(**a), "lora").ok
    no_mask = check(lambda h: h.mean(1), "pooling")
    assert no_mask.ok and findings(lambda h: h.mean(1), "pooling")["padding"].result == "n/a"


class Foreign:
    """An array of another library, which NumPy can read."""

    def __init__(self, a):
        self.a = a

    def __array__(self, dtype=None, copy=None):
        return self.a


def test_a_result_may_be_anything_that_numpy_reads():
    assert check(lambda X, P: Foreign(np.vstack([P, X])), "prompt").ok
    assert check(lambda X, P: np.vstack([P, X]).tolist(), "prompt").ok
    assert check(lambda X, P: mp.Tensor(np.vstack([P, X])), "prompt").ok
    wrong = findings(lambda X, P: Foreign(np.vstack([X, P])), "prompt")["equation"]
    assert wrong.why.startswith("[X; P]: ")


# -- functions that are wrong


def one_number_off(x, W, A, B, alpha):
    y = x @ W + alpha / A.shape[1] * (x @ A @ B)
    y[0, 1] += 0.5
    return y


def test_an_unknown_difference_is_shown_on_the_smallest_example():
    finding = findings(one_number_off, "lora")["equation"]
    found, expected = map(
        float,
        re.findall(r"Your result at \[0, 1\] is (\S+); the equation gives (\S+),", finding.why)[0],
    )
    assert abs(found - expected - 0.5) < 1e-3 and finding.worst == pytest.approx(0.5)
    assert len(re.findall(r"-?\d\.\d?", re.search(r"for x = (.*?), W = ", finding.why)[1])) == 4
    assert "alpha = " in finding.why and "b = [0., 0.]" in finding.why


WRONG = [
    ("lora", lambda x, W, A, B, alpha: (x @ W + alpha / A.shape[1] * x @ A @ B).T, "transposed"),
    ("lora", lambda x, W, A, B, alpha: (x @ W)[:1], "the equation gives ("),
    ("lora", lambda x, W, A, B, alpha: "text", "Your result has the shape ()"),
    ("lora", lambda x, W, A, B, alpha: x @ W @ A, "ValueError: matmul: size "),
    ("lora", lambda x, W, A, B, alpha: x @ W @ A, "; hidden states are rows: x @ A, not A @ x ("),
    ("lora", lambda x, W, A, B, alpha: np.nan * x @ W, " is nan; the equation gives "),
    ("attention", lambda q, k, v: q @ k @ v, "; it was called with q ("),
    ("dropout", lambda x, p: x, "Your result at [0] is 1; the equation gives "),
]


@pytest.mark.parametrize("name, f, says", WRONG)
def test_other_errors_are_described(name, f, says):
    report = check(f, name)
    assert report.findings[0].result == FAILS and says in report.findings[0].why


def test_a_function_that_changes_its_arguments():
    def prompt(X, P):
        y = np.concatenate([P, X])
        P += 1
        return y

    found = findings(prompt, "prompt")
    assert found["frozen"].result == FAILS and found["frozen"].why == "it changes P"
    assert found["equation"].result == OK


def test_float32_becomes_float64():
    def attend(q, k, v):
        return stable_softmax(q @ k.T / np.sqrt(q.shape[1])) @ v

    found = findings(attend, "attention")
    assert found["equation"].result == OK and found["float32"].result == FAILS
    assert found["float32"].why.startswith("The result is float64: np.zeros(…) without ")
    assert "dtype=q.dtype" in found["float32"].why
    of_numbers = findings(lambda mask, P: P + np.cumsum(mask, 1) - 1.0, "positions")["float32"]
    assert "dtype=x.dtype" in of_numbers.why


def test_padding_and_other_texts_of_a_batch_are_noticed():
    found = findings(lambda h, mask: h.mean(1), "pooling")
    assert found["padding"].result == FAILS and found["rows"].result == OK

    def by_the_longest(h, mask):
        return (h * mask[..., None]).sum(1) / mask.sum(1).max()

    found = findings(by_the_longest, "pooling")
    assert found["rows"].result == FAILS and found["padding"].result == OK


def test_of_two_mistakes_the_one_about_padding_comes_first():
    def bootstrapped(r, V, mask, gamma, lam, m=1):
        A, after, r, V = np.zeros_like(r), 0, r * m, V * m
        for t in reversed(range(r.shape[1])):
            after = (
                r[:, t] + gamma * V[:, min(t + 1, len(V[0]) - 1)] - V[:, t] + gamma * lam * after
            )
            A[:, t] = after
        return A

    found = findings(bootstrapped, "gae")
    assert found["padding"].result == FAILS
    assert found["equation"].why.endswith(" Fix `padding` first.")
    masked = findings(lambda r, V, mask, gamma, lam: bootstrapped(r, V, 0, gamma, lam, mask), "gae")
    assert masked["padding"].result == OK and "Fix" not in masked["equation"].why


def test_what_is_not_a_number_breaks_every_law_of_numbers():
    found = findings(lambda h, mask: np.nan * h[:, 0], "pooling")
    assert {law for law, f in found.items() if f.result == FAILS} == {"equation", "rows", "padding"}
    assert np.isnan([found[law].worst for law in ("equation", "rows", "padding")]).all()

    def no_gradient(x, g):  # of tensors, not of arrays
        return FORMULAS["backward"].right(x, g) if isinstance(x, np.ndarray) else x * np.nan

    found = findings(no_gradient, "backward")
    assert found["equation"].result == OK and np.isnan(found["derivatives"].worst)
    assert found["derivatives"].result == FAILS and found["derivatives"].why == "the gradient of x"


def test_the_manual_has_every_equation_and_every_slip():
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    for formula in FORMULAS.values():
        slips = "; ".join(slip.name for slip in formula.slips).replace("|", r"\|")
        row = f"| `{formula.name}` | {formula.equation} | {formula.expected()} | {slips} |\n"
        assert row in page, row
