"""The main job: what it finds, what it shows, what it leaves behind."""

import json
from itertools import islice

import numpy as np
import pytest
from minipeft.tasks.base.classify import Classify
from minipeft.tasks.base.compare import Comparison, Plan
from minipeft.tasks.base.report import legend, markdown, plot, rows
from minipeft.tasks.base.write import Imitate, Write

import minipeft as mp
from minipeft import cli
from minipeft.commands import compare
from minipeft.methods import KINDS
from minipeft.world.corpus import documents
from minipeft.world.vocabulary import train_tokenizer

PLAN = Plan(steps=4, batch=8, rates=(1e-3, 1e-2), seeds=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model of the world's text."""
    folder, rng = tmp_path_factory.mktemp("models") / "base", np.random.default_rng(0)
    texts = list(islice(documents(rng), 400))
    model = mp.Decoder(mp.Config(vocabulary=300, width=16, layers=2, heads=2, length=128), rng)
    mp.save(model, folder, tokenizer=train_tokenizer(texts, 300))
    return folder


def task(kind, folder):
    told = {Classify: lambda i: "xy"[i % 2], Write: lambda i: [f" {i % 2}."]}
    say = told.get(kind, told[Write])
    spans = {"train": range(200), "dev": range(200, 230), "test": range(300, 340)}
    spans["ood"] = range(400, 440)
    splits = {s: [(f"{'ab'[i % 2]} {i}", say(i)) for i in span] for s, span in spans.items()}
    return kind("letters", splits, mp.load(folder), mp.load_tokenizer(folder))


@pytest.fixture(scope="module")
def report(folder):
    (*_, report) = Comparison(task(Classify, folder), PLAN).reports(["probe", "lora", "full"])
    return report


@pytest.mark.parametrize("kind", [Classify, Write, Imitate])
def test_every_method_that_fits_is_compared(kind, folder):
    comparison = Comparison(task(kind, folder), Plan(steps=2, rates=(1e-3,), seeds=1))
    methods = comparison.task.methods
    assert set(methods) <= set(mp.METHODS) and ("probe" in methods) == (kind is Classify)
    *_, report = comparison.reports(methods)
    assert [r["method"] for r in report["results"]] == [*methods] == [*comparison.adapts]
    for r in report["results"]:
        own = sum(p.data.size for p in comparison.adapts[r["method"]].parameters())
        assert r["trainable"] == own and r["share"] == own / report["parameters"]
        # what trains, its gradient and its two moments at least
        assert r["memory"] > 16 * own and r["seconds"] > 0


def test_the_rate_is_the_best_on_dev_and_each_seed_is_another_training(report, folder):
    again = Comparison(task(Classify, folder), PLAN)
    found = report["results"][1]
    dev = {}
    for rate in PLAN.rates:
        adaptation, losses, _ = again.train("lora", rate, seed=0)
        dev[rate] = again.task.scores(adaptation, "dev")["accuracy"]
    assert dev[found["rate"]] == max(dev.values()) == found["dev"]
    runs = found["test"]["accuracy"]
    assert runs["mean"] == np.mean(runs["runs"]) and len(runs["runs"]) == PLAN.seeds
    one, other = found["losses"]
    assert len(one) == len(other) == PLAN.steps and one != other


def test_a_base_with_another_head_is_compared_as_its_trunk(folder):
    one = task(Classify, folder)
    other = Classify("letters", one.splits, mp.Classifier(one.base, 2), mp.load_tokenizer(folder))
    found = [Comparison(t, PLAN).untrained() for t in (one, other)]
    assert found[0] == found[1]


def test_a_rate_that_is_too_high_ends_no_comparison(folder):
    plan = Plan(steps=3, rates=(1e-3, 1e38), seeds=1)
    *_, report = Comparison(task(Classify, folder), plan).reports(["lora"])
    assert report["results"][0]["rate"] == 1e-3


def test_baselines_come_with_every_report(report, folder):
    of = task(Classify, folder)
    assert report["baselines"]["majority"]["ood"] == of.majority("ood")
    assert 0 <= report["baselines"]["random"]["test"]["accuracy"] <= 1


def test_the_page_has_the_table_and_what_its_columns_are(report):
    page = markdown(report, "plot.png")
    head, *body = rows(report)
    assert [row[0] for row in body] == ["(majority)", "(random)", "probe", "lora", "full"]
    assert all(len(row) == len(head) for row in body)
    lora = report["results"][1]["ood"]["accuracy"]
    assert f"{100 * lora['mean']:.1f} ± {100 * lora['spread']:.1f}" in page
    assert all(f"`{name}`" in page for name in ("trained", "rate", "seconds", "MiB"))
    assert "plot.png" in page and "plot.png" not in markdown(report)
    assert f"{report['parameters']:,}" in legend(report)


@pytest.mark.parametrize("tests", [["test", "ood"], ["test"]])
def test_the_plot_is_a_picture(report, tests, tmp_path):
    plot(report | {"tests": tests}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def run(*args):
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *map(str, args)])
    return stop.value.code or 0


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [
        {"text": f"{w} {i}", "label": w[0]} for i in range(20) for w in ("warm", "cold", "kind")
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


SHORT = "--steps", "3", "--seeds", "2", "--rates", "1e-3", "1e-2"


def test_own_data_gives_one_json_document_and_a_folder(folder, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("--model", folder, "--data", data, "--out", out, *SHORT, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "compare.json").read_text())
    assert [r["method"] for r in report["results"]] == KINDS
    assert report["examples"] == {"train": 42, "dev": 6, "test": 12} and report["tests"] == ["test"]
    model = mp.Classifier(mp.load(folder), 3)
    for name in KINDS:
        assert mp.load_adaptation(out / name, model).adapts("score")
    assert {p.name for p in out.iterdir()} - set(KINDS) == {
        "compare.json",
        "compare.png",
        "report.md",
    }


def test_all_are_all_methods_that_can_learn_the_task(data):
    chosen = lambda *names: compare.Compare(methods=names).named(("probe", "lora", "ia3"))
    assert chosen("all") == ("probe", "lora", "ia3")
    assert chosen() == ["probe", "lora"] and chosen("ia3") == ("ia3",)


def test_without_matplotlib_there_is_no_plot_and_a_word_of_it(
    folder, data, tmp_path, capsys, monkeypatch
):
    def missing(report, path):
        raise ImportError

    monkeypatch.setattr(compare, "plot", missing)
    out = tmp_path / "out"
    assert run("--model", folder, "--data", data, "--out", out, "--methods", "lora", *SHORT) == 0
    assert "minipeft[plot]" in capsys.readouterr().err
    assert not (out / "compare.png").exists() and "png" not in (out / "report.md").read_text()


def test_what_is_done_when_it_is_interrupted_is_kept(folder, data, tmp_path, capsys, monkeypatch):
    result = Comparison.result

    def interrupted(self, name):
        if name == "full":
            raise KeyboardInterrupt
        return result(self, name)

    monkeypatch.setattr(Comparison, "result", interrupted)
    out = tmp_path / "out"
    args = "--model", folder, "--data", data, "--out", out, "--methods", "lora", "full"
    assert run(*args, *SHORT) == 130
    assert "lora" in capsys.readouterr().out and (out / "lora").is_dir()
    assert not (out / "full").exists()


def test_each_user_has_a_folder(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Imitate, "users", 3)
    monkeypatch.setattr(compare, "built_in", lambda *_: task(Imitate, folder))
    out = tmp_path / "out"
    args = "--task", "style", "--model", folder, "--out", out, "--methods", "lora"
    assert run(*args, *SHORT) == 0
    assert sorted(p.name for p in (out / "lora").iterdir()) == ["000", "001", "002"]
    assert json.loads((out / "compare.json").read_text())["plan"]["batch"] == 3
    one, other = (mp.load_adaptation(out / "lora" / u, mp.load(folder)) for u in ("000", "002"))
    assert any((p.data != q.data).any() for p, q in zip(one.parameters(), other.parameters()))


def test_a_table_is_shown_and_what_its_columns_are(folder, data, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("--model", folder, "--data", data, "--methods", "probe", "lora", *SHORT) == 0
    shown = capsys.readouterr()
    assert all(word in shown.out for word in ("(majority)", "(random)", "probe", "lora", "dev"))
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "lora done" in shown.err
