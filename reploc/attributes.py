"""Attributes that users define on LFNs and PFNs: their types, their values as text, and every message about them.

A definition is a kind of name, an attribute's name and a type; a name has at most one value of each. Values travel as
what they are: text, whole numbers of 64 bits, floats; and times as text with a zone (RFC 3339), to the microsecond.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from reploc.errors import ValueInvalid
from reploc.names import fault
from reploc.wire import BATCH_ITEMS_MAX, PAGE_ITEMS, Answer, Body, Count, Limit, Name

#: What an attribute is defined on.
What: TypeAlias = Literal["lfn", "pfn"]
AttributeType: TypeAlias = Literal["text", "int", "float", "time"]
#: A value as it travels; a time is text.
Value: TypeAlias = int | float | str
#: A value as it is kept and compared; a time is microseconds since 1970 in UTC.
Kept: TypeAlias = int | float | str
Operator: TypeAlias = Literal["all", "=", "!=", "<", "<=", ">=", ">", "between", "like"]

#: Attributes of one catalog: a form with so many fields is a table of its own.
ATTRIBUTES_MAX = 1_000
#: Values of one LFN or PFN: those of an LFN lie in its record, which is rewritten whole for each change.
VALUES_PER_NAME_MAX = 100
ATTRIBUTE_NAME_BYTES_MAX = 255
INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

AttributeName: TypeAlias = Annotated[
    str,
    Meta(
        description="UTF-8 text of 1 to 255 bytes without control characters.",
        extra_json_schema={"minLength": 1, "maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"},
    ),
]


# ---- values ----------------------------------------------------------------------------------------------------------


def kept(kind: AttributeType, value: Value) -> Kept:
    """A value as it is kept. Raises ValueInvalid: it is not of the attribute's type, or beyond its bounds."""
    if kind == "text" and isinstance(value, str):
        if wrong := fault(value):
            raise ValueInvalid(f"value {wrong}")
        return value
    if kind == "time" and isinstance(value, str):
        return _microseconds(value)
    if kind == "int" and isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise ValueInvalid(f"value {value} needs more than 64 bits")
        return value
    if kind == "float" and not isinstance(value, str):
        return _float(value)
    expected = {"text": "text", "int": "a whole number", "float": "a number", "time": "a time as text"}[kind]
    raise ValueInvalid(f"value is {'text' if isinstance(value, str) else repr(value)}; expected {expected}")


def told(kind: AttributeType, value: Kept) -> Value:
    """A value that is kept as it travels."""
    if kind != "time":
        return value
    assert isinstance(value, int)
    return (_EPOCH + value * _MICROSECOND).isoformat().replace("+00:00", "Z")


def from_text(kind: AttributeType, text: str) -> Value:
    """What a user typed as a value of this type. Raises ValueInvalid."""
    try:
        return int(text) if kind == "int" else float(text) if kind == "float" else text
    except ValueError:
        raise ValueInvalid(f"{text[:80]!r} is no value of type {kind}") from None


def attribute_fault(name: str) -> str | None:
    """What is wrong with the name of an attribute, or None."""
    if len(name.encode(errors="replace")) > ATTRIBUTE_NAME_BYTES_MAX:
        return f"is over {ATTRIBUTE_NAME_BYTES_MAX} bytes long"
    return fault(name)


def _float(value: float) -> float:
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or found != value:
        raise ValueInvalid(f"value {value} is no finite number that a float of 64 bits keeps exactly")
    return found + 0.0  # of the two zeros one is kept


def _microseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return (moment - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        pass
    raise ValueInvalid(f"value {text[:80]!r} is no time; expected one like 2006-01-02T15:04:05.000001Z, with its zone")


# ---- messages --------------------------------------------------------------------------------------------------------


class AttributeItem(Body, frozen=True):
    """An attribute of LFNs or of PFNs, with the type of its values."""

    what: What
    name: str
    type: AttributeType


class DefineBody(Body, frozen=True):
    """`if_absent`: one that is defined already with the same type is success."""

    attributes: Annotated[list[AttributeItem], Meta(max_length=ATTRIBUTES_MAX)]
    if_absent: bool = False
    atomic: bool = False


class UndefineItem(Body, frozen=True):
    what: What
    name: str


class UndefineBody(Body, frozen=True):
    """An attribute that has values is undefined with `clear` only: they are removed before, in commits of their own."""

    attributes: Annotated[list[UndefineItem], Meta(max_length=ATTRIBUTES_MAX)]
    clear: bool = False
    atomic: bool = False


class SetItem(Body, frozen=True):
    """The value of one attribute of one LFN or PFN."""

    name: str
    attribute: str
    value: Value


class SetBody(Body, frozen=True):
    """`set`: whether there is a value or not. `add`: there must be none. `modify`: there must be one."""

    what: What
    values: Annotated[list[SetItem], Meta(max_length=BATCH_ITEMS_MAX)]
    mode: Literal["set", "add", "modify"] = "set"
    atomic: bool = False


class RemoveItem(Body, frozen=True):
    """The value of one attribute of one LFN or PFN, or with no `attribute` all its values."""

    name: str
    attribute: str | None = None


class RemoveBody(Body, frozen=True):
    what: What
    values: Annotated[list[RemoveItem], Meta(max_length=BATCH_ITEMS_MAX)]
    atomic: bool = False


class ValuesQuery(Body, frozen=True):
    """One LFN or PFN."""

    what: What
    name: Name


class ValuesBody(Body, frozen=True):
    """Many LFNs or PFNs; with an `attribute` its values alone."""

    what: What
    names: Annotated[list[Name], Meta(max_length=BATCH_ITEMS_MAX)]
    attribute: AttributeName | None = None


class NameValues(Answer, frozen=True):
    """All values of one LFN or PFN, by attribute."""

    name: str
    values: dict[str, Value]


class Values(Answer, frozen=True):
    """The values of those names that the catalog holds, by attribute; it does not hold those in `unknown`."""

    values: dict[str, dict[str, Value]]
    unknown: list[str]


class Definition(Answer, frozen=True):
    """An attribute, the number of its values, and the least and the greatest of them; of texts the first 507 bytes are
    compared."""

    what: What
    name: str
    type: AttributeType
    values: Count
    least: Value | None
    greatest: Value | None


class Definitions(Answer, frozen=True):
    attributes: list[Definition]


class Found(Answer, frozen=True):
    """One LFN or PFN that a search found, with its value."""

    name: str
    value: Value


class After(Body, frozen=True):
    """Where a page of a search begins: behind this one."""

    name: Name
    value: Value


class SearchBody(Body, frozen=True):
    """The names whose value of an attribute compares like this with `value`, in the order of their values; texts with
    the same first 507 bytes come in the order of their names.

    `between` takes `value` and `upper`, both included; `like` a pattern of SQL (`%` any text, `_` any character, a
    backslash before them); `all` neither.
    """

    what: What
    attribute: AttributeName
    op: Operator
    value: Value | None = None
    upper: Value | None = None
    limit: Limit = PAGE_ITEMS
    after: After | None = None


class SearchPage(Answer, frozen=True):
    """One page; `next` is what to send as `after` for the next page, or null at the end."""

    found: list[Found]
    next: Found | None
