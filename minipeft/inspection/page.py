"""The page of an inspection: one file that requests nothing."""

import json
from importlib.resources import files


def page(report: dict) -> str:
    """Return the HTML page of a `report`, with its style, its program and the numbers inside."""
    read = lambda name: (files(__package__) / name).read_text(encoding="utf-8")
    data = {"report": report, "words": json.loads(read("words.json"))}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    html = read("page.html")
    for name in ("page.css", "page.js"):
        html = html.replace(f"/* {name} */", read(name))
    return html.replace("/* data */", text)  # last, as it may hold any text
