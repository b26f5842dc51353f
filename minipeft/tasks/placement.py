"""Placement of labels beside the points of a plot, so that they do not overlap.

A box is (left, bottom, right, top); N labels, C places for each.
"""

import numpy as np

TURNS = np.arange(16) * np.pi / 8
GAPS = 5.0, 14.0, 24.0, 38.0, 56.0  # between a point and the box of its label
SWEEPS = 4


def place(anchors, sizes, obstacles, bounds) -> np.ndarray:
    """Return the centres (N, 2) of labels near their anchors (N, 2).

    Each label in turn takes the place where it covers least of the other labels and of the
    obstacles (M, 4), leaves the bounds (4,) least and is nearest, until all have had SWEEPS turns.

    sizes: width and height of each label, (N, 2).
    """
    anchors, sizes = np.asarray(anchors, float), np.asarray(sizes, float)
    obstacles = np.reshape(obstacles, (-1, 4))
    directions = np.stack([np.cos(TURNS), np.sin(TURNS)], -1)
    gaps = np.repeat(GAPS, len(TURNS))
    directions /= abs(directions).max(-1, keepdims=True)  # on a square
    steps = np.tile(directions, (len(GAPS), 1))  # (C, 2)
    centres = anchors[:, None] + steps * (sizes[:, None] / 2 + gaps[:, None])  # (N, C, 2)
    places = np.concatenate([centres - sizes[:, None] / 2, centres + sizes[:, None] / 2], -1)
    outside = (sizes[:, 0] * sizes[:, 1])[:, None] - overlap(places, np.reshape(bounds, (1, 4)))
    fixed = 10 * outside + overlap(places, obstacles) + gaps  # (N, C)

    chosen = np.zeros(len(anchors), int)
    for turn in range(SWEEPS * len(anchors)):
        i = turn % len(anchors)
        others = [j for j in range(min(turn, len(anchors))) if j != i]  # those that have a place
        covered = overlap(places[i], places[others, chosen[others]])
        chosen[i] = np.argmin(np.round(fixed[i] + 4 * covered, 6))
    return centres[np.arange(len(anchors)), chosen]


def overlap(boxes, others) -> np.ndarray:
    """Return, for each of the boxes (..., 4), the area that it shares with others (M, 4): (...)."""
    low = np.maximum(boxes[..., None, :2], others[:, :2])
    high = np.minimum(boxes[..., None, 2:], others[:, 2:])
    return np.prod(np.clip(high - low, 0, None), -1).sum(-1)
