"""Check every claim of every equation on thousands of seeds; print the narrowest margins.

python -m tests.tools.seeds --seeds 2000 [--first 0] [--match AD]

Every claim must hold on every seed, and fail where the library's value is off by a millionth. The
margin of an equality is its error divided by its tolerance, so it must stay below 1; the margin of
a difference is the difference divided by the one that it must exceed, so it must stay above 1.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from minipeft.equations import EQUATIONS, Differs
from tests.support.claims import spoil


def check(seeds, equation_id):
    """Return (largest margin of an equality, smallest of a difference, failures) on the seeds."""
    (equation,) = [e for e in EQUATIONS if e.id == equation_id]
    equalities, differences, failures = [0.0], [], []
    for seed in seeds:
        try:
            for n, claim in enumerate(equation.claims(seed), 1):
                if isinstance(claim, Differs):
                    differences.append(claim.error / claim.tolerance)
                elif claim.tolerance:
                    equalities.append(claim.error / claim.tolerance)
                if not claim.holds or spoil(claim).holds:
                    failures.append(f"seed {seed}, claim {n}: {claim}, {claim.error:.1e}")
        except Exception as error:
            failures.append(f"seed {seed}: {type(error).__name__}: {error}")
    return max(equalities), min(differences, default=None), failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--match", default="", help="only equations whose id contains this")
    args = parser.parse_args()
    ids = [e.id for e in EQUATIONS if args.match in e.id]
    total = 0
    with ProcessPoolExecutor() as pool:
        results = pool.map(partial(check, range(args.first, args.first + args.seeds)), ids)
        for id, (equal, differs, failures) in zip(ids, results):
            margin = "" if differs is None else f"{differs:10.1e}"
            print(f"{id:8} {equal:8.3f} {margin:10}  {len(failures)} failures", flush=True)
            for failure in failures[:5]:
                print(f"  {failure}", flush=True)
            total += len(failures)
    print(f"{len(ids)} equations on {args.seeds} seeds: {total} failures")
    sys.exit(total > 0)


if __name__ == "__main__":
    main()
