"""docs/sources.md lists every paper that is cited, where it is cited, and every correction."""

import re
from pathlib import Path

import pytest

from minipeft.equations import EQUATIONS, OPEN
from minipeft.equations.corrections import CORRECTIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/sources.md").read_text()
DOCUMENTS = "Adaptation chapter", "Prompting notes", "Why prompts work", "PEFT prompt-tuning page"

CITATION = re.compile(
    r"\b([A-Z][\w-]+(?: et al\.| & (?:De )?[A-Z][\w-]+)? (?:1[89]|20)\d\d[a-z]?)\b"
    r"(?:, (§[\d.]*\d|eq\. \d+|table \d+|fig\. \d+|algorithm \d+|code\b))?"
)


def one_line(text):
    return re.sub(r"[\s#]+", " ", text)


def entries(start, end):
    """Return {bold name: text} of the list between two headings of the page."""
    section = PAGE.split(start)[1].split(end)[0]
    items = re.findall(r"^- \*\*(.+?)\*\*(.+?)(?=^- |^\n|\Z)", section, re.M | re.S)
    return {name: one_line(text).strip() for name, text in items}


PAPERS = entries("## Papers", "\0")


def resolve(name):
    """Return the keys that a citation may mean: "Zaken et al. 2022" is "Ben Zaken et al. 2022"."""
    return [key for key in PAPERS if f" {key}".endswith(f" {name}")]


def cited_in(folder):
    """Yield (path, name, section or "") of every citation in the files of a folder."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for name, section in CITATION.findall(one_line(path.read_text())):
            yield path.relative_to(ROOT).as_posix().removeprefix("minipeft/"), name, section


CITATIONS = [*cited_in("minipeft"), *cited_in("examples")]


def test_citations_are_found():
    text = one_line(
        "He et\n# al. 2022, eq. 7; Li & Liang 2021; x Shazeer 2020, Liu et al. 2021a, §3.2"
    )
    assert CITATION.findall(text) == [
        ("He et al. 2022", "eq. 7"),
        ("Li & Liang 2021", ""),
        ("Shazeer 2020", ""),
        ("Liu et al. 2021a", "§3.2"),
    ]
    assert len(CITATIONS) > 100 and len(PAPERS) > 30


def test_every_citation_is_one_paper():
    unknown = [(path, name) for path, name, _ in CITATIONS if len(resolve(name)) != 1]
    assert not unknown, f"docs/sources.md must have each once: {unknown}"


def test_every_citation_of_the_pages_is_one_paper():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for name, _ in CITATION.findall(one_line(page.read_text())):
            if "et al." in name or "&" in name:  # not ICLR 2022
                assert len(resolve(name)) == 1, (page.name, name)


@pytest.mark.parametrize("key", PAPERS)
def test_a_paper_has_a_title_and_the_files_that_cite_it(key):
    entry = PAPERS[key]
    assert re.match(r'\. [^"]+, ".+?"', entry), "authors and title"
    files = re.findall(r"`([\w/.]+)`", entry)
    assert files, "no file cites it"
    for path in (f for f in files if f.startswith("tests/")):
        assert key in one_line((ROOT / path).read_text())
    cited = {path for path, name, _ in CITATIONS if resolve(name) == [key]}
    assert {f for f in files if not f.startswith("tests/")} == cited


def test_every_cited_section_is_listed():
    for path, name, section in CITATIONS:
        (key,) = resolve(name)
        assert re.search(re.escape(section) + r"(?![\d.]*\d)", PAPERS[key]), (path, key, section)


@pytest.mark.parametrize("name", CORRECTIONS)
def test_every_correction_is_on_the_page(name):
    c = CORRECTIONS[name]
    shown = f"Shown by {c.equation}." if c.equation else "No equation shows it."
    expected = f"{c.document}. Wrong: {c.wrong}. Right: {c.right}. {shown}"
    assert entries("## Errors in the documents", "## Papers")[name] == expected


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_lists_its_equations(document):
    sources = {e.id: e.source for e in EQUATIONS} | {one["id"]: one["source"] for one in OPEN}
    _, text = re.split(rf"^\*\*{document}\*\*", PAGE, flags=re.M)
    listed = re.search(r"- Its equations: (.+?)\.\n", text, re.S)[1]
    assert one_line(listed).split(", ") == [id for id, s in sources.items() if document in s]
