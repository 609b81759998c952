"""The rules of defining attributes and of setting and removing their values: pure, over the overlay of a request.

    define    the attribute must be unknown                     `attribute-exists`, `attributes-full`
    undefine  it must be known and have no values               `attribute-unknown`, `attribute-in-use`
    set       name and attribute must be known, and the value   `lfn-unknown`, `pfn-unknown`, `attribute-unknown`,
              be of its type; `add`: there is no value yet,     `value-invalid`, `value-exists`, `value-unknown`,
              `modify`: there is one                            `attributes-full`
    remove    the value must be there, or any where no          `value-unknown`
              attribute is named

The values of an LFN lie in its record, so that they go where it goes: they are renamed and deleted with it. Those of a
PFN are renamed with it, and deleted with its last mapping. Items are independent of each other, or all or none where
the request is atomic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from msgspec.structs import replace

from lrc import values
from lrc.layout import StoredAttribute
from lrc.mappings import Faults, Outcome, Overlay, each, quoted
from reploc import attributes, names
from reploc.attributes import (
    ATTRIBUTES_MAX,
    AttributeItem,
    DefineBody,
    RemoveBody,
    RemoveItem,
    SetBody,
    SetItem,
    UndefineBody,
    UndefineItem,
    What,
)
from reploc.errors import (
    AttributeExists,
    AttributeInUse,
    AttributesFull,
    AttributeUnknown,
    LfnUnknown,
    NameInvalid,
    PfnUnknown,
    ReplocError,
    ValueExists,
    ValueUnknown,
)

DefinitionBody: TypeAlias = DefineBody | UndefineBody
ValueBody: TypeAlias = SetBody | RemoveBody


def name_faults(body: DefinitionBody | ValueBody) -> Faults:
    """The items whose names are none, each with its NameInvalid."""
    if isinstance(body, DefineBody | UndefineBody):
        given: Sequence[AttributeItem | UndefineItem] = body.attributes
        faults = ((at, attributes.attribute_fault(item.name)) for at, item in enumerate(given))
        return {at: NameInvalid(f"name {wrong}") for at, wrong in faults if wrong}
    wrong_names = names.faults(_names(body))
    return {at: NameInvalid(f"name {wrong}") for at, wrong in wrong_names.items()}


def names_of(body: ValueBody, faults: Faults) -> list[str]:
    """The LFNs or PFNs that must be loaded before the body is applied."""
    return [name for at, name in enumerate(_names(body)) if at not in faults]


def _names(body: ValueBody) -> list[str]:
    items: Sequence[SetItem | RemoveItem] = body.values
    return [item.name for item in items]


def attributes_of(body: DefinitionBody | ValueBody) -> set[tuple[What, str]]:
    """The attributes whose definitions must be known before the body is applied."""
    if isinstance(body, DefineBody | UndefineBody):
        return {(item.what, item.name) for item in body.attributes}
    return {(body.what, item.attribute) for item in body.values if item.attribute is not None}


# ---- definitions -----------------------------------------------------------------------------------------------------


def define(overlay: Overlay, body: DefinitionBody, faults: Faults, count: int, last_id: int) -> Outcome:
    """Decide each item. `count` attributes are defined, the last with `last_id`; all of `attributes_of` are loaded."""
    maker = _Definer(overlay, count, last_id)
    errors = (
        each(body.attributes, faults, lambda item: maker.define(item, body.if_absent))
        if isinstance(body, DefineBody)
        else each(body.attributes, faults, maker.undefine)
    )
    if errors and body.atomic:
        overlay.definitions_after = dict(overlay.definitions_before)
        return Outcome(0, errors)
    return Outcome(len(body.attributes) - len(errors), errors)


class _Definer:
    """One request's definitions; what the earlier ones of it did, the later ones see."""

    def __init__(self, overlay: Overlay, count: int, last_id: int) -> None:
        self._definitions = overlay.definitions_after
        self._count = count
        self._last_id = last_id

    def define(self, item: AttributeItem, if_absent: bool) -> ReplocError | None:
        there = self._definitions[item.what, item.name]
        if there is not None:
            if if_absent and there.type == item.type:
                return None
            return AttributeExists(f"attribute {quoted(item.name)} of {item.what}s is defined as {there.type}")
        if self._count >= ATTRIBUTES_MAX:
            return AttributesFull(f"{ATTRIBUTES_MAX:,} attributes are defined, which is the most that there can be")
        self._count += 1
        self._last_id += 1
        self._definitions[item.what, item.name] = StoredAttribute(self._last_id, item.type, 0)
        return None

    def undefine(self, item: UndefineItem) -> ReplocError | None:
        there = self._definitions[item.what, item.name]
        if there is None:
            return _undefined(item.what, item.name)
        if there.values:
            return AttributeInUse(f"attribute {quoted(item.name)} of {item.what}s has {there.values:,} values")
        self._count -= 1
        self._definitions[item.what, item.name] = None
        return None


# ---- values ----------------------------------------------------------------------------------------------------------


def apply(overlay: Overlay, body: ValueBody, faults: Faults) -> Outcome:
    """Decide each item; all of `names_of` and `attributes_of` are loaded."""
    overlay.mark()
    errors = (
        each(body.values, faults, lambda item: _set(overlay, body, item))
        if isinstance(body, SetBody)
        else each(body.values, faults, lambda item: _remove(overlay, body, item))
    )
    if errors and body.atomic:
        overlay.rollback()
        return Outcome(0, errors)
    return Outcome(len(body.values) - len(errors), errors)


def _set(overlay: Overlay, body: SetBody, item: SetItem) -> ReplocError | None:
    definition = overlay.definitions_after[body.what, item.attribute]
    if definition is None:
        return _undefined(body.what, item.attribute)
    try:
        value = attributes.kept(definition.type, item.value)
        had = values.decoded(_values(overlay, body.what, item.name))
        there = definition.id in had
        if body.mode == "add" and there:
            return ValueExists(f"{body.what} {quoted(item.name)} has a value of {quoted(item.attribute)}")
        if body.mode == "modify" and not there:
            return _no_value(body.what, item.name, item.attribute)
        _place(overlay, body.what, item.name, values.encoded(had | {definition.id: value}))
    except ReplocError as wrong:
        return wrong
    return None


def _remove(overlay: Overlay, body: RemoveBody, item: RemoveItem) -> ReplocError | None:
    try:
        had = values.decoded(_values(overlay, body.what, item.name))
        if item.attribute is None:
            if not had:
                return ValueUnknown(f"{body.what} {quoted(item.name)} has no values")
            had.clear()
        else:
            definition = overlay.definitions_after[body.what, item.attribute]
            if definition is None:
                return _undefined(body.what, item.attribute)
            if had.pop(definition.id, None) is None:
                return _no_value(body.what, item.name, item.attribute)
        _place(overlay, body.what, item.name, values.encoded(had))
    except ReplocError as wrong:
        return wrong
    return None


def _values(overlay: Overlay, what: What, name: str) -> bytes | None:
    """The values of a name as they will be. Raises LfnUnknown, PfnUnknown, or DigestCollision."""
    if what == "lfn":
        record = overlay.after[name]
        if record is None:
            raise LfnUnknown(f"lfn {quoted(name)} is not registered")
        return record.values
    if name in overlay.pfn_values.unknown:
        raise PfnUnknown(f"pfn {quoted(name)} is not registered")
    if name in overlay.pfn_values.clashing:
        raise values.collision(name)
    return overlay.pfn_values.after[name]


def _place(overlay: Overlay, what: What, name: str, stored: bytes | None) -> None:
    if what == "lfn":
        record = overlay.after[name]
        assert record is not None
        overlay.set(name, replace(record, values=stored))
    else:
        overlay.pfn_values.after[name] = stored


def _undefined(what: What, name: str) -> AttributeUnknown:
    return AttributeUnknown(f"{what}s have no attribute {quoted(name)}")


def _no_value(what: What, name: str, attribute: str) -> ValueUnknown:
    return ValueUnknown(f"{what} {quoted(name)} has no value of {quoted(attribute)}")
