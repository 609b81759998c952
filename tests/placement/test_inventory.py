"""The inventory: what is derived when one is made, what is refused, and how names and keys meet."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import BYTES, FILES, inventory

from placement import schemas
from placement.inventory import UNKNOWN, Inventory
from reploc.errors import DefinitionUnknown, InventoryInvalid


def test_replicas_stand_in_the_order_of_dataset_site_and_block_and_a_dataset_replica_is_a_run() -> None:
    made = inventory(
        ["T1", "T2"],
        [{"name": "/a", "blocks": ["1", "2"]}, {"name": "/b", "blocks": ["1"]}],
        [
            {"block": "/b#1", "site": "T1"},
            {"block": "/a#2", "site": "T2"},
            {"block": "/a#1", "site": "T2"},
            {"block": "/a#2", "site": "T1", "bytes": 5, "files": 1},
        ],
    )
    replicas = made.block_replicas
    assert replicas.select("block", "site", "dataset_replica").rows() == [(1, 0, 0), (0, 1, 1), (1, 1, 1), (2, 0, 2)]
    assert replicas["complete"].to_list() == [False, True, True, True]
    runs = made.dataset_replicas
    assert runs.select("dataset", "site", "first", "count").rows() == [(0, 0, 0, 1), (0, 1, 1, 2), (1, 0, 3, 1)]
    assert runs["bytes"].to_list() == [5, 2 * BYTES, BYTES]
    assert runs["complete"].to_list() == [False, True, True]
    assert runs["full"].to_list() == [False, True, True]
    assert made.datasets.select("size", "num_files", "num_blocks").rows()[0] == (2 * BYTES, 2 * FILES, 2)


def test_a_replica_with_some_whole_blocks_is_partial() -> None:
    made = inventory(["T1"], [{"name": "/a", "blocks": ["1", "2"]}], [{"block": "/a#2", "site": "T1"}])
    assert made.dataset_replicas.select("complete", "full", "partial").rows() == [(True, False, True)]


def test_a_block_without_files_keeps_no_replica_from_being_full() -> None:
    made = inventory(
        ["T1"],
        [{"name": "/a", "blocks": ["1", "2"]}],
        [{"block": "/a#1", "site": "T1"}],
        blocks={"/a#2": {"files": 0, "size": 0}},
    )
    assert made.dataset_replicas["full"].to_list() == [True]


def test_the_projected_view_counts_copies_as_finished_and_deletions_as_done() -> None:
    made = inventory(
        ["T1"],
        [{"name": "/a", "blocks": ["1", "2", "3"]}],
        [
            {"block": "/a#1", "site": "T1", "files": 0, "bytes": 0, "copying": True},
            {"block": "/a#2", "site": "T1", "files": 9, "bytes": 9, "deleting": True},
            {"block": "/a#3", "site": "T1", "files": 1, "bytes": 7},
        ],
    )
    (row,) = made.dataset_replicas.rows(named=True)
    assert (row["bytes"], row["projected_bytes"]) == (16, BYTES + 7)


def test_a_replica_of_which_only_orders_speak_is_neither_complete_nor_dated() -> None:
    made = inventory(
        ["T1"], ["/a"], [{"block": "/a", "site": "T1", "files": 0, "bytes": 0, "copying": True, "last_update": 5}]
    )
    (row,) = made.dataset_replicas.rows(named=True)
    assert not row["complete"] and not row["full"] and not row["partial"]
    assert row["first_block_created"] == row["last_block_created"] == 0


def test_what_is_intended_for_a_dataset_replica_comes_with_it() -> None:
    intents = pl.DataFrame({"dataset": [0], "site": [0], "group": [1], "growing": [True]})
    made = inventory(
        ["T1", "T2"],
        ["/a"],
        [{"block": "/a", "site": "T1"}, {"block": "/a", "site": "T2"}],
        groups=["physics"],
        intents=intents,
    )
    assert made.dataset_replicas.select("group", "growing", "custodial").rows() == [(1, True, False), (0, False, False)]


def test_names_and_keys_meet() -> None:
    made = inventory(["T1", "T2"], [{"name": "/a", "blocks": ["1", "2"]}, "/b"], [{"block": "/b", "site": "T2"}])
    assert made.block_names().to_list() == ["/a#1", "/a#2", "/b"]
    assert made.block_names(np.array([2, 0])).to_list() == ["/b", "/a#1"]
    assert made.block_keys(["/b", "/a#2", "/a", "/b#1", "/c#1", "/a#2"]).tolist() == [
        2,
        1,
        UNKNOWN,
        UNKNOWN,
        UNKNOWN,
        1,
    ]
    assert made.site_keys(["T2", "T3", "T2"]).tolist() == [1, UNKNOWN, 1]
    assert made.dataset_keys([]).tolist() == []


def test_the_quota_of_a_partition_of_parts_is_the_sum_of_theirs() -> None:
    made = inventory(
        ["T1", "T2", "T3", "T4"],
        ["/a"],
        [],
        partitions=pl.DataFrame(
            {"name": ["A", "B", "All"], "condition": ["x", "y", None], "parts": [None, None, [0, 1]]}
        ),
        quotas=pl.DataFrame({"site": [0, 0, 1, 2, 2], "partition": [0, 1, 0, 0, 1], "quota": [10, 5, 7, -1, 3]}),
    )
    assert made.quota("A").to_list() == [10, 7, -1, None]
    assert made.quota("All").to_list() == [15, 7, -1, None]
    with pytest.raises(DefinitionUnknown, match="'Physics' is not defined; known: A, B, All"):
        made.quota("Physics")


def test_a_site_is_fresh_where_its_news_is_complete_and_young() -> None:
    sites = [
        {"name": "young", "news_at": 90.0, "news_complete": True},
        {"name": "old", "news_at": 10.0, "news_complete": True},
        {"name": "broken", "news_at": 99.0, "news_complete": False},
        {"name": "silent", "news_at": None, "news_complete": True},
    ]
    made = inventory(sites, ["/a"], [])
    assert made.fresh_sites(100.0, 20.0).tolist() == [True, False, False, False]


def frames() -> dict[str, pl.DataFrame]:
    return {
        "sites": pl.DataFrame({"name": ["T1"]}),
        "datasets": pl.DataFrame({"name": ["/a"]}),
        "blocks": pl.DataFrame({"dataset": [0], "name": ["1"], "size": [5], "files": [1]}),
        "block_replicas": pl.DataFrame({"block": [0], "site": [0], "files": [1], "bytes": [5]}),
    }


@pytest.mark.parametrize(
    ("name", "frame", "said"),
    [
        ("sites", {"name": ["T1", "T1"]}, "sites: 'T1' stands twice"),
        ("sites", {"name": ["T1"], "status": ["asleep"]}, "column 'status' is not Enum"),
        ("sites", {"name": ["T1"], "colour": ["red"]}, "sites: unknown column 'colour'"),
        ("sites", {"name": [None]}, "column 'name' lacks 1 values"),
        ("datasets", {"status": ["valid"]}, "datasets: column 'name' is missing"),
        ("blocks", {"dataset": [7], "name": ["1"], "size": [5], "files": [1]}, "column 'dataset' names row 7 of 1"),
        ("blocks", {"dataset": [0], "name": ["1"], "size": [5], "files": [-1]}, "column 'files' is not UInt32"),
        ("block_replicas", {"block": [0, 0], "site": [0, 0], "files": [1, 1], "bytes": [5, 5]}, "stands twice"),
        ("block_replicas", {"block": [0], "site": [3], "files": [1], "bytes": [5]}, "'site' names row 3 of 1"),
        ("groups", {"name": ["physics"]}, "row 0 must be 'None'"),
        ("intents", {"dataset": [0, 0], "site": [0, 0]}, "intents: a dataset replica stands twice"),
    ],
)
def test_frames_that_do_not_fit_together_are_refused_in_words(
    name: str, frame: dict[str, list[object]], said: str
) -> None:
    with pytest.raises(InventoryInvalid, match=said):
        Inventory.of("v", **frames() | {name: pl.DataFrame(frame)})


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 4)), unique_by=lambda row: row[:2]))
def test_derived_frames_are_what_a_plain_loop_makes(rows: list[tuple[int, int, int]]) -> None:
    blocks = {"dataset": [0, 0, 1, 1, 1, 2], "name": list("abcdef"), "size": [3] * 6, "files": [3] * 6}
    made = Inventory.of(
        "v",
        sites=pl.DataFrame({"name": ["T1", "T2", "T3", "T4"]}),
        datasets=pl.DataFrame({"name": ["/a", "/b", "/c"]}),
        blocks=pl.DataFrame(blocks),
        block_replicas=pl.DataFrame(
            [{"block": block, "site": site, "files": files, "bytes": files} for block, site, files in rows],
            schema={"block": pl.Int64, "site": pl.Int64, "files": pl.Int64, "bytes": pl.Int64},
        ),
    )
    assert list(made.block_replicas.schema.items()) == list(schemas.BLOCK_REPLICAS.items())
    assert list(made.dataset_replicas.schema.items()) == list(schemas.DATASET_REPLICAS.items())
    runs: dict[tuple[int, int], list[int]] = {}
    for block, site, files in rows:
        runs.setdefault((blocks["dataset"][block], site), []).append(files)
    expected = [(dataset, site, sum(files), len(files)) for (dataset, site), files in sorted(runs.items())]
    assert made.dataset_replicas.select("dataset", "site", "bytes", "count").rows() == expected
    for (dataset, site), files in runs.items():
        row = made.dataset_replicas.filter(dataset=dataset, site=site).row(0, named=True)
        there = [each for each in files if each]
        whole = bool(there) and all(each == 3 for each in there)
        assert row["complete"] == whole
        assert row["full"] == (whole and len(there) == blocks["dataset"].count(dataset))
