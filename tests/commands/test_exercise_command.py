"""minipeft exercise: `minipeft check` finds an empty file not written, and a filled one right."""

import ast
import errno
import os
import re
import shlex
from inspect import signature
from pathlib import Path

import pytest

import minipeft as mp
from minipeft.checking.exercises import EXERCISES, code, solution, text
from minipeft.checking.formulas import FORMULAS

METHODS = {"lora": mp.LoRA, "prefix": mp.PrefixTuning, "prompt": mp.PromptTuning}
METHODS |= {"adapter": mp.Adapter}
BODIES = {  # of the functions, by the library's own
    "probe": """
    from minipeft.checking.formulas.heads import softmax
    from minipeft.model.heads import mean
    return softmax((mean(mask != 0)[1].astype(h.dtype) @ h)[:, 0] @ W + b)
""",
    "attention": """
    from minipeft.autograd import functional
    q, k, v = (x[None, None, None] for x in (q, k, v))
    return functional.attention(q, k, v, masked=masked != 0, scale=q.shape[-1] ** -0.5)[0, 0, 0]
""",
    "backward": """
    from minipeft.autograd.functional import attention
    one = lambda a: a[None, None, None]  # a head whose scores are x, and whose values are one-hot
    q, v = np.zeros((len(x), 1), x.dtype), np.eye(x.shape[1], dtype=x.dtype)
    bias = mp.Tensor(one(x), requires_grad=True)
    y = attention(one(q), one(np.zeros((len(v), 1), x.dtype)), one(v), bias)
    return mp.grad(y, bias, [one(g)])[0][0, 0, 0]
""",
    "gae": """
    from minipeft.feedback import returns
    return returns.gae(r, V, mask != 0, gamma, lam)
""",
    "dpo": """
    from minipeft.feedback.losses import pairwise_loss
    scores = beta * np.stack([chosen - ref_chosen, rejected - ref_rejected], axis=1)
    weights = np.zeros((len(scores), 2, 2))
    weights[:, 0, 1] = 1 / len(scores)
    return pairwise_loss(mp.Tensor(scores), weights)
""",
}


def filled(name):
    """Return the file of the library, or that of an exercise with the bodies of the library."""
    if name in METHODS:
        source = Path(solution(name).rpartition(":")[0]).read_text(encoding="utf-8")
        absolute = source.replace("from ..", "from minipeft.")
        return absolute.replace("from .", "from minipeft.methods.")
    head, body, end = text(name).partition("    raise NotImplementedError\n")
    assert body
    return f"import minipeft as mp\n{head}{BODIES[name]}{end}"


@pytest.mark.parametrize("name", EXERCISES)
def test_an_empty_exercise_is_not_written(name, tmp_path, monkeypatch, run, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("exercise", name) == 0
    said = f"Wrote {name}.py. Fill it in, then run `minipeft check {name}.py --as {name}`.\n"
    assert " ".join(capsys.readouterr().out.split()) == said.strip()
    tree = ast.parse(written := Path(f"{name}.py").read_text(encoding="utf-8"))
    assert written == text(name) and max(map(len, written.splitlines())) <= 100
    *_, last = written.splitlines()
    assert last == f"# minipeft check {name}.py --as {name}" and ast.get_docstring(tree)
    assert run(*last.split()[2:]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^ \d+ laws? +they wait for this: fill in `\w+`, ", out, re.M)
    assert out.count("not written") == 1
    assert re.search(r": 0 of \d+ laws hold\n\Z", out)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_library_is_the_solution(name, tmp_path, monkeypatch, run, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(filled(name), encoding="utf-8")
    thing = METHODS[name].__name__ if name in METHODS else name
    assert run("check", f"mine.py:{thing}", "--as", name) == 0, capsys.readouterr().out
    last = capsys.readouterr().out.splitlines()[-1]
    held, laws = re.fullmatch(r"\w+, as \w+: (\d+) of (\d+) laws hold", last).groups()
    assert held == laws and int(laws) >= (11 if name in METHODS else 3)


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_has_the_letters_and_the_equation_of_the_library(name):
    tree = ast.parse(text(name))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    of = lambda node: [a.arg for a in node.args.args]
    if name not in METHODS:
        assert of(functions[name]) == list(FORMULAS[name].arguments)
        return
    (cls,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    ours = METHODS[name].__doc__.split("\n")[0]
    assert re.split(r"\s{4,}", ast.get_docstring(cls))[0] == re.split(r"\s{4,}", ours)[0]
    for function in {"apply", "prepend", "weights"} & set(functions):
        library = list(signature(getattr(METHODS[name], function)).parameters)
        assert of(functions[function]) == [p for p in library if p not in ("rng", "g")]
    assert functions.keys() <= {"start", "apply", "prepend", "weights"}
    assert text(name).count("raise NotImplementedError") == len(functions)


@pytest.mark.parametrize("name", EXERCISES)
def test_a_solution_is_a_function_or_class_of_the_library(name):
    path, _, line = solution(name).rpartition(":")
    lines = Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1 :]
    assert "minipeft" in path and re.match(r"\s*(class|def) \w+", lines[0])
    assert lines[0].strip() in code(name)


def test_the_command_writes_one_new_file_or_none(tmp_path, monkeypatch, run, capsys, json_of):
    monkeypatch.chdir(tmp_path)
    report = json_of("exercise", "lora", "--out", "own.py")
    assert report["file"] == "own.py" and report["check"] == "minipeft check own.py --as lora"
    Path("own.py").write_text("mine")
    assert run("exercise", "lora", "--out", "own.py") == 3
    assert "own.py exists already" in capsys.readouterr().err
    assert Path("own.py").read_text() == "mine"
    assert run("exercise", "gae", "--solution") == 0
    printed = capsys.readouterr().out
    assert printed == f"{solution('gae')}\n\n{code('gae')}\n" and "def gae(" in printed
    assert len([*tmp_path.iterdir()]) == 1
    assert json_of("exercise", "gae", "--solution")["file"] is None
    assert run("exercise", "poetry") == 2
    assert run("exercise", "lora", "--out", "own.txt") == 2
    assert "--out own.txt must end in .py" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["own.py"]


def test_folders_are_made_and_the_command_is_one_for_a_shell(tmp_path, monkeypatch, run, json_of):
    monkeypatch.chdir(tmp_path)
    report = json_of("exercise", "gae", "--out", "of mine/my gae.py")
    assert Path("of mine/my gae.py").read_text(encoding="utf-8") == text("gae")
    assert run(*shlex.split(report["check"])[1:]) == 1


def test_nothing_is_left_on_a_full_disk(tmp_path, monkeypatch, run, capsys):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("minipeft.storage.folders.os.fsync", full)
    assert run("exercise", "lora", "--out", tmp_path / "lora.py") == 3
    assert "No space left" in capsys.readouterr().err and not [*tmp_path.iterdir()]
