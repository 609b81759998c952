"""What every mover must do, as one suite: a test class of each mover inherits it and says where its storage is.

`storage` is the URL of an empty directory.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from urllib.parse import quote_from_bytes

import pytest

from reploc.storage.faults import Absent, NotEmpty, StorageFault
from reploc.storage.mover import Digest, Mover, Transfer, streamed

#: A file of some pieces, of no round size.
DATA = random.Random(7).randbytes((3 << 20) + 17)


async def pieces(data: bytes, size: int = 1 << 20) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def content(mover: Mover, url: str) -> bytes:
    return b"".join([piece async for piece in mover.read(url)])


def checksum(data: bytes, algorithm: str = "adler32") -> str:
    digest = Digest(algorithm)
    digest.add(data)
    return str(digest)


class MoverSuite:
    """Inherited by the tests of each mover, which give the fixtures `mover` and `storage`."""

    #: Files that are written and copied side by side.
    many = 20
    #: Names that its storage can have.
    names: tuple[bytes, ...] = (
        *(b"a b", b"a%20b", b"100%", b"plus+plus", b"under_score~x", b"a;b,c", b"a&b", b"h#x"),
        *("ü".encode(), b"\xff\xfe", b"x\x85y", b"trailing ", b" leading"),
    )

    async def put(self, mover: Mover, url: str, data: bytes) -> None:
        await mover.make_directory(url.rpartition("/")[0])
        await mover.write(url, pieces(data), len(data))

    @pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "one byte", "pieces"])
    async def test_what_is_written_is_read_again(self, mover: Mover, storage: str, data: bytes) -> None:
        await self.put(mover, f"{storage}/d/f", data)
        assert await content(mover, f"{storage}/d/f") == data
        found = await mover.stat(f"{storage}/d/f")
        assert (found.size, found.directory) == (len(data), False)
        assert await mover.checksum(f"{storage}/d/f", "adler32") == checksum(data)

    async def test_a_checksum_of_another_algorithm_is_that_algorithms(self, mover: Mover, storage: str) -> None:
        await self.put(mover, f"{storage}/f", DATA)
        for algorithm in ("md5", "sha256"):
            assert await mover.checksum(f"{storage}/f", algorithm) == checksum(DATA, algorithm)

    async def test_a_file_is_copied_and_replaces_what_stood_there(self, mover: Mover, storage: str) -> None:
        await self.put(mover, f"{storage}/d/f", DATA)
        await self.put(mover, f"{storage}/e/g", b"something else, longer or shorter")
        arrived: list[int] = []
        transfer = Transfer(f"{storage}/d/f", f"{storage}/e/g", len(DATA), checksum(DATA), "1.1")
        await mover.copy(transfer, arrived.append)
        assert await content(mover, f"{storage}/e/g") == DATA
        assert await content(mover, f"{storage}/d/f") == DATA
        if mover.tells_progress:
            assert arrived[-1] == len(DATA)

    async def test_a_file_passes_through_this_machine(self, mover: Mover, storage: str) -> None:
        await self.put(mover, f"{storage}/f", DATA)
        arrived: list[int] = []
        await streamed(mover, mover, Transfer(f"{storage}/f", f"{storage}/g", len(DATA)), arrived.append)
        assert await content(mover, f"{storage}/g") == DATA
        assert arrived[-1] == len(DATA)

    async def test_a_stream_that_breaks_off_is_its_sources_fault_and_no_whole_file(
        self, mover: Mover, storage: str
    ) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield DATA[: 1 << 20]
            raise StorageFault("source", "it vanished")

        await mover.make_directory(storage)
        with pytest.raises(StorageFault, match="it vanished") as caught:
            await mover.write(f"{storage}/f", broken(), len(DATA))
        assert caught.value.blame == "source"
        try:
            assert (await mover.stat(f"{storage}/f")).size < len(DATA)
        except Absent:
            pass
        else:
            assert not mover.appears_whole(storage)

    async def test_a_source_that_is_absent_is_the_sources_fault(self, mover: Mover, storage: str) -> None:
        await mover.make_directory(f"{storage}/d")
        with pytest.raises(StorageFault) as caught:
            await mover.copy(Transfer(f"{storage}/d/none", f"{storage}/d/g", 5), lambda _: None)
        assert caught.value.blame == "source"
        with pytest.raises(Absent):
            await content(mover, f"{storage}/d/none")

    async def test_a_file_is_renamed_over_another(self, mover: Mover, storage: str) -> None:
        if mover.appears_whole(storage):
            return  # nothing is renamed there
        await self.put(mover, f"{storage}/d/f", b"new")
        await self.put(mover, f"{storage}/d/g", b"older")
        await mover.rename(f"{storage}/d/f", f"{storage}/d/g")
        assert await content(mover, f"{storage}/d/g") == b"new"
        with pytest.raises(Absent):
            await mover.stat(f"{storage}/d/f")

    async def test_a_file_is_removed_once(self, mover: Mover, storage: str) -> None:
        await self.put(mover, f"{storage}/d/f", b"x")
        await mover.remove(f"{storage}/d/f")
        for again in (mover.remove, mover.stat):
            with pytest.raises(Absent):
                await again(f"{storage}/d/f")

    async def test_directories_are_made_listed_and_removed_when_empty(self, mover: Mover, storage: str) -> None:
        await mover.make_directory(f"{storage}/a/b/c")
        await mover.make_directory(f"{storage}/a/b/c")
        await self.put(mover, f"{storage}/a/f", b"xyz")
        await self.put(mover, f"{storage}/a/b/c/g", b"")
        assert [(each.name, each.stat.size, each.stat.directory) for each in await mover.listing(f"{storage}/a")] == [
            ("b", 0, True),
            ("f", 3, False),
        ]
        if not mover.appears_whole(storage):
            assert (await mover.stat(f"{storage}/a/b")).directory
        with pytest.raises(NotEmpty):
            await mover.remove_directory(f"{storage}/a/b/c")
        assert await content(mover, f"{storage}/a/b/c/g") == b""
        await mover.remove(f"{storage}/a/b/c/g")
        await mover.remove_directory(f"{storage}/a/b/c")
        with pytest.raises(Absent):
            await mover.listing(f"{storage}/a/b/c")

    async def test_names_that_need_care_name_one_file_each(self, mover: Mover, storage: str) -> None:
        plain = storage.startswith(("root:", "xroot:"))
        for number, name in enumerate(self.names):
            url = f"{storage}/names/{os.fsdecode(name) if plain else quote_from_bytes(name)}"
            await self.put(mover, url, b"%d" % number)
            assert await content(mover, url) == b"%d" % number
        listed = await mover.listing(f"{storage}/names")
        assert {os.fsencode(each.name): each.stat.size for each in listed} == {
            name: len(str(number)) for number, name in enumerate(self.names)
        }

    async def test_a_copy_that_is_cancelled_ends(self, mover: Mover, storage: str) -> None:
        await self.put(mover, f"{storage}/f", DATA)
        copy = asyncio.create_task(
            mover.copy(Transfer(f"{storage}/f", f"{storage}/g", len(DATA), key="2.1"), lambda _: None)
        )
        await asyncio.sleep(0)
        copy.cancel()
        await asyncio.wait([copy], timeout=20)
        assert copy.done()
        await self.put(mover, f"{storage}/g", b"as before")
        assert await content(mover, f"{storage}/g") == b"as before"

    async def test_many_files_at_once(self, mover: Mover, storage: str) -> None:
        await mover.make_directory(f"{storage}/many")
        names = [f"{storage}/many/f{number}" for number in range(self.many)]
        await asyncio.gather(*(mover.write(name, pieces(name.encode()), len(name)) for name in names))
        copies = [mover.copy(Transfer(name, f"{name}.copy", len(name)), lambda _: None) for name in names]
        await asyncio.gather(*copies)
        assert await asyncio.gather(*(content(mover, f"{name}.copy") for name in names)) == [
            name.encode() for name in names
        ]
