"""Measuring one job in several libraries: they start, agree on the result, and take turns."""

from typing import NamedTuple

from .cases import SIZES
from .libraries import TOLERANCE
from .turns import Failed, Workers, take_turns


class Job(NamedTuple):
    """A job of a module of `benchmarks.libraries`, with the arguments that only it has."""

    library: str
    name: str
    settings: dict = {}


def measure(workers: Workers, jobs: dict[str, Job], rounds: int, want=None, **case) -> dict:
    """Return {"seconds": {name: a run in each round}, "failed": {name: why it did not start}}.

    case: arguments of all jobs.  want: the result of their first run; None: that of the first job
    that returns one.  Raises ArithmeticError if the result of a job is another one.
    """
    running, failed = {}, {}
    for name, job in jobs.items():
        worker = workers.of(name, job.library)
        try:
            result = worker.start(job.name, **case, **job.settings)
        except Failed as error:
            failed[name] = str(error)[:200]
            continue
        running[name] = worker
        want = result if want is None else want
        if result is not None and not abs(result - want) <= TOLERANCE * abs(want):
            raise ArithmeticError(f"{name}, {case}: the result is {result}, not {want}")
    seconds = take_turns(running, rounds)
    for worker in running.values():
        worker.stop()
    return {"seconds": seconds, "failed": failed}


def few(options, size: str) -> int:
    """Return the number of rounds: a third for the large models."""
    return options.rounds if SIZES[size].width < 512 else -(-options.rounds // 3)
