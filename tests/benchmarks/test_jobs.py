"""Jobs of minipeft: what is compared computes the same."""

import numpy as np
import pytest

from benchmarks import start
from benchmarks.cases import batch
from benchmarks.libraries import files, ours, replay, rows

CASE = {"size": "nano", "labels": "everywhere"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minipeft.keep_memory", lambda: None)  # it would change this process
    start.base(tmp_path, "nano")
    return tmp_path


def test_a_training_step_returns_the_loss(folder):
    start.adaptation(folder, "nano", "lora")
    step = ours.train(method="lora", **CASE)
    model, γ = ours.model_and_adaptation("nano", "lora")
    first = float(model.loss(*batch(method="lora", **CASE), γ))
    np.testing.assert_allclose(step(), first, rtol=1e-5)
    assert step() < first


def test_a_probe_has_the_same_loss_on_cached_features(folder):
    start.adaptation(folder, "nano", "probe")
    cached, trunk = ours.cached_probe("nano"), ours.train(method="probe", **CASE)
    for _ in range(3):
        np.testing.assert_allclose(cached(), trunk(), rtol=1e-5)


def test_forward_passes_return_a_logit(folder):
    start.adaptation(folder, "nano", "prefix")
    model, γ = ours.model_and_adaptation("nano", "prefix")
    logits = model(batch(method="prefix", **CASE)[0], γ).data
    np.testing.assert_allclose(ours.forward("nano", "prefix")(), logits[0, -1, 0], rtol=1e-5)


def test_a_mixed_batch_writes_the_tokens_of_four_batches(folder):
    start.base(folder, "tt")
    mixed, apart = (rows.generate_kinds("tt", way, new=4)() for way in (True, False))
    assert mixed == apart > 0


@pytest.mark.parametrize("users", [1, 2, 4])
def test_users_train(users):
    assert rows.users("nano", "lora", users, rows=4)() is None


@pytest.mark.parametrize("mixed", [True, False])
def test_kinds_train(folder, mixed):
    start.base(folder, "tt")
    assert rows.train_kinds("tt", mixed)() is None


def test_a_replay_calls_the_functions_of_a_step_again(folder):
    start.adaptation(folder, "nano", "lora")
    step = ours.train(method="lora", **CASE)
    cells = replay.operations()
    before, losses = [cell.cell_contents for cell in cells], []
    (tape,) = replay.record(lambda: losses.append(step()))
    assert before == [cell.cell_contents for cell in cells]
    last = tape.forwards[-1]
    assert last.forward.__name__ == "cross_entropy" and len(tape.backwards) > len(tape.forwards)
    assert float(last.forward(*last.arrays, **last.options)[0]) == losses[0]
    assert tape.backwards[0] == (last, 0) and tape.replay() is None


def test_other_jobs_run():
    assert ours.generate("nano", rows=2, new=3)() >= 0
    jobs = ours.load("nano"), files.load("nano"), files.map_file("nano"), ours.scale(2, 8)
    assert [job() for job in jobs] == [None] * 4
