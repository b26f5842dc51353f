"""Run pytest on a copy of the repository, in a process that imports the library of that copy.

The processes are forks of a server that has imported what the tests need besides, since that takes
longer than most tests.
"""

import importlib.util
import multiprocessing
import os
import re
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

PRELOADED = "pytest", "hypothesis", "hypothesis.extra.numpy", "numpy", "regex", "rich.progress"
PRELOADED += "safetensors.numpy", "threadpoolctl", "tokenizers", "tyro", "xdist.plugin"
OPTIONS = "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--assert=plain", "--tb=short"
ELSEWHERE = 99  # exit code: the tests would import another minipeft

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(list(PRELOADED))


class Outcome(NamedTuple):
    """code: the exit code of pytest; None if the tests did not end in time."""

    code: int | None
    output: str

    @property
    def noticed_by(self) -> str | None:
        """The first test that failed; None if none did, or there were none."""
        if self.code is None:
            return "no end"
        failed = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(.+?)(?: - .*)?$", self.output, re.M)
        if self.code in (1, 2, 3, 4):  # without a test if conftest.py can't be imported
            return failed[1] if failed else f"pytest, which ended with code {self.code}"
        return None


def run_tests(tree: Path, tests: str, limit: float | None = None) -> Outcome:
    """Return the outcome of tests, paths under tests/ of the copy and options of pytest."""
    with tempfile.NamedTemporaryFile("r") as output:
        process = context.Process(target=child, args=(str(tree), tests, output.name))
        process.start()
        process.join(limit)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            return Outcome(None, "")
        if process.exitcode == ELSEWHERE:
            raise RuntimeError(f"the tests in {tree} would import another minipeft")
        return Outcome(process.exitcode, output.read())


def child(tree, tests, output):
    """Run the tests and exit with pytest's code; stdout and stderr go to the file `output`."""
    os.setsid()  # a group of its own, which can be killed as a whole
    file = os.open(output, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": tree, "OPENBLAS_NUM_THREADS": "1"}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background process
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("minipeft", "tests"):
            del sys.modules[name]
    sys.path[:] = [tree, *[p for p in sys.path if p and not Path(p, "minipeft").exists()]]
    sys.dont_write_bytecode = False
    importlib.invalidate_caches()
    origin = Path(importlib.util.find_spec("minipeft").origin)
    if not origin.is_relative_to(tree):
        sys.exit(ELSEWHERE)
    import pytest

    words = shlex.split(tests)
    words = [f"tests/{w}" if Path("tests", w.partition("::")[0]).exists() else w for w in words]
    code = int(pytest.main([*OPTIONS, *words]))
    sys.stdout.flush()
    os._exit(code)
