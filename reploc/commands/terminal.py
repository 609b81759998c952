"""What commands print: tables for people, JSON lines for programs, progress on a terminal, and exit statuses.

Results go to standard output, everything else to standard error. On a terminal a table has a heading and its columns
stand under each other; otherwise it is tab-separated lines without a heading, which other tools can cut.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

import click
import msgspec
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from reploc.errors import BadRequest, ConfigInvalid, Conflict, NotFound, ReplocError

#: Refused items that are shown one by one; the rest is counted. More than a screen is a file's trouble, not an item's.
REFUSALS_SHOWN_MAX = 100


class Exit(IntEnum):
    """How a command ended."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    INCOMPLETE = 3
    FAILED = 4


#: For the help of every command.
EXIT_STATUSES = """\b
Exit status:
  0  everything was done or found
  1  something was not found, or an item was refused
  2  the command line, the settings or the input are wrong
  3  incomplete: a site or an index node could not be asked
  4  a service could not be reached or failed
"""


def exit_status(wrong: ReplocError) -> Exit:
    """The status of a command that an error ended."""
    if isinstance(wrong, ConfigInvalid | BadRequest):
        return Exit.USAGE
    return Exit.REFUSED if isinstance(wrong, NotFound | Conflict) else Exit.FAILED


def complain(wrong: ReplocError) -> None:
    """One line with code and detail, and one with the hint where there is one."""
    note(f"{wrong.code}: {wrong.detail}")
    if wrong.advice:
        note(f"hint: {wrong.advice}")


def note(said: str) -> None:
    """One line on standard error."""
    click.echo(f"reploc: {printable(said)}", err=True)


def say(said: str) -> None:
    """One line on standard output, for people."""
    click.echo(printable(said))


def say_text(said: str) -> None:
    """Lines on standard output that are a file of their own."""
    click.echo(said)


def say_json(message: msgspec.Struct) -> None:
    """One JSON document on one line of standard output."""
    click.echo(msgspec.json.encode(message))


def say_row(cells: Sequence[str]) -> None:
    """One row, tab-separated: of a result that is printed as it comes."""
    click.echo("\t".join(map(printable, cells)))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under their columns; a column whose name begins with `>` is aligned to the right."""
    if not sys.stdout.isatty():
        for row in rows:
            say_row(row)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column.removeprefix(">"), justify="right" if column[0] == ">" else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    Console(file=sys.stdout).print(drawn)


def sections(parts: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]]) -> None:
    """Prints the tables that have rows, each (columns, rows), with a free line between them."""
    shown = [(columns, rows) for columns, rows in parts if rows]
    for number, (columns, rows) in enumerate(shown):
        if number:
            say("")
        table(columns, rows)


class ProgressBar:
    """How far long work has come; without a terminal nothing is drawn."""

    def __init__(self, drawn: Progress | None, what: str, total: int | None) -> None:
        self._drawn = drawn
        self._task = drawn.add_task(what, total=total) if drawn else None
        self.done = 0

    def advance(self, by: int) -> None:
        """Counts what was done since the last call."""
        self.done += by
        if self._drawn is not None and self._task is not None:
            self._drawn.advance(self._task, by)

    def reach(self, done: int, total: int) -> None:
        """Says anew how much is done, and of how much."""
        self.done = done
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, completed=done, total=total)

    def describe(self, what: str) -> None:
        """Changes the words beside the count."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, description=what)


@contextmanager
def progress(what: str, total: int | None = None, *, printing: bool = False) -> Iterator[ProgressBar]:
    """A bar on standard error while the context lasts, where that is a terminal; `total` None: only a count.

    `printing`: results are printed meanwhile, so that nothing may be drawn when they go to the same terminal.
    """
    if not sys.stderr.isatty() or (printing and sys.stdout.isatty()):
        yield ProgressBar(None, what, total)
        return
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    shown = (
        columns if total is not None else [SpinnerColumn(), columns[0], TextColumn("{task.completed:,}"), columns[3]]
    )
    with Progress(*shown, console=Console(stderr=True), transient=True) as drawn:
        yield ProgressBar(drawn, what, total)


def printable(said: str) -> str:
    """Text that cannot move a terminal's cursor or break a line: control characters are written as escapes."""
    return said if said.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in said)


def shown_bytes(size: int | None) -> str:
    """A number of bytes for people; unknown is a dash."""
    return "-" if size is None else decimal(size)


def shown_age(age_s: float | None) -> str:
    """A number of seconds for people; unknown is a dash."""
    if age_s is None:
        return "-"
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= 2 * seconds:
            return f"{age_s / seconds:.0f} {unit}"
    return f"{age_s:.1f} s"
