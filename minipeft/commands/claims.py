"""minipeft claims: what documents and papers claim, the verdicts, and one measured again."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from tyro.conf import Positional, arg

from ..data.files import DataError
from ..data.words import duration
from ..experiments import experiments
from ..experiments.claim import Claim, Rows
from ..experiments.page import contrast_lines, score
from ..experiments.results import contrasts, read, save
from ..experiments.study import FULL, QUICK, Study
from .common import Command, Config, Json, cluster_at, did_you_mean, optional, print_note, progress
from .tables import make_table, print_table


@dataclass
class Claims(Command):
    """Show what papers claim about the methods, with verdicts, or measure a claim."""

    claim: Positional[Annotated[str | None, arg(metavar="[CLAIM]", help_behavior_hint="")]] = None
    """Claim to measure, such as CL-5. (default: show the stored verdict of each)"""
    quick: bool = False
    """Two seeds instead of five, shorter trainings, fewer examples: less than three minutes."""
    out: optional(Path, "FOLDER") = None
    """Folder to store the results in, as CL-5.json."""
    bases: optional(Path, "FOLDER") = None
    """Folder for the bases of other sizes, which are pretrained if they are not there. (default:
    they are not kept)"""
    data: optional(Path, "FOLDER") = None
    """Folder with real data, in webnlg_2017, for the claims that can use it."""
    cluster: optional(str, "ADDRESS") = None
    """Dask scheduler, tcp://HOST:PORT: its workers take the training runs. (default: none)"""
    config: Config = None
    json: Json = False

    def run(self):
        if self.claim is None:
            if self.quick or self.out or self.bases or self.data or self.cluster:
                raise ValueError("give a claim to measure, such as CL-5")
            return self.output({"claims": [*stored()]})
        known, name = experiments(), self.claim.upper()
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"no claim is called {self.claim!r}{hint} They are {', '.join(known)}")
        if self.data and not self.data.is_dir():
            raise DataError(f"--data {self.data}: there is no such folder")
        if self.out:
            self.out.mkdir(parents=True, exist_ok=True)
        with cluster_at(self.cluster) as cluster:
            report = self.measure(known[name], cluster)
        self.output(report)

    def measure(self, experiment, cluster) -> dict:
        """Return the report of an experiment; print a line for each row."""
        claim, start, rows = experiment.CLAIM, time.perf_counter(), []
        if self.quick:
            print_note("quick: two seeds and short trainings, so the verdict says little")
        folder = nullcontext(self.bases) if self.bases else TemporaryDirectory()
        with folder as bases, RowBar() as bar:
            study = Study(QUICK if self.quick else FULL, Path(bases), self.data, bar.show, cluster)
            for row in experiment.run(study):
                rows.append(row)
                bar.close()
                print_note(describe(claim, row))
        seconds = time.perf_counter() - start
        if self.out:
            print_note(f"saved in {save(claim, study.settings, rows, seconds, self.out)}")
        return {
            "claim": claim.id,
            "title": claim.title,
            "settings": asdict(study.settings),
            "seconds": seconds,
            "rows": rows,
            "contrasts": contrasts(claim, rows),
            "verdict": claim.verdict(Rows(rows)),
        }

    def show(self, report):
        if "claims" in report:
            table = make_table("claim", "", "verdict")
            for claim in report["claims"]:
                table.add_row(claim["claim"], claim["title"], claim["verdict"])
            return print_table(table, "Measure one again: minipeft claims CL-2 --quick")
        titles, *lines = contrast_lines(report["contrasts"])
        table = make_table(titles[0], *(f">{title}" for title in titles[1:-1]), titles[-1])
        for cells in lines:
            table.add_row(*cells)
        verdict, seconds = report["verdict"], duration(report["seconds"])
        print_table(table, f"{report['claim']} {report['title']}: {verdict}, after {seconds}")


class RowBar:
    """A progress bar for the row of results that is being measured."""

    def __init__(self):
        self.name, self.stack = None, ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def show(self, name: str, done: int, total: int) -> None:
        """Show how many steps of a row are done."""
        if name != self.name:
            self.close()
            self.name, self.bar = name, self.stack.enter_context(progress(name, total))
        self.bar.show(done)

    def close(self) -> None:
        """Remove the bar."""
        self.name = None
        self.stack.close()


def stored() -> Iterator[dict]:
    """Yield each claim, and the verdict of its stored results."""
    for name, experiment in experiments().items():
        claim = experiment.CLAIM
        report = read(claim)
        verdict = claim.verdict(Rows(report["rows"])) if report else "not measured"
        yield {"claim": name, "title": claim.title, "verdict": verdict}


def describe(claim: Claim, row: dict) -> str:
    """Return a row of results as a line of text."""
    at = f" at {row['x']:,g}" if "x" in row else ""
    units = {name: claim.units.get(name, "%") for name in row["scores"]}
    cells = [f"{n} {score(row['scores'][n], unit)} {unit}" for n, unit in units.items()]
    lr = f", lr {row['lr']:g}" if "lr" in row else ""
    return f"{row['name']}{at}: {', '.join(cells)}{lr}"
