"""Processes take turns; one that fails does not end the others."""

import os

import pytest

from benchmarks.measure import Job, measure
from benchmarks.turns import Failed, Worker, Workers, take_turns

NANO = {"size": "nano", "method": "lora", "labels": "everywhere"}


@pytest.fixture(scope="module")
def worker():
    worker = Worker("products")
    yield worker
    worker.close()


def test_workers_take_turns():
    order = []

    class Recorded:
        def __init__(self, name):
            self.name = name

        def seconds(self):
            order.append(self.name)
            return len(order) / 3

    seconds = take_turns({name: Recorded(name) for name in "ab"}, rounds=2)
    assert order == ["a", "b", "a", "b"]
    assert seconds == {"a": [0.3333, 1.0], "b": [0.6667, 1.333]}


def test_a_worker_runs_jobs_one_after_the_other(worker):
    for split in (False, True):
        assert worker.start("train", split=split, **NANO) is None
        assert 0 < worker.seconds() < 1
        assert worker.stop() >= 0


def test_a_job_that_fails_does_not_end_the_worker(worker):
    with pytest.raises(Failed, match="KeyError: 'giant'"):
        worker.start("train", split=False, **NANO | {"size": "giant"})
    with pytest.raises(Failed, match="has no attribute 'no_job'"):
        worker.start("no_job")
    worker.start("train", split=False, **NANO)
    worker.stop()


def test_a_worker_that_ends_is_an_error():
    worker = Worker("no_library")
    with pytest.raises(Failed, match="the process of no_library ended: is the extra `oracle`"):
        worker.start("train")
    worker.close()


def test_jobs_are_measured_and_failures_named():
    jobs = {name: Job("products", name, {"split": False}) for name in ("train", "nothing")}
    with Workers() as workers:
        result = measure(workers, jobs, 2, **NANO)
        process = workers["train"].process
    assert [*result["seconds"]] == ["train"] and len(result["seconds"]["train"]) == 2
    assert [*result["failed"]] == ["nothing"] and process.returncode == 0
    assert os.getcwd()  # jobs run in the folder of the workers; this process stays where it is


def test_another_result_is_an_error():
    class Other(dict):
        def of(self, name, library):
            return self

        def start(self, name, **arguments):
            return 1.001

    with pytest.raises(ArithmeticError, match="x, {'size': 'nano'}: the result is 1.001, not 1"):
        measure(Other(), {"x": Job("products", "train")}, 1, want=1, size="nano")
