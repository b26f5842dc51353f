"""The pipeline of human feedback: its stages, figures, page and plot, on a tiny base."""

import json
from contextlib import contextmanager

import numpy as np
import pytest

import minipeft as mp
from minipeft.feedback.ppo import PPO
from minipeft.tasks import feedback
from minipeft.tasks.feedback import FeedbackPlan, Pipeline, Results
from minipeft.tasks.feedback_page import findings, legend, markdown, rows, samples
from minipeft.tasks.feedback_plot import plot_feedback, smooth
from minipeft.tasks.feedback_report import POLICIES, Figures, interval, wins
from minipeft.training.trainer import Trainer
from minipeft.world.feedback import splits

PLAN = FeedbackPlan(sft_steps=2, prompts=6, reward_steps=2, ppo_steps=2)


@contextmanager
def silent(stage, steps):
    class Bar:
        show = staticmethod(lambda t, loss: None)

    yield Bar


class Kept(Results):
    """Results in a dict, as JSON."""

    def __init__(self):
        self.texts = {}

    def get(self, name, compute):
        if name not in self.texts:
            self.texts[name] = json.dumps(compute())
        return json.loads(self.texts[name])


@pytest.fixture(scope="module")
def tiny():
    """A base of random weights with the tokenizer of the built-in one."""
    config = mp.Config(2048, 16, layers=1, heads=2, length=256)
    model = mp.Decoder(config, np.random.default_rng(0))
    model.generation_config = {"eos_token_id": 0}
    return model, mp.load_tokenizer()


@pytest.fixture(scope="module", autouse=True)
def few():
    """Few prompts, answers, and short ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feedback, "splits", lambda seed, train: splits(seed, 16, 4, 8))
        for name, value in {
            "MAX_NEW_TOKENS": 6,
            "BATCH": 4,
            "MINIBATCH": 2,
            "DOCUMENTS": 40,
        }.items():
            patch.setattr(feedback, name, value)
        yield


@pytest.fixture(scope="module")
def results():
    return Kept()


@pytest.fixture(scope="module")
def reports(tiny, results, tmp_path_factory):
    """All reports of a pipeline, as JSON, and the folder of its stages."""
    folder = tmp_path_factory.mktemp("stages")
    pipeline = Pipeline(*tiny, PLAN, silent, folder=folder, results=results)
    return [json.loads(json.dumps(r)) for r in Figures(pipeline).report()], folder


def test_the_report_grows_by_a_policy_at_a_time(reports):
    reports, _ = reports
    assert [[*report["policies"]] for report in reports] == [
        [*POLICIES][: n + 1] for n in range(len(POLICIES))
    ]


def test_the_figures_are_of_what_they_say(reports):
    report = reports[0][-1]
    for name, figures in report["policies"].items():
        assert -2.5 <= figures["reward"]["mean"] <= 1
        for share in ("fabricates", "rude", "rude_if_polite"):
            assert 0 <= figures[share]["mean"] <= 1
        assert 5 < figures["lm_loss"] < 9  # log 2048 is 7.6
        assert ("kl" in figures) == name.startswith("ppo")
        assert ("beats_base" in figures) == (name != "base")
    assert {len(history) for history in report["history"].values()} == {PLAN.ppo_steps}
    assert report["history"]["ppo-beta-0"][0]["beta"] == 0
    steps = report["history"]["ppo"]
    assert steps[0]["kl"] == pytest.approx(0, abs=1e-5)  # it starts as the fine-tuned model
    assert all(np.isfinite([*step.values()]).all() for step in steps)


def test_a_finished_pipeline_is_resumed_without_training(reports, results, tiny, monkeypatch):
    reports, folder = reports
    for cls, method in ((Trainer, "update"), (PPO, "step")):
        monkeypatch.setattr(cls, method, lambda *args: pytest.fail("trained again"))
    again = Pipeline(*tiny, PLAN, silent, folder=folder, results=results)
    assert json.loads(json.dumps([*Figures(again).report()][-1])) == reports[-1]


def test_a_pipeline_without_a_folder_has_the_same_figures(reports, tiny):
    (*_, report), _ = reports
    names = "base", "sft", "ppo"
    figures = Figures(Pipeline(*tiny, PLAN, silent))
    for name in names:
        policy = figures.policy(name)
        answers = figures.answers(name, policy)
        found = figures.figures(name, policy, answers)
        assert found["reward"] == report["policies"][name]["reward"]
        assert found["lm_loss"] == report["policies"][name]["lm_loss"]


def test_ranked_answers_are_four_to_nine_and_batches_have_as_many_to_each_prompt(tiny):
    pipeline = Pipeline(*tiny, PLAN, silent)
    pipeline.sft = pipeline.base
    ranked = pipeline.ranked("train", 3)
    assert len(ranked) == PLAN.prompts
    assert all(4 <= len(answers) == len(ranks) <= 9 for _, answers, ranks in ranked)
    prompt, answers, _ = ranked[0]
    groups = [ranked[0]._replace(ranks=[*range(len(answers))])]  # none is a tie
    ids, ranks, mask = next(pipeline.ranked_batches(groups, np.random.default_rng(0)))
    assert ids.shape == mask.shape and ids.shape[:2] == ranks.shape == (1, len(answers))
    row = ids[0, 0][mask[0, 0]].tolist()
    assert row == pipeline.encode(prompt.text) + pipeline.encode_answer(answers[0])
    assert row[-1] in pipeline.eos


def test_wins_count_ties_as_half():
    assert wins([1, 2, 3, 4], [0, 2, 5, 1])["mean"] == 5 / 8
    x = interval([0, 1, 1, 1])
    assert x == {"mean": 0.75, "half_width": pytest.approx(1.96 * 3**0.5 / 4 / 2)}


def test_the_page_has_the_table_the_legend_and_the_answers(reports):
    (*_, report), _ = reports
    titles, *body = rows(report)
    assert [row[0] for row in body] == ["base", "few-shot", "SFT", "PPO", "PPO-ptx", "β = 0"]
    assert {len(row) for row in body} == {len(titles)}
    assert f"{report['reward_model']['pairs']:,} held-out pairs" in legend(report)
    page = markdown(report, "feedback.png")
    assert "](feedback.png)" in page and all(line in page for line in samples(report))
    assert "](feedback.png)" not in markdown(report, None)


def test_findings_are_of_all_policies(reports):
    reports, _ = reports
    assert not [*findings(reports[-2])]
    figures = {name: json.loads(json.dumps(p)) for name, p in reports[-1]["policies"].items()}
    for loss, words in {1.0: "the pretraining loss lowers it", 9.9: "does not lower it"}.items():
        figures["ppo-ptx"]["lm_loss"], figures["ppo"]["lm_loss"] = loss, 5.0
        first, second = findings({"policies": figures})
        assert f"→ {figures['ppo']['reward']['mean']:.2f}" in first and words in second


def test_the_plot_is_a_picture(reports, tmp_path):
    pytest.importorskip("matplotlib")
    (*_, report), _ = reports
    plot_feedback(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


def test_smooth_takes_the_mean_with_earlier_numbers():
    assert smooth([1.0, 2.0, 6.0, 1.0], window=2).tolist() == [1.0, 1.5, 4.0, 3.5]
