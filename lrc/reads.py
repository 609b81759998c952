"""One snapshot of a catalog, and every read that names what it wants: by LFN, by PFN, by collection, by slot.

Listings, which page through key ranges, are in `lrc/listings.py`. Names are compared whole: a key that two names
share is never an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lrc import layout
from lrc.layout import State, StoredCollection, StoredRecord
from lrc.mappings import Record
from lrc.store import Cursor, Store, Transaction
from reploc import digest
from reploc.digest import Digests
from reploc.errors import StoreDamaged, TooLarge
from reploc.wire import SIZE_MAX, CollectionTotals, LfnReplica, Replica

#: Bytes of stored records that one bulk read or one group of writes may decode: 10,000 usual records are 3 MB, and
#: records of 1,000 PFNs would otherwise fill the memory.
RECORDS_BYTES_MAX = 128 << 20
#: Names kept of collection ids; beyond it the memory starts afresh. 65,536 names are about 10 MB.
COLLECTION_NAMES_MAX = 65_536

_KEYED_DIGEST = np.dtype([("key", "S2"), ("digest", ">u8", (2,))])


class CollectionNames:
    """The names of collection ids, remembered: an id is given out once, so what was read stays true."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def name(self, view: View, collection_id: int) -> str:
        name = self._names.get(collection_id)
        if name is None:
            name = view.read_collection_name(collection_id)
            if len(self._names) >= COLLECTION_NAMES_MAX:
                self._names.clear()
            self._names[collection_id] = name
        return name


class View:
    """The catalog as one transaction sees it."""

    def __init__(self, store: Store, txn: Transaction, collections: CollectionNames) -> None:
        self.store = store
        self.txn = txn
        self._collections = collections
        self._records_bytes = 0

    def cursor(self, table: layout.Table) -> Cursor:
        return self.txn.cursor(self.store.tables[table.name])

    def state(self) -> State:
        return self.store.state(self.txn)

    # ---- by LFN ------------------------------------------------------------------------------------------------------

    def stored(self, lfn: str) -> StoredRecord | None:
        value = self.txn.get(layout.key(lfn), db=self.store.tables["lfn"])
        if value is None:
            return None
        found = layout.decode_record(value)
        return found if found.lfn is None or found.lfn == lfn else None

    def stored_many(self, lfns: Sequence[str]) -> list[StoredRecord | None]:
        """The record of each LFN, in their order. TooLarge where the records are more than one request may read."""
        get, table, decode = self.txn.get, self.store.tables["lfn"], layout.decode_record
        values = [get(key, None, table) for key in layout.keys(lfns)]
        self._records_bytes += sum(map(len, filter(None, values)))
        if self._records_bytes > RECORDS_BYTES_MAX:
            raise TooLarge(f"the records of these LFNs exceed {RECORDS_BYTES_MAX >> 20} MiB; name fewer at once")
        found = [None if value is None else decode(value) for value in values]
        return [
            None if one is None or (one.lfn is not None and one.lfn != lfn) else one
            for one, lfn in zip(found, lfns, strict=True)
        ]

    def known(self, lfns: Sequence[str]) -> list[bool]:
        """Whether the catalog holds each LFN. Records are decoded only where the key does not say it all."""
        get, table = self.txn.get, self.store.tables["lfn"]
        return [
            get(key, None, table) is not None if layout.is_whole(key) else self.stored(lfn) is not None
            for key, lfn in zip(layout.keys(lfns), lfns, strict=True)
        ]

    def by_key(self, key: bytes | memoryview) -> tuple[str, StoredRecord]:
        """The LFN and record under an LFN key that an index named."""
        value = self.txn.get(key, db=self.store.tables["lfn"])
        if value is None:
            raise StoreDamaged(f"an index names LFN key {bytes(key)[:80]!r}, which is not there")
        found = layout.decode_record(value)
        return lfn_of(key, found), found

    # ---- by PFN ------------------------------------------------------------------------------------------------------

    def holders(self, pfn: str, after: str | None = None) -> Iterable[str]:
        """The LFNs that a PFN stands under, in key order, behind `after`."""
        pfn_key = layout.key(pfn)
        whole = layout.is_whole(pfn_key)
        with self.cursor(layout.PFN) as cursor:
            start = None if after is None else layout.key(after)
            found = cursor.set_key(pfn_key) if start is None else cursor.set_range_dup(pfn_key, start)
            while found:
                lfn_key = cursor.value()
                if start is None or lfn_key != start:
                    if whole and layout.is_whole(lfn_key):
                        yield str(lfn_key, "utf-8")
                    else:
                        lfn, record = self.by_key(lfn_key)
                        if pfn in record.pfns:
                            yield lfn
                found = cursor.next_dup()

    # ---- collections -------------------------------------------------------------------------------------------------

    def collection(self, name: str) -> StoredCollection | None:
        found = self.collection_under(layout.key(name))
        return found if found is not None and found.name == name else None

    def collection_under(self, key: bytes) -> StoredCollection | None:
        """The collection under a key, whatever its name."""
        value = self.txn.get(key, db=self.store.tables["collection"])
        return None if value is None else layout.decode_collection(value)

    def collection_count(self) -> int:
        """The number of collections that have files."""
        return int(self.txn.stat(self.store.tables["collection"])["entries"])

    def collection_name(self, collection_id: int) -> str | None:
        return self._collections.name(self, collection_id) if collection_id else None

    def read_collection_name(self, collection_id: int) -> str:
        key = self.txn.get(layout.id_key(collection_id), db=self.store.tables["collection_name"])
        value = None if key is None else self.txn.get(key, db=self.store.tables["collection"])
        if value is None:
            raise StoreDamaged(f"a record names collection {collection_id}, which is not there")
        return layout.decode_collection(value).name

    # ---- records as others see them ----------------------------------------------------------------------------------

    def replicas(self, lfns: Sequence[str], stored: Sequence[StoredRecord | None]) -> dict[str, Replica]:
        """What those of the LFNs that have a record are to others. A collection's name is looked for once."""
        name_of = {number: self.collection_name(number) for number in {one.collection for one in stored if one}}
        return {
            lfn: Replica(one.size, one.checksum, name_of[one.collection], list(one.pfns))
            for lfn, one in zip(lfns, stored, strict=True)
            if one is not None
        }

    def replica(self, stored: StoredRecord) -> Replica:
        return Replica(stored.size, stored.checksum, self.collection_name(stored.collection), list(stored.pfns))

    def lfn_replica(self, lfn: str, stored: StoredRecord) -> LfnReplica:
        collection = self.collection_name(stored.collection)
        return LfnReplica(lfn, stored.size, stored.checksum, collection, list(stored.pfns))

    def record(self, lfn: str, stored: StoredRecord) -> Record:
        collection = self.collection_name(stored.collection)
        return Record(lfn, stored.size, stored.checksum, collection, stored.pfns, stored.values)

    # ---- digests -----------------------------------------------------------------------------------------------------

    def digests(self, slot: int, slots: int) -> Digests:
        """The digests of all LFNs of one slot of `slots`, in their order, shape (n, 2)."""
        with self.cursor(layout.DIGEST) as cursor:
            rows = cursor.getmulti(
                layout.slot_keys(slot, slots), dupdata=True, dupfixed_bytes=digest.DIGEST_BYTES, keyfixed=True
            )
        return np.frombuffer(rows, dtype=_KEYED_DIGEST)["digest"].astype(np.uint64)

    def slot_counts(self, slots: int) -> NDArray[np.int64]:
        """The number of LFNs in each of `slots` slots, shape (slots,)."""
        counts = np.zeros(layout.SLOTS_MAX, dtype=np.int64)
        with self.cursor(layout.DIGEST) as cursor:
            found = cursor.first()
            while found:
                counts[int.from_bytes(cursor.key(), "big")] = cursor.count()
                found = cursor.next_nodup()
        by_slot: NDArray[np.int64] = counts.reshape(slots, -1).sum(axis=1)
        return by_slot

    def has_digests(self, stored: Sequence[bytes]) -> list[bool]:
        """Whether each stored digest is that of an LFN of the catalog."""
        with self.cursor(layout.DIGEST) as cursor:
            return [cursor.set_key_dup(layout.digest_key(one), one) for one in stored]


def lfn_of(key: bytes | memoryview, stored: StoredRecord) -> str:
    """The whole LFN of a record under its key."""
    return stored.lfn if stored.lfn is not None else str(key, "utf-8")


def totals(stored: StoredCollection) -> CollectionTotals:
    """A collection's totals; more than 2⁶³ - 1 bytes, which no message can carry, are said to be that many."""
    return CollectionTotals(stored.name, stored.files, min(stored.total_bytes, SIZE_MAX), stored.files_of_unknown_size)
