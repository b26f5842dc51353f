"""Plant faults in copies of the library, one at a time: the tests that are named for it must fail.

The faults of the core are planted by hand, in tests/tools/faults.  In the other parts, small random
changes of the syntax tree are made (tests/tools/mutator.py); some of them are equivalent to the
original, so only faults planted by hand decide the exit code: 1 if no test noticed one of them.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.tools import mutator
from tests.tools.faults import (
    adaptation,
    autograd,
    encoder_decoders,
    equations,
    experiments,
    feedback,
    forward,
    generation,
    heads,
    hf,
    inspecting,
    instructions,
    methods,
    metrics,
    model,
    prompting,
    search,
    starting,
    tracing,
    training,
)
from tests.tools.isolated import Outcome, run_tests

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / ".mutants.json"  # what noticed each fault that was noticed before
WORKERS = 2

PLANTED = {
    "autograd": autograd.FAULTS,
    "adaptation": adaptation.FAULTS | forward.FAULTS,
    "model": model.FAULTS | heads.FAULTS | generation.FAULTS,
    "methods": methods.FAULTS,
    "training": training.FAULTS,
    "equations": equations.FAULTS,
    "hf": hf.FAULTS,
    "feedback": feedback.FAULTS,
    "data": metrics.FAULTS,
    "prompting": prompting.FAULTS | instructions.FAULTS | search.FAULTS,
    "seq2seq": encoder_decoders.FAULTS,
    "experiments": experiments.FAULTS,
    "inspection": tracing.FAULTS | starting.FAULTS | inspecting.FAULTS,
}
GENERATED = {  # area: the tests that should notice a fault in it
    "hf": "hf -k 'not hostile_folders and not random_fault'",
    "storage": "training/test_checkpoint.py hf",
    "data": "data tasks",
    "tasks": "tasks",
    "commands": "commands",
    "world": "world",
}
AREAS = list(dict.fromkeys([*PLANTED, *GENERATED]))


class Fault(NamedTuple):
    """A fault in a file under minipeft/, and the tests under tests/ that should notice it."""

    area: str
    file: str
    start: int  # index of `old` in the file
    old: str
    new: str
    tests: str
    by_hand: bool

    def __str__(self):
        line = (ROOT / "minipeft" / self.file).read_text().count("\n", 0, self.start) + 1
        return f"{self.file}:{line}: {short(self.old)} → {short(self.new)}"


def short(text, width=90):
    """Return a text on one line, without its middle if it is long."""
    line = re.sub(r"\s*\n\s*", " ⏎ ", text.strip()) or "nothing"
    half = width // 2 - 1
    return line if len(line) <= width else f"{line[:half]} … {line[-half:]}"


def planted(areas=AREAS) -> Iterator[Fault]:
    """Yield the faults planted by hand; raise ValueError for a text that does not occur once."""
    for area in [area for area in areas if area in PLANTED]:
        for file, by_tests in PLANTED[area].items():
            source = (ROOT / "minipeft" / file).read_text()
            for tests, pairs in by_tests.items():
                for old, new in pairs:
                    if source.count(old) != 1 or old == new:
                        raise ValueError(f"{file}: {old!r} occurs {source.count(old)} times")
                    yield Fault(area, file, source.index(old), old, new, tests, True)


def generated(areas=AREAS, n=2, seed=0) -> Iterator[Fault]:
    """Yield n generated faults for each file."""
    for area in [area for area in areas if area in GENERATED]:
        for path in sorted((ROOT / "minipeft" / area).rglob("*.py")):
            file = path.relative_to(ROOT / "minipeft").as_posix()
            for mutation in mutator.sample(path.read_text(), n, f"{seed} {file}"):
                yield Fault(area, file, *mutation, GENERATED[area], False)


# -- planting -----------------------------------------------------------------


class Runner:
    """Runs tests on two workers, each with a copy of the repository."""

    def __init__(self, folder):
        self.trees = Queue()
        self.limits = {}  # tests: seconds
        self.times = itertools.count(int(time.time()))
        for i in range(WORKERS):
            tree = Path(folder).resolve() / str(i)
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "*.egg-info"))
            self.trees.put(tree)

    def check(self, tests: str) -> str:
        """Return why tests are of no use: they fail without a fault, or there are none; or ""."""
        tree, start = self.trees.get(), time.perf_counter()
        outcome = run_tests(tree, tests)
        self.trees.put(tree)
        self.limits[tests] = 30 + 5 * (time.perf_counter() - start)
        if outcome.code == 0:
            return ""
        return f"{tests}: exit code {outcome.code} without a fault\n{outcome.output[-2000:]}"

    def plant(self, fault: Fault) -> Outcome:
        """Return the outcome of the tests of a fault."""
        tree = self.trees.get()
        path = tree / "minipeft" / fault.file
        source = path.read_text()
        end = fault.start + len(fault.old)
        self.write(path, source[: fault.start] + fault.new + source[end:])
        try:
            return run_tests(tree, fault.tests, self.limits[fault.tests])
        finally:
            self.write(path, source)
            self.trees.put(tree)

    def write(self, path: Path, source: str) -> None:
        """Write a module, at a new time, so that its compiled form is not used."""
        path.write_text(source)
        seconds = next(self.times)
        os.utime(path, (seconds, seconds))


# -- reports ------------------------------------------------------------------


def key(fault):
    return f"{fault.file} {fault.start if not fault.by_hand else ''} {fault.old} → {fault.new}"


def known() -> dict:
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def table(outcomes: dict) -> str:
    """Return the counts by area, and what was not noticed."""
    lines = [f"{'area':12}{'by hand':>16}{'generated':>16}"]
    for area in dict.fromkeys(fault.area for fault in outcomes):
        cells = []
        for by_hand in (True, False):
            found = [o for f, o in outcomes.items() if f.area == area and f.by_hand == by_hand]
            noticed = sum(o.noticed_by is not None for o in found)
            cells.append(f"{noticed} of {len(found)}" if found else "")
        lines.append(f"{area:12}{cells[0]:>16}{cells[1]:>16}")
    for fault, outcome in outcomes.items():
        if outcome.noticed_by is None:
            why = "not noticed" if outcome.code == 0 else f"pytest ended with code {outcome.code}"
            lines.append(f"{fault}: {why} by {fault.tests}")
    return "\n".join(lines)


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0], epilog=__doc__.partition("\n\n")[2]
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=AREAS,
        default=AREAS,
        metavar="AREA",
        help=f"plant faults in these areas only: {', '.join(AREAS)}",
    )
    parser.add_argument(
        "--new", action="store_true", help="leave out faults that were noticed in an earlier run"
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=2,
        metavar="N",
        help="generated faults for each file (2); 0: only those planted by hand",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the generated faults (0)")
    return parser.parse_args(arguments)


def main(arguments=None):
    args = parse(arguments)
    faults = [*planted(args.only), *generated(args.only, args.sample, args.seed)]
    record = known()
    if args.new:
        faults = [fault for fault in faults if key(fault) not in record]
    outcomes = {}
    with TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        runner = Runner(folder)
        selections = list(dict.fromkeys(fault.tests for fault in faults))
        useless = {t: why for t, why in zip(selections, pool.map(runner.check, selections)) if why}
        print(*useless.values(), f"{len(faults)} faults", sep="\n", flush=True)
        faults = [fault for fault in faults if fault.tests not in useless]
        for fault, outcome in zip(faults, pool.map(runner.plant, faults)):
            outcomes[fault] = outcome
            print(f"{fault}  {outcome.noticed_by or 'NOT NOTICED'}", flush=True)
            record.pop(key(fault), None)
            if outcome.noticed_by:
                record[key(fault)] = outcome.noticed_by
            RECORD.write_text(json.dumps(record, indent=0, ensure_ascii=False))
    print(table(outcomes))
    missed = any(o.noticed_by is None for fault, o in outcomes.items() if fault.by_hand)
    sys.exit(bool(missed or useless))


if __name__ == "__main__":
    main()
