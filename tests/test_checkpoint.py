"""A training that is stopped and goes on is the training that was not, bit for bit."""

import errno
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from families import GPT2, C, V, decoder

import minipeft as mp
from minipeft import checkpoint
from minipeft.hf import CheckpointError
from minipeft.train import Interrupted

STEPS = 12
METHODS = {
    "lora": lambda: mp.LoRA(rank=2, dropout=0.3),
    "prefix": lambda: mp.PrefixTuning(length=3),
    "encoded": lambda: mp.Encoded(mp.PrefixTuning(length=3), hidden=6),
    "full": lambda: mp.FullFineTuning(),
    "chain": lambda: mp.Chain(mp.LoRA(rank=1, dropout=0.3), mp.Adapter(2)),
}
methods = pytest.mark.parametrize("name", METHODS)


def made(name="lora", classes=0, **options):
    """A trainer; the same whenever it is made."""
    model, adapt = decoder(GPT2), METHODS[name]()
    if classes:
        model = mp.Classifier(model, classes)
        adapt = mp.Chain(adapt, mp.Probe())
    adapt.attach(model, np.random.default_rng(0))
    optimizer = mp.AdamW(adapt.parameters(), 1e-2, weight_decay=0.1)
    return mp.Trainer(model, adapt, optimizer, mp.schedule("cosine", STEPS, 3), **options)


def batches(classes=0):
    rng = np.random.default_rng(1)
    while True:
        ids = rng.integers(0, V, (4, 6))
        yield ids, rng.integers(0, classes, 4) if classes else ids, rng.random(ids.shape) < 0.9


def bits(trainer):
    o = trainer.optimizer
    arrays = [p.data for p in trainer.adapt.parameters()] + o.m + o.v
    return b"".join(x.tobytes() for x in arrays), trainer.t, o.t


def held_out(adapt):
    """Something to lower that goes up again."""
    return abs(sum(float(p.data.sum()) for p in adapt.parameters()) - 0.3)


def interrupted(trainer, path, at, by, stream=None, **options):
    """Train until a signal comes while step `at` is computed."""
    step = trainer.step

    def signalled(*batch):
        if trainer.t == at:
            os.kill(os.getpid(), by)
        return step(*batch)

    trainer.step = signalled
    with pytest.raises(Interrupted) as stop:
        trainer.fit(stream or batches(), STEPS, path=path, progress=False, **options)
    assert stop.value.signal == by and trainer.t == at + 1 and str(path) in str(stop.value)


@pytest.fixture(scope="module")
def ends():
    """By method, and whether under a head: the bits of a training that nothing stopped."""
    found = {}
    for name, classes in itertools.product(METHODS, (0, C)):
        trainer = made(name, classes)
        trainer.fit(batches(classes), STEPS, progress=False)
        found[name, classes] = bits(trainer)
    return found


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("point", range(50))
def test_stopped_by_a_signal_it_goes_on_with_the_same_bits(by, point, ends, tmp_path):
    draw = random.Random(f"{by} {point}")
    name, classes, at = draw.choice([*METHODS]), draw.choice([0, C]), draw.randrange(STEPS - 1)
    path = tmp_path / "checkpoint"
    interrupted(made(name, classes), path, at, by, batches(classes), every=draw.randint(1, 9))
    trainer = made(name, classes, workers=draw.randint(1, 3))
    trainer.resume(path)
    trainer.fit(batches(classes), STEPS, path=path, progress=False)
    assert bits(trainer) == ends[name, classes]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_a_signal_at_any_instant_is_heeded(tmp_path, ends):
    stopped = 0
    for i in range(20):
        trainer, path = made(), tmp_path / f"{i}"
        timer = threading.Timer(0.001 * i, os.kill, (os.getpid(), signal.SIGTERM))
        slow = (batch for batch in batches() if not threading.Event().wait(0.002))
        before = signal.signal(signal.SIGTERM, lambda *_: None)  # before and after the training
        timer.start()
        try:
            trainer.fit(slow, STEPS, path=path, progress=False)
        except Interrupted:
            stopped += 1
        timer.join()
        signal.signal(signal.SIGTERM, before)
        again = made()
        again.resume(path)
        again.fit(batches(), STEPS, progress=False)
        assert bits(again) == ends["lora", 0]
    assert stopped > 5


def test_the_handlers_of_before_come_back(tmp_path):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    interrupted(made(), tmp_path / "c", 3, signal.SIGINT)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_without_a_checkpoint_ctrl_c_is_what_it_always_was():
    trainer = made()
    trainer.step = lambda *_: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches(), STEPS, progress=False)


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    trainer = made()
    trainer.step = lambda *_: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches(), STEPS, progress=False, path=tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_of_what_dev_saw_the_best_is_kept_also_when_resumed(tmp_path):
    plain = made()
    seen = []

    def look(adapt):
        seen.append((held_out(adapt), [p.data.copy() for p in adapt.parameters()]))
        return seen[-1][0]

    plain.fit(batches(), STEPS, evaluate=look, every=2, progress=False)
    value, best = min(seen, key=lambda pair: pair[0])
    assert len(seen) == 6 and plain.best[0] == value
    assert all(np.array_equal(p.data, x) for p, x in zip(plain.adapt.parameters(), best))
    path = tmp_path / "c"
    interrupted(made(), path, 6, signal.SIGINT, evaluate=held_out, every=2)
    again = made()
    again.resume(path)
    again.fit(batches(), STEPS, evaluate=held_out, every=2, progress=False)
    assert bits(again) == bits(plain) and again.best[0] == value


def test_it_ends_early_once_nothing_gets_better_and_stays_ended(tmp_path):
    values = iter([3.0, 2.0, 2.5, 2.0, 9.0])
    trainer, path = made(), tmp_path / "c"
    losses = trainer.fit(
        batches(),
        STEPS,
        evaluate=lambda _: next(values),
        every=2,
        patience=2,
        path=path,
        progress=False,
    )
    assert len(losses) == trainer.t == 8 and trainer.best[0] == 2.0
    again = made()
    again.resume(path)
    assert again.fit(batches(), STEPS, evaluate=held_out, patience=2, progress=False) == []
    assert bits(again)[0] == bits(trainer)[0]


@pytest.mark.parametrize("stop", [0, 5])
def test_the_log_has_every_step_once(stop, tmp_path):
    log, path = tmp_path / "metrics.jsonl", tmp_path / "c"
    interrupted(made(), path, stop, signal.SIGTERM, log=log)
    with log.open("a") as file:
        file.write('{"step": 99}\n{"half')  # of steps that were never saved
    again = made()
    again.resume(path)
    again.fit(batches(), STEPS, log=log, progress=False)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [*range(1, STEPS + 1)]


# -- slices


@methods
def test_slices_sum_to_the_whole(name):
    losses = []
    for slices in (1, 3, 4):
        trainer = made(name, slices=slices)
        trainer.adapt.dropout = 0.0
        (trainer.adapt.methods[0] if name == "chain" else trainer.adapt).dropout = 0.0
        losses.append([trainer.step(*batch) for _, batch in zip(range(3), batches())])
    np.testing.assert_allclose(losses[1:], [losses[0]] * 2, rtol=1e-5)


# -- what can go wrong


FAULTS = [errno.ENOSPC, errno.EIO, errno.EROFS]
CALLS = ["write", "flush", "fsync", "replace", "open"]


class Failing:
    """The n-th call of those that reach the disk fails."""

    def __init__(self, n, error, monkeypatch):
        self.left, self.error, self.names = n, OSError(error, os.strerror(error)), []
        real_open = Path.open
        monkeypatch.setattr(os, "fsync", self.or_not(os.fsync, "fsync"))
        monkeypatch.setattr(os, "replace", self.or_not(os.replace, "replace"))
        monkeypatch.setattr(os, "open", self.or_not(os.open, "os.open"))

        def opened(path, *args, **options):
            self.count("open")
            file = real_open(path, *args, **options)
            return FailingFile(file, self) if "w" in str(args) else file

        monkeypatch.setattr(Path, "open", opened)

    def count(self, name):
        self.names.append(name)
        self.left -= 1
        if self.left == -1:
            raise self.error

    def or_not(self, f, name):
        def g(*args):
            self.count(name)
            return f(*args)

        return g


class FailingFile:
    def __init__(self, file, failing):
        self.file, self.failing = file, failing

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def fileno(self):
        return self.file.fileno()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.failing.count("write")
        self.file.write(data[len(data) // 2 :])

    def flush(self):
        self.failing.count("flush")
        self.file.flush()


@pytest.mark.parametrize("error", FAULTS)
def test_a_fault_at_any_call_of_a_save_leaves_a_whole_checkpoint(error, tmp_path, monkeypatch):
    path = tmp_path / "c"
    trainer = made()
    trainer.fit(batches(), 3, path=path, progress=False)
    before = path.read_bytes()
    trainer.step(*next(batches()))
    for n in itertools.count():
        with monkeypatch.context() as patch:
            failing = Failing(n, error, patch)
            try:
                checkpoint.save(trainer, path)
            except OSError as stop:
                assert stop.errno == error
            else:
                break
        assert [p.name for p in tmp_path.iterdir()] == ["c"], failing.names
        replaced = "replace" in failing.names[:-1]
        assert (path.read_bytes() == before) == (not replaced)
        again = made()
        again.resume(path)
        assert again.t == (4 if replaced else 3)
    assert n == len(failing.names) and set(failing.names) >= {"open", "write", "flush", "fsync"}


FULL = """
import resource, sys
sys.path[:0] = {paths}
from test_checkpoint import *
trainer = made("full")
trainer.resume({path!r})
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    trainer.fit(batches(), STEPS, path={path!r}, every=1, progress=False)
except OSError as error:
    sys.exit(error.errno)
"""


def test_a_disk_without_room_leaves_what_was_there(tmp_path):
    path = tmp_path / "c"
    made("full").fit(batches(), 2, path=path, progress=False)
    before, size = path.read_bytes(), resource.getpagesize()
    paths = [str(Path(mp.__file__).parents[1]), str(Path(__file__).parent)]
    code = FULL.format(paths=paths, size=size, path=str(path))
    assert len(before) > size
    assert subprocess.run([sys.executable, "-c", code]).returncode == errno.EFBIG
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["c"]


def test_killed_at_any_instant_it_goes_on_with_the_same_bits():
    script = Path(__file__).with_name("kills.py")
    env = os.environ | {"PYTHONPATH": str(script.parents[1]), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, "--times", "20"], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0 and "20 kills" in done.stdout, done.stderr


@pytest.fixture
def saved(tmp_path):
    made().fit(batches(), 3, path=tmp_path / "c", progress=False)
    return tmp_path / "c"


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_half_a_file_is_refused(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        made().resume(saved)


def test_no_file_is_one_clear_error(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        made().resume(tmp_path / "c")


@pytest.mark.parametrize(
    "other, message",
    [
        (lambda: made("prefix"), "adapt is LoRA"),
        (lambda: made(seed=1), "seed is 0, but this training has 1"),
        (lambda: made(slices=2), "slices is 1, but this training has 2"),
        (lambda: made(clip=2.0), "clip is 1.0, but this training has 2.0"),
        (lambda: made(classes=C), "adapt is LoRA"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(saved, other, message):
    trainer = other()
    before = bits(trainer)
    with pytest.raises(CheckpointError, match=message):
        trainer.resume(saved)
    assert bits(trainer) == before


def test_another_schedule_is_refused(saved):
    trainer = made()
    trainer.schedule = mp.schedule("linear", STEPS, 2)
    with pytest.raises(CheckpointError, match="other rates than the schedule here gives"):
        trainer.resume(saved)
    assert trainer.t == 0


def test_a_training_is_not_written_over(saved):
    before = saved.read_bytes()
    with pytest.raises(CheckpointError, match="has a training already"):
        made().fit(batches(), STEPS, path=saved, progress=False)
    assert saved.read_bytes() == before


def test_what_is_ignored_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    trainer = made()
    trainer.step = lambda *batch: (
        os.kill(os.getpid(), signal.SIGINT),
        type(trainer).step(trainer, *batch),
    )[1]
    assert len(trainer.fit(batches(), 3, path=tmp_path / "c", progress=False)) == 3
    signal.signal(signal.SIGINT, before)


def test_an_adaptation_is_no_checkpoint(tmp_path):
    mp.save(made().adapt, tmp_path / "lora")
    with pytest.raises(CheckpointError, match="adapt is None, but this training has LoRA"):
        made().resume(tmp_path / "lora" / "adapter_model.safetensors")
