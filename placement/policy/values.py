"""The values that predicates compare with: numbers with units, words, texts, patterns and moments.

A text that holds `*` or `?` is a glob: anchored at both ends, case-sensitive, `*` crosses `/`, and `[…]` is then a
class of characters. A regular expression (`=~`) is anchored at its start only. Both as in the ancestor's language.
"""

from __future__ import annotations

import fnmatch
import re

from placement.policy import dates
from placement.policy.source import nearest
from placement.policy.syntax import Value
from placement.policy.variables import Kind, Variable

_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?) ?([A-Za-z]+|%)?")
#: Bytes of a unit.
UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15, "EB": 1e18}

#: What each type may be compared with.
OPERATORS: dict[Kind, tuple[str, ...]] = {
    Kind.BOOLEAN: (),
    Kind.TEXT: ("==", "!=", "=~", "!=~", "in", "notin"),
    Kind.WORD: ("==", "!=", "in", "notin"),
    Kind.TIME: ("older_than", "newer_than", "<", "<=", ">", ">=", "==", "!=", "in", "notin"),
    **dict.fromkeys((Kind.COUNT, Kind.BYTES, Kind.FRACTION), ("==", "!=", "<", "<=", ">", ">=", "in", "notin")),
}


class ValueUnfit(ValueError):
    """A value does not fit its variable: what is wrong, and what was expected."""

    def __init__(self, said: str, expected: str) -> None:
        super().__init__(said)
        self.said, self.expected = said, expected


def value_of(variable: Variable, operator: str, text: str) -> Value:
    """The value that a text is for a variable. Raises ValueUnfit."""
    if variable.kind is Kind.TIME:
        try:
            return dates.moment(text)
        except dates.DateInvalid as wrong:
            raise ValueUnfit(str(wrong), dates.FORMS) from wrong
    if variable.kind is Kind.WORD:
        if text not in variable.words:
            near = nearest(text.upper(), variable.words)
            raise ValueUnfit(f"{text!r} is no value of {variable}{near}", " or ".join(variable.words))
        return text
    if variable.kind is Kind.TEXT:
        return _text(operator, text)
    return _number(variable.kind, text)


def _text(operator: str, text: str) -> str:
    try:
        if operator in ("=~", "!=~"):
            re.compile(text)
        elif is_glob(text):
            re.compile(fnmatch.translate(text))
    except (re.error, RecursionError, OverflowError) as wrong:
        raise ValueUnfit(f"{text!r} is no pattern: {wrong}", "a regular expression") from wrong
    return text


def _number(kind: Kind, text: str) -> float:
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueUnfit(f"{text!r} is no number", _expected(kind))
    number, unit = float(found[1]), found[2]
    if unit is None:
        return number
    if unit == "%" and kind is Kind.FRACTION:
        return number / 100
    if unit in UNITS and kind is Kind.BYTES:
        return number * UNITS[unit]
    raise ValueUnfit(f"{text!r} has a unit that does not fit a {kind.value}", _expected(kind))


def _expected(kind: Kind) -> str:
    if kind is Kind.BYTES:
        return f"bytes, or a number with {', '.join(UNITS)}"
    return "a fraction such as 0.9 or 90 %" if kind is Kind.FRACTION else "a number"


def is_glob(text: str) -> bool:
    """Whether a text stands for the names that it matches."""
    return "*" in text or "?" in text
