"""Jobs of the library safetensors: reading the file of a model."""

from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import load_file


def load(size: str):
    """Return a function that reads all tensors of a file."""
    path = Path(size, "base", "model.safetensors")
    return lambda: load_file(path) and None


def map_file(size: str):
    """Return a function that maps a file into memory, and gets all of its tensors."""
    path = Path(size, "base", "model.safetensors")

    def run():
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():
                file.get_tensor(name)

    return run
