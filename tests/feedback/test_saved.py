"""PPO on disk: the same bits after a resume at any step, and what can't be resumed is refused."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from minipeft.feedback import ppo as module
from minipeft.storage.json import CheckpointError
from minipeft.training.interrupt import Interrupted
from tests.feedback.test_ppo import GROUP, count_even, made, state
from tests.support.trainings import HERE, ROOT

STEPS = 3
OPTIONS = {"kl_target": 0.05, "epochs": 1}


def prompts(rng):
    return [rng.integers(0, 31, rng.integers(1, 4)).tolist() for _ in range(3)]


def fit(loop, steps=STEPS, **options):
    loop.fit(prompts, steps, progress=False, **options)
    return state(loop)


@pytest.fixture(scope="module")
def whole():
    """The state after an uninterrupted training."""
    return fit(made(**OPTIONS))


@pytest.fixture
def saved(tmp_path):
    """A folder with the save of step 2."""
    fit(made(**OPTIONS), 2, folder=tmp_path / "a")
    return tmp_path / "a"


@pytest.mark.parametrize("stop", range(1, STEPS))
def test_resumed_at_any_step_is_uninterrupted(stop, tmp_path, whole):
    fit(made(**OPTIONS), stop, folder=tmp_path / "a")
    loop = made(**OPTIONS)
    loop.resume(tmp_path / "a")
    assert loop.t == stop
    assert fit(loop, folder=tmp_path / "a") == whole
    uninterrupted = made(**OPTIONS).fit(prompts, STEPS, progress=False)
    assert loop.history == uninterrupted and os.listdir(tmp_path) == ["a"]


def test_a_group_has_no_value_network_to_save(tmp_path):
    loop = made(**GROUP)
    fit(loop, 1, folder=tmp_path / "a")
    again = made(**GROUP)
    again.resume(tmp_path / "a")
    assert state(again) == state(loop)
    assert sorted(os.listdir(tmp_path / "a")) == ["policy", "ppo.json"]


def edited(**fields):
    def edit(folder):
        path = folder / "ppo.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return edit


def truncated(folder):
    path = folder / "value/training.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


BROKEN = {
    "no folder": (lambda folder: os.rename(folder, folder.with_name("b")), "no folder|no such"),
    "no JSON": (lambda folder: (folder / "ppo.json").write_text("{"), "is not JSON"),
    "a list": (lambda folder: (folder / "ppo.json").write_text("[]"), "must hold a JSON object"),
    "no settings": (lambda folder: (folder / "ppo.json").write_text("{}"), "the settings were"),
    "other settings": (edited(config={"beta": 1.0}), "the settings were"),
    "a number for the history": (edited(history=1), "history=1"),
    "no history": (edited(history=None), "history=None"),
    "a history of numbers": (edited(history=[1]), "must be statistics"),
    "a history of texts": (edited(history=[{"loss": "x"}]), "must be statistics"),
    "a negative β": (edited(beta=-1.0), "beta=-1.0"),
    "no β": (edited(beta=None), "beta="),
    "a text for β": (edited(beta="1"), "beta="),
    "a broken value network": (truncated, "value"),
    "no value network": (lambda folder: (folder / "value/training.safetensors").unlink(), "value"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_is_refused_and_changes_nothing(name, saved):
    edit, message = BROKEN[name]
    edit(saved)
    loop = made(**OPTIONS)
    fit(loop, 1)
    before = state(loop)
    with pytest.raises(CheckpointError, match=message):
        loop.resume(saved)
    assert state(loop) == before


def test_another_training_is_not_continued_or_replaced(saved):
    with pytest.raises(CheckpointError, match="the settings were"):
        made(**OPTIONS | {"beta": 1.0}).resume(saved)
    before = {path: path.read_bytes() for path in saved.rglob("*.*")}
    with pytest.raises(CheckpointError, match="already has a training"):
        fit(made(**OPTIONS), folder=saved)
    assert {path: path.read_bytes() for path in saved.rglob("*.*")} == before
    with pytest.raises(ValueError, match="save_every=0"):
        fit(made(**OPTIONS), folder=saved.with_name("b"), save_every=0)


def test_a_save_that_fails_leaves_the_earlier_one(saved, monkeypatch, whole):
    loop = made(**OPTIONS)
    loop.resume(saved)

    def full(path, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(module, "write_atomically", full)
        fit(loop, folder=saved)
    again = made(**OPTIONS)
    again.resume(saved)
    assert again.t == 2 and fit(again) == whole
    assert os.listdir(saved.parent) == ["a"]


def test_a_signal_ends_the_step_and_saves_it(tmp_path, whole):
    loop, before = made(**OPTIONS), signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(rng):
        signal.raise_signal(signal.SIGINT)
        return prompts(rng)

    with pytest.raises(Interrupted) as caught:
        loop.fit(interrupted, STEPS, progress=False, folder=tmp_path / "a")
    signal.signal(signal.SIGINT, before)
    assert caught.value.folder == tmp_path / "a" and loop.t == 1
    again = made(**OPTIONS)
    again.resume(tmp_path / "a")
    assert again.history == loop.history and fit(again) == whole


KILLED = """
import os, signal, sys
from pathlib import Path
from minipeft.feedback import ppo
from tests.feedback.test_saved import OPTIONS, made
loop = made(**OPTIONS)
loop.resume(Path(sys.argv[1]))
loop.history.append(loop.history[-1])
ppo.write_atomically = lambda path, content: os.kill(os.getpid(), signal.SIGKILL)
loop.save(Path(sys.argv[1]))
"""


def test_a_kill_during_a_save_leaves_the_earlier_one(saved, whole):
    done = subprocess.run([sys.executable, "-c", KILLED, saved], cwd=ROOT, env=HERE)
    assert done.returncode == -signal.SIGKILL
    loop = made(**OPTIONS)
    loop.resume(saved)
    assert loop.t == 2 and fit(loop, folder=saved) == whole
    assert os.listdir(saved.parent) == ["a"]  # nothing of the killed save is left


def test_statistics_are_of_each_step(whole):
    shown = []
    seen, loop = [], made(**OPTIONS)

    def watched(rng):
        seen.append(prompts(rng))
        return seen[-1]

    history = loop.fit(watched, 2, progress=lambda t, loss: shown.append((t, loss)))
    assert seen[0] != seen[1]
    assert shown == [(1, history[0]["loss"]), (2, history[1]["loss"])]
    assert loop.fit(prompts, 2, progress=False) == history and loop.t == 2
    assert np.isfinite([*history[0].values()]).all() and count_even is loop.score
