"""Measure minipeft against PyTorch with PEFT: python -m benchmarks, see --help."""

import argparse
import tempfile
from pathlib import Path

from . import results
from .cases import METHODS, SIZES
from .environment import environment
from .parts import PARTS
from .report import page
from .turns import Failed, Workers

HERE = Path(__file__).parent
LIBRARIES = "minipeft", "stock", "tuned", "compile", "jax", "products"


def parse(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure minipeft against PyTorch with PEFT, torch.compile and JAX, which "
        'pip install -e ".[oracle]" installs. What is measured again replaces only its own '
        "results.",
    )
    choices = {"parts": PARTS, "sizes": SIZES, "methods": METHODS, "libraries": LIBRARIES}
    for name, known in choices.items():
        parser.add_argument(
            f"--{name}",
            nargs="+",
            metavar="NAME",
            default=[*known],
            choices=known,
            help=f"some of {', '.join(known)}",
        )
    add = parser.add_argument
    add(
        "--rounds", type=int, default=7, help="turns of each library (7); large models have a third"
    )
    add("--out", type=Path, default=HERE / "results.json", help="file of the results")
    add("--page", type=Path, default=HERE / "RESULTS.md", help="file of the page made from them")
    add("--report", action="store_true", help="measure nothing, only make the page")
    return parser.parse_args(arguments)


def main(options):
    """Measure, store each result as soon as it is there, and make the page."""
    found = results.read(options.out)
    with tempfile.TemporaryDirectory() as folder, Workers(Path(folder)) as workers:
        for part in () if options.report else options.parts:
            for cell in PARTS[part].cells(options, workers):
                results.store(found, part, cell)
                results.write(options.out, found | {"environment": environment()})
                print(results.summary(part, cell), flush=True)
    options.page.write_text(page(results.read(options.out)), encoding="utf-8")


if __name__ == "__main__":
    try:
        main(parse())
    except (ArithmeticError, Failed) as error:
        raise SystemExit(f"python -m benchmarks: {error}") from None
