"""Tables of reports: one style, which wraps what is too long and cuts nothing."""

from rich import box
from rich.markup import escape
from rich.table import Table

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


def print_table(table: Table, *lines: str) -> None:
    """Print a table, and lines below it."""
    stdout.print(table)
    for line in lines:
        stdout.print(line, markup=False, highlight=False)
