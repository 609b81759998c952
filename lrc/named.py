"""Which names a request to a catalog acts on, for the rules of who may.

Whoever names a file's collection acts on the collection too, whose totals change with it. A PFN may stand under any
LFN, so that what is asked or changed by PFN is about all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from reploc.actions import EVERYTHING
from reploc.attributes import RemoveBody, RemoveItem, SetBody, SetItem, ValuesBody, ValuesQuery
from reploc.wire import DeleteBody, MappingsBody, RenameBody


class _OneCollection(Protocol):
    @property
    def name(self) -> str: ...


def one_collection(asked: _OneCollection) -> Iterable[str]:
    """The collection's name."""
    return (asked.name,)


def registered(body: MappingsBody) -> Iterable[str]:
    """The LFNs, and the collections that they are said to be in."""
    for item in body.mappings:
        yield item.lfn
        if item.collection is not None:
            yield item.collection


def deleted(body: DeleteBody) -> Iterable[str]:
    """The LFNs."""
    return (item.lfn for item in body.mappings)


def renamed(body: RenameBody) -> Iterable[str]:
    """The old and the new LFNs; a PFN's renaming changes whatever LFNs it stands under."""
    if body.what == "pfn":
        return EVERYTHING
    return (name for item in body.names for name in (item.old, item.new))


def valued(body: SetBody | RemoveBody) -> Iterable[str]:
    """The LFNs whose values change."""
    items: Sequence[SetItem | RemoveItem] = body.values
    return EVERYTHING if body.what == "pfn" else [item.name for item in items]


def one_valued(asked: ValuesQuery) -> Iterable[str]:
    """The LFN whose values are asked for."""
    return EVERYTHING if asked.what == "pfn" else (asked.name,)


def many_valued(body: ValuesBody) -> Iterable[str]:
    """The LFNs whose values are asked for."""
    return EVERYTHING if body.what == "pfn" else body.names
