"""Tables of reports: one style, which wraps what is too long and cuts nothing."""

from itertools import accumulate

from rich import box
from rich.markup import escape
from rich.table import Table

from ..tasks.report import rows
from .common import stdout


def make_table(*columns: str, title: str | None = None, lines: bool = False) -> Table:
    """Return a table with these columns; those whose names begin with ">" are right-justified.

    lines: whether rows are of several lines, and are separated by an empty one.
    """
    table = Table(
        title=title and escape(title),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_header=bool("".join(columns)),
        show_lines=lines,
        pad_edge=False,
    )
    for name in columns:
        justify = "right" if name.startswith(">") else "left"
        table.add_column(name.removeprefix(">"), justify=justify, overflow="fold")
    return table


def comparison_table(report: dict, width: int) -> Table:
    """Return the table of a comparison: its columns from the left, as many as fit the width.

    The method that was stopped has a line, too.
    """
    titles, *body = rows(report)
    for name in report["methods"][len(report["results"]) :][:1]:
        body.append([name, *["…"] * (len(titles) - 1)])
    heads = [title.replace(" ", "\n", 1) if len(title) > 7 else title for title in titles]
    lengths = [
        max(len(line) for cell in column for line in cell.split("\n"))
        for column in zip(heads, *body)
    ]
    narrow, wide = (list(accumulate(n + gap for n in lengths)) for gap in (1, 2))
    fitting = sum(end - 1 <= width for end in narrow)
    table = make_table(heads[0], *(f">{head}" for head in heads[1:fitting]))
    table.show_edge = False
    table.padding = (0, int(wide[-1] - 2 <= width), 0, 0)  # and the divider: one space
    table.caption = f"{escape(report['task'])}, {report['seconds']:.0f} s"
    if left_out := titles[fitting:]:
        table.caption += f"; the terminal is too narrow for {', '.join(left_out)}"
    for row in body:
        table.add_row(*row[:fitting])
    return table


def print_table(table: Table, *lines: str) -> None:
    """Print a table, and lines below it."""
    stdout.print(table)
    for line in lines:
        stdout.print(line, markup=False, highlight=False)
