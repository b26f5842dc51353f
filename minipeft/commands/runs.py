"""The work of a comparison in FOLDER.part: its settings, finished runs, and results so far."""

import shutil
from dataclasses import asdict
from pathlib import Path

from ..tasks.plan import Plan
from ..tasks.runs import Outcome, Run, Runs
from .work import SETTINGS, keep_settings, read, write_json

REPORT, RUNS, PLAN = "compare.json", "runs", "plan.json"


class StoredRuns(Runs):
    """Finished training runs in a folder: outcomes and, of the first seed, a checkpoint."""

    def __init__(self, part: Path):
        self.part = part

    def folder(self, run: Run) -> Path:
        """Return the folder of a run."""
        return self.part / RUNS / run.method / f"{run.lr!r}-{run.seed}{'-pilot' * run.pilot}"

    def load(self, run, trainer):
        path = self.folder(run) / "run.json"
        if not path.exists():
            return None
        if run.kept:
            trainer.resume(path.parent)
        stored = read(path)
        return Outcome(
            list(stored.field("losses", (), tuple)),
            list(stored.field("dev", (), tuple)),
            stored.field("scores", {}, dict),
            stored.field("forgets", None, float),
            stored.field("seconds", 0.0, float),
        )

    def save(self, run, trainer, outcome):
        if run.kept:
            trainer.save(self.folder(run))
        write_json(self.folder(run) / "run.json", asdict(outcome))


def has_runs(part: Path) -> bool:
    """Return whether a run of the comparison in a folder is finished."""
    return (part / REPORT).exists() or any(part.glob(f"{RUNS}/*/*/run.json"))


def begin(part: Path, settings: dict) -> dict:
    """Store the settings of a comparison; return the report of an earlier part of it, or {}.

    Raises DataError if it had other settings.
    """
    keep_settings(part, settings)
    return dict(read(part / REPORT)) if (part / REPORT).exists() else {}


def keep_plan(part: Path, plan: Plan) -> Plan:
    """Return the plan of an earlier part of the comparison, or else store this one and return it.

    A plan that fits a budget depends on the speed of the machine at the time.
    """
    if not (part / PLAN).exists():
        write_json(part / PLAN, asdict(plan))
    stored = read(part / PLAN)
    return Plan(**stored | {"lrs": tuple(stored["lrs"])})


def store_report(part: Path, report: dict) -> None:
    """Store the report so far, and delete the runs of the last method in it."""
    write_json(part / REPORT, report)
    shutil.rmtree(part / RUNS / report["results"][-1]["method"], ignore_errors=True)


def remove_work(folder: Path) -> None:
    """Delete what only resuming needs, and what a save that was killed has left."""
    for path in (folder / RUNS, *folder.glob(".*")):
        shutil.rmtree(path, ignore_errors=True)
    for name in (SETTINGS, PLAN):
        (folder / name).unlink(missing_ok=True)
