"""minipeft check: slips of public repositories, each by its name; files, names, exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minipeft.checking.formulas import FORMULAS
from minipeft.checking.laws import LAWS
from minipeft.commands import command_class

ROOT = Path(__file__).parents[2]
PUBLIC = {  # where it was seen, equation, name of the slip: a function with it, in NumPy
    ("rasbt/LLMs-from-scratch#821", "lora", "α instead of α/r"): """
def lora(x, W, A, B, alpha):
    return x @ W + alpha * (x @ A @ B)
""",
    ("jingyaogong/minimind#577", "lora", "the scale is left out"): """
def lora(x, W, A, B, alpha):
    return x @ W + (x @ A) @ B
""",
    ("huggingface/peft#2348", "dora", "the norm of the weights of an input"): """
def dora(x, W, A, B, m, alpha):
    V = W + alpha / A.shape[1] * A @ B
    return x @ (m * V / np.linalg.norm(V, axis=1, keepdims=True))
""",
    ("NVlabs/DoRA#30", "dora", "W₀ x is added twice"): """
def dora(x, W, A, B, m, alpha):
    scale = alpha / A.shape[1]
    factor = m / np.linalg.norm(W + scale * A @ B, axis=0)
    return x @ W + factor * (x @ W + scale * (x @ A @ B))
""",
    ("rabeehk/compacter#6", "adapter", "h is not added"): """
def adapter(h, D, b, U, c):
    z = h @ D + b
    z = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    return z @ U + c
""",
    ("delzac/cntkx#10", "attention", "√d is left out"): """
def attention(q, k, v):
    w = np.exp(q @ k.T)
    return w / w.sum(-1, keepdims=True) @ v
""",
    ("FrancescoSaverioZuppichini/ViT#2", "attention", "√d divides the weights, not the scores"): """
def attention(q, k, v):
    w = np.exp(q @ k.T)
    return w / w.sum(-1, keepdims=True) * q.shape[1] ** -0.5 @ v
""",
    ("AI-Hypercomputer/maxtext#1370", "attention", "times √d"): """
def attention(q, k, v):
    w = np.exp(q @ k.T / q.shape[1] ** -0.5)
    return w / w.sum(-1, keepdims=True) @ v
""",
    ("nerdai/llms-from-scratch-rs#30", "attention", "softmax over queries"): """
def attention(q, k, v):
    w = np.exp(q @ k.T / q.shape[1] ** 0.5)
    return w / w.sum(0) @ v
""",
    ("zai-org/ChatGLM3#359", "prefix", "keys are not shifted by the prefix"): """
def prefix(q, K, V, P_key, P_value):
    k, v = np.vstack([P_key, K]), np.vstack([P_value, V])
    w = np.exp(q @ k.T / q.shape[1] ** 0.5)
    w = np.tril(w)
    return w / w.sum(-1, keepdims=True) @ v
""",
    ("He et al. 2022, eq. 8", "lambda", "λ without √d"): """
def weight(q, K, P_key):
    text, front = np.tril(np.exp(q @ K.T)).sum(1), np.exp(q @ P_key.T).sum(1)
    return front / (front + text)
""",
    ("tloen/alpaca-lora#315", "positions", "padding takes positions"): """
def positions(mask, P):
    B, T = mask.shape
    return np.tile(np.arange(P, P + T), (B, 1))
""",
    (
        "kipgparker/soft-prompt-tuning#7",
        "generate",
        "the prompt is read twice with a cache",
    ): """
def generate(model, P, ids, n):
    rows, cache, new = model.embed(ids), None, []
    for _ in range(n):
        logits, cache = model(np.vstack([P, rows]), cache)
        new.append(logits[-1].argmax())
        rows = model.embed(new[-1:])
    return new
""",
    (
        "autoliuweijie/BERT-whitening-pytorch#13",
        "pooling",
        "the mean is over padding, too",
    ): """
def pooling(h, mask):
    return h.mean(axis=1)
""",
    ("huggingface/peft#764", "pooling", "the last column instead of the last token"): """
def pooling(h, mask):
    return h[:, -1]
""",
    ("rasbt/LLMs-from-scratch#431", "dropout", "1/p instead of 1/(1 - p)"): """
def dropout(x, p, rng):
    return x * (rng.random(x.shape) >= p) / p
""",
    ("wyf3/llm_related#33", "logp", "labels are not shifted"): """
def logp(z, ids, mask):
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    return (np.log(np.take_along_axis(p, ids[..., None], -1)[..., 0]) * mask).sum(1)
""",
    ("jingyaogong/minimind#298", "logp", "a mean over all T columns"): """
def logp(z, ids, mask):
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    log_p = np.log(np.take_along_axis(p[:, :-1], ids[:, 1:, None], -1)[..., 0])
    return (np.hstack([0 * log_p[:, :1], log_p]) * mask).mean(1)
""",
    ("0xallam/Direct-Preference-Optimization#4", "logp", "prompt and padding count"): """
def logp(z, ids, mask):
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    return np.log(np.take_along_axis(p[:, :-1], ids[:, 1:, None], -1))[..., 0].sum(1)
""",
    ("natolambert/rlhf-book#216", "gae", "padding after the answer counts"): """
def gae(r, V, mask, gamma, lam):
    A, after, V_next = np.zeros_like(V), 0, 0
    for t in reversed(range(V.shape[1])):
        after = r[:, t] + gamma * V_next - V[:, t] + gamma * lam * after
        A[:, t], V_next = after, V[:, t]
    return A
""",
    ("4kasha/CartPole_PPO#1", "gae", "A_t instead of A_t+1"): """
def gae(r, V, mask, gamma, lam):
    r, V, A = r * mask, V * mask, np.zeros_like(V)
    for t in reversed(range(V.shape[1])):
        V_next = V[:, t + 1] if t + 1 < V.shape[1] else 0
        A[:, t] = A[:, t] * lam * gamma + r[:, t] + gamma * V_next - V[:, t]
    return A
""",
    (
        "Eric-Wallace/universal-triggers#17",
        "autoprompt",
        "the sign: words that raise the loss",
    ): """
def autoprompt(W, g, k):
    return np.argsort(W @ g)[::-1][:k]
""",
    ("deeplearning4j/libnd4j#440", "backward", "only the diagonal: y (1 - y) g"): """
def backward(x, g):
    y = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    return y * (1 - y) * g
""",
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """file(text): a file of the reader's own, mine.py in the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "mine.py").write_text(f"import minipeft as mp\nimport numpy as np\n\n{text}")
        return "mine.py"

    return write


@pytest.mark.parametrize("key", PUBLIC, ids=" ".join)
def test_a_slip_of_a_public_repository_is_named(file, run, capsys, json_of, key):
    seen, name, slip = key
    assert run("check", file(PUBLIC[key]), "--as", name) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert f", as {name}: " in text and "fails" in text
    run("check", "mine.py", "--as", name, "--json")
    finding = json.loads(capsys.readouterr().out)["findings"][0]
    assert finding["result"] == "fails" and finding["why"].startswith(f"{slip}: ")
    assert seen in finding["why"] and FORMULAS[name].place in finding["why"]


KILL = "os.kill(os.getpid(), signal.SIGTERM)"
METHOD = '''
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine(mp.Method):
    """(W + diag d) x        d = 0"""

    targets: str = r"attn\\.[qo]$"

    def start(self, layer, rng):
        return {"d": np.zeros((1, layer.shape[0]))}

    def apply(self, layer, x, d):
        return layer(x) + x * d

def helper():
    pass
'''


def test_a_method_of_ones_own(file, run, json_of, capsys):
    """The only method of a file, also beside functions, and by its name."""
    file(METHOD)
    report = json_of("check", "mine.py:Mine")
    assert report == json_of("check", "mine.py") and report["name"] == "Mine"
    assert report["as"] is None and report["held"] == report["laws"] == len(LAWS) - 1
    assert [f["law"] for f in report["findings"]] == [law.name for law in LAWS]
    capsys.readouterr()
    manual = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `check` \| (.*) \|$", manual[manual.index("## JSON") :], re.M)
    assert {*report, *report["findings"][0]} <= {*re.findall(r"\w+", row)}
    assert run("check", "mine.py") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and lines[-1] == "Mine: 11 of 11 laws hold"
    worst = {row[0]: row[-2:] for line in lines if (row := line.split())[-1:] == ["ok"]}
    assert worst["start"] == ["0", "ok"] and re.fullmatch(r"\d\.\de-\d\d", worst["mixed"][0])


def test_the_worst_error_is_a_number_or_null(file, run, capsys):
    wrong = "def attention(q, k, v):\n    return q @ k.T @ v\n"
    for text, worst in ((wrong, float), (wrong.replace("v\n", "v * np.nan\n"), type(None))):
        assert run("check", file(text), "--as", "attention", "--json") == 1
        findings = json.loads(capsys.readouterr().out)["findings"]
        assert type(findings[0]["worst"]) is worst and findings[0]["result"] == "fails"
    assert run("check", "mine.py", "--as", "attention") == 1
    assert re.search(r"^ equation .* nan +fails *$", capsys.readouterr().out, re.M)


def test_what_a_file_prints_is_not_in_the_report(file, json_of, capsys):
    file("print(3)\ndef prompt(X, P):\n    print(X)\n    return np.concatenate([P, X])\n")
    assert json_of("check", "mine.py", "--as", "prompt")["held"] == 3


def test_an_instance_has_fields_of_ones_own(file, json_of):
    assert json_of("check", file("mine = mp.LoRA(rank=3)"), "--as", "lora")["name"] == "LoRA"


def test_a_method_with_an_error_fails(file, run, capsys):
    assert run("check", file(METHOD.replace("x * d", "x @ d")), "--json") == 1
    found = {f["law"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["padding"]["why"].startswith("ValueError: matmul")
    assert found["padding"]["why"].endswith("(mine.py, line 17), in a small GPT-2")


ENDING = {  # where code ends the program: a file in which END does
    "a function": "def lora(x, W, A, B, alpha):\n    END\n",
    "apply": METHOD.replace("return layer(x) + x * d", "END"),
    "start": METHOD.replace("return {", "END; return {"),
    "places": METHOD.replace("    def apply", "    def places(self, model): END\n    def apply"),
    "a new method": METHOD.replace("    def start", "    def __init__(self): END\n    def start"),
}


@pytest.mark.parametrize("where", ENDING)
@pytest.mark.parametrize("end", ["sys.exit(0)", "raise Stop(0)"])
def test_code_that_ends_the_program_fails_in_its_line(file, run, capsys, where, end):
    head = "import sys\nclass Stop(BaseException): pass\n"
    file(head + ENDING[where].replace("END", end))
    code = run("check", "mine.py", *(["--as", "lora"] if where == "a function" else []), "--json")
    printed, error = capsys.readouterr(), "SystemExit: 0" if "sys" in end else "Stop: 0"
    if where == "a new method":
        assert code == 2 and printed.err.endswith(f"each field needs a default: {error}\n")
        return
    findings = json.loads(printed.out)["findings"]
    fails = [f["why"] for f in findings if f["result"] == "fails"]
    line = 1 + Path("mine.py").read_text().split(end)[0].count("\n")
    assert code == 1 and len(fails) >= 5
    assert all(why.startswith(f"{error} (mine.py, line {line})") for why in fails)


@pytest.mark.parametrize("stop, code", [("raise KeyboardInterrupt", 130), (KILL, 143)])
def test_a_signal_stops_a_check(file, run, stop, code):
    """Also while a function of the reader's own runs, or its file is read."""
    text = f"import os, signal\ndef lora(x, W, A, B, alpha):\n    {stop}\n"
    assert run("check", file(text), "--as", "lora") == code
    assert run("check", file(text.replace("def lora(x, W, A, B, alpha)", "if True"))) == code


def test_a_function_is_found_by_the_name_of_the_equation(file, json_of):
    file("def lora(x, W, A, B, alpha):\n    return x @ W + alpha / A.shape[1] * (x @ A @ B)\n")
    with open("mine.py", "a") as text:
        text.write("def other(x):\n    return x\n\nreport = 3\n")
    assert json_of("check", "mine.py", "--as", "lora")["name"] == "lora"


REFUSED = {  # text of the file, flags: exit code and a part of the error
    ("def f(x):\n    pass\ndef g(x):\n    pass\n", "mine.py"): (2, "mine.py has f, g: name one"),
    ("def fine(x):\n    pass\n", "mine.py:finer"): (
        2,
        "called finer; did you mean fine? It has fine",
    ),
    ("x = 3\n", "mine.py:x"): (2, "mine.py has no method or function called x. It has none"),
    ("x = 3\n", "mine.py"): (2, "mine.py has no class of minipeft.Method and no function"),
    ("def f(x):\n    pass\n", "mine.py"): (2, "f is a function of arrays: name the equation"),
    ("def f(x):\n    pass\n", "mine.py --as lorra"): (2, "'lorra'; did you mean lora?"),
    ("def f(x):\n    pass\n", "mine.py --as lora"): (2, "W (I, O); b (O,), optional; A (I, r)"),
    ("def f(x):\n    pass\n", "mine.py --ass lora"): (2, "no flag --ass; did you mean --as?"),
    ("async def f(x):\n    pass\n", "mine.py --as lora"): (2, "async def`, whose call returns"),
    (METHOD.replace("[qo]", "("), "mine.py"): (2, "pattern: missing ), unterminated"),
    ("x = (\n", "mine.py"): (3, "mine.py, line 4: SyntaxError"),
    ("1 / 0\n", "mine.py:f --as lora"): (3, "mine.py, line 4: ZeroDivisionError"),
    ("x = 3\n", "absent.py:f"): (3, "absent.py"),
    ("x = 3\n", "absent"): (3, "absent"),
}


@pytest.mark.parametrize("text, args", REFUSED)
def test_what_can_not_be_checked_is_refused_in_one_line(file, run, capsys, text, args):
    file(text)
    code, says = REFUSED[text, args]
    assert run("check", *args.split()) == code
    printed = capsys.readouterr()
    assert not printed.out and says in printed.err and len(printed.err.splitlines()) == 1


def test_flags_in_a_file_name_the_equation(file, run, tmp_path):
    file("def other(x, W, A, B, alpha):\n    return x @ W\n")
    (tmp_path / "run.toml").write_text("as = 'lora'\n")
    assert run("check", "mine.py", "--config", "run.toml") == 1


def test_the_help_names_equations(run, capsys):
    assert run("check", "--help") == 0
    named = command_class("check").__annotations__["as_"].__metadata__[0].help
    assert {"lora", "prefix", "attention", "dpo"} <= {w.strip(",") for w in named.split()}


def test_functions_of_pytorch(tmp_path):
    """With the extra `oracle`: tensors in, tensors out, and gradients of PyTorch's autograd."""
    pytest.importorskip("torch")
    text = """
import torch
import torch.nn.functional as F

def attention(q, k, v):
    return F.softmax(q @ k.T / q.shape[1] ** 0.5, dim=-1) @ v

def dora(x, W, A, B, m, alpha):
    V = W + alpha / A.shape[1] * A @ B
    return torch.matmul(x, m * V / torch.linalg.norm(V, dim=0).detach())
"""
    (tmp_path / "mine.py").write_text(text)
    check = [sys.executable, "-m", "minipeft", "check", "mine.py", "--json", "--as"]
    here = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    right, wrong = (
        subprocess.run([*check, name], stdout=subprocess.PIPE, **here)
        for name in ("attention", "dora")
    )
    assert right.returncode == 0
    found = {f["law"]: f for f in json.loads(wrong.stdout)["findings"]}
    assert found["equation"]["result"] == "ok" and found["float32"]["result"] == "ok"
    assert found["derivatives"]["why"].startswith("the gradient of ") and wrong.returncode == 1


def test_numbers_of_the_table_are_those_of_the_laws():
    assert len({key[0] for key in PUBLIC}) >= 20 and np.all([key[1] in FORMULAS for key in PUBLIC])
