"""bfloat16, the upper half of a float32, which NumPy does not have: here it is a uint16."""

import numpy as np


def to_bfloat16(x) -> np.ndarray:
    """Return x rounded to bfloat16, to the nearest, and of two to the even."""
    bits = np.asarray(x, np.float32, order="C").view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bfloat16(x) -> np.ndarray:
    """Return bfloat16 numbers x as float32."""
    return (np.asarray(x, np.uint32) << 16).view(np.float32)
