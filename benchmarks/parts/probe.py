"""A probe's training step on cached features, and through the frozen trunk."""

from .. import start
from ..measure import Job, few, measure
from ..numbers import ratios, table
from ..targets import Target

SIZES = "tt", "tiny", "small"
JOBS = {
    "cached": Job("ours", "cached_probe"),
    "trunk": Job("ours", "train", {"method": "probe", "labels": "everywhere"}),
}


def cells(options, workers):
    """Yield a result for each size."""
    for size in SIZES:
        if size in options.sizes:
            start.adaptation(workers.folder, size, "probe")
            found = measure(workers, JOBS, few(options, size), size=size)
            yield {"case": {"size": size}} | found


def targets(results):
    """Yield the target of cached features."""
    figures = ratios(results["probe"], "trunk", "cached")
    yield Target("probe: through the trunk ÷ on cached features", figures, least=50)


def section(results) -> str:
    """Return the table of probes."""
    names = {"cached": "cached features", "trunk": "through the trunk"}
    note = (
        "The frozen trunk does not change, so a probe can be trained on features computed once.\n"
    )
    quotients = {"trunk ÷ cached": ("trunk", "cached")}
    return "\n".join(["## Probes\n", note, table(results["probe"], names, quotients), ""])
