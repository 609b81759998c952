"""A filled store: the catalog of a synthetic site, written table by table in the order of its keys.

A benchmark of a catalog of ten million mappings is about the catalog, not about filling it. So the rows are those that
registering each file would have written, but every table is appended to in ascending order (`world.py` names files so
that their order is that of their numbers). The catalog's own check accepts the store, and a test holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np

from loadtests import world
from lrc import layout
from lrc.layout import StoredCollection, StoredRecord
from lrc.store import Store, Transaction
from reploc import digest
from reploc.digest import Digests

#: Files written in one transaction: whole blocks, and rows of about 300 MB.
CHUNK = 500 * world.FILES_PER_BLOCK

Progress = Callable[[int], object]


def fill(path: Path, site: str, names: int, progress: Progress = int) -> None:
    """Makes the store of a site that holds files 0 to `names`; `progress` is told how many are written."""
    store = Store.create(path, site)
    try:
        digests = []
        for first in range(0, names, CHUNK):
            numbers = range(first, min(first + CHUNK, names))
            with store.writing() as txn:
                digests.append(_write_files(store, txn, numbers))
                _write_collections(store, txn, numbers)
            progress(numbers.stop)
        with store.writing() as txn:
            _write_digests(store, txn, np.concatenate(digests))
            _write_state(store, txn, names)
    finally:
        store.close()


def _write_files(store: Store, txn: Transaction, numbers: range) -> Digests:
    keys = [world.lfn(number).encode() for number in numbers]
    pfns = [world.PFN_PREFIX + key.decode() for key in keys]
    collections = [_collection_id(number) for number in numbers]
    records = [
        layout.encode(StoredRecord(world.size(number), world.checksum(number), collection, (pfn,)))
        for number, collection, pfn in zip(numbers, collections, pfns, strict=True)
    ]
    _append(store, txn, layout.LFN, zip(keys, records, strict=True))
    _append(store, txn, layout.PFN, zip(map(str.encode, pfns), keys, strict=True))
    _append(store, txn, layout.MEMBER, zip(map(layout.id_key, collections), keys, strict=True))
    return digest.of_bytes(keys)


def _write_collections(store: Store, txn: Transaction, numbers: range) -> None:
    by_name, by_id = [], []
    for first in range(numbers.start, numbers.stop, world.FILES_PER_BLOCK):
        files = range(first, min(first + world.FILES_PER_BLOCK, numbers.stop))
        name, total = world.collection(first), layout.size_sum(sum(map(world.size, files)))
        found = StoredCollection(_collection_id(first), name, len(files), total, files_of_unknown_size=0)
        by_name.append((name.encode(), layout.encode(found)))
        by_id.append((layout.id_key(found.id), name.encode()))
    _append(store, txn, layout.COLLECTION, by_name)
    _append(store, txn, layout.COLLECTION_NAME, by_id)


def _write_digests(store: Store, txn: Transaction, digests: Digests) -> None:
    ascending = digests[np.lexsort((digests[:, 1], digests[:, 0]))]
    for first in range(0, len(ascending), CHUNK):
        rows = [(layout.digest_key(one), one) for one in digest.stored(ascending[first : first + CHUNK])]
        _append(store, txn, layout.DIGEST, rows)


def _write_state(store: Store, txn: Transaction, names: int) -> None:
    blocks = _collection_id(names - 1)
    counted = msgspec.structs.replace(
        store.state(txn), position=1, lfns=names, mappings=names, collections=blocks, next_collection=blocks + 1
    )
    store.put_state(txn, counted)


def _append(store: Store, txn: Transaction, table: layout.Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
    with txn.cursor(store.tables[table.name]) as cursor:
        cursor.putmulti(list(rows), append=True)


def _collection_id(number: int) -> int:
    return number // world.FILES_PER_BLOCK + 1
