"""A store of layout version 1, made by reploc as it was then (commit c1934ed) from these contents, and kept as a file.

It was made once, with that commit's code on the path, by

    python tests/lrc/version_1.py FOLDER
"""

import lzma
import sys
from pathlib import Path

from lrc.catalog import Catalog
from reploc.wire import DeleteBody, DeleteItem, MappingItem, MappingsBody, RenameBody, RenameItem

DATA = Path(__file__).with_name("store-version-1.mdb.xz")
SITE = "OLD-SITE"
EPOCH = 7


def contents() -> list[MappingItem]:
    """Plain and long names, several copies, sizes that are not known, collections that overlap in nothing."""
    items = []
    for number in range(400):
        lfn = f"/store/data/run-{number % 7}/file-{number:05}.root" if number % 10 else f"/é/{number}/" + "x" * 600
        collection = None if number % 5 == 0 else f"/store/data/run-{number % 7}#block-{number % 3}"
        size = None if number % 11 == 0 else number * 10**9
        checksum = f"adler32:{number:08x}" if number % 2 else None
        pfns = [f"root://host-{copy}.example//{number}" for copy in range(1 + number % 3)]
        items += [MappingItem(lfn, pfn, size, checksum, collection) for pfn in pfns]
    return items


GONE = ["/store/data/run-1/file-00001.root", "/store/data/run-2/file-00002.root"]
RENAMED = ("/store/data/run-3/file-00003.root", "/store/data/run-3/renamed")


def make(folder: Path) -> None:
    with Catalog.create(folder, SITE) as catalog:
        catalog.write(MappingsBody("put", contents()))
        catalog.write(DeleteBody([DeleteItem(lfn) for lfn in GONE]))
        catalog.write(RenameBody("lfn", [RenameItem(*RENAMED)]))
        catalog.raise_epoch(EPOCH - 1)
    DATA.write_bytes(lzma.compress((folder / "data.mdb").read_bytes(), preset=9 | lzma.PRESET_EXTREME))


def unpacked(folder: Path) -> Path:
    """The store of version 1 in a new folder."""
    folder.mkdir(parents=True)
    (folder / "data.mdb").write_bytes(lzma.decompress(DATA.read_bytes()))
    return folder


if __name__ == "__main__":
    make(Path(sys.argv[1]))
