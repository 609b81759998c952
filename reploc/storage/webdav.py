"""Doors that speak HTTP and WebDAV (`davs://`, `dav://`, `https://`, `http://`), with third-party copies.

A third-party copy is a COPY request to one end, which fetches from (or, where it cannot, is fetched by) the other:
`Source` or `Destination`, `Overwrite: T`, and what it is to show there as `TransferHeaderAuthorization` (the HTTP-TPC
of WLCG). The answer is 201 whatever happens; markers tell of progress, and the last line decides. What a failed copy
leaves behind is the caller's to remove, who gave it a temporary name. A checksum is asked for with `Want-Digest` (RFC
3230); a server that answers with another algorithm does not have it, and the file is read.

Servers percent-encode the names that they tell (RFC 4918, section 8.3), but for XRootD and a few others, which tell
them as they stand, in whatever bytes: those are encoded here before the answer is read.
"""

from __future__ import annotations

import asyncio
import base64
import html
import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import quote_from_bytes, unquote, urlsplit

from reploc.storage.faults import Absent, NotEmpty, StorageFault
from reploc.storage.mover import PIECE_BYTES, Entry, Progress, Stat, Transfer, checksum_of
from reploc.storage.web import Web, refusal

#: Names of algorithms in the Digest header (IANA's registry of RFC 3230).
DIGESTS = {"md5": "md5", "sha1": "sha", "sha256": "sha-256", "sha512": "sha-512"}
#: Tries of a checksum: a server that computes many at once refuses some, and has them a moment later.
CHECKSUM_TRIES = 3
CHECKSUM_PAUSE_S = 0.5
#: Statuses that say that this end cannot fetch, so that the other may send.
NO_PULL = frozenset({405, 501})
_DAV = "{DAV:}"
_MOVED = re.compile(rb"Stripe Bytes Transferred: *(\d+)")
_STATUS = re.compile(r"status code (\d{3})")
_HREF = re.compile(rb"(<(?:\w+:)?href>)(.*?)(</(?:\w+:)?href>)", re.DOTALL)
#: What no address holds that is percent-encoded as it should be.
_RAW = re.compile(rb"[^\x21-\x7e]|[\"#<>?\\^`{|}]|%(?![0-9A-Fa-f]{2})")
#: What XRootD tells in the place of a name behind one with a newline: the status of a file.
_SHIFTED = re.compile(r"\d+ \d+ \d+ \d+(?: \d+ \d+ \d{4} \S+ \S+)?")


class WebdavMover:
    """Files behind a server that speaks WebDAV."""

    schemes = frozenset({"davs", "dav", "https", "http"})
    third_party = True
    tells_progress = True

    def __init__(self, web: Web) -> None:
        self._web = web

    def appears_whole(self, url: str) -> bool:
        del url
        return False

    async def copy(self, transfer: Transfer, progress: Progress) -> None:
        source, target = _http(transfer.source), _http(transfer.target)
        if not await self._copy(target, {"Source": source}, source, progress, asked_of="destination"):
            done = await self._copy(source, {"Destination": target}, target, progress, asked_of="source")
            if not done:
                raise StorageFault("permanent", f"neither {source} nor {target} makes third-party copies")
        if transfer.size is not None:
            progress(transfer.size)

    async def stat(self, url: str) -> Stat:
        return (await self._properties(url, "0"))[0][1]

    async def checksum(self, url: str, algorithm: str) -> str:
        for last in range(CHECKSUM_TRIES - 1, -1, -1):
            try:
                found = await self._digest(url, algorithm)
            except StorageFault as fault:
                if fault.blame != "transient" or not last:
                    raise
                await asyncio.sleep(CHECKSUM_PAUSE_S)
            else:
                return found or await checksum_of(self.read(url), algorithm)
        raise AssertionError("the last try returns or raises")

    async def rename(self, old: str, new: str) -> None:
        await self._done("MOVE", old, {"Destination": _http(new), "Overwrite": "T"})

    async def remove(self, url: str) -> None:
        await self._done("DELETE", url)

    async def make_directory(self, url: str) -> None:
        missing = []
        while True:
            try:
                await self._done("MKCOL", url)
            except StorageFault as fault:
                if await self._is_directory(url):
                    break
                above = url.rpartition("/")[0]
                if not isinstance(fault, Absent) or above.count("/") < 3:
                    raise
                missing.append(url)
                url = above
            else:
                break
        for below in reversed(missing):
            await self._done("MKCOL", below)

    async def remove_directory(self, url: str) -> None:
        # A server may take DELETE of a directory for all below it (RFC 4918, section 9.6.1): never where there is any.
        if await self.listing(url):
            raise NotEmpty("destination", f"{url} is not empty")
        try:
            await self._done("DELETE", url)
        except StorageFault as fault:
            if "not empty" in fault.said:
                raise NotEmpty("destination", fault.said) from fault
            raise

    async def listing(self, url: str) -> list[Entry]:
        found = await self._properties(url, "1")
        own = _decoded(urlsplit(_http(url)).path).rstrip("/")
        below = [(path.rstrip("/"), stat) for path, stat in found]
        if not any(path == own and stat.directory for path, stat in below):
            raise StorageFault("source", f"{url} is no directory")
        entries = [Entry(path.rpartition("/")[2], stat) for path, stat in below if path != own]
        if wrong := next((each.name for each in entries if _SHIFTED.fullmatch(each.name)), ""):
            raise StorageFault("permanent", f"PROPFIND {url}: a name with a newline spoils the listing, at {wrong!r}")
        return sorted(entries, key=lambda entry: entry.name)

    async def read(self, url: str) -> AsyncGenerator[bytes, None]:
        async with self._web.asked("GET", _http(url)) as response:
            if response.status != 200:
                raise await refusal("GET", url, response)
            async for piece in response.content.iter_chunked(PIECE_BYTES):
                yield piece

    async def write(self, url: str, pieces: AsyncIterator[bytes], size: int | None) -> None:
        headers = {} if size is None else {"Content-Length": str(size)}
        wrong: list[StorageFault] = []
        try:
            await self._put(url, headers, _noted(pieces, wrong))
        except StorageFault as fault:
            if wrong:
                raise wrong[0] from None  # what the pieces come from failed, not what they go to
            if fault.blame == "transient":
                # A server that refuses a body may answer and hang up while it is still being sent, so that nobody hears
                # why: it says so again where there is none.
                await self._put(url, {"Content-Length": "0"}, b"")
            raise

    async def bring_online(self, url: str) -> None:
        await self.stat(url)

    async def close(self) -> None:
        await self._web.close()

    # ---- requests ----------------------------------------------------------------------------------------------------

    async def _copy(
        self, active: str, headers: dict[str, str], other: str, progress: Progress, *, asked_of: str
    ) -> bool:
        """One COPY at the active end; False where it makes none."""
        headers = headers | {"Overwrite": "T", "Credential": "none"}
        if (shown := self._web.authorization(other)) is not None:
            headers["TransferHeaderAuthorization"] = shown
        async with self._web.asked("COPY", active, headers=headers) as response:
            if response.status in NO_PULL:
                return False
            if response.status not in (200, 201, 202):
                fault = await refusal("COPY", active, response)
                raise fault.at("destination") if asked_of == "destination" else fault
            verdict = ""
            async for line in response.content:
                if found := _MOVED.search(line):
                    progress(int(found[1]))
                if line.strip():
                    verdict = line.decode(errors="replace").strip()
        if not verdict.startswith("success"):
            raise _failure(verdict, f"COPY {active}")
        return True

    async def _put(self, url: str, headers: Mapping[str, str], data: AsyncIterator[bytes] | bytes) -> None:
        async with self._web.asked("PUT", _http(url), headers=headers, data=data) as response:
            if response.status not in (200, 201, 204):
                raise (await refusal("PUT", url, response)).at("destination")
            await self._web.body(response)

    async def _done(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> None:
        async with self._web.asked(method, _http(url), headers=headers) as response:
            if response.status not in (200, 201, 202, 204):
                raise await refusal(method, url, response)
            await self._web.body(response)

    async def _is_directory(self, url: str) -> bool:
        try:
            return (await self.stat(url)).directory
        except Absent:
            return False

    async def _digest(self, url: str, algorithm: str) -> str | None:
        """What the server says of a checksum; None where it does not have that algorithm."""
        wanted = DIGESTS.get(algorithm, algorithm)
        async with self._web.asked("HEAD", _http(url), headers={"Want-Digest": wanted}) as response:
            if response.status != 200:
                raise await refusal("HEAD", url, response)
            said = dict(part.strip().partition("=")[::2] for part in response.headers.get("Digest", "").split(","))
        value = {name.lower(): text for name, text in said.items()}.get(wanted)
        if not value:
            return None
        digits = base64.b64decode(value).hex() if algorithm in DIGESTS else value.lower().rjust(8, "0")
        return f"{algorithm}:{digits}"

    async def _properties(self, url: str, depth: str) -> list[tuple[str, Stat]]:
        """(path, what it is) of a file or directory, and with depth 1 of what it holds."""
        async with self._web.asked("PROPFIND", _http(url), headers={"Depth": depth}) as response:
            if response.status != 207:
                raise await refusal("PROPFIND", url, response)
            body = _encoded(await self._web.body(response), response.headers.get("Server", ""))
        try:
            answers = ET.fromstring(body).findall(f"{_DAV}response")  # noqa: S314 - expat bounds what entities expand to  # nosec B314
            return [(_path(answer), _stat(answer)) for answer in answers]
        except (ET.ParseError, ValueError) as wrong:
            raise StorageFault("permanent", f"PROPFIND {url}: answered no properties: {wrong}") from wrong


def _failure(verdict: str, what: str) -> StorageFault:
    """The fault in the last line of a copy."""
    said = f"{what}: {verdict or 'ended without saying how'}"
    if found := _STATUS.search(verdict):
        status = int(found[1])
        if status in (404, 410):
            return Absent("source", said)
        return StorageFault("transient" if status >= 500 or status == 429 else "source", said)
    lowered = verdict.lower()
    if "no space" in lowered or "disk full" in lowered or "quota" in lowered:
        return StorageFault("destination", said)
    return StorageFault("transient", said)


async def _noted(pieces: AsyncIterator[bytes], wrong: list[StorageFault]) -> AsyncIterator[bytes]:
    """The pieces; how they failed is noted, since who sends them makes it a failure of the connection."""
    try:
        async for piece in pieces:
            yield piece
    except StorageFault as fault:
        wrong.append(fault)
        raise


def _path(answer: ET.Element) -> str:
    href = answer.findtext(f"{_DAV}href")
    if href is None:
        raise ValueError("a response without href")
    return _decoded(urlsplit(href.strip()).path)


def _decoded(path: str) -> str:
    return unquote(path, errors="surrogateescape")


def _encoded(body: bytes, server: str) -> bytes:
    """An answer whose names are percent-encoded, whatever the server did."""
    raw = [html.unescape(found[2].decode("latin-1")).encode("latin-1", "replace") for found in _HREF.finditer(body)]
    if not server.startswith("XrootD") and not any(map(_RAW.search, raw)):
        return body
    names = iter(raw)
    return _HREF.sub(lambda found: found[1] + quote_from_bytes(next(names)).encode() + found[3], body)


def _stat(answer: ET.Element) -> Stat:
    found = answer.find(f"{_DAV}propstat/{_DAV}prop")
    if found is None:
        raise ValueError("a response without properties")
    directory = found.find(f"{_DAV}resourcetype/{_DAV}collection") is not None
    modified = found.findtext(f"{_DAV}getlastmodified")
    size = 0 if directory else int(found.findtext(f"{_DAV}getcontentlength") or 0)
    return Stat(size, directory, parsedate_to_datetime(modified).timestamp() if modified else None)


def _http(url: str) -> str:
    """The address as HTTP has it."""
    scheme, sep, rest = url.partition("://")
    if scheme not in WebdavMover.schemes or not sep:
        raise StorageFault("permanent", f"{url[:200]} is no address of WebDAV")
    return f"{'https' if scheme in ('davs', 'https') else 'http'}://{rest}"
