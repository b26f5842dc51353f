"""One file for each part: `cells` measures it, `section` is its section of the page."""

from . import (
    forward,
    generation,
    limits,
    loading,
    memory,
    mixture,
    probe,
    scaling,
    startup,
    training,
    users,
)

PARTS = {
    "training": training,
    "limits": limits,
    "memory": memory,
    "forward": forward,
    "generation": generation,
    "users": users,
    "mixture": mixture,
    "scaling": scaling,
    "probe": probe,
    "loading": loading,
    "startup": startup,
}
