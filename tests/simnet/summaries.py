"""What the simulation knows of each kind of summary: how a catalog makes it, and what a node has of it, in plain sets.

What a node has is a value to compare: of a filter its size class and bits, of all else a set of keys or of totals. It
is computed from what travels, without the tables that real nodes have, so that it is another word than theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from kinds import KINDS, Content

from reploc import bloom, digest, totals
from reploc.difference import from_bytes as difference_from
from reploc.errors import SummaryInvalid
from reploc.key_sets import checksum_of_fingerprints, checksum_of_names, fingerprints_from_bytes, names_from
from reploc.members import IndexSettings
from reploc.sender.form import Build, Form
from reploc.sender.placing import Placing
from reploc.sender.slot_filters import SlotFilters, build_slot
from reploc.softstate import whole_filter
from reploc.wire import Kind, Summary

#: Whatever is held of a slot.
Held: TypeAlias = Any
BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True)
class Summaries:
    """One kind. `after` gives what is held after a summary, of what was held before; None before a whole one."""

    kind: Kind
    form: Callable[[IndexSettings], Form]
    build: Callable[[Form, int, Content, IndexSettings], Build]
    after: Callable[[Held, Summary, IndexSettings], Held]


# ---- filters ---------------------------------------------------------------------------------------------------------


def _filter_form(index: IndexSettings) -> Form:
    return SlotFilters(Placing(index.partition), index.error_rate)


def _filter_build(form: Form, slot: int, content: Content, index: IndexSettings) -> Build:
    digests = digest.of(sorted(content.files))
    mine = digests[digest.slots_of(digests, index.slots) == slot]
    return build_slot(slot, mine, form.size_class, index.error_rate)


def _filter_after(before: Held, summary: Summary, index: IndexSettings) -> Held:
    """Increments are applied to plain bits, one after the other."""
    if not summary.from_seq:
        whole = whole_filter(summary, index.error_rate)
        return whole.size_class, whole.bits.tobytes()
    difference, _ = difference_from(summary.body)
    size_class, held = before
    bits = bytearray(held)
    for is_set, numbers in ((True, difference.set), (False, difference.clear)):
        for number in numbers.tolist():
            if number // 8 >= len(bits):
                raise SummaryInvalid(f"bit {number} is beyond the filter")
            bits[number // 8] = bits[number // 8] & ~(1 << number % 8) | is_set << number % 8
    if bloom.checksum(np.frombuffer(bits, dtype=np.uint8)) != summary.checksum:
        raise SummaryInvalid("checksum")
    return size_class, bytes(bits)


# ---- sets ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What a body says: what is there now, and the keys of all that it says something of."""

    here: frozenset[Any]
    keys: frozenset[Hashable]


def _names(body: bytes) -> Said:
    said = names_from(body)
    return Said(frozenset(said.here), frozenset([*said.here, *said.gone]))


def _fingerprints(body: bytes) -> Said:
    said = fingerprints_from_bytes(body)
    here, gone = said.here.tolist(), said.gone.tolist()
    return Said(frozenset(here), frozenset([*here, *gone]))


def _totals(body: bytes) -> Said:
    said = totals.from_bytes(body)
    rows = [(name, tuple(numbers)) for name, numbers in zip(said.names, said.numbers.T.tolist(), strict=True)]
    return Said(frozenset(row for row in rows if row[1][0]), frozenset(said.names))


def _sum_of_names(held: frozenset[str]) -> int:
    return checksum_of_names(sorted(held))


def _sum_of_fingerprints(held: frozenset[int]) -> int:
    return checksum_of_fingerprints(np.array(sorted(held), dtype=np.uint64))


def _sum_of_totals(held: frozenset[tuple[str, tuple[int, int, int]]]) -> int:
    if not held:
        return 0
    found = totals.of(sorted(held))
    return totals.checksum(totals.digests_of(found), found.numbers)


def _itself(item: Any) -> Hashable:
    return item


def _name_of(item: Any) -> Hashable:
    return item[0]


def _set_after(
    read: Callable[[bytes], Said],
    key: Callable[[Any], Hashable],
    checksum: Callable[[frozenset[Any]], int],
    before: Held,
    summary: Summary,
    _: IndexSettings,
) -> Held:
    said = read(summary.body)
    kept = frozenset(item for item in before if key(item) not in said.keys) if summary.from_seq else frozenset()
    after = kept | said.here
    if checksum(after) != summary.checksum:
        raise SummaryInvalid("checksum")
    return after


def _set_form(name: str, index: IndexSettings) -> Form:
    return BY_NAME[name].form(index.slots)


def _set_build(name: str, form: Form, slot: int, content: Content, index: IndexSettings) -> Build:
    (build,) = BY_NAME[name].build(form, [slot], content, index.slots)
    return build


def _sets(kind: Kind, read: Any, key: Any, checksum: Any) -> Summaries:
    after = partial(_set_after, read, key, checksum)
    return Summaries(kind, partial(_set_form, kind), partial(_set_build, kind), after)


ALL: dict[str, Summaries] = {
    "bloom": Summaries("bloom", _filter_form, _filter_build, _filter_after),
    "list": _sets("list", _names, _itself, _sum_of_names),
    "fingerprint": _sets("fingerprint", _fingerprints, _itself, _sum_of_fingerprints),
    "collection": _sets("collection", _totals, _name_of, _sum_of_totals),
}
