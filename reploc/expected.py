"""What a type expected where a value did not fit: the values of a choice, which the decoder's own words leave out."""

from __future__ import annotations

import re

import msgspec
from msgspec import inspect

#: A step of the decoder's path: a field, or any element of a list.
_STEP = re.compile(r"\.(\w+)|\[[^\]]*\]")


def in_words(wrong: Exception, kind: type) -> str:
    """The decoder's words, with the allowed values where it met another one, for a value that was to be a `kind`."""
    said = str(wrong)
    what, at, path = said.partition(" - at `$")
    if not isinstance(wrong, msgspec.ValidationError) or not what.startswith("Invalid enum value"):
        return said
    allowed = _choices(inspect.type_info(kind), path.rstrip("`"))
    return f"{what}; expected {' or '.join(map(repr, allowed))}{at}{path}" if allowed else said


def _choices(kind: inspect.Type, path: str) -> tuple[object, ...]:
    """The values of the choice at a path, none where there is no choice."""
    for step in _STEP.finditer(path):
        kind = _inner(kind, step[1])
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return tuple(kind.values) if isinstance(kind, inspect.LiteralType) else ()


def _inner(kind: inspect.Type, field: str | None) -> inspect.Type:
    """The type of a struct's field, or of a list's elements."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.StructType) and field is not None:
        return next((each.type for each in kind.fields if each.encode_name == field), inspect.AnyType())
    return kind.item_type if isinstance(kind, inspect.ListType) else inspect.AnyType()
