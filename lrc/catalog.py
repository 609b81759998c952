"""A site's local replica catalog: every read as one short snapshot, every group of writes as one durable commit.

One process has it open for writing, and there one thread at a time commits (`lrc/writer.py`); reads may come from any
thread, and from other processes with `read_only`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from lrc import attribute_reads, change_log, descending, index, layout, listings, loading
from lrc.descending import PairsPage
from lrc.layout import State, StoredIndex
from lrc.listings import FilesPage
from lrc.loading import Load, WriteBody
from lrc.mappings import Faults, Overlay
from lrc.reads import CollectionNames, View, totals
from lrc.store import MAP_BYTES, ROW_ERRORS, Store, translated
from reploc import names
from reploc.attributes import Definition, SearchBody, SearchPage, Values, What
from reploc.changes import Changes
from reploc.digest import Digests
from reploc.errors import CollectionUnknown, QueryInvalid, ReplocError
from reploc.names import Pattern
from reploc.sender.news import NO_DIGESTS, News
from reploc.wire import (
    PAGE_ITEMS,
    SIZE_MAX,
    Collections,
    CollectionTotals,
    Exists,
    Names,
    Replica,
    Replicas,
    Written,
)

#: Rows of the value index that a search may look at while the loop waits: about a tenth of a millisecond.
ROWS_SHORTLY_MAX = 32


@dataclass(frozen=True)
class Commit:
    """One durable commit: the answer to each request, and the news of what changed.

    #: `answers` holds an error in the place of a request that was refused whole.
    #: `changed` says whether the position went up.
    """

    answers: list[Written | ReplocError]
    changed: bool
    news: News

    @property
    def position(self) -> int:
        return self.news.position


@dataclass(frozen=True)
class SlotDigests:
    """The digests of some slots, all as the catalog stood at `position`; each shape (n, 2)."""

    position: int
    digests: list[Digests]


@dataclass(frozen=True)
class Turnover:
    """LFNs that changed and are there, and such that are not there any more, up to the position `reached`, which is the
    catalog's where there are no more."""

    came: list[str]
    went: list[str]
    reached: int
    last: bool


class Catalog:
    """An open catalog. Use as a context manager, or `close` it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._collections = CollectionNames()
        with store.reading() as txn:
            state = store.state(txn)
        self.site = state.site
        self.sender = state.sender

    @classmethod
    def create(cls, path: Path | str, site: str, map_bytes: int = MAP_BYTES) -> Self:
        """A new, empty catalog of a site, open for writing, in a directory that is absent or empty."""
        return cls._on(Store.create(Path(path), names.require_site(site), map_bytes))

    @classmethod
    def open(cls, path: Path | str, read_only: bool = False, map_bytes: int = MAP_BYTES) -> Self:
        """A catalog that is there: for its one writer, or beside it for reading."""
        return cls._on(Store.open(Path(path), read_only, map_bytes))

    @classmethod
    def _on(cls, store: Store) -> Self:
        try:
            return cls(store)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def view(self) -> Iterator[View]:
        """One snapshot for several reads. Keep it short: it pins the pages that it sees."""
        with self.store.reading() as txn:
            yield View(self.store, txn, self._collections)

    # ---- reads -------------------------------------------------------------------------------------------------------

    def lookup(self, lfn: str) -> Replica | None:
        """What the catalog knows of one LFN, or None."""
        txn = self.store.begin()
        try:
            view = View(self.store, txn, self._collections)
            stored = view.stored(lfn)
            return None if stored is None else view.replica(stored)
        except ROW_ERRORS as error:
            raise translated(error, self.store.path) from error
        finally:
            self.store.end(txn)

    def lookup_each(self, lfns: Sequence[str]) -> list[Replica | None]:
        """What the catalog knows of each of some LFNs, in one snapshot; TooLarge where it would be too much."""
        with self.view() as view:
            return [None if one is None else view.replica(one) for one in view.stored_many(lfns)]

    def lookup_many(self, lfns: Sequence[str]) -> Replicas:
        """The same for many, and those that it does not know, in their order; TooLarge where it would be too much."""
        with self.view() as view:
            stored = view.stored_many(lfns)
            found = view.replicas(lfns, stored)
        unknown = [lfn for lfn, one in zip(lfns, stored, strict=True) if one is None]
        return Replicas(found, list(dict.fromkeys(unknown)))

    def exists(self, lfns: Sequence[str]) -> Exists:
        """The LFNs parted into known and unknown, each in their order."""
        distinct = list(dict.fromkeys(lfns))
        with self.view() as view:
            known = {lfn for lfn, there in zip(distinct, view.known(distinct), strict=True) if there}
        return Exists([lfn for lfn in distinct if lfn in known], [lfn for lfn in distinct if lfn not in known])

    def lfns_by_pfn(self, pfn: str, limit: int = PAGE_ITEMS, after: str | None = None) -> Names:
        """One page of the LFNs that a PFN stands under; empty where the catalog does not hold it."""
        with self.view() as view:
            return listings.lfns_of_pfn(view, pfn, limit, after)

    def lfns(self, pattern: str = "*", limit: int = PAGE_ITEMS, after: str | None = None) -> Names:
        """One page of the LFNs that match a glob pattern. It may hold few or none and still not be the last."""
        with self.view() as view:
            return listings.lfns(view, names.pattern(pattern), limit, after)

    def pairs_by_lfn(self, pattern: Pattern, below: str | None = None) -> PairsPage:
        """One page of the mappings whose LFNs match, in descending order, below an LFN."""
        with self.view() as view:
            return descending.by_lfn(view, pattern, below)

    def pairs_by_pfn(self, pattern: Pattern, below: str | None = None) -> PairsPage:
        """One page of the mappings whose PFNs match, in descending order of these, below a PFN."""
        with self.view() as view:
            return descending.by_pfn(view, pattern, below)

    def collections(self, pattern: str = "*", limit: int = PAGE_ITEMS, after: str | None = None) -> Collections:
        """One page of the collections that match, with their totals."""
        with self.view() as view:
            return listings.collections(view, names.pattern(pattern), limit, after)

    def collection(self, name: str) -> CollectionTotals:
        """The totals of one collection; CollectionUnknown where it has no files."""
        with self.view() as view:
            stored = view.collection(name)
        if stored is None:
            raise CollectionUnknown(f"collection {name[:200]!r} is not registered")
        return totals(stored)

    def collection_files(self, name: str, limit: int = PAGE_ITEMS, after: str | None = None) -> FilesPage:
        """One page of a collection's files; CollectionUnknown where it has none."""
        with self.view() as view:
            return listings.files(view, name, limit, after)

    def files(self, limit: int = PAGE_ITEMS, after: str | None = None) -> FilesPage:
        """One page of all files, for a dump."""
        with self.view() as view:
            return listings.everything(view, limit, after)

    # ---- attributes --------------------------------------------------------------------------------------------------

    def attributes(self, what: What | None = None, name: str | None = None) -> list[Definition]:
        """The attributes that are defined, or those of LFNs or of PFNs, or of that name, sorted by name."""
        with self.view() as view:
            return attribute_reads.described(view, what, name)

    def values(self, what: What, asked: Sequence[str], attribute: str | None = None) -> Values:
        """The values of LFNs or PFNs, or those of one attribute; AttributeUnknown where it is not defined."""
        with self.view() as view:
            return attribute_reads.values_of(view, what, asked, attribute)

    def search(self, body: SearchBody) -> SearchPage:
        """One page of a search. It may hold few or none and still not be the last. Raises AttributeUnknown and
        ValueInvalid."""
        with self.view() as view:
            return attribute_reads.search(view, body)

    def search_shortly(self, body: SearchBody) -> SearchPage | None:
        """The same where it takes a fraction of a millisecond, as that of one value does, else None."""
        with self.view() as view:
            page = attribute_reads.search(view, body, ROWS_SHORTLY_MAX)
        return page if page.next is None or len(page.found) == body.limit else None

    # ---- soft state --------------------------------------------------------------------------------------------------

    def changes(self, after: int, limit: int = PAGE_ITEMS, since: float | None = None) -> Changes:
        """What commits changed after a position, or of that what they did from a moment on. Raises ChangesForgotten."""
        with self.view() as view:
            return change_log.page(view, after, limit, since)

    def state(self) -> State:
        """The counters: position, epoch, totals."""
        with self.view() as view:
            return view.state()

    def store_bytes(self) -> int:
        """What the store takes on disk."""
        return self.store.used_bytes()

    @property
    def position(self) -> int:
        return self.state().position

    def collection_count(self) -> int:
        """How many collections have files."""
        with self.view() as view:
            return view.collection_count()

    def digests(self, slot_numbers: Sequence[int], slots: int) -> SlotDigests:
        """The digests of the LFNs of these slots of `slots` (a power of two up to 65,536), in one snapshot."""
        _require_slots(slots, slot_numbers)
        with self.view() as view:
            return SlotDigests(view.state().position, [view.digests(slot, slots) for slot in slot_numbers])

    def totals(self) -> tuple[list[CollectionTotals], int]:
        """The totals of all collections, by name, and the position at which the catalog stood."""
        with self.view() as view:
            return listings.all_totals(view), view.state().position

    def slot_counts(self, slots: int) -> NDArray[np.int64]:
        """The number of LFNs in each slot, shape (slots,)."""
        _require_slots(slots, ())
        with self.view() as view:
            return view.slot_counts(slots)

    def raise_epoch(self, above: int = 0) -> int:
        """A new epoch, durable: above the last one and above the number given."""
        with self.store.writing() as txn:
            state = self.store.state(txn)
            epoch = max(state.epoch, above) + 1
            if epoch > SIZE_MAX:
                raise QueryInvalid(f"epoch {above} leaves no room above it; expected less than {SIZE_MAX}")
            self.store.put_state(txn, replace(state, epoch=epoch))
        return epoch

    # ---- index servers of the Globus RLS -----------------------------------------------------------------------------

    def rls_indexes(self) -> tuple[StoredIndex, ...]:
        """Those that are sent updates."""
        with self.store.reading() as txn:
            return self.store.rls_indexes(txn)

    def put_rls_indexes(self, indexes: Sequence[StoredIndex]) -> None:
        """From now on these, durably."""
        with self.store.writing() as txn:
            self.store.put_rls_indexes(txn, indexes)

    def changed_since(self, after: int, limit: int) -> Turnover:
        """Which LFNs changed after a position, as they are now. Raises ChangesForgotten."""
        with self.view() as view:
            page = change_log.page(view, after, limit)
            lfns = list(dict.fromkeys(change.lfn for change in page.changes))
            known = view.known(lfns)
        came = [lfn for lfn, there in zip(lfns, known, strict=True) if there]
        went = [lfn for lfn, there in zip(lfns, known, strict=True) if not there]
        return Turnover(came, went, page.position if page.next is None else page.next, page.next is None)

    # ---- writes ------------------------------------------------------------------------------------------------------

    def write(self, body: WriteBody) -> Written:
        """Apply one request in a commit of its own; its error where it is refused whole."""
        answer = self.apply([body]).answers[0]
        if isinstance(answer, ReplocError):
            raise answer
        return answer

    def apply(self, bodies: Sequence[WriteBody]) -> Commit:
        """Apply requests in their order and make them durable together. An error that it raises has changed nothing.

        A renaming of PFNs must be alone: it reads the index that earlier requests of a group would change.
        """
        assert len(bodies) == 1 or not any(loading.needs_own_commit(body) for body in bodies)
        faults = loading.name_faults_of_each(bodies)
        try:
            return self._applied(bodies, faults, loading.load)
        except index.DigestTaken:
            return self._applied(bodies, faults, loading.load_with_taken)

    def _applied(self, bodies: Sequence[WriteBody], faults: Sequence[Faults], load: Load) -> Commit:
        with self.store.writing() as txn:
            view = View(self.store, txn, self._collections)
            overlay = Overlay()
            loading.prepare(view, overlay, load, bodies, faults)
            outcomes = [loading.decided(view, overlay, load, *each) for each in zip(bodies, faults, strict=True)]
            flushed = index.flush(self.store, txn, overlay, time.time())
            position = flushed.state.position if flushed else view.state().position
        answers = [one if isinstance(one, ReplocError) else Written(one.done, one.errors, position) for one in outcomes]
        if flushed is None:
            return Commit(answers, False, News(position, NO_DIGESTS, NO_DIGESTS))
        return Commit(answers, True, flushed.news)


def _require_slots(slots: int, numbers: Sequence[int]) -> None:
    if not 1 <= slots <= layout.SLOTS_MAX or slots & (slots - 1):
        raise QueryInvalid(f"{slots} slots; expected a power of two up to {layout.SLOTS_MAX:,}")
    if wrong := [number for number in numbers if not 0 <= number < slots]:
        raise QueryInvalid(f"slot {wrong[0]}; expected 0 to {slots - 1}")
