"""Where arrays live, and all that knows of it.

Everything else is plain NumPy: an array answers for itself (NEP 13, NEP 18), and what is made anew
says like=x (NEP 35), so the same line runs on the host and on a GPU, where the arrays are CuPy's.
What says which and where (ids, masks, positions, rows, labels) is on the host, and is brought to
the numbers with np.asarray(rows, like=x).
"""

import numpy as np


def host(x):
    """x as an array of NumPy's.  It waits for whoever computes x."""
    return x.get() if hasattr(x, "get") else np.asarray(x)


def on_host(x):
    return isinstance(x, np.ndarray)


def cuda():
    """CuPy is asked for here, and nowhere before."""
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
    """What copies an array to "cpu" or "cuda"."""
    if device not in DEVICES:
        raise ValueError(f"device={device!r}: there is {', '.join(DEVICES)}")
    return DEVICES[device]()


def seal(x):
    """Make an array read-only, where arrays can be: not CuPy's."""
    if on_host(x):
        x.flags.writeable = False
