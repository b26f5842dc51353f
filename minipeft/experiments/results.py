"""Stored results of experiments, and what they say of a claim."""

import json
from dataclasses import asdict
from pathlib import Path

from ..storage.folders import write_atomically
from ..storage.json import CheckpointError, parse_json
from .claim import Claim, Rows, interval
from .study import Settings

RESULTS = Path(__file__).parent / "results"


def save(claim: Claim, settings: Settings, rows: list[dict], seconds: float, folder: Path) -> Path:
    """Write the rows of an experiment to folder/CL-5.json, and return its path."""
    report = {"claim": claim.id, "settings": asdict(settings), "seconds": round(seconds, 1)}
    path = folder / f"{claim.id}.json"
    write_atomically(path, json.dumps(report | {"rows": rows}, indent=1).encode())
    return path


def read(claim: Claim, folder: Path = RESULTS) -> dict | None:
    """Return what `save` wrote, or None if there is nothing.

    Raises CheckpointError for a file of another claim, or without rows.
    """
    path = folder / f"{claim.id}.json"
    if not path.exists():
        return None
    report = parse_json(path.read_bytes(), path)
    if report.get("claim") != claim.id or not report.get("rows"):
        raise CheckpointError(f"{path} has no results of {claim.id}: measure it again")
    return report


def contrasts(claim: Claim, rows: list[dict]) -> list[dict]:
    """Return what the rows say of each contrast: its mean, 95 % interval, seeds and verdict."""
    table, found = Rows(rows), []
    for contrast in claim.decided(table):
        mean, low, high = interval(contrast.values(table))
        agree, seeds = contrast.agree(table)
        figures = {"mean": mean, "low": low, "high": high, "agree": agree, "seeds": seeds}
        settings = {"margin": contrast.margin, "unit": contrast.unit}
        found.append(
            {"text": contrast.text, **figures, **settings, "verdict": contrast.verdict(table)}
        )
    return found
