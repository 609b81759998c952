"""Upgrades of a store: numbered steps, each from one layout version to the next.

A step is one transaction, which changes tables and the version together: a process may die at any moment, and leaves
the store as it was before the step or after it; the next upgrade goes on from there. A step names tables, keys and
values as they were in its own version, and stays as it was written: what `lrc/layout.py` says is of today.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from lrc import layout
from lrc.layout import Table
from lrc.store import MAP_BYTES, Store, Transaction, other_version

#: What a step does to an open store, within a transaction of its own.
Step: TypeAlias = Callable[[Store, Transaction], None]


class Upgraded(Struct, frozen=True):
    """The layout versions of a store before and after."""

    before: int
    after: int


def _attributes(store: Store, txn: Transaction) -> None:
    """To version 2: the tables of user-defined attributes and of changes, which are empty. Records stay as they are."""
    plain = (Table(name) for name in ("attribute", "attribute_name", "pfn_values", "change"))
    for table in (*plain, Table("value", many=True)):
        store.open_table(table, txn)


#: The step that leads away from each version.
STEPS: Mapping[int, Step] = {1: _attributes}


def upgrade(
    path: Path,
    backup: Path | None = None,
    *,
    steps: Mapping[int, Step] = STEPS,
    to: int = layout.LAYOUT_VERSION,
    map_bytes: int = MAP_BYTES,
) -> Upgraded:
    """Takes the store in a directory to the layout version `to`, after a copy of it was made where one is wanted.

    Raises StoreVersion (it is newer, or so old that there is no step), StoreLocked, StoreForeign and other StoreErrors:
    the store is then as it was, or some versions further.
    """
    store = Store.open_of_any_version(path, map_bytes)
    try:
        before = store.layout_version()
        if before > to or any(version not in steps for version in range(before, to)):
            raise other_version(store.path, before)
        if backup is not None:
            store.copy(backup)
        for version in range(before, to):
            with store.writing() as txn:
                steps[version](store, txn)
                store.put_layout_version(txn, version + 1)
        return Upgraded(before, to)
    finally:
        store.close()
