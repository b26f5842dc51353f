"""A training that is stopped by a signal, or killed, ends with the same bits once resumed."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading

import pytest

from minipeft.training.interrupt import SIGNALS, Interrupted
from tests.support.trainings import HERE, METHODS, ROOT, STEPS, WHOLE, fit, made, numbers


@pytest.fixture(autouse=True)
def handlers():
    """Python's own, which jobs in the background of a script are not given; and they come back."""
    before = [signal.signal(s, signal.default_int_handler) for s in SIGNALS]
    yield
    assert [signal.getsignal(s) for s in SIGNALS] == [signal.default_int_handler] * 2
    for s, handler in zip(SIGNALS, before):
        signal.signal(s, handler)


def points(n=50):
    """A method, the step before which the signal comes, and how many seconds later it does."""
    draw = random.Random(0)
    for i in range(n):
        yield draw.choice(list(METHODS)), draw.randrange(STEPS), i % 2 * draw.uniform(0, 0.02)


def signalled(number, step, delay):
    """What sends this process a signal when it is called for the step-th time, or so much later."""
    calls = itertools.count()
    timer = threading.Timer(delay, lambda: os.kill(os.getpid(), number))

    def each():
        if (call := next(calls)) == step:
            timer.start() if delay else timer.function()
        if call == STEPS - 1 and delay:
            timer.join()

    return each


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("name, step, delay", list(points()))
def test_a_signal_at_any_point_changes_no_bit(number, name, step, delay, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # no power is lost here; it takes half
    trainer, log = made(name), tmp_path / "metrics.jsonl"
    with pytest.raises(Interrupted, match="trainer.resume") as caught:
        fit(trainer, tmp_path, signalled(number, step, delay), log=log)
    assert caught.value.code == 128 + number and caught.value.folder == tmp_path
    assert trainer.t == step + 1 or delay and trainer.t > step
    again = made(name, workers=1)
    again.resume(tmp_path)
    assert numbers(fit(again, tmp_path, log=log)) == WHOLE[name]
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == list(
        range(1, STEPS + 1)
    )


def test_a_second_signal_stops_at_once(tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    trainer = made("lora")
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(trainer, tmp_path, twice)
    assert caught.type is KeyboardInterrupt and trainer.t == 0
    made("lora").resume(tmp_path)


def test_without_a_folder_ctrl_c_is_as_ever():
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(made("lora"), each=lambda: os.kill(os.getpid(), signal.SIGINT))
    assert caught.type is KeyboardInterrupt


def test_what_is_ignored_stays_ignored(tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        trainer = fit(made("lora"), tmp_path, lambda: os.kill(os.getpid(), signal.SIGINT))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pytest.fail("an ignored signal stopped the training")
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is signal.SIG_IGN
    assert numbers(trainer) == WHOLE["lora"]


def test_other_threads_train_without_signals(tmp_path):
    trainer = made("lora")
    thread = threading.Thread(target=fit, args=(trainer, tmp_path))
    thread.start()
    thread.join()
    assert numbers(trainer) == WHOLE["lora"]


SCRIPT = """
import signal, sys, time
from tests.support.trainings import fit, made
from minipeft.training.interrupt import Interrupted
for s in (signal.SIGINT, signal.SIGTERM):
    signal.signal(s, signal.default_int_handler)
try:
    fit(made("lora"), sys.argv[1], lambda: (print("ready", flush=True), time.sleep(0.1)))
except Interrupted as stop:
    print(stop)
    sys.exit(stop.code)
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_process_exits_with_the_code_of_the_signal(number, code, tmp_path):
    command = [sys.executable, "-c", SCRIPT, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=HERE) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        said = process.stdout.read()
    assert process.returncode == code and f"trainer.resume({str(tmp_path)!r})" in said
    again = made("lora")
    again.resume(tmp_path)
    assert 0 < again.t < STEPS and numbers(fit(again, tmp_path)) == WHOLE["lora"]


def test_killed_at_any_instant():
    """`python -m tests.tools.kill` does it a hundred times."""
    command = [sys.executable, "-m", "tests.tools.kill", "--times", "20"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=HERE)
    assert done.stdout.startswith("20 killed") and not done.returncode, done.stdout + done.stderr
