"""What is printed fits the console, and what can't be printed loses no work."""

import io
import json
import os
import sys

import pytest
from rich.cells import cell_len

from minipeft.commands import compare, verify
from minipeft.equations import EQUATIONS, Result

COMMANDS = {
    "methods": [],
    "verify": [],
    "layers": ["--method", "lora"],
    "info": [],
    "--help": [],
    "train": ["lora", "--help"],
}
SHORT = "--methods", "lora", "--steps", "2", "--seeds", "1", "--lrs", "1e-3"


@pytest.fixture(autouse=True)
def verified(monkeypatch):
    """Show all equations as verified, which takes no time."""
    results = [Result(e.id, e.formula, e.source, 1, 1e-16, True) for e in EQUATIONS]
    monkeypatch.setattr(verify, "verify", lambda *args: results)


@pytest.fixture
def comparison(base, tmp_path, monkeypatch):
    """The arguments of a short comparison that writes the folder "out"."""
    monkeypatch.setattr(compare, "plot", lambda *args: None)
    data = tmp_path / "crème.jsonl"
    rows = [{"text": f"{'ab'[i % 2]} {i}", "label": "xy"[i % 2]} for i in range(40)]
    data.write_text("\n".join(map(json.dumps, rows)))
    return "compare", "--model", base, "--data", data, "--out", tmp_path / "out", *SHORT


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_character_that_the_console_lacks_is_escaped(run, monkeypatch, command, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert run(command, *COMMANDS[command]) == 0
    printed = stream.buffer.getvalue().decode(encoding)
    assert len(printed) > 500
    if command in ("methods", "verify"):
        assert r"\u" in printed  # of the Greek letters


def test_a_console_without_a_character_does_not_lose_a_comparison(
    run, comparison, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert run(*comparison) == 0
    assert r" \u2192 " in sys.stdout.buffer.getvalue().decode()
    assert (tmp_path / "out" / "lora" / "labels.json").exists()
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert page.startswith("# crème.jsonl\n") and "±" in page


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no device that is always full")
@pytest.mark.parametrize("name, code", [("stdout", 3), ("stderr", 0)])
def test_a_full_disk_does_not_lose_a_comparison(
    run, comparison, tmp_path, monkeypatch, capsys, name, code
):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, name, stream)
        assert run(*comparison) == code
    assert (tmp_path / "out" / "lora" / "labels.json").exists()
    shown = capsys.readouterr()
    if name == "stdout":
        assert shown.err.endswith("the output can't be written: No space left on device\n")
    else:
        assert "lora" in shown.out


@pytest.mark.parametrize("command", [["--help"], ["layers"], None], ids=str)
def test_a_reader_that_closes_the_pipe_does_not_lose_a_comparison(
    run, comparison, tmp_path, monkeypatch, command
):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert run(*(command or comparison)) == 141
    assert command or (tmp_path / "out" / "lora").is_dir()


def test_a_closed_stdout_is_not_an_error(run, comparison, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert run("layers") == 0 == run(*comparison) and (tmp_path / "out" / "lora").is_dir()


def test_a_plot_that_fails_does_not_lose_a_comparison(
    run, comparison, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(compare, "plot", lambda *args: 1 / 0)
    assert run(*comparison) == 0
    assert "no plot: division by zero" in capsys.readouterr().err
    assert "png" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "lora").is_dir()


def test_a_prompt_in_another_encoding_is_no_wrong_usage(run, monkeypatch, capsys):
    prompt = io.TextIOWrapper(io.BytesIO("crème".encode()), "ascii")
    monkeypatch.setattr(sys, "stdin", prompt)
    assert run("generate", "--prompt", "-") == 3
    assert capsys.readouterr().err.startswith("minipeft: text in another encoding: 'ascii' codec")


WIDE = {
    "methods": ["methods"],
    "verify": ["verify"],
    "layers": ["layers", "--method", "full"],
    "layers of a BERT": ["layers", "--model", "encoder", "--targets", "attn"],
    "info": ["info"],
}


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("args", WIDE.values(), ids=WIDE)
def test_a_table_wraps_and_is_not_cut(run, capsys, monkeypatch, json_of, args, columns):
    report = json.dumps(json_of(*args), ensure_ascii=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(*args) == 0
    printed = capsys.readouterr().out
    assert max(map(cell_len, printed.splitlines())) <= columns
    assert printed.count("…") == report.count("…")  # those of equations
    assert not set("┃│├┏") & set(printed)  # one style of table


@pytest.mark.parametrize("columns", ["0", "3", "-1", "many"])
def test_a_console_without_a_width_has_40_columns_or_more(run, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert run("info") == 0 and "1,088,256" in capsys.readouterr().out


@pytest.mark.parametrize("method, trained", [("lora", "16,384"), (None, "")])
def test_layers_end_with_a_total(run, capsys, method, trained):
    assert run("layers", *(["--method", method] if method else [])) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "total" in line)
    assert row.split() == ["total", "4", "blocks", "1,088,256", *([trained] if trained else [])]
