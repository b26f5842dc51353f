"""Claims of equations with the library's value slightly off."""

from dataclasses import replace

import numpy as np

from minipeft.equations import Differs


def spoil(claim):
    """Return the claim with the library's value off by a millionth; or, of Differs, not off."""
    if isinstance(claim, Differs):
        return replace(claim, library=claim.literal)
    library = np.asarray(claim.library, float)
    return replace(claim, library=library + 1e-6 * (1 + abs(library)))
