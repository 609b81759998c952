"""The files of blocks: which there are, in which block, of which size; kept in the database alone, never in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, insert, select, tuple_

from placement import tables
from reploc.errors import CollectionUnknown
from reploc.orders import BlockFile, BlockFiles

#: A block's durable place: its dataset's id and its ordinal there.
Place: TypeAlias = tuple[int, int]
#: Places or LFNs in one question: SQLite takes 32,766 parameters.
AT_ONCE = 10_000


def of_blocks(connection: Connection, places: Sequence[Place]) -> dict[Place, dict[str, BlockFile]]:
    """The files of some blocks, by LFN."""
    found: dict[Place, dict[str, BlockFile]] = {place: {} for place in places}
    here = tuple_(tables.files.c.dataset_id, tables.files.c.ordinal)
    for row in _rows(connection, places, here.in_):
        found[row.dataset_id, row.ordinal][row.lfn] = BlockFile(row.lfn, row.size, row.checksum)
    return found


def places_of(connection: Connection, lfns: Sequence[str]) -> dict[str, Place]:
    """Where each LFN is, of those that are anywhere."""
    return {row.lfn: (row.dataset_id, row.ordinal) for row in _rows(connection, lfns, tables.files.c.lfn.in_)}


def add(connection: Connection, new: Mapping[Place, Sequence[BlockFile]]) -> int:
    """Adds files that are nowhere yet; how many."""
    rows = [
        {"dataset_id": dataset, "ordinal": ordinal, "lfn": each.lfn, "size": each.size, "checksum": each.checksum}
        for (dataset, ordinal), listed in new.items()
        for each in listed
    ]
    if rows:
        connection.execute(insert(tables.files), rows)
    return len(rows)


def page(connection: Connection, place: Place, name: str, limit: int, after: str | None) -> BlockFiles:
    """A page of a block's files in the order of LFNs. Raises CollectionUnknown: it has none on record."""
    dataset, ordinal = place
    here = (tables.files.c.dataset_id == dataset) & (tables.files.c.ordinal == ordinal)
    wanted = select(tables.files).where(here).order_by(tables.files.c.lfn).limit(limit + 1)
    rows = connection.execute(wanted.where(tables.files.c.lfn > after) if after is not None else wanted).all()
    if not rows and after is None:
        raise CollectionUnknown(
            f"no files of {name!r} are defined", hint="the catalog of a site that holds it has them"
        )
    files = tuple(BlockFile(row.lfn, row.size, row.checksum) for row in rows[:limit])
    return BlockFiles(files, files[-1].lfn if len(rows) > limit else None)


def _rows(connection: Connection, keys: Sequence[object], among: Callable[[Any], ColumnElement[bool]]) -> Iterator[Any]:
    for begin in range(0, len(keys), AT_ONCE):
        yield from connection.execute(select(tables.files).where(among(keys[begin : begin + AT_ONCE])))
