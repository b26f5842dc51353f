"""Comparisons of methods: results, reports, and the command `minipeft compare`."""

import json
from itertools import islice

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands import compare
from minipeft.methods import KINDS
from minipeft.tasks.classify import Classify
from minipeft.tasks.compare import Comparison, Plan
from minipeft.tasks.write import Imitate, Write
from minipeft.world.corpus import documents
from minipeft.world.vocabulary import train_tokenizer

PLAN = Plan(steps=4, batch_size=8, lrs=(1e-3, 1e-2), seeds=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small model and a tokenizer of the world's text."""
    folder, rng = tmp_path_factory.mktemp("models") / "base", np.random.default_rng(0)
    texts = list(islice(documents(rng), 400))
    model = mp.Decoder(mp.Config(vocabulary=300, width=16, layers=2, heads=2, length=128), rng)
    mp.save(model, folder, tokenizer=train_tokenizer(texts, 300))
    return folder


def make_task(kind, folder):
    label = (lambda i: "xy"[i % 2]) if kind is Classify else (lambda i: [f" {i % 2}."])
    numbers = {"train": range(200), "dev": range(200, 230), "test": range(300, 340)}
    numbers["ood"] = range(400, 440)
    splits = {s: [(f"{'ab'[i % 2]} {i}", label(i)) for i in ns] for s, ns in numbers.items()}
    return kind("letters", splits, mp.load(folder), mp.load_tokenizer(folder))


@pytest.fixture(scope="module")
def report(folder):
    (*_, report) = Comparison(make_task(Classify, folder), PLAN).run(["probe", "lora", "full"])
    return report


# -- results


@pytest.mark.parametrize("kind", [Classify, Write, Imitate])
def test_every_suitable_method_is_compared(kind, folder):
    comparison = Comparison(make_task(kind, folder), Plan(steps=2, lrs=(1e-3,), seeds=1))
    methods = comparison.task.methods
    assert set(methods) <= set(mp.METHODS) and ("probe" in methods) == (kind is Classify)
    *_, report = comparison.run(methods)
    assert [r["method"] for r in report["results"]] == [*methods] == [*comparison.adaptations]
    for result in report["results"]:
        trained = sum(p.data.size for p in comparison.adaptations[result["method"]].parameters())
        assert result["trained_params"] == trained
        assert result["trained_share"] == trained / report["base_params"]
        # at least the parameters, their gradients, and two moments, in float32
        assert result["peak_bytes"] > 16 * trained and result["seconds_per_run"] > 0


def test_the_lr_is_the_best_on_dev_and_each_seed_is_another_run(report, folder):
    comparison, dev = Comparison(make_task(Classify, folder), PLAN), {}
    result = report["results"][1]
    for lr in PLAN.lrs:
        adaptation, _, _ = comparison.train("lora", lr, seed=0)
        dev[lr] = comparison.task.evaluate(adaptation, "dev")["accuracy"]
    assert dev[result["lr"]] == max(dev.values()) == result["dev"]
    score = result["test"]["accuracy"]
    assert len(score["runs"]) == PLAN.seeds
    assert score["mean"] == np.mean(score["runs"]) and score["std"] == np.std(score["runs"])
    first, second = result["losses"]
    assert len(first) == len(second) == PLAN.steps and first != second


def test_a_lr_that_is_too_high_does_not_end_the_comparison(folder):
    plan = Plan(steps=3, lrs=(1e-3, 1e38), seeds=1)
    *_, report = Comparison(make_task(Classify, folder), plan).run(["lora"])
    assert report["results"][0]["lr"] == 1e-3


def test_a_longer_plan_has_more_steps_and_seeds():
    assert PLAN.longer() == Plan(steps=40, batch_size=8, lrs=(1e-3, 1e-2), seeds=4)


def test_every_report_has_baselines(report, folder):
    task = make_task(Classify, folder)
    assert report["baselines"]["majority class"]["ood"] == task.majority("ood")
    assert 0 <= report["baselines"]["untrained base"]["test"]["accuracy"] <= 1
    first = next(Comparison(task, PLAN).run(["lora"]))
    assert first["baselines"].keys() == {"majority class"} and not first["results"]


def test_the_head_of_the_base_does_not_matter(folder):
    task = make_task(Classify, folder)
    headed = Classify("x", task.splits, mp.Classifier(task.base, 2), mp.load_tokenizer(folder))
    baselines = [Comparison(t, PLAN).untrained_baseline() for t in (task, headed)]
    assert baselines[0] == baselines[1]


# -- the command


@pytest.fixture
def data(tmp_path):
    """A file of 60 examples with three labels."""
    path = tmp_path / "data.jsonl"
    words = ("warm", "cold", "kind")
    lines = [{"text": f"{word} {i}", "label": word[0]} for i in range(20) for word in words]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


SHORT = "--steps", "3", "--seeds", "2", "--lrs", "1e-3", "1e-2"


def test_a_users_data_gives_one_json_document_and_a_folder(folder, data, tmp_path, run, capsys):
    out = tmp_path / "out"
    args = "--model", folder, "--data", data, "--out", out, *SHORT, "--json"
    assert run("compare", *args) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "compare.json").read_text())
    assert [result["method"] for result in report["results"]] == KINDS
    assert report["examples"] == {"train": 42, "dev": 6, "test": 12} and report["tests"] == ["test"]
    model = mp.Classifier(mp.load(folder), 3)
    for name in KINDS:
        assert mp.load_adaptation(out / name, model).adapts("score")
    files = {"compare.json", "compare.png", "report.md"}
    assert {path.name for path in out.iterdir()} == files | set(KINDS)


def test_all_means_every_suitable_method():
    names = lambda *given: compare.Compare(methods=given).method_names(("probe", "lora", "ia3"))
    assert names("all") == ("probe", "lora", "ia3")
    assert names() == ["probe", "lora"] and names("ia3") == ("ia3",)


def test_without_matplotlib_there_is_no_plot_and_a_hint(
    folder, data, tmp_path, run, capsys, monkeypatch
):
    def missing(report, path):
        raise ImportError

    monkeypatch.setattr(compare, "plot", missing)
    out = tmp_path / "out"
    args = "--model", folder, "--data", data, "--out", out, "--methods", "lora"
    assert run("compare", *args, *SHORT) == 0
    assert "minipeft[plot]" in capsys.readouterr().err
    assert not (out / "compare.png").exists() and "png" not in (out / "report.md").read_text()


def test_an_interrupt_keeps_the_results_so_far(folder, data, tmp_path, run, capsys, monkeypatch):
    evaluate_method = Comparison.evaluate_method

    def interrupted(self, name):
        if name == "full":
            raise KeyboardInterrupt
        return evaluate_method(self, name)

    monkeypatch.setattr(Comparison, "evaluate_method", interrupted)
    out, part = tmp_path / "out", tmp_path / "out.part"
    args = "--model", folder, "--data", data, "--out", out, "--methods", "lora", "full"
    assert run("compare", *args, *SHORT) == 130
    printed = capsys.readouterr()
    assert "lora" in printed.out and (part / "lora" / "labels.json").exists()
    assert "stopped by SIGINT; to continue, repeat it with --resume" in printed.err
    assert not (part / "full").exists() and not out.exists()


def test_each_user_has_a_folder(folder, tmp_path, run, monkeypatch):
    monkeypatch.setattr(Imitate, "users", 3)
    monkeypatch.setattr(compare, "built_in", lambda *_: make_task(Imitate, folder))
    out = tmp_path / "out"
    args = "--task", "style", "--model", folder, "--out", out, "--methods", "lora"
    assert run("compare", *args, *SHORT) == 0
    assert sorted(path.name for path in (out / "lora").iterdir()) == ["000", "001", "002"]
    assert json.loads((out / "compare.json").read_text())["plan"]["batch_size"] == 3
    first, last = (mp.load_adaptation(out / "lora" / u, mp.load(folder)) for u in ("000", "002"))
    assert any((p.data != q.data).any() for p, q in zip(first.parameters(), last.parameters()))


def test_the_terminal_shows_a_legend_and_a_table_of_80_columns(
    folder, data, run, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    args = "--model", folder, "--data", data, "--methods", "probe", "lora"
    assert run("compare", *args, *SHORT) == 0
    shown = capsys.readouterr()
    words = "majority class", "untrained base", "probe", "lora", "dev"
    assert all(word in shown.out for word in words)
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "lora done" in shown.err
