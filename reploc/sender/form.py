"""The form of a sender's summaries: what it keeps of every slot, so that it can tell nodes of it whole or in part.

One implementation per kind (`reploc/sender/slot_filters.py`, `lrc/slot_totals.py`, …), one suite over all of them
(`tests/test_kinds.py`). The rules about when what is sent are the same for all: `reploc/sender/sender.py`. Arrays
have a place for every slot of the index.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from reploc.sender.news import News
from reploc.wire import Summary

Slots = NDArray[np.intp]
Flags = NDArray[np.bool_]
Number = TypeVar("Number", np.intp, np.uint64)
#: What summaries take in, one in each place of the first axis; of what type is the form's own affair.
Items = NDArray[Any]


@dataclass(frozen=True)
class Changes:
    """A commit as one form sees it."""

    #: What the summaries are to take in, in order, and the slot of each, shape (n,).
    items: Items
    slots: Slots
    #: The slot of each deletion that only a new build can show, with repetitions.
    gone: Slots
    #: How many names more, or fewer, each slot has.
    counts: NDArray[np.int64]


class Build(Protocol):
    """One slot as it was built from the catalog."""

    @property
    def slot(self) -> int: ...


class Form(Protocol):
    """What a sender keeps of all slots, none of which is built at first."""

    #: The sequence of each slot; one that is not built yet has the sequence that its first build will have, so that no
    #: node that lacks it takes itself for current.
    sequences: NDArray[np.uint64]
    #: The size class that the next builds are for; 0 where the kind has none.
    size_class: int

    @property
    def built(self) -> Flags:
        """Which slots are built."""

    @property
    def stale(self) -> Flags:
        """Which slots are to be built from the catalog, whatever else is to be done."""

    def fit(self, fullest: int, /) -> None:
        """Chooses the size class for so many names in the fullest slot. SummaryInvalid: no class takes them."""

    def rate(self, fullest: int, /) -> float:
        """The expected false-positive rate of the fullest slot, which has so many names."""

    def changes(self, news: News) -> Changes:
        """A commit as this form sees it. Nothing is taken in yet."""

    def add(self, items: Items, slots: Slots) -> None:
        """Takes items into slots that are built; a sequence rises where the slot's content changes."""

    def replace(self, build: Any) -> None:
        """Takes a build of this form in place of what is there; where the content differs the sequence rises."""

    def restart(self) -> None:
        """Begins a new epoch: sequences start anew."""

    def summary(self, slot: int, base: int) -> Summary:
        """What takes a node that holds a built slot at sequence `base` to its own: an increment where one is known.

        Otherwise, and from base 0, the slot whole.
        """

    def content(self, slot: int) -> Any:
        """A built slot as nodes are told of it, to compare."""


def counted(came: Slots, went: Slots, slots: int) -> NDArray[np.int64]:
    """How many names more or fewer each slot has, shape (slots,)."""
    difference: NDArray[np.int64] = np.bincount(came, minlength=slots) - np.bincount(went, minlength=slots)
    return difference


def distinct(numbers: NDArray[Number]) -> NDArray[Number]:
    """The distinct numbers, ascending. NumPy's own `unique` puts them into a hash table first, ten times slower."""
    ascending = np.sort(numbers, axis=None)
    is_new = np.ones(len(ascending), dtype=bool)
    np.not_equal(ascending[1:], ascending[:-1], out=is_new[1:])
    return ascending[is_new]


def by_slot(slots: Slots) -> Iterable[tuple[int, Slots]]:
    """Each distinct slot, ascending, with the indexes of its places, in their order."""
    order = np.argsort(slots, kind="stable")
    distinct, edges = np.unique(slots[order], return_index=True)
    return zip(distinct.tolist(), np.split(order, edges[1:]), strict=True) if len(slots) else ()
