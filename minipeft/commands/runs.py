"""The work of a comparison in FOLDER.part: its settings, finished runs, and results so far."""

import shutil
from pathlib import Path

from ..tasks.compare import Runs
from ..training.trainer import Trainer
from .work import SETTINGS, keep_settings, read, write_json

REPORT, RUNS = "compare.json", "runs"


class StoredRuns(Runs):
    """Finished training runs in a folder, each a checkpoint with its losses and seconds."""

    def __init__(self, part: Path):
        self.part = part

    def folder(self, name: str, lr: float, seed: int) -> Path:
        """Return the folder of a run."""
        return self.part / RUNS / name / f"{lr!r}-{seed}"

    def load(self, trainer: Trainer, name: str, lr: float, seed: int) -> tuple | None:
        path = self.folder(name, lr, seed) / "run.json"
        if not path.exists():
            return None
        trainer.resume(path.parent)
        run = read(path)
        return list(run.field("losses", (), tuple)), run.field("seconds", 0.0, float)

    def save(self, trainer: Trainer, name: str, lr: float, seed: int, losses, seconds) -> None:
        folder = self.folder(name, lr, seed)
        trainer.save(folder)
        write_json(folder / "run.json", {"losses": losses, "seconds": seconds})


def has_runs(part: Path) -> bool:
    """Return whether a run of the comparison in a folder is finished."""
    return (part / REPORT).exists() or any(part.glob(f"{RUNS}/*/*/run.json"))


def begin(part: Path, settings: dict) -> dict | None:
    """Store the settings of a comparison; return the report of an earlier part of it, if any.

    Raises DataError if it had other settings.
    """
    keep_settings(part, settings)
    return dict(read(part / REPORT)) if (part / REPORT).exists() else None


def store_report(part: Path, report: dict) -> None:
    """Store the report so far, and delete the runs of the last method in it."""
    write_json(part / REPORT, report)
    shutil.rmtree(part / RUNS / report["results"][-1]["method"], ignore_errors=True)


def remove_work(folder: Path) -> None:
    """Delete what only resuming needs, and what a save that was killed has left."""
    for path in (folder / RUNS, *folder.glob(".*")):
        shutil.rmtree(path, ignore_errors=True)
    (folder / SETTINGS).unlink()
