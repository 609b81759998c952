"""How a catalog's LFNs are told: the form that the index's compression asks for, and when it is to be another one.

A small catalog tells fingerprints in one piece, so that a hundred thousand of them cost what their names cost; one that
has grown tells each slot apart. Between the two it does not swing: it goes back at half the size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lrc.catalog import Catalog
from lrc.slot_reading import Reading
from reploc.members import IndexSettings
from reploc.sender.form import Build, Form
from reploc.sender.placing import Placing
from reploc.sender.slot_filters import SlotFilters, build_slot
from reploc.sender.slot_keys import SlotFingerprints, SlotLists

#: Names a slot below which a catalog is small: a filter of so few takes more bytes than their fingerprints.
SMALL_NAMES_PER_SLOT = 64
#: Names that one visit which reads the whole catalog builds: few visits, and 400 MB of names at most.
SCANNED_NAMES_PER_BUILD = 1 << 21

#: Bloom filters, fingerprints slot by slot or in one piece, whole names.
Choice: TypeAlias = Literal["bloom", "fingerprint", "piece", "list"]


def choose(index: IndexSettings, lfns: int, current: Choice | None) -> Choice:
    """The form for a catalog of so many LFNs that has the current one, if any."""
    match index.compression:
        case "none":
            return "list"
        case "fingerprint":
            large: Choice = "fingerprint"
        case "auto":
            large = "bloom"
        case _:
            return "bloom"
    most = SMALL_NAMES_PER_SLOT * index.slots
    return "piece" if lfns < (most / 2 if current == large else most) else large


@dataclass(frozen=True)
class NamesForm:
    """One form with how it is read and built."""

    choice: Choice
    form: Form
    reading: Reading
    error_rate: float

    @classmethod
    def of(cls, choice: Choice, catalog: Catalog, index: IndexSettings) -> NamesForm:
        """The form of a choice, none of whose slots is built."""
        placing = Placing(index.partition, one_piece=choice == "piece")
        form: Form
        match choice:
            case "bloom":
                form = SlotFilters(placing, index.error_rate)
            case "list":
                form = SlotLists(placing)
            case _:
                form = SlotFingerprints(placing)
        return cls(choice, form, Reading(catalog, placing, names=choice == "list"), index.error_rate)

    def read_and_build(self, slots: Sequence[int]) -> tuple[list[Build], int]:
        """Reads slots of the catalog and builds their summaries: the builds, and the position of the snapshot."""
        contents, position = self.reading.read(slots)
        form = self.form
        if isinstance(form, SlotFilters):
            size_class = form.size_class
            return [build_slot(each.slot, each.digests, size_class, self.error_rate) for each in contents], position
        assert isinstance(form, SlotFingerprints | SlotLists)
        return [form.build(each.slot, each.digests, each.names) for each in contents], position
