"""Make claims.md and its plots from the stored results: python docs/claims.py

The results are those that `minipeft claims CL-… --out minipeft/experiments/results` stores.
"""

from pathlib import Path

from minipeft.experiments import experiments
from minipeft.experiments.page import page, plot
from minipeft.experiments.results import read
from minipeft.storage.folders import write_atomically

DOCS = Path(__file__).parent
claims = [module.CLAIM for module in experiments().values()]
measured = {claim.id: (claim, report) for claim in claims if (report := read(claim))}
write_atomically(DOCS / "claims.md", page(*zip(*measured.values())).encode())
for claim, report in measured.values():
    plot(claim, report, DOCS / "images" / "claims" / f"{claim.id}.svg")
