"""XRootD servers, `root://HOST//path`, by the command lines `xrdcp` and `xrdfs`.

A copy between two servers is the servers' (`--tpc only`): their client looks for its end every 2.5 s, so that small
files go faster through `webdav`. Paths are not percent-encoded, so that one with a question mark cannot be said: its
clients take what follows for parameters, and would speak of another file. What the server answers has the number of an
error (`XProtocol.hh`, 3000 and above), which is classified here; the status of a program says only what kind of failure
it was (54: a server refused).

The servers of a third-party copy meet by a key: the destination shows it at the source, which waits until the client
has vouched for it (`XrdOfsTPCAuth.cc`). Under load one in some hundred of them is never told, and ends when the
source's patience is over (`ofs.tpc ttl`, a minute at most). Nothing was copied then, and the copy is begun anew.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

from reploc.storage import programs
from reploc.storage.faults import Absent, Blame, Exists, NotEmpty, StorageFault
from reploc.storage.mover import Entry, Progress, Stat, Transfer, checksum_of
from reploc.storage.programs import Ended, ProgramFailed

#: Errors of the protocol that are always one end's, or nobody's; others are blamed on the side where they were met.
BY_NUMBER: dict[int, Blame] = {
    **dict.fromkeys((3003, 3007, 3008, 3012, 3014, 3017, 3019, 3020, 3024, 3034, 3035), "transient"),
    **dict.fromkeys((3009, 3021, 3025), "destination"),
    **dict.fromkeys((3000, 3001, 3002, 3006, 3013, 3016), "permanent"),
}
#: What is in the environment of every program: failures are known soon, and nobody is asked anything.
ENVIRON = {
    "XRD_CONNECTIONRETRY": "1",
    "XRD_CONNECTIONWINDOW": "15",
    "XRD_REQUESTTIMEOUT": "60",
    "XRD_STREAMTIMEOUT": "60",
    "XRD_TIMEOUTRESOLUTION": "1",
    "XRD_LOGLEVEL": "Error",
}
#: Checksums that servers compute themselves.
AT_SERVER = frozenset({"adler32", "crc32", "crc32c", "md5"})
#: What a source says when its patience is over, and tries of a copy whose servers did not meet.
UNMET = "tpc authorization expired"
MEETINGS_MAX = 3
#: Seconds between two looks whether a file was brought online: tape takes minutes.
STAGE_LOOK_S = 10.0
#: What a program says last of what went wrong: its log of the way there tells an operator less.
_VERDICT = re.compile(r".*\[(?:ERROR|FATAL)\] (.+)")
_NUMBER = re.compile(r"\[(3\d\d\d)\]")
_LINE = re.compile(rb"([d-])\S{9} +\S+ +\S+ +(\d+) (\S+ \S+) (.+)")


class XrootdMover:
    """Files behind an XRootD server."""

    schemes = frozenset({"root", "roots", "xroot", "xroots"})
    third_party = True
    tells_progress = False

    def appears_whole(self, url: str) -> bool:
        del url
        return False

    async def copy(self, transfer: Transfer, progress: Progress) -> None:
        ends = _said(transfer.source), _said(transfer.target)
        for _ in range(MEETINGS_MAX):
            ended = await programs.run(["xrdcp", "--nopbar", "--silent", "--force", "--tpc", "only", *ends], ENVIRON)
            if UNMET not in ended.said:
                break
        if ended.status:
            await self._blame_copy(transfer, ended)
        if transfer.size is not None:
            arrived = (await self.stat(transfer.target)).size
            progress(arrived)
            if arrived < transfer.size:  # a copy that fills its destination ends with success all the same
                said = f"{transfer.target}: {arrived:,} of {transfer.size:,} bytes arrived; the storage may be full"
                raise StorageFault("destination", said)

    async def stat(self, url: str) -> Stat:
        said = (await self._fs(url, "stat", "{path}")).decode(errors="replace")
        found = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
        directory = "IsDir" in found.get("Flags", "")
        size = 0 if directory else int(found["Size"])
        return Stat(size, directory, _moment(found["MTime"].strip()))

    async def checksum(self, url: str, algorithm: str) -> str:
        if algorithm in AT_SERVER:
            try:
                said = await self._fs(url, "query", "checksum", "{path}?cks.type=" + algorithm)
            except Absent:
                raise
            except StorageFault as fault:
                if fault.blame == "transient":
                    raise
            else:
                name, _, digits = said.decode().strip().partition(" ")
                if name == algorithm:
                    return f"{algorithm}:{digits.strip().lower()}"
        return await checksum_of(self.read(url), algorithm)

    async def rename(self, old: str, new: str) -> None:
        await self._fs(old, "mv", "{path}", _split(new)[1])

    async def remove(self, url: str) -> None:
        await self._fs(url, "rm", "{path}")

    async def make_directory(self, url: str) -> None:
        try:
            await self._fs(url, "mkdir", "-p", "{path}")
        except StorageFault:
            try:
                there = (await self.stat(url)).directory
            except Absent:
                there = False
            if not there:
                raise

    async def remove_directory(self, url: str) -> None:
        if await self.listing(url):
            raise NotEmpty("destination", f"{url} is not empty")
        await self._fs(url, "rmdir", "{path}")

    async def listing(self, url: str) -> list[Entry]:
        if not (await self.stat(url)).directory:
            raise StorageFault("source", f"{url} is no directory")
        path = os.fsencode(_split(url)[1].rstrip("/"))
        said = await self._fs(url, "ls", "-l", "{path}")
        entries = [_entry(line, path, url) for line in said.removesuffix(b"\n").split(b"\n")] if said else []
        return sorted(entries, key=lambda entry: entry.name)

    async def read(self, url: str) -> AsyncGenerator[bytes, None]:
        await self.stat(url)
        try:
            command = ["xrdcp", "--nopbar", "--silent", _said(url), "-"]
            async with aclosing(programs.output(command, ENVIRON)) as pieces:
                async for piece in pieces:
                    yield piece
        except ProgramFailed as wrong:
            raise _fault(url, wrong.ended) from wrong

    async def write(self, url: str, pieces: AsyncIterator[bytes], size: int | None) -> None:
        del size
        ended = await programs.run(["xrdcp", "--nopbar", "--silent", "--force", "-", _said(url)], ENVIRON, pieces)
        if ended.status:
            raise _fault(url, ended).at("destination")

    async def bring_online(self, url: str) -> None:
        """Asks for the file, and again whether it is there, until it is."""
        if "Offline" not in await self._flags(url):
            return
        await self._fs(url, "prepare", "-s", "{path}")
        while "Offline" in await self._flags(url):  # noqa: ASYNC110 - the tape tells nobody when it has it
            await asyncio.sleep(STAGE_LOOK_S)

    async def close(self) -> None:
        return

    async def _flags(self, url: str) -> str:
        said = (await self._fs(url, "stat", "{path}")).decode(errors="replace")
        return next((line for line in said.splitlines() if line.startswith("Flags:")), "")

    async def _fs(self, url: str, command: str, *arguments: str) -> bytes:
        """What `xrdfs` says to a command; `{path}` stands for the path in the URL."""
        server, path = _split(url)
        ended = await programs.run(
            ["xrdfs", server, command, *(each.replace("{path}", path) for each in arguments)], ENVIRON
        )
        if ended.status:
            raise _fault(f"{command} {url}", ended)
        return ended.output

    async def _blame_copy(self, transfer: Transfer, ended: Ended) -> None:
        """Raises the fault of a copy that failed: the source's, where the file cannot be seen there."""
        fault = _fault(f"{transfer.source} → {transfer.target}", ended)
        try:
            await self.stat(transfer.source)
        except StorageFault as at_source:
            raise at_source from fault
        raise fault.at("destination")


def _fault(what: str, ended: Ended) -> StorageFault:
    """The fault in what a program said."""
    words = " ".join(ended.said.split()) or f"ended with status {ended.status}"
    verdict = _VERDICT.fullmatch(words)
    said, lowered = f"{what}: {verdict[1] if verdict else words}", words.lower()
    found = _NUMBER.search(ended.said)
    number = int(found[1]) if found else 0
    if number == 3011:
        return Absent("source", said)
    if number == 3018 and "not empty" not in lowered:
        return Exists("destination", said)
    if "not empty" in lowered:
        return NotEmpty("destination", said)
    if "no space" in lowered or "disk full" in lowered:
        return StorageFault("destination", said)
    if UNMET in lowered:
        return StorageFault("transient", f"{said}: the two servers did not meet in time")
    return StorageFault(BY_NUMBER.get(number, "source") if number else "transient", said)


def _entry(line: bytes, directory: bytes, url: str) -> Entry:
    """One line of `ls -l`. One that cannot be read, as of a name with a newline, spoils the listing: a file that is
    left out would be taken for one that is not there."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise StorageFault("permanent", f"ls {url}: this line cannot be read: {line[:200]!r}")
    is_directory = found[1] == b"d"
    stat = Stat(0 if is_directory else int(found[2]), is_directory, _moment(found[3].decode(errors="replace")))
    return Entry(os.fsdecode(found[4].removeprefix(directory + b"/")), stat)


def _said(url: str) -> str:
    """A URL whose path says to the clients what it is."""
    server, path = _split(url)
    return f"{server}/{path}"


def _split(url: str) -> tuple[str, str]:
    """The server and the path of a URL."""
    if "?" in url:
        raise StorageFault("permanent", f"{url[:200]} holds '?', which clients take for the end of the path")
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    if scheme not in XrootdMover.schemes or not host or not path.startswith("/"):
        raise StorageFault("permanent", f"{url[:200]} is no root://HOST//path")
    return f"{scheme}://{host}", path


def _moment(text: str) -> float | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
