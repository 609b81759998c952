"""`reploc placement policy`: checks policies before they run, and prints what they may speak of."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import Struct

from placement.policy import parser, review
from placement.policy.source import Problem
from placement.policy.variables import VARIABLES, producers_of
from reploc.commands import terminal
from reploc.commands.options import CommandGroup, json_option
from reploc.commands.terminal import Exit
from reploc.errors import PolicyInvalid

CHECK_STATUSES = """\b
Exit status:
  0  every policy is right; there may be warnings
  1  a policy has errors
  2  the command line is wrong
  4  internal error
"""
VARIABLES_STATUSES = """\b
Exit status:
  0  the table was printed
  2  the command line is wrong
"""


class ProblemReport(Struct, frozen=True, omit_defaults=True):
    """One problem of a policy, as `--json` prints it; line and column count from 1."""

    line: int
    column: int
    width: int
    said: str
    expected: str = ""
    warning: bool = False


class PolicyReport(Struct, frozen=True):
    """What a check found in one file: `producers` are those that a run needs, each with its variables."""

    file: str
    right: bool
    problems: list[ProblemReport]
    producers: dict[str, list[str]]


class VariableReport(Struct, frozen=True):
    """One variable of the language, as `--json` prints it."""

    name: str
    type: str
    level: str
    producer: str
    sentence: str
    words: tuple[str, ...]


@click.group("policy", cls=CommandGroup)
def policy() -> None:
    """The policy language: checks of policies, and the variables that they may name."""


@policy.command(epilog=CHECK_STATUSES)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@json_option
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Shows every error and doubtful line of each policy, and which attribute producers a run of it needs."""
    wrong = 0
    for file in files:
        try:
            found = parser.parse_file(file)
        except PolicyInvalid as unread:
            terminal.complain(unread)
            wrong += 1
            continue
        wrong += found.policy is None
        (_say_json if as_json else _say)(file, _with_dead_lines(found))
    raise SystemExit(Exit.REFUSED if wrong else Exit.DONE)


def _with_dead_lines(found: parser.Parsed) -> parser.Parsed:
    dead = review.dead_lines(found.policy) if found.policy else []
    return parser.Parsed(found.policy, sorted([*found.problems, *dead], key=lambda each: each.place.line))


def _say(file: Path, found: parser.Parsed) -> None:
    for problem in found.problems:
        for line in problem.shown().splitlines():
            terminal.say(line)
    errors = sum(not problem.warning for problem in found.problems)
    warnings = len(found.problems) - errors
    terminal.say(f"{file}: {_counted(errors, 'error')}, {_counted(warnings, 'warning')}")
    if found.policy:
        for producer, names in producers_of(found.policy.variables()).items():
            terminal.say(f"{file}: needs producer {producer} for {', '.join(names)}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _say_json(file: Path, found: parser.Parsed) -> None:
    needed = producers_of(found.policy.variables()) if found.policy else {}
    problems = [_reported(problem) for problem in found.problems]
    terminal.say_json(PolicyReport(str(file), found.policy is not None, problems, needed))


def _reported(problem: Problem) -> ProblemReport:
    place = problem.place
    return ProblemReport(place.line, place.column, place.width, problem.said, problem.expected, problem.warning)


@policy.command(epilog=VARIABLES_STATUSES)
@json_option
def variables(as_json: bool) -> None:
    """Prints every variable with its type, what it is about, who supplies it, and what it means."""
    if as_json:
        for each in VARIABLES.values():
            terminal.say_json(
                VariableReport(each.name, each.kind.value, each.level.value, each.producer, each.sentence, each.words)
            )
        return
    rows = [
        (each.name, " ".join(each.words) or each.kind.value, each.level.value, each.producer, each.sentence)
        for each in VARIABLES.values()
    ]
    terminal.table(("variable", "type", "about a", "producer", "what it is"), rows)
