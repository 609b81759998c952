"""Attributes as plain dictionaries: the rules of `lrc/attributes.py`, written a second time, slowly."""

import re
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from typing import Any

from reploc.attributes import DefineBody, RemoveBody, RemoveItem, SearchBody, SetBody, SetItem, UndefineBody
from reploc.wire import DeleteBody, MappingsBody, RenameBody

Body = DefineBody | UndefineBody | SetBody | RemoveBody | MappingsBody | DeleteBody | RenameBody
#: (index, code) of each item that failed.
Errors = list[tuple[int, str]]


class AttributeModel:
    """`mappings` are (LFN, PFN), in no order; `values` by kind and name, for names that have any."""

    def __init__(self) -> None:
        self.mappings: set[tuple[str, str]] = set()
        self.types: dict[tuple[str, str], str] = {}
        self.values: dict[tuple[str, str], dict[str, Any]] = {}

    def names(self, what: str) -> set[str]:
        return {pair[what == "pfn"] for pair in self.mappings}

    def write(self, body: Body) -> tuple[int, Errors]:
        before = deepcopy(self.__dict__)
        rule, items = self._rule(body)
        errors = [(at, code) for at, item in enumerate(items) if (code := rule(item))]
        if errors and body.atomic:
            self.__dict__.update(before)
            return 0, errors
        return len(items) - len(errors), errors

    def _rule(self, body: Body) -> tuple[Callable[[Any], str], list[Any]]:
        match body:
            case DefineBody():
                return lambda item: self._define(item.what, item.name, item.type, body.if_absent), body.attributes
            case UndefineBody():
                return lambda item: self._undefine(item.what, item.name), body.attributes
            case SetBody():
                return lambda item: self._set(body.what, item, body.mode), body.values
            case RemoveBody():
                return lambda item: self._remove(body.what, item), body.values
            case MappingsBody():
                return lambda item: self.mappings.add((item.lfn, item.pfn)) or "", body.mappings  # type: ignore[func-returns-value]
            case DeleteBody():
                return lambda item: self._delete(item.lfn, item.pfn), body.mappings
        return lambda item: self._rename(body.what, item.old, item.new), body.names

    def _define(self, what: str, name: str, kind: str, if_absent: bool) -> str:
        if (what, name) in self.types:
            return "" if if_absent and self.types[what, name] == kind else "attribute-exists"
        self.types[what, name] = kind
        return ""

    def _undefine(self, what: str, name: str) -> str:
        if (what, name) not in self.types:
            return "attribute-unknown"
        if any(of == what and name in held for (of, _), held in self.values.items()):
            return "attribute-in-use"
        del self.types[what, name]
        return ""

    def _set(self, what: str, item: SetItem, mode: str) -> str:
        kind = self.types.get((what, item.attribute))
        if kind is None:
            return "attribute-unknown"
        value = plain(kind, item.value)
        if value is None:
            return "value-invalid"
        if item.name not in self.names(what):
            return f"{what}-unknown"
        held = self.values.get((what, item.name), {})
        if mode == "add" and item.attribute in held:
            return "value-exists"
        if mode == "modify" and item.attribute not in held:
            return "value-unknown"
        self.values[what, item.name] = held | {item.attribute: value}
        return ""

    def _remove(self, what: str, item: RemoveItem) -> str:
        if item.name not in self.names(what):
            return f"{what}-unknown"
        held = self.values.get((what, item.name), {})
        if item.attribute is not None and (what, item.attribute) not in self.types:
            return "attribute-unknown"
        if not held or (item.attribute is not None and item.attribute not in held):
            return "value-unknown"
        rest = {} if item.attribute is None else {name: one for name, one in held.items() if name != item.attribute}
        self.values[what, item.name] = rest
        if not rest:
            del self.values[what, item.name]
        return ""

    def _delete(self, lfn: str, pfn: str | None) -> str:
        if lfn not in self.names("lfn"):
            return "lfn-unknown"
        if pfn is not None and (lfn, pfn) not in self.mappings:
            return "mapping-unknown"
        self.mappings = {pair for pair in self.mappings if pair[0] != lfn or pfn not in (None, pair[1])}
        self._forget()
        return ""

    def _rename(self, what: str, old: str, new: str) -> str:
        if old not in self.names(what):
            return f"{what}-unknown"
        if old == new:
            return ""
        if what == "lfn" and new in self.names("lfn"):
            return "lfn-exists"
        moved = self.values.pop((what, old), {}) | self.values.get((what, new), {})
        if moved:
            self.values[what, new] = moved
        at = what == "pfn"
        self.mappings = {
            (pair[0], new) if at and pair[1] == old else (new, pair[1]) if not at and pair[0] == old else pair
            for pair in self.mappings
        }
        return ""

    def _forget(self) -> None:
        self.values = {key: held for key, held in self.values.items() if key[1] in self.names(key[0])}

    def search(self, body: SearchBody) -> list[tuple[str, Any]]:
        """What a search finds, in no order of equal values."""
        kind = self.types[body.what, body.attribute]
        found = [
            (name, held[body.attribute])
            for (what, name), held in self.values.items()
            if what == body.what and body.attribute in held and _holds(kind, held[body.attribute], body)
        ]
        return sorted(found, key=lambda one: one[1])


def _holds(kind: str, value: Any, body: SearchBody) -> bool:
    if body.op == "all":
        return True
    if body.op == "like":
        return bool(re.fullmatch(str(body.value).replace("%", ".*").replace("_", "."), value, re.DOTALL))
    operand = plain(kind, body.value)
    if body.op == "between":
        return bool(operand <= value <= plain(kind, body.upper))
    compared = {"<": value < operand, "<=": value <= operand, "=": value == operand, ">": value > operand}
    return {**compared, ">=": value >= operand, "!=": value != operand}[body.op]


def plain(kind: str, value: Any) -> Any:
    """A value as Python compares it; None where it is not of that type."""
    if kind == "time":
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            return None
        return moment if moment is not None and moment.tzinfo else None
    wanted = {"text": str, "int": int, "float": int | float}[kind]
    if not isinstance(value, wanted):
        return None
    if kind == "float":
        return float(value) if float(value) == value else None
    return value
