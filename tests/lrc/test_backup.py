"""A backup of a live store is a sound store, with everything that was acknowledged before it began."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import crash_child
import pytest
from click.testing import CliRunner

from lrc.catalog import Catalog
from lrc.check import check
from reploc.cli import cli
from reploc.errors import ReplocError, StoreForeign, StoreFull
from reploc.wire import MappingItem, MappingsBody

#: Answers of the writer before the backup begins.
ANSWERS = 100
#: Bytes that a copy may have where it is to find no room: whole pages, as on a disk.
ROOM_BYTES = 25 * 4_096


def backup(store: Path, to: Path) -> dict[str, object]:
    done = CliRunner().invoke(cli, ["lrc", "backup", "--store", str(store), "--to", str(to), "--json"])
    assert done.exit_code == 0, done.output
    said: dict[str, object] = json.loads(done.stdout)
    return said


def small_store(path: Path) -> Path:
    with Catalog.create(path, "SITE") as catalog:
        items = [MappingItem(f"/{number}", "a:" + "x" * 500, 1, None, "/c") for number in range(1_000)]
        catalog.write(MappingsBody("put", items))
    return path


def test_a_backup_beside_a_writer_holds_what_was_acknowledged_before_it(tmp_path: Path) -> None:
    store, copy = tmp_path / "store", tmp_path / "copies" / "today"
    Catalog.create(store, "SITE").close()
    child = subprocess.Popen(
        [sys.executable, crash_child.__file__, str(store), "0", "4"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        lines = [child.stdout.readline().split() for _ in range(ANSWERS)]
        said = backup(store, copy)
        assert child.poll() is None
    finally:
        child.kill()
        child.communicate()
    puts = {(int(client), int(step)) for what, client, step in lines if what == "put"}
    last = {client: max(step for whose, step in puts if whose == client) for client, _ in puts}
    with Catalog.open(copy) as catalog:
        assert check(catalog).findings == []
        assert (said["site"], said["position"], said["lfns"]) == ("SITE", catalog.position, catalog.state().lfns)
        for client, step in last.items():
            held = catalog.lfns(f"/client-{client}/*", limit=1_000).lfns
            assert max(held) >= crash_child.files_of(client, step)[-1], (
                f"client {client} lacks step {step} or a later one"
            )


def test_a_backup_can_be_written_to_and_backed_up_again(tmp_path: Path) -> None:
    store = small_store(tmp_path / "store")
    (tmp_path / "copy").mkdir()
    assert backup(store, tmp_path / "copy")["lfns"] == 1_000
    with Catalog.open(tmp_path / "copy") as copy, Catalog.open(store) as catalog:
        assert list(copy.files(limit=2_000).files) == list(catalog.files(limit=2_000).files)
        copy.write(MappingsBody("put", [MappingItem("/new", "a:1")]))
        assert (copy.state().lfns, catalog.state().lfns) == (1_001, 1_000)
    assert backup(tmp_path / "copy", tmp_path / "again")["lfns"] == 1_001


def test_a_directory_that_holds_anything_is_left_alone(tmp_path: Path) -> None:
    store, target = small_store(tmp_path / "store"), tmp_path / "precious"
    target.mkdir()
    (target / "file").write_text("mine")
    with Catalog.open(store) as catalog, pytest.raises(StoreForeign, match="is not empty"):
        catalog.store.copy(target)
    assert [path.name for path in target.iterdir()] == ["file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious", "store"]


def test_a_copy_that_finds_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    store = small_store(tmp_path / "store")
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Catalog.open(store) as catalog:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, unlimited[1]))
        try:
            with pytest.raises(ReplocError) as found:
                catalog.store.copy(tmp_path / "copy")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert isinstance(found.value, StoreFull), found.value
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
