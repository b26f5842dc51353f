"""Many users of one method in one batch, in training."""

from itertools import product

from .. import start
from ..measure import Job, measure
from ..numbers import ratios, table
from ..targets import Target

ROWS = 100
USERS = 1, 10, 100
SIZES = "tt", "tiny"


def cells(options, workers):
    """Yield a result for each size and method."""
    for size, method in product(SIZES, ("lora", "prefix", "prompt", "adapter")):
        if size in options.sizes and method in options.methods:
            start.base(workers.folder, size)
            jobs = {str(n): Job("rows", "users", {"users": n}) for n in USERS}
            case = {"size": size, "method": method}
            yield {"case": case} | measure(workers, jobs, options.rounds, rows=ROWS, **case)


def targets(results):
    """Yield the target of many users."""
    figures = ratios(results["users"], "100", "1")
    yield Target("training, 100 users ÷ one user", figures, most=1.2)


def section(results) -> str:
    """Return the table of users."""
    names = {str(n): f"{n} user{'s' * (n > 1)}" for n in USERS}
    quotients = {f"{n} users ÷ 1": (str(n), "1") for n in USERS[1:]}
    note = (
        f"A training step on {ROWS} texts, each of one of so many users. 100 users are a bank, "
        "`stack(users)`, 10 users\nan `Each` of ten rows for each.\n"
    )
    return "\n".join(
        ["## Many users in one batch\n", note, table(results["users"], names, quotients), ""]
    )
