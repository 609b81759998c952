"""The demo's files: real ones of this machine, and which site holds a copy of which.

The interpreter's own library gives a few thousand files of every size. Copies are dealt out by the digest of the name,
so that the same machine always plays the same story: one copy of about a third, two of another, three of the rest.
"""

from __future__ import annotations

import shutil
import sysconfig
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from reploc import digest

#: Files of the story: enough to be real, few enough to be copied and read many times in three minutes.
FILES_MAX = 3_000
#: Larger files add time and no sense.
FILE_BYTES_MAX = 1 << 20
LFN_PREFIX = "/demo/python/"
DATASET = "/demo/python"


@dataclass(frozen=True)
class DemoFile:
    """A file of the story: its name, what it weighs, and the sites that hold it."""

    lfn: str
    source: Path
    size: int
    checksum: str
    sites: tuple[str, ...]

    @property
    def relative(self) -> str:
        return self.lfn.removeprefix(LFN_PREFIX)


def chosen(sites: tuple[str, ...], count: int = FILES_MAX) -> list[DemoFile]:
    """The files of the interpreter's library, and of the packages installed in it, with the sites that will hold each.

    A small installation has fewer than `count`.
    """
    found = dict(islice(_library(), count))
    draws = digest.of(list(found))[:, 1].tolist()
    return [_made(lfn, path, dealt(draw, sites)) for (lfn, path), draw in zip(found.items(), draws, strict=True)]


def _library() -> Iterator[tuple[str, Path]]:
    """(LFN, path) of every file that will do, in an order that does not change."""
    paths = sysconfig.get_paths()
    for name, root in (("stdlib", Path(paths["stdlib"])), ("site-packages", Path(paths["purelib"]))):
        for path in sorted(root.rglob("*")):
            below = path.relative_to(root)
            if {"__pycache__", "site-packages", "dist-packages"} & set(
                below.parts
            ) or not below.as_posix().isprintable():
                continue
            if path.is_file() and not path.is_symlink() and 0 < path.stat().st_size <= FILE_BYTES_MAX:
                yield f"{LFN_PREFIX}{name}/{below.as_posix()}", path


def dealt(draw: int, sites: tuple[str, ...]) -> tuple[str, ...]:
    """The sites that hold a copy of a file: one to all of them, drawn by 64 bits of its digest."""
    copies = 1 + draw % len(sites)
    first = (draw >> 8) % len(sites)
    return tuple(sorted(sites[(first + step) % len(sites)] for step in range(copies)))


def _made(lfn: str, path: Path, sites: tuple[str, ...]) -> DemoFile:
    data = path.read_bytes()
    return DemoFile(lfn, path, len(data), adler32(data), sites)


def adler32(data: bytes) -> str:
    """The checksum of some bytes as catalogs write it."""
    return f"adler32:{zlib.adler32(data):08x}"


def laid_out(files: list[DemoFile], storage: dict[str, Path]) -> int:
    """Copies each file into the storage of each of its sites; the number of copies."""
    copies = 0
    for file in files:
        for site in file.sites:
            target = storage[site] / file.relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.source, target)
            copies += 1
    return copies
