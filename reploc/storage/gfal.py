"""Whatever gfal2 speaks (`davs://`, `root://`, `srm://`, `gsiftp://`, `file://`), by its command lines `gfal-*`.

What grid sites have, and the way to storage that no other mover knows. Each question starts an interpreter, so that it
is the slowest. gfal-cat and gfal-save take text alone (gfal2-util 1.7), so that what passes through this machine lies
in a file on its way. Errors carry an errno. gfal-rm removes a directory with all below it or not at all: an empty one
is removed through the library itself, in a process of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory

from reploc.storage import programs
from reploc.storage.faults import Absent, NotEmpty, StorageFault, of_errno
from reploc.storage.mover import Digest, Entry, Progress, Stat, Transfer, checksum_of
from reploc.storage.posix import PosixMover
from reploc.storage.programs import Ended

#: The system's interpreter, whose packages the tools need, whatever `python` is on the path.
PYTHON = "/usr/bin/python3"
ENVIRON = {"GFAL_PYTHONBIN": PYTHON}
#: Removes one empty directory, and says like the tools what went wrong.
RMDIR = """
import sys, gfal2
try:
    gfal2.creat_context().rmdir(sys.argv[1])
except gfal2.GError as wrong:
    sys.exit(f"gfal-rmdir error: {wrong.code} ({wrong.message})")
"""
#: Checksums that storage may know, under gfal's names; any other is computed here.
AT_STORAGE = {"adler32": "ADLER32", "crc32": "CRC32", "md5": "MD5"}
_ERROR = re.compile(r"error: (\d+) \(")
_LINE = re.compile(r"([d-])\S{9} +\S+ +\S+ +\S+ +(\d+) +(\S+ +\S+ +\S+) (.*?)\t?", re.DOTALL)


class GfalMover:
    """Files behind anything that gfal2 speaks to."""

    schemes = frozenset({"davs", "dav", "https", "http", "root", "srm", "gsiftp", "file"})
    third_party = True
    tells_progress = False

    def __init__(self) -> None:
        self._here = PosixMover()

    def appears_whole(self, url: str) -> bool:
        del url
        return False

    async def copy(self, transfer: Transfer, progress: Progress) -> None:
        ended = await programs.run(["gfal-copy", "--force", _said(transfer.source), _said(transfer.target)], ENVIRON)
        if ended.status:
            fault = _fault(f"{transfer.source} → {transfer.target}", ended)
            await self.stat(transfer.source)  # where the file cannot be seen, that is the fault
            raise fault.at("destination")
        if transfer.size is not None:
            progress(transfer.size)

    async def stat(self, url: str) -> Stat:
        said = (await self._done("gfal-stat", url)).decode(errors="replace")
        directory = "directory" in said
        found = re.search(r"Size: (\d+)", said)
        if found is None:
            raise StorageFault("transient", f"gfal-stat {url}: said no size")
        return Stat(0 if directory else int(found[1]), directory)

    async def checksum(self, url: str, algorithm: str) -> str:
        if algorithm in AT_STORAGE:
            try:
                said = (await self._done("gfal-sum", url, AT_STORAGE[algorithm])).decode().split()
            except StorageFault as fault:
                if fault.blame == "transient":
                    raise
                await self.stat(url)
            else:
                return f"{algorithm}:{said[-1].lower().rjust(8, '0')}"
        if algorithm not in Digest.ALGORITHMS:
            raise StorageFault("permanent", f"{algorithm} cannot be computed of {url}")
        return await checksum_of(self.read(url), algorithm)

    async def rename(self, old: str, new: str) -> None:
        await self._done("gfal-rename", old, new)

    async def remove(self, url: str) -> None:
        await self._done("gfal-rm", url)

    async def make_directory(self, url: str) -> None:
        await self._done("gfal-mkdir", "-p", url)

    async def remove_directory(self, url: str) -> None:
        if await self.listing(url):
            raise NotEmpty("destination", f"{url} is not empty")
        ended = await programs.run([PYTHON, "-c", RMDIR, _said(url)], ENVIRON)
        if ended.status:
            raise _fault(f"rmdir {url}", ended)

    async def listing(self, url: str) -> list[Entry]:
        if not (await self.stat(url)).directory:
            raise StorageFault("source", f"{url} is no directory")
        entries = []
        said = os.fsdecode(await self._done("gfal-ls", "-l", url)).removesuffix("\n")
        for line in said.split("\n") if said else ():
            found = _LINE.fullmatch(line)
            if found is None:  # a file that is left out would be taken for one that is not there
                raise StorageFault("permanent", f"gfal-ls {url}: this line cannot be read: {line[:200]!r}")
            if found[4] not in (".", ".."):
                directory = found[1] == "d"
                entries.append(Entry(found[4], Stat(0 if directory else int(found[2]), directory)))
        return sorted(entries, key=lambda entry: entry.name)

    async def read(self, url: str) -> AsyncGenerator[bytes, None]:
        with TemporaryDirectory(prefix="reploc-gfal-") as folder:
            here = (Path(folder) / "file").as_uri()
            await self._done("gfal-copy", url, here)
            async with aclosing(self._here.read(here)) as pieces:
                async for piece in pieces:
                    yield piece

    async def write(self, url: str, pieces: AsyncIterator[bytes], size: int | None) -> None:
        with TemporaryDirectory(prefix="reploc-gfal-") as folder:
            here = (Path(folder) / "file").as_uri()
            await self._here.write(here, pieces, size)
            ended = await programs.run(["gfal-copy", "--force", here, _said(url)], ENVIRON)
        if ended.status:
            raise _fault(f"gfal-copy {url}", ended).at("destination")

    async def bring_online(self, url: str) -> None:
        await self._done("gfal-legacy-bringonline", url)

    async def close(self) -> None:
        return

    async def _done(self, command: str, *arguments: str) -> bytes:
        ended = await programs.run([command, *map(_said, arguments)], ENVIRON)
        if ended.status:
            raise _fault(f"{command} {arguments[-1]}", ended)
        return ended.output


def _said(argument: str) -> str:
    """An address as gfal2 wants it: its plug-in for root:// takes a path for percent-encoded, where none is."""
    return argument.replace("%", "%25") if argument.startswith(("root:", "roots:", "xroot:", "xroots:")) else argument


def _fault(what: str, ended: Ended) -> StorageFault:
    words = " ".join((ended.said or ended.output.decode(errors="replace")).split())
    if words.endswith("MISSING"):
        return Absent("source", f"{what}: {words}")
    found = _ERROR.search(words)
    said = f"{what}: {words or f'ended with status {ended.status}'}"
    return of_errno(int(found[1]), said) if found else StorageFault("transient", said)
