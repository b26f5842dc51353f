"""Results in JSON: {part: cells}; a cell is {"case": what was measured, and what was found}."""

import json
from pathlib import Path
from statistics import median


def read(path: Path) -> dict:
    """Return the results in a file; there are none if there is no file."""
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, results: dict) -> None:
    """Write results, one line for each cell."""
    parts = [
        f"{json.dumps(part)}: " + (lines(cells) if isinstance(cells, list) else json.dumps(cells))
        for part, cells in results.items()
    ]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def lines(cells: list) -> str:
    """Return a list in JSON, one line for each cell."""
    return "[\n" + ",\n".join(f"  {json.dumps(cell)}" for cell in cells) + "\n]"


def store(results: dict, part: str, cell: dict) -> None:
    """Add a cell to a part, in place of an earlier one of the same case."""
    cells = results.setdefault(part, [])
    at = next((i for i, old in enumerate(cells) if old["case"] == cell["case"]), len(cells))
    cells[at : at + 1] = [cell]


def summary(part: str, cell: dict) -> str:
    """Return a line about a cell."""
    times = [f"{name} {1e3 * median(s):.4g} ms" for name, s in cell.get("seconds", {}).items()]
    peaks = [f"{name} {bytes / 2**20:.0f} MiB" for name, bytes in cell.get("peak", {}).items()]
    failed = [f"{name}: {error}" for name, error in cell.get("failed", {}).items()]
    return (
        f"{part} {' '.join(map(str, cell['case'].values()))}: {', '.join(times + peaks + failed)}"
    )
