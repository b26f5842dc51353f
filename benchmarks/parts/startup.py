"""How long a new process takes to import minipeft, and to show the help of its command."""

import subprocess
import sys
import time
from statistics import median

from ..numbers import table
from ..targets import Target

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import minipeft": ["-c", "import minipeft"],
    "minipeft --help": ["-m", "minipeft", "--help"],
}
LIMITS = {"import minipeft": 0.25, "minipeft --help": 0.3}


def cells(options, workers):
    """Yield one result; the commands take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(options.rounds):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(round(time.perf_counter() - start, 4))
    yield {"case": {"of": "a new process"}, "seconds": seconds}


def targets(results):
    """Yield the targets of both commands, in seconds."""
    (cell,) = results["startup"]
    for name, limit in LIMITS.items():
        yield Target(f"`{name}`, seconds", {"median": median(cell["seconds"][name])}, most=limit)


def section(results) -> str:
    """Return the table of starts."""
    names = {name: f"`{name}`" for name in COMMANDS}
    return "\n".join(["## Start\n", table(results["startup"], names, {}), ""])
