"""What a training leaves on the disk is whole, whatever fails, and goes on bit for bit."""

import errno
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import minipeft as mp
from minipeft.autograd.nn import replace
from minipeft.training.checkpoint import FILE
from tests.support.trainings import (
    DECODER,
    HERE,
    METHODS,
    ROOT,
    STEPS,
    WHOLE,
    fit,
    made,
    numbers,
    step,
    stream,
)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("stop", [0, 1, 3, STEPS])
def test_resumed_at_any_step_is_uninterrupted(name, stop, tmp_path):
    first = made(name, workers=1)
    for batch in itertools.islice(stream(first), stop):
        step(first, batch)
    first.save(tmp_path)
    again = made(name)
    again.resume(tmp_path)
    assert numbers(again) == numbers(first)
    one, two = (fit(trainer, evaluate=None) for trainer in (first, again))
    assert numbers(one) == numbers(two) == numbers(fit(made(name), evaluate=None))


def test_what_breaks_goes_on_from_the_last_save(tmp_path):
    """Saved after steps 0 and 2, broken after 3, whose line is in the log already."""
    calls, log = itertools.count(), tmp_path / "log" / "metrics.jsonl"
    log.parent.mkdir()
    log.write_text('{"an": "earlier one"}\n')
    with pytest.raises(ZeroDivisionError):
        fit(made("lora"), tmp_path, lambda: 1 // (3 - next(calls)), log=log)
    assert len(log.read_text().splitlines()) == 4
    again = made("lora")
    again.resume(tmp_path)
    assert again.t == 2 and numbers(fit(again, tmp_path, log=log)) == WHOLE["lora"]
    lines = map(json.loads, log.read_text().splitlines())
    assert [line.get("step") for line in lines] == [None, 1, 2, 3, 4, 5]


def test_the_best_state_is_resumed_beside_the_last(tmp_path):
    fit(made("lora"), tmp_path, evaluate=iter([1.0, 2.0]).__next__)
    again = made("lora")
    again.resume(tmp_path)
    assert (again.best.t, again.best.adam_t, again.best.since) == (2, 2, 1)
    assert again.t == again.optimizer.t == STEPS


def test_where_the_batches_end_the_training_is_saved(tmp_path):
    first, again = made("lora"), made("lora")
    with pytest.raises(ValueError, match=f"the batches ended after 3 of {STEPS} steps"):
        first.fit(itertools.islice(stream(first), 3), STEPS, folder=tmp_path, progress=False)
    again.resume(tmp_path)
    assert again.t == 3 and numbers(again) == numbers(first)


class Plain(mp.Method):
    """A method that is no dataclass, so its repr is its address; of two kinds of numbers."""

    targets = r"attn\.[qv]$"

    def start(self, layer, rng):
        return {"b": np.zeros((1, layer.shape[1]))}

    def apply(self, layer, x, b):
        return layer(x) + b


def test_whatever_is_trained_is_resumed(tmp_path):
    def made():
        adaptation = Plain().attach(DECODER, None)
        adaptation.parameters()[0].data = np.full((1, 16), 1 / 3)  # in float32 not the same
        return mp.Trainer(DECODER, adaptation, mp.AdamW(adaptation.parameters()), seed=np.int64(1))

    first, again = made(), made()
    for _, batch in zip(range(2), stream(first)):
        step(first, batch)
    first.save(tmp_path)
    again.resume(tmp_path)
    assert numbers(again) == numbers(first) != numbers(made())


# -- a disk that fails


class Torn:
    """A file whose writes stop half-way when `strike` raises."""

    def __init__(self, file, strike):
        self.file, self.strike = file, strike

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()
        self.strike()

    def flush(self):
        self.file.flush()
        self.strike()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.strike()
        self.file.write(content[len(content) // 2 :])


def failing(patch, n, code, after):
    """The n-th thing done to the disk fails; and, as when it is gone or we are, all after it."""
    count = itertools.count(1)

    def strike():
        if (at := next(count)) == n or after and at > n:
            raise OSError(code, os.strerror(code))

    def watched(owner, name, result=lambda x: x):
        works = getattr(owner, name)

        def call(*args, **options):
            strike()
            return result(works(*args, **options))

        patch.setattr(owner, name, call)

    watched(Path, "open", lambda file: Torn(file, strike))
    for name in ("mkdir", "unlink", "rename"):
        watched(Path, name)
    for name in ("replace", "fsync"):
        watched(os, name)


FAULTS = list(itertools.product((errno.ENOSPC, errno.EROFS, errno.EIO), (False, True)))


@pytest.mark.parametrize("code, after", FAULTS)
def test_what_can_not_be_saved_leaves_the_old_one_whole(code, after, tmp_path, monkeypatch):
    old, new = made("lora"), made("lora")
    for _, batch in zip(range(3), stream(new)):
        step(new, batch)
    for n in itertools.count(1):
        old.save(tmp_path)
        with monkeypatch.context() as patch:
            failing(patch, n, code, after)
            try:
                new.save(tmp_path)
                break
            except mp.CheckpointError as error:
                assert os.strerror(code) in str(error) and FILE in str(error)
        again = made("lora")
        again.resume(tmp_path)
        assert numbers(again) in (numbers(old), numbers(new))
        assert after or [p.name for p in tmp_path.iterdir()] == [FILE]
    assert n == 9  # mkdir, open, write, flush, fsync, close, replace, and fsync have each failed
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("code, after", FAULTS)
def test_an_adaptation_is_saved_over_another_whole_or_not_at_all(
    code, after, tmp_path, monkeypatch
):
    """Where folders change names at once; tests/hf has the rest."""
    loads = lambda: repr(mp.load_adaptation(tmp_path / "a", DECODER))
    old, new = (made(name).adaptation for name in ("lora", "prefix"))
    for n in itertools.count(1):
        mp.save(old, tmp_path / "a")
        with monkeypatch.context() as patch:
            failing(patch, n, code, after)
            try:
                mp.save(new, tmp_path / "a")
                break
            except OSError as error:
                assert error.errno == code
        assert loads() in (repr(old), repr(new))
    assert n > 9 and loads() == repr(new) and [p.name for p in tmp_path.iterdir()] == ["a"]


FULL = """
import resource, sys
from tests.support.trainings import made
import minipeft as mp
trainer = made("lora")
trainer.save(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
trainer.t = 1
try:
    trainer.save(sys.argv[1])
except mp.CheckpointError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits")
def test_a_real_limit_leaves_the_old_one_whole(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, env=HERE)
    assert b"can't be written: File too large; an earlier file is unchanged" in done.stderr
    made("lora").resume(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write there")
def test_a_folder_to_read_only_is_told_before_the_first_step(tmp_path):
    tmp_path.chmod(0o500)
    trainer = made("lora")
    with pytest.raises(mp.CheckpointError, match="can't be written: Permission denied"):
        fit(trainer, tmp_path)
    assert trainer.t == 0


# -- what is resumed is what was saved


def test_a_save_has_no_part_of_one_that_was_killed(tmp_path):
    (tmp_path / f".{FILE}.0123.part").write_bytes(b"half")
    (tmp_path / "mine").write_bytes(b"whole")
    made("lora").save(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {FILE, "mine"}


def test_another_training_is_not_written_over(tmp_path):
    fit(made("lora"), tmp_path)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(mp.CheckpointError, match="already has a training.*resume"):
        fit(made("lora"), tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_other_batches_are_refused(tmp_path):
    first = fit(made("lora"), tmp_path)
    with pytest.raises(ValueError, match="first 5 batches are not those of the steps"):
        first.fit(stream(first, seed=4), STEPS + 1, progress=False)


def test_what_goes_on_longer_has_the_rates_it_began_with(tmp_path):
    """The linear schedule depends on the number of steps, the constant one does not."""
    fit(made("lora"), tmp_path)
    with pytest.raises(
        mp.CheckpointError, match="step 4 had the learning rate 0.00[0-9]+, and here it has"
    ):
        made("lora", steps=9).resume(tmp_path)
    whole, first, again = made("prefix"), made("prefix"), made("prefix")
    for trainer in (whole, first, again):
        trainer.schedule = lambda t: 1.0
    whole.fit(stream(whole), 9, progress=False)
    first.fit(stream(first), 4, progress=False, folder=tmp_path / "b")
    again.resume(tmp_path / "b")
    again.fit(stream(again), 9, progress=False)
    assert numbers(again) == numbers(whole)


OTHERS = {
    "method": (lambda: made("prefix"), "method was .LoRA.*, and here it is .PrefixTuning"),
    "model": (lambda: made("chain"), "model was .Decoder.*, and here it is .Classifier mean"),
    "seed": (lambda: made("lora", seed=1), "seed was 0, and here it is 1"),
    "micro-batches": (
        lambda: made("lora", micro_batches=1),
        "micro_batches was 2, and here it is 1",
    ),
    "rate": (
        lambda: made("lora", lr=0.1),
        "step 1 had the learning rate 0.0033.* here it has 0.033",
    ),
    "betas": (lambda: made("lora", betas=(0.9, 0.9)), "betas was"),
    "decay": (lambda: made("lora", weight_decay=0.1), "weight_decay was 0.0"),
    "clip": (lambda: replace(made("lora"), clip=2.0), "clip was 1.0, and here it is 2.0"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_training_is_refused(what, tmp_path):
    fit(made("lora"), tmp_path)
    make, says = OTHERS[what]
    trainer = make()
    before = numbers(trainer)
    with pytest.raises(mp.CheckpointError, match=says):
        trainer.resume(tmp_path)
    assert numbers(trainer) == before


def test_other_weights_are_refused(tmp_path):
    made("lora").save(tmp_path)
    trainer = made("lora")
    trainer.model = DECODER.map(lambda t: mp.Tensor(t.data + 1))
    with pytest.raises(mp.CheckpointError, match="model was .*weights [0-9a-f]{8}.*weights"):
        trainer.resume(tmp_path)


def rewritten(change, **said):
    """Tensors changed in place, and other values in what the file says of the training."""

    def edit(path):
        with safe_open(path, "numpy") as file:
            told = json.loads(file.metadata()["training"]) | said
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, {"training": json.dumps(told)})

    return edit


A = "adapt.blocks.0.attn.q.A"
BROKEN = {
    "missing": (lambda path: path.unlink(), "no such file"),
    "empty": (lambda path: path.write_bytes(b""), "is not a valid safetensors file"),
    "truncated": (lambda path: os.truncate(path, 5000), "is not a valid safetensors file"),
    "foreign": (lambda path: save_file({"x": np.ones(2)}, path), "must hold a JSON object, not N"),
    "a tensor less": (rewritten(lambda ts: ts.pop(A)), f"{A} is missing"),
    "a tensor more": (rewritten(lambda ts: ts.update(x=ts[A])), "unexpected tensors, x"),
    "float64": (
        rewritten(lambda ts: ts.update({A: ts[A].astype(float)})),
        f"{A} is float64, and here it is float32",
    ),
    "NaN": (rewritten(lambda ts: ts.update({A: ts[A] * np.nan})), f"{A} holds NaN"),
    "no best": (rewritten(lambda ts: ts, best_t=0), "unexpected tensors, best"),
    "many steps": (rewritten(lambda ts: ts, t=10**18), r"learning_rates .*5,\).*10000"),
    "a step of words": (rewritten(lambda ts: ts, t="5"), "t='5' must be an integer of at least 0"),
    "steps back": (rewritten(lambda ts: ts, adam=-1), "adam=-1 must be an integer"),
    "a log of truth": (rewritten(lambda ts: ts, logged=True), "logged=True must be an integer"),
    "words for the best": (rewritten(lambda ts: ts, best="low"), "best='low' must be a finite"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_checkpoint_is_one_clear_error_and_changes_nothing(what, tmp_path):
    fit(made("lora"), tmp_path)
    change, says = BROKEN[what]
    change(tmp_path / FILE)
    trainer = made("lora")
    before = numbers(trainer)
    with pytest.raises(mp.CheckpointError, match=says) as caught:
        trainer.resume(tmp_path)
    assert numbers(trainer) == before and FILE in str(caught.value)


@pytest.mark.parametrize("name", ["lora", "encoded prefix", "classifier"])
def test_a_training_saved_before_version_0_2_is_resumed(name):
    """The file has other names for parameters and settings, and no moments of the best step."""
    trainer = made(name)
    trainer.resume(ROOT / "tests/support/saved_before/trainings" / name.replace(" ", "-"))
    assert trainer.t == 3 and trainer.best.t == 2
    parameters = [p.data for p in fit(trainer).optimizer.parameters]
    whole = [p.data for p in fit(made(name)).optimizer.parameters]
    for p, q in zip(parameters, whole, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-6)
