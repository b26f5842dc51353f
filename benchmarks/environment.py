"""The machine and the versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = "numpy", "torch", "transformers", "peft", "jax"


def environment() -> dict:
    """Return the name of the processor, the number of cores, and the versions of libraries."""
    found = {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set")}


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    names = [n for n in info.read_text().splitlines() if n.startswith("model name")] * info.exists()
    return names[0].partition(": ")[2] if names else platform.processor()
