"""The three functions of a forward pass: their examples run, and what they return is right."""

import doctest

import numpy as np
import pytest

from minipeft.adaptation import forward
from minipeft.adaptation.forward import attention_mask, position_ids


def test_the_examples_in_the_docstrings_run():
    results = doctest.testmod(forward)
    assert results.failed == 0 and results.attempted >= 8
    for function in (forward.prepend, position_ids, attention_mask):
        assert ">>> " in function.__doc__


@pytest.mark.parametrize("window", [None, 1, 2, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_a_mask_is_its_definition(causal, window):
    """Key s is masked for row t if it is padding, later, or `window` or more positions before t."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        B, S = rng.integers(1, 4), rng.integers(1, 7)
        T, real = rng.integers(1, S + 1), rng.random((B, S)) < 0.7
        given = rng.random() < 0.5
        at = np.sort(rng.integers(0, 9, (B, S)), 1) if given else real.cumsum(1)
        mask = attention_mask(real, T, causal, window, at if given else None)
        mask = np.broadcast_to(False if mask is None else mask, (B, 1, 1, T, S))
        for b, t, s in np.ndindex(B, T, S):
            row = S - T + t
            far = window is not None and S > window and at[b, row] - at[b, s] >= window
            later = causal and T > 1 and s > row
            assert mask[b, 0, 0, t, s] == (not real[b, s] or later or far)


def test_positions_count_the_real_rows_before():
    rng = np.random.default_rng(0)
    for _ in range(200):
        B, S = rng.integers(1, 4), rng.integers(1, 7)
        T, real, shift = rng.integers(1, S + 1), rng.random((B, S)) < 0.7, rng.integers(0, 5, B)
        at = position_ids(real, T, shift)
        assert at.shape == (B, T)
        for b, t in np.ndindex(B, T):
            if real[b, S - T + t]:
                assert at[b, t] == shift[b] + real[b, : S - T + t].sum()
