"""An inventory as Parquet: what is written comes back whole, and what is no inventory is refused in words."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from loadtests.collaboration import Collaboration
from placement import parquet
from placement.inventory import Inventory
from reploc.errors import InputInvalid


@pytest.fixture(scope="module")
def made() -> Inventory:
    return Collaboration(datasets=300, seed=7).inventory()


def test_what_was_exported_is_read_again(made: Inventory, tmp_path: Path) -> None:
    parquet.export(made, tmp_path / "folder")
    again = parquet.read(tmp_path / "folder")
    assert again.version == made.version
    for name, frame in made.frames.items():
        assert again.frames[name].equals(frame), name
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_is_there_is_not_overwritten(made: Inventory, tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="is there already"):
        parquet.export(made, tmp_path)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "inventory.json").unlink(), "No such file"),
        (lambda folder: (folder / "inventory.json").write_text("{"), "truncated"),
        (lambda folder: (folder / "inventory.json").write_text('{"format":9,"version":"","rows":{}}'), "format 9"),
        (lambda folder: (folder / "blocks.parquet").write_bytes(b"PAR1"), "blocks.parquet|folder"),
        (lambda folder: (folder / "sites.parquet").unlink(), "No such file"),
        (lambda folder: pl.DataFrame({"a": [1]}).write_parquet(folder / "sites.parquet"), "columns are"),
        (
            lambda folder: pl.read_parquet(folder / "sites.parquet").head(3).write_parquet(folder / "sites.parquet"),
            "3 rows; inventory.json says 60",
        ),
    ],
)
def test_a_folder_that_is_no_inventory_is_refused_in_words(made: Inventory, tmp_path: Path, harm, said) -> None:  # type: ignore[no-untyped-def]
    parquet.export(made, tmp_path / "folder")
    harm(tmp_path / "folder")
    with pytest.raises(InputInvalid, match=said):
        parquet.read(tmp_path / "folder")


def test_the_same_seed_draws_the_same_collaboration(made: Inventory) -> None:
    again = Collaboration(datasets=300, seed=7).inventory()
    assert all(again.frames[name].equals(frame) for name, frame in made.frames.items())
    other = Collaboration(datasets=300, seed=8).inventory()
    assert not other.blocks.equals(made.blocks)


def test_a_collaboration_looks_like_one(made: Inventory) -> None:
    replicas = made.dataset_replicas
    assert made.sites.height == 60
    assert 1.5 < replicas.height / made.datasets.height < 3.0
    assert 5 < made.blocks.height / made.datasets.height < 20
    assert 0.01 < replicas["partial"].mean() < 0.2  # type: ignore[operator]
    held = replicas.group_by("site").agg(pl.col("bytes").sum()).join(made.quotas, on="site").filter(pl.col("quota") > 0)
    occupancy = (held["bytes"] / held["quota"]).to_list()
    assert max(occupancy) > 0.5 and all(0 < each < 1 for each in occupancy)
