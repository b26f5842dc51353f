"""One file for each part: `cells` measures it, `section` is its section of the page."""

from . import memory, training

PARTS = {"training": training, "memory": memory}
