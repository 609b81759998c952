"""Where a piece of policy text stands, and what is wrong with it: file, line, column, a caret, what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reploc.errors import PolicyInvalid

#: Problems that an error's one line counts out by name; `reploc placement policy check` shows all.
PROBLEMS_TOLD_MAX = 3
#: Characters of a line that are shown around a caret: a list of thousands of names is one line.
SHOWN_CHARS_MAX = 160


@dataclass(frozen=True)
class Place:
    """A run of characters of one line of a file; line and column count from 1, `text` is the whole line."""

    file: str
    line: int
    column: int
    width: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or, where `warning`, that is surely not what was meant."""

    place: Place
    said: str
    expected: str = ""
    warning: bool = False

    def line(self) -> str:
        """The problem in one line."""
        what = "warning: " if self.warning else ""
        return f"{self.place}: {what}{self.said}{f'; expected {self.expected}' if self.expected else ''}"

    def shown(self) -> str:
        """The problem, the line that it is in, and a caret under it."""
        place = self.place
        begin = max(0, place.column - 1 - SHOWN_CHARS_MAX // 2)
        text = place.text[begin : begin + SHOWN_CHARS_MAX].replace("\t", " ")
        width = max(1, min(place.width, len(text) - (place.column - 1 - begin)))
        return f"{self.line()}\n    {text}\n    {' ' * (place.column - 1 - begin)}{'^' * width}"


def refuse(problems: Sequence[Problem]) -> None:
    """Raises PolicyInvalid when a problem is more than a warning."""
    wrong = [problem for problem in problems if not problem.warning]
    if wrong:
        told = " · ".join(problem.line() for problem in wrong[:PROBLEMS_TOLD_MAX])
        more = f" · and {len(wrong) - PROBLEMS_TOLD_MAX} more" if len(wrong) > PROBLEMS_TOLD_MAX else ""
        raise PolicyInvalid(told + more)


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` with the known word that is most like this one; empty where none is."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
