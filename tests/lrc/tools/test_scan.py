"""The scan of a real directory tree: what is registered, what is told and left, and what a second scan does."""

import asyncio
import hashlib
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

from lrc.catalog import Catalog
from lrc.tools.access import of_catalog
from lrc.tools.measure import BLOCK_BYTES, Measured, measured
from lrc.tools.naming import naming
from lrc.tools.scan import Options, Scan, Summary
from lrc.tools.tree import FoundFile, Trouble, Walk
from reploc.errors import StoreFull

#: Names that break what quotes, splits or decodes carelessly.
AWKWARD = ["plain", "a b", "50%", "%41", "a+b", "a#b", "a?b", "é", "日本", "'\"\\", "a:b", "-rf", "...", "x" * 255]
NAMELESS = [b"not-utf8-\xff", b"new\nline", b"tab\there", b"del\x7f"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "data & more"
    root.mkdir()
    return root


def grown(tree: Path, names: list[str]) -> None:
    for name in names:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 10)


def uri(tree: Path) -> str:
    return tree.as_uri() + "/"


def scanned(
    tree: Path,
    catalog: Catalog,
    options: Options = Options(),  # noqa: B008 - it is frozen
    progress: Callable[[int, int], None] = lambda files, size: None,
    **naming_options: object,
) -> Summary:
    named = naming("/lfn/", uri(tree), **naming_options)  # type: ignore[arg-type]

    async def run() -> Summary:
        async with of_catalog(catalog) as access:
            return await Scan(os.fsencode(tree), named, access, options, progress).run()

    return asyncio.run(run())


def opened(pfn: str) -> bytes:
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(pfn).path))).read_bytes()


# ---- what is registered ----------------------------------------------------------------------------------------------


def test_every_file_is_registered_under_a_pfn_that_opens_it(tree: Path, catalog: Catalog) -> None:
    grown(tree, [*AWKWARD, *(f"dir/{name}/{name}" for name in AWKWARD)])
    summary = scanned(tree, catalog)
    assert (summary.files, summary.registered, summary.complete) == (2 * len(AWKWARD), 2 * len(AWKWARD), True)
    files = catalog.files(limit=1000).files
    assert {file.lfn.removeprefix("/lfn/") for file in files} == {*AWKWARD, *(f"dir/{n}/{n}" for n in AWKWARD)}
    for file in files:
        data = opened(file.pfns[0])
        assert data == file.lfn.removeprefix("/lfn/").encode() * 10
        assert (file.size, file.checksum) == (len(data), f"adler32:{zlib.adler32(data):08x}")
    assert summary.bytes == sum(file.size or 0 for file in files)


def test_names_that_are_none_are_told_and_counted_and_stop_nothing(tree: Path, catalog: Catalog) -> None:
    grown(tree, ["good"])
    for name in NAMELESS:
        Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_bytes(b"x")
    below = Path(os.fsdecode(os.fsencode(tree) + b"/dir\xfe"))
    below.mkdir()
    (below / "a").touch()
    (below / "b").touch()
    summary = scanned(tree, catalog)
    assert (summary.files, summary.registered, summary.unnamed) == (1, 1, len(NAMELESS) + 1)
    assert not summary.complete
    told = "\n".join(summary.troubles)
    assert "the name is not UTF-8 at byte 9" in told
    assert "control character (U+000A)" in told
    assert "nothing below it is registered" in told
    assert told.isprintable() or len(told.splitlines()) == len(NAMELESS) + 1


def test_links_pipes_and_what_is_excluded_are_passed_by(tree: Path, catalog: Catalog) -> None:
    grown(tree, ["a", "skip/b", "c.tmp"])
    (tree / "loop").symlink_to(tree)
    (tree / "link").symlink_to(tree / "a")
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    summary = scanned(tree, catalog, excludes=["skip", "*.tmp"])
    assert (summary.files, summary.links, summary.specials, summary.excluded) == (1, 3, 1, 2)
    assert summary.complete


def test_more_files_than_one_batch_are_all_registered_in_their_collections(tree: Path, catalog: Catalog) -> None:
    grown(tree, [f"{number % 7}/{number % 3}/{number}" for number in range(2_500)])
    seen: list[tuple[int, int]] = []
    summary = scanned(tree, catalog, progress=lambda files, size: seen.append((files, size)), collection_depth=1)
    assert (summary.files, summary.registered, summary.directories) == (2_500, 2_500, 1 + 7 + 21)
    assert sum(files for files, _ in seen) == 2_500
    assert sum(size for _, size in seen) == summary.bytes
    totals = catalog.collections().collections
    assert [one.name for one in totals] == [f"/lfn/{number}" for number in range(7)]
    assert sum(one.files for one in totals) == 2_500
    assert sum(one.bytes for one in totals) == summary.bytes


def test_an_empty_tree_is_done_at_once(tree: Path, catalog: Catalog) -> None:
    summary = scanned(tree, catalog)
    assert (summary.files, summary.complete, summary.site, summary.position) == (0, True, "SITE", 0)


def test_without_a_checksum_no_file_is_read(tree: Path, catalog: Catalog) -> None:
    with (tree / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert scanned(tree, catalog, Options(checksum="none")).bytes == 1 << 40
    found = catalog.lookup("/lfn/sparse")
    assert found is not None
    assert (found.size, found.checksum) == (1 << 40, None)


# ---- a second scan ---------------------------------------------------------------------------------------------------


def test_a_second_scan_writes_nothing(tree: Path, catalog: Catalog) -> None:
    grown(tree, AWKWARD)
    first = scanned(tree, catalog)
    again = scanned(tree, catalog)
    assert (again.registered, again.already_there, again.complete) == (0, len(AWKWARD), True)
    assert again.position == first.position == catalog.position


def test_a_later_scan_adds_the_checksum_that_an_earlier_one_left_out(tree: Path, catalog: Catalog) -> None:
    grown(tree, ["a"])
    scanned(tree, catalog, Options(checksum="none"))
    assert scanned(tree, catalog).registered == 1
    assert scanned(tree, catalog, Options(checksum="none")).already_there == 1
    found = catalog.lookup("/lfn/a")
    assert found is not None
    assert found.checksum is not None


def test_a_file_of_another_size_is_refused_unless_told_to_update(tree: Path, catalog: Catalog) -> None:
    grown(tree, ["a", "b"])
    scanned(tree, catalog)
    (tree / "a").write_bytes(b"longer than it was before")
    refused = scanned(tree, catalog)
    assert (refused.refused, refused.already_there, refused.complete) == (1, 1, False)
    assert refused.troubles[0].startswith("'a': attributes-differ: ")
    updated = scanned(tree, catalog, Options(update=True))
    assert (updated.registered, updated.already_there, updated.complete) == (1, 1, True)
    found = catalog.lookup("/lfn/a")
    assert found is not None
    assert found.size == 25


def test_a_copy_at_another_place_becomes_another_pfn(tree: Path, tmp_path: Path, catalog: Catalog) -> None:
    grown(tree, ["a"])
    scanned(tree, catalog)
    copy = tmp_path / "copy"
    tree.rename(copy)
    assert scanned(copy, catalog).registered == 1
    found = catalog.lookup("/lfn/a")
    assert found is not None
    assert found.pfns == [uri(tree) + "a", uri(copy) + "a"]


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_full_store_ends_the_scan_with_its_error(tree: Path, tmp_path: Path) -> None:
    grown(tree, [f"{number}/{'x' * 200}" for number in range(700)])
    with Catalog.create(tmp_path / "small", "SITE", map_bytes=256 << 10) as catalog, pytest.raises(StoreFull):
        scanned(tree, catalog)


def test_troubles_are_all_counted_and_a_hundred_are_told(tree: Path, catalog: Catalog) -> None:
    for number in range(150):
        Path(os.fsdecode(os.fsencode(tree) + b"/%d\xff" % number)).touch()
    summary = scanned(tree, catalog)
    assert (summary.unnamed, len(summary.troubles)) == (150, 100)


def test_a_directory_that_lies_too_deep_is_one_trouble(tree: Path) -> None:
    grown(tree, ["a/b/c/deep", "a/b/high", "top"])
    seen = list(Walk(os.fsencode(tree), naming("/", "file:///"), depth_max=3))
    assert sorted(one.path for one in seen if isinstance(one, FoundFile)) == [b"a/b/high", b"top"]
    assert [(one.kind, one.path) for one in seen if isinstance(one, Trouble)] == [("unreadable", b"a/b/c")]


def test_a_root_that_has_gone_is_told(tree: Path, catalog: Catalog) -> None:
    tree.rmdir()
    summary = scanned(tree, catalog)
    assert (summary.changed, summary.files, summary.complete) == (1, 0, False)


def test_a_directory_whose_path_the_system_does_not_take_is_unreadable(tree: Path, catalog: Catalog) -> None:
    here = os.open(tree, os.O_RDONLY)
    part = "d" * 250
    for _ in range(17):
        os.mkdir(part, dir_fd=here)
        below = os.open(part, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    grown(tree, ["good"])
    summary = scanned(tree, catalog)
    assert (summary.registered, summary.unreadable + summary.unnamed) == (1, 1)


# ---- measuring -------------------------------------------------------------------------------------------------------


def nothing(_: int) -> None:
    """Nobody asks how far the reading has come."""


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 17])
def test_a_file_is_measured_over_all_its_blocks(tmp_path: Path, size: int) -> None:
    data = hashlib.shake_128(b"seed").digest(size)
    (tmp_path / "f").write_bytes(data)
    read: list[int] = []
    adler = measured(os.fsencode(tmp_path), b"f", "adler32", read.append)
    assert adler == Measured(size, f"adler32:{zlib.adler32(data):08x}")
    assert sum(read) == size
    sha = measured(os.fsencode(tmp_path), b"f", "sha256", nothing)
    assert sha == Measured(size, f"sha256:{hashlib.sha256(data).hexdigest()}")


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shorter(path: Path) -> None:
    os.truncate(path, BLOCK_BYTES)


def rewritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [longer, shorter, rewritten])
def test_a_file_that_is_written_to_while_it_is_read_has_no_checksum(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(2 * BLOCK_BYTES))
    found = measured(os.fsencode(tmp_path), b"f", "adler32", lambda _: change(path))
    assert found == Trouble("changed", b"f", "changed while it was read")


def test_a_file_that_has_become_something_else_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    found = {name: measured(os.fsencode(tmp_path), name, "adler32", nothing) for name in (b"pipe", b"dir", b"no")}
    assert {name: one.kind for name, one in found.items() if isinstance(one, Trouble)} == dict.fromkeys(
        (b"pipe", b"dir", b"no"), "changed"
    )
    link = measured(os.fsencode(tmp_path), b"link", "adler32", nothing)
    assert isinstance(link, Trouble)
    assert link.kind == "unreadable"
