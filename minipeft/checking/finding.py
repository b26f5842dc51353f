"""What a check found out: one Finding for each law, and a Report of all."""

import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from ..inspection.source import PACKAGE

OK, FAILS, NOT_WRITTEN, NOT_APPLICABLE = "ok", "fails", "not written", "n/a"


class NotApplicable(Exception):
    """A law does not apply to this method, function or network; the message says why."""


@dataclass(frozen=True)
class Finding:
    """What a law says, whether it holds, the largest error, and why."""

    law: str
    says: str
    result: str  # ok | fails | not written | n/a
    worst: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Report:
    """The findings on a method or a function.  print(report) shows them."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def held(self) -> int:
        """The number of laws that hold."""
        return sum(f.result == OK for f in self.findings)

    @property
    def laws(self) -> int:
        """The number of laws that apply."""
        return sum(f.result != NOT_APPLICABLE for f in self.findings)

    @property
    def ok(self) -> bool:
        """Whether every law that applies holds, and one does."""
        return self.held == self.laws > 0

    def __str__(self):
        lines = [f"{f.law}: {f.result}{f', {f.why}' if f.why else ''}" for f in self.findings]
        return "\n".join([f"{self.name}: {self.held} of {self.laws} laws hold", *lines])


def failure(law: str, says: str, error: BaseException) -> Finding:
    """Return the finding for an error that a reader's code raised, with its file and line."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not Path(frame.filename).is_relative_to(PACKAGE)
        and "site-packages" not in frame.filename
        and not frame.filename.startswith("<")
    ]
    if isinstance(error, NotImplementedError):
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Finding(law, says, NOT_WRITTEN, why=f"fill in `{last.name}`, line {last.lineno}")
    message = (str(error).splitlines() or [""])[0]
    if sizes := re.search(r"gufunc signature.*\((size .*)\)", message):
        message = f"matmul: {sizes[1]}; hidden states are rows: x @ A, not A @ x"
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return Finding(law, says, FAILS, why=f"{type(error).__name__}: {message}{place}")
