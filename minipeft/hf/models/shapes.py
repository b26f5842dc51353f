"""Shapes of a network before its numbers are read: no array of an untrusted size is made."""

from collections.abc import Iterator

import numpy as np

from ...model.config import Config


def expected_shapes(c: Config) -> Iterator[tuple[str, tuple]]:
    """Yield (path, shape of its matrix) of layers that together show every size of `c`."""
    both = {"encoder.": c.layers, "decoder.": c.decoder_layers}
    stacks = both if c.decoder_layers else {"": c.layers}
    for stack, layers in stacks.items():
        yield f"{stack}tokens", (c.vocabulary, c.width)
        for n in reversed(range(layers)):
            yield f"{stack}blocks.{n}.mlp.up", (c.width, c.ffn_width or 4 * c.width)
            yield f"{stack}blocks.{n}.attn.o", (c.heads * c.d, c.width)
        if c.positions == "learned":
            yield f"{stack}positions", (c.position_offset + c.length, c.width)
        if c.positions == "relative":
            yield f"{stack}positions", (c.buckets, c.heads)
    if c.token_types:
        yield "types", (c.token_types, c.width)


class ZeroGenerator:
    """In place of a random generator, for networks whose numbers come from a file."""

    def standard_normal(self, shape):
        return Zeros(shape)


class Zeros:
    """Zeros that take no memory, for (std * zeros).astype(dtype)."""

    def __init__(self, shape):
        self.shape = shape

    def __rmul__(self, std):
        return self

    def astype(self, dtype):
        return np.broadcast_to(np.zeros((), dtype), self.shape)
