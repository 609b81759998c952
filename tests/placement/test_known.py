"""Datasets and blocks in memory: whatever comes in whatever order, names and durable places lead to the same keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from placement import datasets, known
from placement.inventory import UNKNOWN, row_order
from placement.known import Known

#: The blocks that some datasets have from a write on, by durable id; a dataset only gains blocks. The only block of
#: each third dataset has no name of its own.
Writes = list[dict[int, int]]
WRITES = st.lists(st.dictionaries(st.integers(1, 6), st.integers(0, 5), max_size=6), max_size=6)


def block_name(dataset: int, ordinal: int) -> str | None:
    return None if dataset % 3 == 0 and ordinal == 0 else f"{ordinal}"


def merged(held: Known, counts: dict[int, int], change: int) -> Known:
    """With the rows of some datasets as they are now."""
    ids = sorted(counts)
    told = pl.DataFrame({"id": ids, "name": [f"/{dataset}" for dataset in ids]}, schema_overrides={"id": pl.Int64})
    defaults = {"status": "valid", "data_type": "mc", "software_version": "", "is_open": False, "last_update": change}
    rows = told.with_columns(pl.lit(value).alias(name) for name, value in defaults.items())
    blocks = [(row, ordinal) for row, dataset in enumerate(ids) for ordinal in range(counts[dataset])]
    columns = {
        "row": [row for row, _ in blocks],
        "ordinal": np.array([ordinal for _, ordinal in blocks], dtype=np.uint32),
        "name": pl.Series([block_name(ids[row], ordinal) for row, ordinal in blocks], dtype=pl.String),
        "size": [change] * len(blocks),
        "files": [1] * len(blocks),
        "last_update": [change] * len(blocks),
        "is_open": [False] * len(blocks),
        "declared": np.array([change % 2 == 0] * len(blocks), dtype=np.bool_),
    }
    given_ = pl.DataFrame(columns, schema_overrides={"row": pl.Int64, "is_open": pl.Boolean, "declared": pl.Boolean})
    return held.merged(rows.select("id", *datasets.DATASETS_TOLD), given_, change)


@given(WRITES)
def test_keys_are_found_by_name_and_by_durable_place_however_the_blocks_came(writes: Writes) -> None:
    held, counts, changed = known.nothing(), dict[int, int](), dict[int, int]()
    for change, write in enumerate(writes, 1):
        grown = {dataset: max(count, counts.get(dataset, 0)) for dataset, count in write.items()}
        before, held = held, merged(held, grown, change)
        counts |= grown
        changed |= dict.fromkeys(grown, change)
        assert held.blocks["name"].head(before.blocks.height).equals(before.blocks["name"])  # keys are kept
    places = [(dataset, ordinal) for dataset in range(8) for ordinal in range(7)]
    there = np.array([ordinal < counts.get(dataset, 0) for dataset, ordinal in places])
    ids, ordinals = (np.array(column) for column in zip(*places, strict=True))
    by_place = held.keys_of_ordinals(ids, ordinals)
    of = held.dataset_keys(pl.Series([f"/{dataset}" for dataset, _ in places]))
    by_name = held.block_keys(of, pl.Series([block_name(*place) for place in places], dtype=pl.String))
    assert ((by_place != UNKNOWN) == there).all()
    assert (by_name == by_place).all()
    assert sorted(by_place[there]) == list(range(sum(counts.values())))
    found = held.blocks[by_place[there]]
    assert held.ids[found["dataset"].to_numpy()].tolist() == ids[there].tolist()
    assert held.ordinals[by_place[there]].tolist() == ordinals[there].tolist()
    assert found["size"].to_list() == [changed[dataset] for dataset in ids[there]]
    assert held.declared[by_place[there]].tolist() == [changed[dataset] % 2 == 0 for dataset in ids[there]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=40), st.lists(st.integers(0, 2)))
def test_block_replicas_are_ordered_by_dataset_site_and_block_whatever_runs_they_come_in(
    rows: Sequence[tuple[int, int]], of: list[int]
) -> None:
    blocks = pl.DataFrame({"dataset": (of + [0] * 10)[:10]}, schema={"dataset": pl.UInt32})
    site = np.array([site for site, _ in rows], dtype=np.uint16)
    block = np.array([block for _, block in rows], dtype=np.uint32)
    expected = sorted((blocks["dataset"][key], place, key) for place, key in rows)
    order = row_order(site, block, blocks)
    taken = range(len(rows)) if order is None else order.to_list()
    assert sorted(taken) == list(range(len(rows)))
    assert [(blocks["dataset"][int(block[row])], site[row], block[row]) for row in taken] == expected
    assert (order is None) <= (list(rows) == [(place, key) for _, place, key in expected])
