"""Devices, "cpu" and "cuda": the only module that imports CuPy.

All other code is plain NumPy.  Functions dispatch on the type of their arrays (NEP 13, NEP 18), and
new arrays are made with like=x (NEP 35), so the same line runs on NumPy and on CuPy arrays.
Indices (ids, masks, positions, labels) stay on the host and are copied to the device of x with
np.asarray(indices, like=x).
"""

import numpy as np


def host(x):
    """Return x as a NumPy array; for a CuPy array this waits for the GPU."""
    return x.get() if hasattr(x, "get") else np.asarray(x)


def on_host(x):
    """Return whether x is a NumPy array."""
    return isinstance(x, np.ndarray)


def cuda():
    """Return cupy.array, which copies an array to the GPU.

    Raises RuntimeError if CuPy is not installed or finds no GPU.
    """
    try:
        import cupy

        cupy.cuda.runtime.getDeviceCount()
    except ImportError:
        raise RuntimeError('"cuda" needs CuPy: pip install "minipeft[gpu]"') from None
    except RuntimeError as error:
        raise RuntimeError(f'CuPy finds no GPU for "cuda": {error}') from None
    return cupy.array


DEVICES = {"cpu": lambda: lambda x: np.array(host(x)), "cuda": cuda}


def to(device):
    """Return a function that copies an array to `device`, "cpu" or "cuda".

    Raises ValueError for any other device, RuntimeError if "cuda" is not available.
    """
    if device not in DEVICES:
        raise ValueError(f"device={device!r} must be one of {', '.join(DEVICES)}")
    return DEVICES[device]()


def seal(x):
    """Make a NumPy array read-only; do nothing to a CuPy array, which cannot be read-only."""
    if on_host(x):
        x.flags.writeable = False
