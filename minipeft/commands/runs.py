"""The work of a comparison in FOLDER.part: its settings, finished runs, and results so far."""

import json
import shutil
from pathlib import Path

from ..data.files import DataError
from ..storage.folders import write_atomically
from ..storage.json import parse_json
from ..tasks.compare import Runs
from ..training.trainer import Trainer

SETTINGS, REPORT, RUNS = "settings.json", "compare.json", "runs"


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
    path, settings = part / SETTINGS, json.loads(json.dumps(settings))
    if path.exists():
        for name, before in read(path).items():
            if settings.get(name) != before:
                raise DataError(
                    f"{part}: --{name.replace('_', '-')} was {before!r}, and here it is "
                    f"{settings.get(name)!r}: repeat the command as it was, or delete {part}"
                )
    else:
        write_json(path, settings)
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


def read(path: Path):
    """Return the object in a JSON file, which may be long."""
    return parse_json(path.read_bytes(), path)


def write_json(path: Path, value) -> None:
    """Write a JSON file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(value, indent=2).encode())
