"""The page of an inspection: its numbers, and what it does in a browser."""

import json
import re
import shutil
from functools import cache

import numpy as np
import pytest

import minipeft as mp
from minipeft.inspection.measures import MEASURES
from minipeft.inspection.page import page
from minipeft.inspection.report import IDS, report
from tests.support import families as f

MODEL = f.DECODERS["gpt2"]
TEXT = "The soup was cold, so she sent it back."
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def parts(html):
    """Return the data of a page, and its program."""
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1]
    return json.loads(data), html[html.rindex("<script>") :]


def same(found, expected):
    """Return whether nested numbers and texts are equal, numbers up to 1e-6."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    if isinstance(expected, np.ndarray | list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float) and np.isfinite(expected) and abs(expected) < 1e29:
        return abs(found - expected) <= 1e-6 * max(1, abs(expected))
    return found is None if isinstance(expected, float) else found == expected


@f.methods
def test_the_numbers_of_the_page_are_the_inspections(name):
    inspection = mp.inspect(MODEL, f.attached(name, MODEL), [3, 1, 2], new_tokens=2)
    data, _ = parts(page(report(inspection, {"γ": 1})))
    (found,), (view,) = data["report"]["views"], inspection.views
    for result, kept in ((view.outputs, found["outputs"]), (view.causes, found["causes"])):
        fields = {n: x for n, x in vars(result).items() if n not in IDS}
        assert same({n: kept[n] for n in fields}, fields)
    assert same({n: x for n, x in found["slider"].items() if n != "words"}, slider(view))
    for stack, kept in zip(view.stacks.values(), found["stacks"].values(), strict=True):
        assert same(kept["change"], stack.change) and same(kept["norm"], stack.norm)
        assert same(kept["received"], stack.received) and kept["tokens"] == stack.tokens
        assert kept["lens"] == [list(map(word, row)) for row in stack.lens]
    for panel, kept in zip(view.panels, found["panels"], strict=True):
        assert same({n: kept[n] for n in vars(panel)}, vars(panel))


def word(i):
    return "" if i < 0 else str(i)


def slider(view):
    return {n: x for n, x in vars(view.slider).items() if n != "words"}


def test_a_changed_number_is_noticed():
    assert not same([1.0, 2.0], np.array([1.0, 2.00001])) and not same([0.0], np.array([np.nan]))


@cache
def built_in(*methods):
    """Return the page of methods of the built-in decoder, trained for a few steps."""
    model, rng = mp.load(), np.random.default_rng(0)
    ids, users = np.array([mp.load_tokenizer().encode(TEXT).ids]), {}
    for method in methods:
        γ = method.attach(model, rng)
        optimizer = mp.AdamW(γ.parameters(), lr=method.lr)
        for _ in range(5):
            model.loss(ids, ids, γ).backward()
            optimizer.step()
        users[type(method).__name__] = γ
    first, *others = users.values()
    found = mp.inspect(model, first, ids, against=others[0] if others else None)
    return page(report(found, dict.fromkeys(users, 1)))


def test_the_page_is_one_file_without_addresses():
    html = built_in(mp.PrefixTuning(5), mp.LoRA())
    assert len(html.encode()) < 1_000_000
    assert not re.search(r"https?:|//\w|src=|url\(|@import|<link", html)
    data, _ = parts(html)
    assert data["report"]["together"] < 1e-4


def test_text_can_not_end_the_data():
    model = f.decoder(f.GPT2)

    class Tokenizer:
        def decode(self, ids, skip_special_tokens):
            return "</script><b>&" + "\u2028"

    model.tokenizer = Tokenizer()
    found = mp.inspect(model, None, [1, 2], new_tokens=0)
    html = page(report(found, {"<i>": 1}))
    data, _ = parts(html)
    assert "<b>" not in html and data["report"]["views"][0]["name"] == "<i>"
    assert data["report"]["views"][0]["outputs"]["rows"][0].startswith("</script>")


def test_both_languages_have_every_text_of_the_page():
    data, program = parts(built_in(mp.LoRA()))
    words = data["words"]
    assert words["en"].keys() == words["zh"].keys()
    used = set(re.findall(r'say\("(\w+)"[,)]', program))
    used |= set(re.findall(r'data-say="(\w+)"', page(data["report"])))
    used |= {f"panel_{kind.replace(' ', '_')}" for kind in MEASURES if kind not in NO_TABLE}
    used |= {f"stop_{n}" for n in range(1, 9)} | {"how_additive", "how_gate", "how_both"}
    assert used <= words["en"].keys() and len(used) > 60
    for key, text in words["en"].items():
        names = re.findall(r"\{\w+\}", text)
        assert sorted(names) == sorted(re.findall(r"\{\w+\}", words["zh"][key])), key
        assert re.search("[\u4e00-\u9fff]", words["zh"][key]) or key.startswith("note_‖"), key


NO_TABLE = "change", "lens", "p", "kl", "cause"  # formulas without a table


# -- in a browser


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if not CHROMIUM:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def opened(browser, tmp_path):
    """Return a function that opens a page offline; in the end there was no error and no request."""
    seen = []

    def open_page(html, **options):
        (tmp_path / "view.html").write_text(html, encoding="utf-8")
        tab = browser.new_context(offline=True, **options).new_page()
        tab.on("console", lambda message: seen.append(message.text))
        tab.on("pageerror", lambda error: seen.append(str(error)))
        tab.on("request", lambda request: seen.append(request.url))
        tab.goto((tmp_path / "view.html").as_uri())
        assert seen.pop(0).startswith("file://")
        return tab

    yield open_page
    assert not seen


def violations(tab):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe().run(tab)
    return [(v["id"], v["nodes"][0]["html"]) for v in axe.response["violations"]]


PAGES = [(mp.PrefixTuning(5),), (mp.LoRA(), mp.PromptTuning(4)), (mp.Adapter(),), (mp.IA3(),)]


SCREENS = [(400, "light", "zh-CN"), (1400, "dark", "zh-CN"), (1400, "light", "en-US")]


@pytest.mark.parametrize("methods", PAGES, ids=lambda ms: type(ms[0]).__name__)
@pytest.mark.parametrize("width, theme, language", SCREENS)
def test_clicks_through_all_zooms(opened, methods, width, theme, language):
    tab = opened(
        built_in(*methods),
        viewport={"width": width, "height": 900},
        color_scheme=theme,
        locale=language,
    )
    assert violations(tab) == []
    tab.locator("#network .acts").first.click()  # zoom 0, and 2
    assert tab.locator("#mechanism table").count()
    tab.locator("#states [data-cell]").nth(37).click()  # zoom 1
    tab.locator("#shows [data-show=lens]").click()
    tab.locator("#mechanism [data-cell]").first.click()  # zoom 3
    assert tab.locator("dialog[open] dd").count() > 4 and violations(tab) == []
    tab.keyboard.press("Escape")
    assert tab.locator("dialog[open]").count() == 0
    tab.locator("#shows [data-show=cause]").click()
    tab.locator("#states select").first.select_option(index=1)
    tab.locator("#slider input").first.press("ArrowRight")
    tab.locator("#generation .step").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(tab) == []


def test_tokens_that_can_not_be_seen_have_a_sign(opened):
    model = f.decoder(f.GPT2)

    class Tokenizer:
        special_tokens = {}

        def decode(self, ids, skip_special_tokens):
            return ["", " ", "\n", "\r\n", "a"][ids[0] % 5]

        def id_to_token(self, i):
            return ""

        def token_to_id(self, token):
            return None

    model.tokenizer = Tokenizer()
    tab = opened(page(report(mp.inspect(model, None, [0, 1, 2, 3, 4], new_tokens=0), {"γ": 1})))
    rows = [th.inner_text() for th in tab.locator("#states tbody th").all()]
    assert rows == ["∅", "␣", "⏎", "␍⏎", "a"] and violations(tab) == []


def test_the_tour_waits_for_one_action_at_each_of_eight_stops(opened):
    tab = opened(built_in(mp.PrefixTuning(5)))
    tab.click("#tour-start")
    number = lambda: tab.locator("#tour p").inner_text().split(" / ")[0]
    actions = [
        lambda: tab.locator("#network .acts").first.click(),
        lambda: tab.locator("#states [data-cell]").nth(62).click(),
        lambda: tab.locator("#shows [data-show=lens]").click(),
        lambda: tab.locator("#next button").first.click(),
        lambda: (tab.keyboard.press("Escape"), tab.locator("#mechanism [data-cell]").first.click()),
        lambda: (
            tab.keyboard.press("Escape"),
            tab.locator("#shows [data-show=cause]").click(),
            tab.locator("#states select").first.select_option(index=1),
        ),
        lambda: tab.locator("#slider input").first.press("ArrowRight"),
        lambda: tab.locator("#generation .step").first.click(),
    ]
    for stop, action in enumerate(actions, 1):
        assert number() == str(stop)
        tab.click("#theme")  # anything else does not end a stop
        assert number() == str(stop)
        action()
        tab.keyboard.press("Escape")
    assert "--json" in tab.locator("#tour p").inner_text()


def test_the_keyboard_reaches_and_moves_in_the_cells(opened):
    tab = opened(built_in(mp.LoRA()))
    tab.locator('#states [data-cell="0,0"]').focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("document.activeElement.dataset.cell") == "1,1"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.dataset.cell") == "1,1"
    assert tab.locator("#states tr.chosen").count() == 1
    stops = tab.evaluate("document.querySelectorAll('#states tbody button[tabindex=\"0\"]').length")
    assert stops == 1  # Tab reaches the table once


def test_what_the_page_shows_are_its_numbers(opened):
    html = built_in(mp.LoRA())
    data, _ = parts(html)
    (view,) = data["report"]["views"]
    tab, stack = opened(html), view["stacks"][""]
    cell = float(tab.locator('#states [data-cell="3,2"]').inner_text())
    assert abs(cell / (stack["change"][3][2] / stack["norm"][3][2]) - 1) < 5e-3
    tab.locator("#network .acts").nth(1).click()
    shown = tab.locator("#mechanism [data-cell]").first
    panel = next(p for p in view["panels"] if p["place"] == "blocks.1")
    assert abs(float(shown.inner_text()) / panel["values"][0][0] - 1) < 5e-3
    shown.click()
    text = tab.locator("dialog").inner_text()
    assert panel["path"] in text and "LO-1" in text and "minipeft/inspection/mechanisms.py:" in text
