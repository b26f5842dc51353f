"""Comparisons of methods: results, reports, and the command `minipeft compare`."""

import json
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands import compare
from minipeft.methods import KINDS
from minipeft.tasks.classify import Classify
from minipeft.tasks.compare import Comparison
from minipeft.tasks.plan import Plan, best_lr
from minipeft.tasks.runs import Outcome, Run
from minipeft.tasks.write import Imitate, Write
from minipeft.world.corpus import documents
from minipeft.world.vocabulary import train_tokenizer
from tests.support.families import CLASSIFIERS, DECODERS

PLAN = Plan(steps=4, pilot_steps=2, batch_size=8, lrs=(1e-3, 1e-2), seeds=2)


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
    if kind is not Classify:  # each text is generated
        numbers |= {"dev": range(200, 202), "test": range(300, 302), "ood": range(400, 402)}
    splits = {s: [(f"{'ab'[i % 2]} {i}", label(i)) for i in ns] for s, ns in numbers.items()}
    return kind("letters", splits, mp.load(folder), mp.load_tokenizer(folder))


@pytest.fixture(scope="module")
def report(folder):
    (*_, report) = Comparison(make_task(Classify, folder), PLAN).run(["probe", "lora", "full"])
    return report


# -- results


@pytest.mark.parametrize("kind", [Classify, Write, Imitate])
def test_every_suitable_method_is_compared(kind, folder, monkeypatch):
    monkeypatch.setattr(Imitate, "users", 4)
    comparison = Comparison(make_task(kind, folder), Plan(steps=2, lrs=(1e-3,), seeds=1))
    methods = comparison.task.methods
    assert set(methods) <= set(mp.METHODS) and ("probe" in methods) == (kind is Classify)
    *_, report = comparison.run(methods)
    assert [r["method"] for r in report["results"]] == [*methods]
    assert comparison.adaptations.keys() == {*methods}
    for result in report["results"]:
        trained = sum(p.data.size for p in comparison.adaptations[result["method"]].parameters())
        assert result["trained_params"] == trained
        assert result["trained_share"] == trained / report["base_params"]
        # at least the parameters, their gradients, and two moments, in float32
        assert result["lr"] is None or result["peak_bytes"] > 16 * trained
        assert result["seconds_per_run"] > 0 and result["forgets"] is None


def test_the_pilot_chooses_the_lr_and_each_seed_is_another_run(report, folder):
    comparison, lora = Comparison(make_task(Classify, folder), PLAN), report["results"][1]
    comparison.task.choose_pool()
    first, second = (comparison.train(run).losses for run in PLAN.pilot("lora"))
    assert len(first) == len(second) == PLAN.pilot_steps and first != second
    assert lora["lr"] == PLAN.lrs[second[-1] < 0.95 * first[-1]]
    runs = [*PLAN.training("lora", lora["lr"])]
    assert runs == [Run("lora", lora["lr"], seed, steps=4) for seed in (0, 1)]
    outcomes = [comparison.train(run) for run in runs]
    assert [outcome.losses for outcome in outcomes] == lora["losses"]
    first, second = lora["losses"]
    assert len(first) == len(second) == PLAN.steps and first != second
    for at, i in ("half", 0), ("end", 1):
        assert lora["dev"][at]["runs"] == [outcome.dev[i] for outcome in outcomes]
    score = lora["test"]["accuracy"]
    assert score["runs"] == [outcome.scores["test"]["accuracy"] for outcome in outcomes]
    assert score["mean"] == np.mean(score["runs"]) and score["std"] == np.std(score["runs"])


def test_a_probe_comes_first_and_is_solved(folder):
    task = make_task(Classify, folder)
    comparison = Comparison(task, PLAN)
    *_, report = comparison.run(["lora", "probe"])
    probe, lora = report["results"]
    assert report["methods"] == ["probe", "lora"] == [probe["method"], lora["method"]]
    assert probe["lr"] is None and probe["l2"] == task.solution().λ and probe["losses"] == [[]]
    assert np.allclose(comparison.adaptations["probe"].parameters()[0].data, task.solution().W)
    assert probe["dev"]["half"] == probe["dev"]["end"] and probe["converged"]
    assert report["pool"] in report["pools"] and report["pool"] == task.pool


def test_trainings_side_by_side_are_those_in_turn(report, folder, monkeypatch):
    monkeypatch.setattr(Comparison, "side_by_side", 3)
    *_, other = Comparison(make_task(Classify, folder), PLAN).run(["probe", "lora", "full"])
    for a, b in zip(report["results"], other["results"]):
        same = "losses", "dev", "test", "ood", "lr"
        assert {name: a[name] for name in same} == {name: b[name] for name in same}


@pytest.mark.parametrize(
    "half, end, converged",
    [(0.7, 0.709, True), (0.7, 0.711, False), (0.8, 0.7, True), (0.6, 0.6, False)],
)
def test_a_method_that_rises_or_is_below_the_probe_is_not_converged(
    half, end, converged, folder, monkeypatch
):
    comparison = Comparison(make_task(Classify, folder), PLAN)
    *_, report = comparison.run(["lora"])
    solution = comparison.task.solution()._replace(score=0.7)
    monkeypatch.setattr(comparison.task, "solution", lambda: solution)
    outcomes = [Outcome(dev=[half + d, end + d], scores=scores(report)) for d in (-0.1, 0.1)]
    assert comparison.result("lora", 1e-3, outcomes, 0)["converged"] == converged


def scores(report) -> dict:
    """Scores of one run, as an Outcome has them."""
    return {test: {"accuracy": 0.5} for test in report["tests"]}


@pytest.mark.parametrize(
    "losses, lr",
    [
        ({1: 1.0, 2: 0.96, 3: 0.97}, 1),
        ({1: 1.0, 2: 0.9, 3: 0.8}, 3),
        ({1: np.inf, 2: 5.0}, 2),
        ({1: np.inf, 2: np.inf}, 1),
        ({}, None),
    ],
)
def test_another_lr_must_be_clearly_better(losses, lr):
    assert best_lr(losses) == lr


def test_a_lr_that_is_too_high_does_not_end_the_comparison(folder):
    plan = Plan(steps=3, pilot_steps=2, lrs=(1e-3, 1e38), seeds=1)
    *_, report = Comparison(make_task(Classify, folder), plan).run(["lora"])
    assert report["results"][0]["lr"] == 1e-3


def test_a_longer_plan_has_more_steps_and_seeds():
    assert PLAN.longer() == Plan(40, 2, batch_size=8, lrs=(1e-3, 1e-2), seeds=4)


def test_a_method_has_learning_rates_of_its_own():
    assert Plan().rates("lora") == (3e-3, 1e-3, 9e-3) and Plan(lrs=(0.5,)).rates("lora") == (0.5,)
    assert not [*Plan(lrs=(0.5,)).pilot("full")] and len([*Plan().pilot("full")]) == 3
    without = Plan(pilot_steps=0)
    assert without.rates("full") == (3e-4,) and not [*without.pilot("full")]


def test_a_budget_takes_seeds_then_the_pilot_then_steps():
    plan = Plan(steps=400, pilot_steps=80, seeds=3)

    def seconds(plan):  # 1 for a step, and 10 to evaluate a run
        return plan.count_steps(["lora"]) + 10 * plan.seeds

    for budget in (30, 100, 500, 700, 1000, 1470, 1e4):
        fitted = plan.within(budget, seconds)
        assert abs(seconds(fitted) - budget) <= max(5, 0.01 * budget)
    assert plan.within(1470, seconds) == plan and plan.within(1e4, seconds).seeds == 3
    assert plan.within(1100, seconds).seeds == 2 and plan.within(1100, seconds).steps > 400
    assert plan.within(500, seconds).pilot_steps > 20 and plan.within(500, seconds).seeds == 1
    assert plan.within(5, seconds) == Plan(steps=20, pilot_steps=0, seeds=1)
    assert plan.within(100, seconds).pilot_steps == 0 and plan.within(100, seconds).steps == 90


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


SHORT = "--steps", "3", "--pilot-steps", "2", "--seeds", "2", "--lrs", "1e-3", "1e-2"


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


def test_a_probe_alone_has_nothing_to_train(folder, data, tmp_path, run, capsys):
    args = "--model", folder, "--data", data, "--methods", "probe", "--out", tmp_path / "out"
    assert run("compare", *args, "--budget", "60") == 0
    assert "training run" not in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "compare.json",
        "compare.png",
        "probe",
        "report.md",
    }


def test_all_means_every_suitable_method():
    task = SimpleNamespace(methods=("probe", "lora", "ia3"), network=CLASSIFIERS["last"])
    names = lambda *given: compare.Compare(methods=given).method_names(task)
    assert names("all") == ["probe", "lora", "ia3"]
    assert names() == ["probe", "lora"] and names("ia3") == ("ia3",)
    task.network = DECODERS["llama"]  # without a head
    assert names("all") == ["lora", "ia3"]


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
    train = Comparison.train

    def interrupted(self, run):
        if run.method == "full" and not run.pilot:
            raise KeyboardInterrupt
        return train(self, run)

    monkeypatch.setattr(Comparison, "train", interrupted)
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
    assert "lora: test " in shown.err
