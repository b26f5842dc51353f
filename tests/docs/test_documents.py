"""The pages: their Python runs, their commands run in order, their links and numbers are right."""

import ast
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.mutants import planted

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for folder in (".", "docs", "tests", "minipeft/world", "benchmarks")
    for path in (ROOT / folder).glob("*.md")
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)|(?:src|srcset)=\"([^\"]+)\"")
FUNCTION_LINK = re.compile(r"\[`([\w.]+)`\]\(\.\./(minipeft[^)]*\.py)\)")
DIALECT = (  # what pages and docstrings once said, and no reader could look up or read at once
    r"\b00[0-3] §",
    r"\bthe documents\b",
    r"\bso many parts\b",
    r"\bby heart\b",
    r"\bbelieved? nothing\b",
    r"\blies? open\b",
    r"\bwhoever\b",
    r"\bof which it\b",
    r"\bstands? beside\b",
    r"\bas it was told\b",
    r"\bof no one batch\b",
)
SKIPPED = {  # commands that the test of a page's commands leaves out, and why
    "pip install . && minipeft compare": "installs, and takes two minutes",
    "minipeft search": "takes a minute; tests/commands/test_search_command.py runs it",
    'pip install -e ".[test]" && pytest': "installs, and runs this test; .ci/run is this command",
}
ADDED = {  # flags added to a command, so that it takes seconds
    "minipeft compare --methods prompt lora": "--data reviews.csv",  # 30 examples, not 4,500
}
named = lambda pages: pytest.mark.parametrize("page", pages, ids=lambda p: str(p.relative_to(ROOT)))


def read(page):
    return page.read_text(encoding="utf-8")


def blocks(page, *languages):
    """Return [(language, text)] of the blocks of code in these languages."""
    return [(kind, text) for kind, text in FENCE.findall(read(page)) if kind in languages]


def prose(text):
    """Return a page without its code, its tags, and the targets of its links."""
    for pattern in (FENCE, re.compile(r"<[^>]*>"), re.compile(r"(?<=\])\([^)]*\)")):
        text = pattern.sub("", text)
    return text


# -- what runs


@named([page for page in PAGES if blocks(page, "python")])
def test_python_runs_and_prints_what_the_page_shows(page, tmp_path, monkeypatch):
    """The blocks of a page run in order; a text block right after one is its output."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": f"block_of_{page.stem}"}
    printed = None
    for kind, text in blocks(page, "python", "text"):
        if kind == "text":
            if printed is not None:
                assert text == printed
            printed = None
            continue
        assert not printed, f"{page.name} does not show what this block printed: {printed}"
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            exec(compile(text, str(page), "exec"), names)
        printed = stdout.getvalue()
    assert not printed, f"{page.name} does not show what its last block printed: {printed}"


@named([ROOT / "README.md", ROOT / "docs" / "cli.md", ROOT / "docs" / "questions.md"])
def test_commands_run_in_their_order(page, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text(read(ROOT / "README.md"), encoding="utf-8")
    for _, block in blocks(page, "sh"):
        for line in block.splitlines():
            if line in SKIPPED:
                continue
            line += "".join(f" {flags}" for start, flags in ADDED.items() if line.startswith(start))
            if line.startswith("minipeft ") and not re.search(r"[|&;<>$]", line):
                assert run(*shlex.split(line)[1:]) == 0, line
            else:
                result = in_shell(line, tmp_path)
                assert result.returncode == 0, (line, result.stderr)


def in_shell(line, folder):
    """Run a line in bash, where `minipeft` is this checkout."""
    minipeft = f'minipeft() {{ "{sys.executable}" -m minipeft "$@"; }}\n'
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", minipeft + line],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def test_the_commands_that_are_left_out_are_in_the_pages():
    text = read(ROOT / "README.md") + read(ROOT / "docs" / "cli.md")
    assert all(f"\n{line}" in text for line in [*SKIPPED, *ADDED])
    ci = read(ROOT / ".ci" / "run")
    assert ci.index('pip install -q -e ".[test]"\n') < ci.index("\npytest -q || status=$?\n")


# -- what the pages say


def anchors(page):
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


@named(PAGES)
def test_links_lead_somewhere(page):
    for path, anchor, image in LINK.findall(FENCE.sub("", read(page))):
        target = (page.parent / (path or image)) if path or image else page
        assert target.exists(), f"{page.name}: {path or image}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {path}#{anchor}"


def test_a_function_that_a_page_names_is_in_the_file_that_it_links():
    links = [link for page in PAGES for link in FUNCTION_LINK.findall(read(page))]
    assert len(links) > 60
    for name, path in links:
        defined = names_defined(ROOT / path) | {Path(path).stem}
        assert {*name.split(".")} <= defined, f"{path} does not define {name}"


def names_defined(path):
    """Return the names of the functions, classes and constants of a file."""
    names = set()
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def test_the_readme_has_at_most_1200_words_without_its_code():
    assert len(re.findall(r"[^\s|]*\w[^\s|]*", prose(read(ROOT / "README.md")))) <= 1200


@named([page for page in PAGES if page.parent != ROOT / "benchmarks"])
def test_lines_of_prose_have_at_most_120_columns(page):
    text = FENCE.sub("", read(page))
    assert not [line for line in text.splitlines() if len(line) > 120 and line[0] not in "|<"]


def test_the_reading_order_has_the_lines_of_each_folder():
    """The counts of the README are rounded: to be written anew once they are 5 % off."""
    rows = re.findall(r"^\| \[`(\w+)/`\]\(\S+\) \| ([\d,]+) \|", read(ROOT / "README.md"), re.M)
    folders = {
        path.name for path in (ROOT / "minipeft").iterdir() if (path / "__init__.py").exists()
    }
    assert {folder for folder, _ in rows} == folders
    lines = {
        f: sum(read(p).count("\n") for p in (ROOT / "minipeft" / f).rglob("*.py")) for f in folders
    }
    stated = {folder: int(count.replace(",", "")) for folder, count in rows}
    wrong = {f: lines[f] for f in folders if abs(stated[f] - lines[f]) > max(10, 0.05 * lines[f])}
    assert not wrong, f"README.md, reading order: the lines are now {wrong}"


def test_the_readme_has_the_number_of_planted_faults():
    (stated,) = re.findall(r"tests.tools.mutants` plants ([\d,]+) faults", read(ROOT / "README.md"))
    count = sum(1 for _ in planted())
    assert abs(int(stated.replace(",", "")) - count) <= 0.05 * count, f"now {count}"


def names_its_documents(path, text):
    """Return whether a text says which documents it means: docs/sources.md or the world."""
    return "sources.md" in str(path) + text or "world" in path.parts


def docstrings(path):
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    return [
        doc
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, kinds) and (doc := ast.get_docstring(node))
    ]


def test_pages_and_docstrings_speak_plain_english():
    texts = {page: prose(read(page)) for page in PAGES}
    texts |= {p: "\n".join(docstrings(p)) for p in (ROOT / "minipeft").rglob("*.py")}
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in texts.items()
        for pattern in DIALECT
        for match in re.finditer(pattern, " ".join(text.split()))
        if match[0] != "the documents" or not names_its_documents(path, text)
    ]
    assert not found


@pytest.mark.parametrize("text", ["003 §11.2.1", "of which it reads", "the documents say"])
def test_the_list_of_dialect_notices(text):
    assert any(re.search(pattern, text) for pattern in DIALECT)
