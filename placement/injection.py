"""Definitions in bulk, as they are told: checked against each other and against what is there, then taken whole.

Everything happens inside the writer's transaction, so that what is refused has changed nothing; and telling the same
again changes nothing. What somebody told of a block stands above what was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection

from placement import datasets, definitions, files, intents
from placement.database import DECISIONS, advance
from placement.datasets import BLOCKS_TOLD, DATASETS_TOLD
from placement.messages import BlockItem, DatasetItem, InjectBody, Injected
from reploc import names
from reploc.errors import AttributesDiffer, InventoryInvalid, TooLarge
from reploc.orders import BlockFile
from reploc.wire import BATCH_ITEMS_MAX

#: The sizes of all files of a dataset are counted in 64 bits.
SIZES_MAX = (1 << 63) - 1


@dataclass(frozen=True)
class _Told:
    """A block as it is told, under its dataset's name."""

    dataset: str
    item: BlockItem

    @property
    def name(self) -> str:
        return self.dataset if self.item.name is None else f"{self.dataset}#{self.item.name}"


def inject(connection: Connection, body: InjectBody, now: int) -> Injected:
    """Takes definitions over; how much changed. Raises what is wrong with one of them, in words."""
    _require_bounds(body)
    sites = definitions.put_sites(connection, body.sites)
    groups = definitions.put_groups(connection, body.groups)
    partitions = definitions.put_partitions(connection, body.partitions)
    quotas = definitions.put_quotas(connection, body.quotas)
    changed, added = _put_datasets(connection, body.datasets, now)
    owners = intents.put(connection, body.owners)
    if sites or groups or partitions or quotas or owners:
        advance(connection, DECISIONS)
    return Injected(sites, groups, partitions, quotas, changed, added, owners)


def _require_bounds(body: InjectBody) -> None:
    blocks = [block for dataset in body.datasets for block in dataset.blocks]
    items = len(body.datasets) + len(blocks) + sum(len(block.files or ()) for block in blocks)
    if items > BATCH_ITEMS_MAX:
        raise TooLarge(f"{items:,} datasets, blocks and files in one body; at most {BATCH_ITEMS_MAX:,} are taken")


def _put_datasets(connection: Connection, items: Sequence[DatasetItem], now: int) -> tuple[int, int]:
    """Datasets that changed, and files that are new."""
    told = list(_told(items))
    listed = _listed(connection, told)
    new = {block.name: _new_files(block, listed[block.name]) for block in told if block.item.files is not None}
    _require_nowhere_else(connection, new)
    attributes = [{name: getattr(item, name) for name in DATASETS_TOLD} for item in items]
    rows = [_row(block, listed[block.name], new.get(block.name, [])) for block in told]
    changed = datasets.revise(
        connection,
        pl.DataFrame(attributes, schema=DATASETS_TOLD),
        pl.DataFrame(rows, schema=BLOCKS_TOLD),
        declared=True,
        now=now,
    )
    places = datasets.places(connection, [name for name, added in new.items() if added])
    added = files.add(connection, {places[name]: added for name, added in new.items() if added})
    return changed, added


def _told(items: Sequence[DatasetItem]) -> Iterator[_Told]:
    """The blocks that are told, every name checked and none of them twice."""
    for name, count in Counter(item.name for item in items).items():
        if count > 1:
            raise InventoryInvalid(f"dataset {name!r} stands {count} times in one body")
    for item in items:
        names.require(item.name, "dataset")
        if "#" in item.name:
            raise InventoryInvalid(f"dataset {item.name!r} holds '#', which ends a dataset's name")
        for block_name, count in Counter(block.name for block in item.blocks).items():
            if count > 1:
                raise InventoryInvalid(f"dataset {item.name!r}: block {block_name!r} stands {count} times")
        for block in item.blocks:
            told = _Told(item.name, block)
            names.require(told.name, "block")
            if block.name == "":
                raise InventoryInvalid(f"dataset {item.name!r}: a block's name is empty; leave it out, or name it")
            yield told


def _listed(connection: Connection, told: Sequence[_Told]) -> dict[str, dict[str, BlockFile]]:
    """The files on record of each block that is told."""
    places = datasets.places(connection, [block.name for block in told])
    held = files.of_blocks(connection, list(places.values()))
    return {block.name: held[places[block.name]] if block.name in places else {} for block in told}


def _new_files(block: _Told, held: dict[str, BlockFile]) -> list[BlockFile]:
    """The files that are told and not on record. Raises AttributesDiffer: one is, and is another."""
    new: dict[str, BlockFile] = {}
    for item in block.item.files or ():
        names.require(item.lfn)
        if item.checksum is not None and (wrong := names.checksum_fault(item.checksum)):
            raise InventoryInvalid(f"{item.lfn}: {wrong}")
        file = BlockFile(item.lfn, item.size, item.checksum)
        known = held.get(item.lfn) or new.get(item.lfn)
        if known is None:
            new[item.lfn] = file
        elif known != file:
            raise AttributesDiffer(f"{item.lfn}: is {_said(known)} in block {block.name!r}, told is {_said(file)}")
    return list(new.values())


def _said(file: BlockFile) -> str:
    return f"{file.size:,} bytes, {file.checksum or 'no checksum'}"


def _require_nowhere_else(connection: Connection, new: dict[str, list[BlockFile]]) -> None:
    told = Counter(file.lfn for added in new.values() for file in added)
    for lfn, count in told.items():
        if count > 1:
            raise InventoryInvalid(f"{lfn}: is told of {count} blocks; a file is in one")
    for lfn in files.places_of(connection, list(told)):
        raise InventoryInvalid(f"{lfn}: is in another block already; a file is in one")


def _row(block: _Told, held: dict[str, BlockFile], new: Sequence[BlockFile]) -> dict[str, object]:
    """What becomes of a block: told totals, or those of its files; where both are there, they must agree."""
    item = block.item
    every = [*held.values(), *new]
    size, count = sum(file.size for file in every), len(every)
    if size > SIZES_MAX:
        raise InventoryInvalid(f"block {block.name!r}: the sizes of its files exceed 64 bits")
    told = ((item.size, size, "bytes"), (item.num_files, count, "files"))
    for said, counted, unit in told:
        if every and said is not None and said != counted:
            raise InventoryInvalid(f"block {block.name!r}: told are {said:,} {unit}, its files make {counted:,}")
    if not every and (item.size is None) != (item.num_files is None):
        raise InventoryInvalid(f"block {block.name!r}: size and num_files are told together, or its files are listed")
    has_totals = bool(every) or item.files is not None
    return {
        "dataset": block.dataset,
        "name": item.name,
        "size": size if has_totals else item.size,
        "files": count if has_totals else item.num_files,
        "is_open": item.is_open,
        "last_update": item.last_update,
    }
