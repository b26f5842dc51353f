"""Processes that take turns: each has one library, and a fork of it runs one job at a time."""

import json
import subprocess
import sys
from contextlib import suppress


class Failed(Exception):
    """Raised if a job ends with an error."""


class Worker:
    """A process that has imported one module of `benchmarks.libraries`.

    Two thread pools in one process slow each other down, so each library has its own process.
    folder: where its jobs run.  alone: one job runs in the process itself, not in a fork.
    """

    def __init__(self, library: str, folder=".", alone: bool = False):
        self.library = library
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", library, folder, *["alone"] * alone],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **message) -> dict:
        """Return the answer to a message; raise Failed if it is an error."""
        try:
            print(json.dumps(message), file=self.process.stdin, flush=True)
            answer = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise Failed(
                f"the process of {self.library} ended: is the extra `oracle` installed?"
            ) from None
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def start(self, job: str, **arguments):
        """Start a job, a function of the library, and return the result of its first run."""
        return self.ask(job=job, arguments=arguments)["result"]

    def seconds(self) -> float:
        """Return the seconds of one run of the job, the mean over a turn."""
        return self.ask(run=True)["seconds"]

    def stop(self) -> int:
        """End the job, and return its peak of memory, in bytes."""
        return self.ask(run=False)["peak"]

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError), self.process:
            pass


class Workers(dict):
    """{name: Worker}, each started when it is first needed; their jobs run in `folder`."""

    def __init__(self, folder="."):
        self.folder = folder

    def of(self, name: str, library: str) -> Worker:
        """Return the worker of this name, which has this library."""
        if name not in self:
            self[name] = Worker(library, self.folder)
        return self[name]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for worker in self.values():
            worker.close()


def take_turns(workers: dict[str, Worker], rounds: int) -> dict[str, list[float]]:
    """Return {name: the seconds of a run in each round} of workers that have started a job."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            seconds[name].append(float(f"{worker.seconds():.4g}"))
    return seconds
