"""python -m tests.tools.slips: can `minipeft check` tell its slips apart on any draws?"""

from argparse import ArgumentParser

import numpy as np

from minipeft.checking.compare import DRAWS, equal
from minipeft.checking.formulas import FORMULAS


def told_apart(formula, seeds):
    """Return the pairs of names that a check on seeds could not tell apart, DRAWS at a time.

    A slip must not be taken for the equation, for a variant, or for a slip before it.
    """
    right = {"": formula.right} | formula.variants | {s.name: s.wrong for s in formula.slips}
    names, confused = list(right), []
    for start in range(0, len(seeds), DRAWS):
        draws = [formula.draw(seed) for seed in seeds[start : start + DRAWS]]
        for i, name in enumerate(names):
            with np.errstate(all="ignore"):
                pairs = [(a, right[name](*a.values())) for a in draws]
                if not all(equal(formula, right[name], *pair) for pair in pairs):
                    confused.append((name, name))
                for other in names[:i]:
                    if all(equal(formula, right[other], *pair) for pair in pairs):
                        confused.append((other, name))
    return confused


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    seeds = parser.parse_args().seeds
    for formula in FORMULAS.values():
        confused = told_apart(formula, range(seeds))
        print(f"{formula.name}: {len(formula.slips)} slips, {confused or 'all told apart'}")
