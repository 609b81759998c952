"""What a type expected where a value did not fit, as far as the decoder's own words leave it out.

That are the values of a choice, and the field that is most like an unknown one.
"""

from __future__ import annotations

import difflib
import re

import msgspec
from msgspec import inspect

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$")
#: A step of the decoder's path: a field, or any element of a list.
_STEP = re.compile(r"\.(\w+)|\[[^\]]*\]")


def in_words(wrong: Exception, kind: type) -> str:
    """The decoder's words for a value that was to be a `kind`, with the values allowed or the nearest field."""
    said = str(wrong)
    what, at, path = said.partition(" - at `$")
    if not isinstance(wrong, msgspec.ValidationError):
        return said
    unknown = _UNKNOWN.match(what)
    if not unknown and not what.startswith("Invalid enum value"):
        return said
    met = _at(inspect.type_info(kind), path.rstrip("`"))
    if unknown and isinstance(met, inspect.StructType):
        near = difflib.get_close_matches(unknown[1], [field.encode_name for field in met.fields], n=1)
        return f"{what}; did you mean {near[0]!r}?{at}{path}" if near else said
    allowed = met.values if isinstance(met, inspect.LiteralType) else ()
    return f"{what}; expected {' or '.join(map(repr, allowed))}{at}{path}" if allowed else said


def _at(kind: inspect.Type, path: str) -> inspect.Type:
    """The type at a path."""
    for step in _STEP.finditer(path):
        kind = _inner(kind, step[1])
    return _bare(kind)


def _bare(kind: inspect.Type) -> inspect.Type:
    """The type without its bounds, and without what else may stand in its place, such as null."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        told = (_bare(each) for each in kind.types)
        wanted = inspect.LiteralType | inspect.StructType | inspect.ListType
        return next((each for each in told if isinstance(each, wanted)), inspect.AnyType())
    return kind


def _inner(kind: inspect.Type, field: str | None) -> inspect.Type:
    """The type of a struct's field, or of a list's elements."""
    kind = _bare(kind)
    if isinstance(kind, inspect.StructType) and field is not None:
        return next((each.type for each in kind.fields if each.encode_name == field), inspect.AnyType())
    return kind.item_type if isinstance(kind, inspect.ListType) else inspect.AnyType()
