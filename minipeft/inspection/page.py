"""The page of an inspection: one file that requests nothing."""

import json
from importlib.resources import files


def read(name: str) -> str:
    """Return a file of this folder."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def words() -> dict[str, dict[str, str]]:
    """Return {language: {key: text}} of the page, in English and Chinese."""
    return json.loads(read("words.json"))


def page(report: dict) -> str:
    """Return the HTML page of a `report`, with its style, its program and the numbers inside."""
    data = {"report": report, "words": words()}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    html = read("page.html")
    for name in ("page.css", "page.js"):
        html = html.replace(f"/* {name} */", read(name))
    return html.replace("/* data */", text)  # last, as it may hold any text
