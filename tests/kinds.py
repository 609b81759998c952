"""Every kind of summary with both its ends: what a sender keeps of it, and what a node holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrc.mappings import Record
from lrc.slot_totals import SlotTotals, build_totals
from reploc import digest
from reploc.digest import Digests, slots_of
from reploc.partition import Partition
from reploc.sender.form import Build, Form
from reploc.sender.news import News
from reploc.sender.placing import Placing
from reploc.sender.slot_filters import SlotFilters, build_slot
from reploc.sender.slot_keys import SlotFingerprints, SlotLists
from reploc.wire import CollectionTotals
from rli.filters import Filters
from rli.holding import Holding
from rli.key_sets import HeldFingerprints, HeldLists
from rli.matrix import Matrix
from rli.totals import HeldTotals

RATE = 1e-4
#: Files of each name, where names stand for collections: they change as the content does.
FILES_MAX = 5


@dataclass(frozen=True)
class Content:
    """What a catalog holds at some moment: names, each with a number of files that matters to totals alone."""

    files: dict[str, int]

    def news(self, after: Content, position: int) -> News:
        """The commit that leads from here to `after`."""
        added = sorted(after.files.keys() - self.files.keys())
        removed = sorted(self.files.keys() - after.files.keys())
        changed = sorted(name for name in self.files.keys() | after.files.keys() if after.of(name) != self.of(name))
        came, went = [record(name) for name in added], [record(name) for name in removed]
        totals = [row(name, after.of(name)) for name in changed]
        return News(position, digests(added), digests(removed), came, went, totals=totals)

    def of(self, name: str) -> int:
        return self.files.get(name, 0)

    def in_slot(self, slot: int, slots: int) -> Content:
        names = sorted(self.files)
        return Content(
            {
                name: self.files[name]
                for name, of in zip(names, slots_of(digests(names), slots).tolist(), strict=True)
                if of == slot
            }
        )


def digests(names: Sequence[str]) -> Digests:
    return digest.of(names) if names else np.zeros((0, 2), dtype=np.uint64)


def record(name: str) -> Record:
    return Record(name, None, None, None, ("file:///copy",))


def row(name: str, files: int) -> CollectionTotals:
    return CollectionTotals(name, files, 1000 * files, 0)


@dataclass(frozen=True)
class Kind:
    """One kind of summary.

    `build` makes the builds of some slots from a content; `shown` says which of some names a node's holding shows for
    each site, in the words that `truth` has for a content. `exact`: deletions count at once, and nothing else is shown.
    """

    name: str
    exact: bool
    form: Callable[[int], Form]
    build: Callable[[Form, Iterable[int], Content, int], list[Build]]
    holding: Callable[[int], Holding]
    shown: Callable[[Any, int, Sequence[str]], dict[str, object]]
    truth: Callable[[Content], dict[str, object]]


def _filters(form: Form, slots: Iterable[int], content: Content, count: int) -> list[Build]:
    return [
        build_slot(slot, digests(sorted(content.in_slot(slot, count).files)), form.size_class, RATE) for slot in slots
    ]


def _totals(_: Form, slots: Iterable[int], content: Content, count: int) -> list[Build]:
    return list(
        build_totals(list(slots), [row(name, files) for name, files in content.files.items()], Partition(count))
    )


def _keys(form: Form, slots: Iterable[int], content: Content, count: int) -> list[Build]:
    assert isinstance(form, SlotFingerprints | SlotLists)
    parts = [(slot, sorted(content.in_slot(slot, count).files)) for slot in slots]
    return [form.build(slot, digests(names), names) for slot, names in parts]


class MatrixFilters(Filters):
    """Filters with the matrix that they are in."""

    def __init__(self, slots: int) -> None:
        self.matrix = Matrix(slots, RATE, 1 << 28)
        super().__init__(self.matrix)


def _in_matrix(holding: MatrixFilters, site: int, names: Sequence[str]) -> dict[str, object]:
    found = holding.matrix.query(digests(names))
    return {names[at]: True for at, of in zip(found.rows.tolist(), found.sites.tolist(), strict=True) if of == site}


def _in_totals(holding: HeldTotals, site: int, names: Sequence[str]) -> dict[str, object]:
    return {name: said[site] for name in names if site in (said := dict(holding.of(name)))}


def _in_fingerprints(holding: HeldFingerprints, site: int, names: Sequence[str]) -> dict[str, object]:
    found = holding.query(digests(names))
    return {names[at]: True for at, of in zip(found.rows.tolist(), found.sites.tolist(), strict=True) if of == site}


def _in_lists(holding: HeldLists, site: int, names: Sequence[str]) -> dict[str, object]:
    found = holding.query(names)
    return {names[at]: True for at, of in zip(found.rows.tolist(), found.sites.tolist(), strict=True) if of == site}


def _is_there(content: Content) -> dict[str, object]:
    return dict.fromkeys(content.files, True)


KINDS = (
    Kind(
        "bloom",
        False,
        lambda slots: SlotFilters(Placing(Partition(slots)), RATE),
        _filters,
        MatrixFilters,
        _in_matrix,
        _is_there,
    ),
    Kind(
        "fingerprint",
        True,
        lambda slots: SlotFingerprints(Placing(Partition(slots))),
        _keys,
        lambda _: HeldFingerprints(),
        _in_fingerprints,
        _is_there,
    ),
    Kind(
        "list",
        True,
        lambda slots: SlotLists(Placing(Partition(slots))),
        _keys,
        lambda _: HeldLists(),
        _in_lists,
        _is_there,
    ),
    Kind(
        "collection",
        True,
        lambda slots: SlotTotals(Partition(slots)),
        _totals,
        lambda slots: HeldTotals(Partition(slots)),
        _in_totals,
        lambda content: {name: (files, 1000 * files, 0) for name, files in content.files.items()},
    ),
)
