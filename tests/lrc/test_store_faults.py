"""A store that cannot be used says why in words, and nothing of it is changed."""

import multiprocessing
import os
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import lmdb
import pytest

from lrc import layout
from lrc.catalog import Catalog
from lrc.check import check
from lrc.server import open_catalog
from lrc.settings import LrcSettings
from reploc.errors import (
    NameInvalid,
    ReplocError,
    StoreDamaged,
    StoreForeign,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreVersion,
    Unavailable,
)
from reploc.wire import MappingItem, MappingsBody

#: An account that owns nothing: the superuser may write where it likes, so who may not must be somebody else.
NOBODY = 65_534


def batch(prefix: str, count: int) -> MappingsBody:
    return MappingsBody("put", [MappingItem(f"/{prefix}/{number}", "a:" + "x" * 500) for number in range(count)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with Catalog.create(path, "SITE") as catalog:
        catalog.write(batch("kept", 10))
    return path


def in_another_process(work: Callable[[Path], str], path: Path) -> str:
    """What `work` returns in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_send, args=(theirs, work, path))
    process.start()
    theirs.close()
    said: str = ours.recv()
    process.join()
    ours.close()
    return said


def _send(pipe: Connection, work: Callable[[Path], str], path: Path) -> None:
    pipe.send(work(path))
    pipe.close()


def _open(path: Path) -> str:
    try:
        with Catalog.open(path) as catalog:
            return str(catalog.position)
    except ReplocError as error:
        return f"{error.code}: {error.detail}"


def _read(path: Path) -> str:
    with Catalog.open(path, read_only=True) as catalog:
        return f"{catalog.position} {len(check(catalog).findings)} {catalog.state().lfns}"


def _open_as_nobody(path: Path) -> str:
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    return _open(path)


def _fill_the_disk(path: Path) -> str:
    """Write past the largest file allowed, which the system refuses as it does when the disk is full; then go on."""
    with Catalog.open(path) as catalog:
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (catalog.store_bytes() + 100_000, unlimited[1]))
        try:
            catalog.write(batch("large", 2_000))
        except StoreFull as full:
            said = full.code
        before = (catalog.position, catalog.state().lfns)
        catalog.write(batch("small", 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        catalog.write(batch("large", 2_000))
        return f"{said} {before} {catalog.position} {catalog.state().lfns} {check(catalog).findings}"


def test_a_second_writer_is_refused_and_told_who_is_the_first(store: Path) -> None:
    with Catalog.open(store):
        said = in_another_process(_open, store)
        assert said.startswith("store-locked: ") and f"process {os.getpid()} has it open" in said
        with pytest.raises(StoreLocked):
            Catalog.open(store)
    assert in_another_process(_open, store) == "1"


def test_readers_work_beside_a_live_writer(store: Path) -> None:
    with Catalog.open(store) as catalog:
        assert in_another_process(_read, store) == "1 0 10"
        catalog.write(batch("more", 5))
        assert in_another_process(_read, store) == "2 0 15"


def test_a_catalog_open_for_reading_refuses_to_write(store: Path) -> None:
    with Catalog.open(store, read_only=True) as catalog:
        with pytest.raises(StoreReadOnly, match="open for reading only"):
            catalog.write(batch("new", 1))
        with pytest.raises(StoreReadOnly):
            catalog.raise_epoch()
        assert catalog.state().lfns == 10


def test_a_store_that_may_not_be_written_is_read_only(store: Path) -> None:
    for directory in (*store.parents[:3], store):
        directory.chmod(0o755)
    for file in store.iterdir():
        file.chmod(0o444)
    store.chmod(0o555)
    said = in_another_process(_open_as_nobody, store)
    assert said.startswith("store-read-only: ") and "Permission denied" in said
    store.chmod(0o755)


def test_a_full_disk_is_a_clear_error_and_nothing_is_lost(store: Path) -> None:
    assert in_another_process(_fill_the_disk, store) == "store-full (1, 10) 3 2011 []"


def test_a_full_map_is_a_clear_error_and_nothing_is_lost(tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "store", "SITE", map_bytes=1 << 20) as catalog:
        catalog.write(batch("kept", 10))
        with pytest.raises(StoreFull, match="map of the store is full"):
            catalog.write(batch("large", 2_000))
        assert (catalog.position, catalog.state().lfns) == (1, 10)
        assert check(catalog).findings == []


@pytest.mark.parametrize(
    ("version", "hint"),
    [
        (layout.LAYOUT_VERSION + 1, "newer reploc"),
        (layout.LAYOUT_VERSION - 1, "reploc lrc upgrade --store"),
        (0, "load the dump here"),
    ],
)
def test_a_store_of_another_version_is_refused_with_what_to_do(store: Path, version: int, hint: str) -> None:
    _put_meta(store, layout.FORMAT_KEY, layout.format_value(version))
    with pytest.raises(
        StoreVersion, match=f"layout version {version}; this reploc reads {layout.LAYOUT_VERSION}"
    ) as found:
        Catalog.open(store)
    assert hint in found.value.advice


def test_a_store_with_another_mark_is_foreign(store: Path) -> None:
    _put_meta(store, layout.FORMAT_KEY, b"other-lrc\0\0\0\0\1")
    with pytest.raises(StoreForeign, match="not of reploc"):
        Catalog.open(store)


def test_a_store_without_its_state_is_damaged(store: Path) -> None:
    _put_meta(store, layout.STATE_KEY, b"\xc1")
    with pytest.raises(StoreDamaged, match="a row cannot be read"):
        Catalog.open(store)


def _put_meta(store: Path, key: bytes, value: bytes) -> None:
    with lmdb.open(str(store), max_dbs=8) as environment, environment.begin(write=True) as txn:
        txn.put(key, value, db=environment.open_db(b"meta", txn=txn))


def test_an_lmdb_environment_of_somebody_else_is_foreign(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "theirs"), max_dbs=2) as environment, environment.begin(write=True) as txn:
        txn.put(b"key", b"value")
    with pytest.raises(StoreForeign, match="not of reploc"):
        Catalog.open(tmp_path / "theirs")
    with pytest.raises(StoreForeign, match="there is a store already"):
        Catalog.create(tmp_path / "theirs", "SITE")


def test_a_file_that_is_no_lmdb_environment_is_foreign(tmp_path: Path) -> None:
    (tmp_path / layout.DATA_FILE).write_bytes(b"not a map" * 10_000)
    with pytest.raises(StoreForeign, match="not an LMDB environment"):
        Catalog.open(tmp_path)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_directory_without_a_store_is_foreign(tmp_path: Path, read_only: bool) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(StoreForeign, match=r"there is no data\.mdb"):
            Catalog.open(path, read_only)
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_is_not_created_among_other_files(tmp_path: Path, store: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(StoreForeign, match=r"holds 'precious\.txt'"):
        Catalog.create(tmp_path, "SITE")
    with pytest.raises(StoreForeign, match="there is a store already"):
        Catalog.create(store, "SITE")
    assert _open(store) == "1"


def test_a_creation_cut_short_can_be_repeated(tmp_path: Path) -> None:
    lmdb.open(str(tmp_path / "store"), max_dbs=8).close()
    with Catalog.create(tmp_path / "store", "SITE") as catalog:
        assert catalog.site == "SITE" and len(catalog.sender) == 32


def test_a_site_that_is_no_site_name_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(NameInvalid, match="not a site name"):
        Catalog.create(tmp_path / "store", "no site")
    assert list(tmp_path.iterdir()) == []


def _break_commits(store: Path) -> None:
    """From now on the page that makes a commit, which is written through a descriptor of its own, finds no room."""
    full = os.open("/dev/full", os.O_WRONLY)
    for entry in Path("/proc/self/fd").iterdir():
        if entry.is_symlink() and entry.readlink() == store / layout.DATA_FILE:
            flags = Path(f"/proc/self/fdinfo/{entry.name}").read_text().split("flags:")[1].split()[0]
            if int(flags, 8) & os.O_DSYNC:
                os.dup2(full, int(entry.name))
    os.close(full)


def test_a_commit_that_fails_half_way_is_undone_and_the_store_is_opened_again(store: Path) -> None:
    with Catalog.open(store) as catalog:
        _break_commits(store)
        with pytest.raises(StoreFull):
            catalog.write(batch("lost", 5))
        assert (catalog.position, catalog.state().lfns) == (1, 10)
        assert catalog.lookup("/lost/0") is None
        catalog.write(batch("more", 5))
        assert (catalog.position, catalog.state().lfns) == (2, 15)
        assert check(catalog).findings == []
    assert in_another_process(_read, store) == "2 0 15"


def test_a_read_under_way_is_waited_for_before_a_broken_store_is_opened_again(store: Path) -> None:
    with Catalog.open(store) as catalog, ThreadPoolExecutor(1) as pool:
        with catalog.view() as view:
            _break_commits(store)
            writing = pool.submit(catalog.write, batch("lost", 5))
            with pytest.raises(TimeoutError):
                writing.result(timeout=0.3)
            assert view.state().lfns == 10
            with pytest.raises(Unavailable, match="failed half-way"):
                catalog.lookup("/kept/0")
        with pytest.raises(StoreFull):
            writing.result()
        assert catalog.lookup("/kept/0") is not None
        assert catalog.write(batch("more", 5)).position == 2


@pytest.mark.parametrize("left", ["only the writer's lock", "an environment without tables", "an empty file"])
def test_a_first_start_that_was_killed_is_finished_by_the_next(tmp_path: Path, left: str) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / layout.WRITER_LOCK).touch()
    if left == "an environment without tables":
        lmdb.open(str(store), max_dbs=8).close()
    elif left == "an empty file":
        (store / layout.DATA_FILE).touch()
    with open_catalog(LrcSettings(site="SITE", store=str(store))) as catalog:
        assert catalog.site == "SITE"
        assert check(catalog).findings == []


@pytest.mark.parametrize("foreign", ["a file", "an environment of another program"])
def test_what_is_not_ours_is_not_made_into_a_store(tmp_path: Path, foreign: str) -> None:
    store = tmp_path / "store"
    store.mkdir()
    if foreign == "a file":
        (store / "thesis.tex").write_text("years of work")
    else:
        with lmdb.open(str(store), max_dbs=8) as environment, environment.begin(write=True) as txn:
            txn.put(b"key", b"value")
    with pytest.raises(StoreForeign):
        open_catalog(LrcSettings(site="SITE", store=str(store)))
    if foreign != "a file":
        with lmdb.open(str(store), max_dbs=8) as environment, environment.begin() as txn:
            assert (txn.get(b"key"), txn.stat()["entries"]) == (b"value", 1)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_was_cut_short_is_damaged_and_kills_nobody(tmp_path: Path, read_only: bool) -> None:
    """A page behind the end of a mapped file is SIGBUS, wherever the cut is."""
    with Catalog.create(tmp_path / "store", "SITE") as catalog:
        for number in range(20):
            catalog.write(batch(f"batch-{number}", 50))
    data = tmp_path / "store" / layout.DATA_FILE
    whole = data.read_bytes()
    for part in (0.2, 0.5, 0.9, 1 - 1 / len(whole)):
        data.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(StoreDamaged, match="was cut short"):
            Catalog.open(tmp_path / "store", read_only=read_only)
    data.write_bytes(whole)
    with Catalog.open(tmp_path / "store", read_only=read_only) as catalog:
        assert check(catalog).findings == []


def test_a_file_that_ends_before_pages_that_nothing_reaches_is_whole(tmp_path: Path) -> None:
    """Pages taken and given up in one commit are never written; where they are the last, the file ends before them."""
    with Catalog.create(tmp_path / "store", "SITE") as catalog:
        catalog.write(batch("kept", 5))
    data = tmp_path / "store" / layout.DATA_FILE
    raw = bytearray(data.read_bytes())
    for meta in (0, 4096):  # mm_last_pg, behind the page's header and the meta's first 120 bytes
        at = meta + 16 + 120
        last = int.from_bytes(raw[at : at + 8], "little")
        raw[at : at + 8] = (last + 3).to_bytes(8, "little")
    data.write_bytes(raw)
    with Catalog.open(tmp_path / "store") as catalog:
        assert catalog.store.environment.info()["last_pgno"] * 4096 > len(raw)
        assert check(catalog).findings == []
        catalog.write(batch("more", 500))
        assert check(catalog).findings == []
