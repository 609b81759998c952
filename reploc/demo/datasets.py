"""The demo's datasets: real files of the interpreter's library in a few blocks, which placement moves between sites.

Where each copy lies is read from the disk, never from what a service says: that is the truth of these chapters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reploc.demo import files
from reploc.demo.files import adler32
from reploc.demo.grid import SITES, Grid
from reploc.demo.truth import Expected
from reploc.wire import MappingItem

#: LFNs of all files of the demo begin so; without it, and for library files without its first folder, they are paths.
LFN_PREFIX = "/demo/"
FOLDER = f"{LFN_PREFIX}physics/"
FILES = 96
BLOCKS = 2
#: Which sites hold each dataset at first: the first site holds all of them, and two of them nobody else has.
HELD: dict[str, tuple[str, ...]] = {
    f"{FOLDER}run{number}": sites
    for number, sites in enumerate(
        (SITES[:1], SITES[:2], (SITES[0], SITES[2]), SITES[:2], SITES, SITES[:1]),
    )
}
#: The dataset that everyone wants, which only the first site has.
POPULAR = next(iter(HELD))


@dataclass(frozen=True)
class DatasetFile:
    """A file of a block of a dataset."""

    lfn: str
    dataset: str
    block: str
    data: bytes

    def path(self, storage: Path) -> Path:
        """Where a site keeps it."""
        return storage / self.lfn.removeprefix(LFN_PREFIX)

    def mapping(self, storage: Path) -> MappingItem:
        """What the catalog of a site is told of its copy."""
        pfn, collection = self.path(storage).as_uri(), f"{self.dataset}#{self.block}"
        return MappingItem(self.lfn, pfn, len(self.data), adler32(self.data), collection)


def made() -> list[DatasetFile]:
    """Files of the library, dealt out by size so that the datasets are about equally large."""
    chosen = sorted(files.chosen(SITES, FILES), key=lambda file: file.size)
    names = list(HELD)
    found = []
    for number, file in enumerate(chosen):
        dataset, block = names[number % len(names)], f"block{number // len(names) % BLOCKS}"
        lfn = f"{dataset}/{block}/{number:03}-{file.source.name}"
        found.append(DatasetFile(lfn, dataset, block, file.source.read_bytes()))
    return found


async def laid_out(grid: Grid, held: Iterable[DatasetFile]) -> None:
    """Writes every copy into the storage of its sites, and registers it."""
    for site in SITES:
        storage = grid.storage[site]
        here = [file for file in held if site in HELD[file.dataset]]
        for file in here:
            file.path(storage).parent.mkdir(parents=True, exist_ok=True)
            file.path(storage).write_bytes(file.data)
        async with grid.lrc(site) as catalog:
            await catalog.put([file.mapping(storage) for file in here])


def on_disk(grid: Grid, held: Iterable[DatasetFile]) -> dict[str, Expected]:
    """The account of what lies where, by LFN, as the disk has it now."""
    return {
        file.lfn: Expected(
            len(file.data),
            adler32(file.data),
            {site: path.as_uri() for site in SITES if (path := file.path(grid.storage[site])).is_file()},
        )
        for file in held
    }


def site_table(grid: Grid, site: str) -> str:
    """A site's table in the settings files of file operations and the checker."""
    return f"""
[[sites]]
name = "{site}"
lrc = "{grid.urls[site]}"

[[sites.doors]]
protocol = "posix"
url = "{grid.storage[site].as_uri()}"

[[sites.rules]]
prefix = "{files.LFN_PREFIX}"
to = "/"

[[sites.rules]]
prefix = "{LFN_PREFIX}"
to = "/"
"""
