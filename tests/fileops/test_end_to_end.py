"""File operations by hand, end to end: real files, real catalogs, the daemon over HTTP."""

from pathlib import Path

import pytest
from carried import Storage, World, world

from fileops.messages import IdsBody, OperationItem, OutcomesSaid
from reploc.errors import BodyInvalid, OperationUnknown


async def test_a_copy_is_verified_named_and_registered(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        data = b"x" * 100_000
        await one.hold({"/store/d/f": data}, "/d#1")
        await grid.start()
        (number,) = await grid.submit(OperationItem("copy", "b", "/store/d/f", ("a",)))
        (said,) = await grid.ended([number])
        assert (said.moved, said.source, said.attempts) == (100_000, "a", 1)
        found = await two.find("/store/d/f")
        assert found is not None and found.pfns == [two.pfn("/store/d/f")] and found.collection == "/d#1"
        assert two.path("/store/d/f").read_bytes() == data
        assert not two.debris()
        story = await grid.operation(number)
        assert [line.event for line in story.story] == ["submitted", "claimed", "succeeded"]


async def test_a_deletion_unregisters_removes_and_leaves_no_empty_directory(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/store/d/f": b"1", "/store/g": b"2"})
        await two.hold({"/store/d/f": b"1"})
        await grid.start()
        (number,) = await grid.submit(OperationItem("delete", "a", "/store/d/f", witness="b"))
        await grid.ended([number])
        assert await one.find("/store/d/f") is None
        assert not (one.root / "store/d").exists() and one.path("/store/g").exists()


async def test_a_witness_that_lost_its_copy_holds_the_deletion(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": b"1"})
        await grid.start()
        (number,) = await grid.submit(OperationItem("delete", "a", "/f", witness="b"))
        (said,) = await grid.ended([number], "held")
        assert "the witness b does not hold /f any more" in said.reason
        assert one.path("/f").exists() and await one.find("/f") is not None
        await two.hold({"/f": b"1"})
        await grid.ask("POST", "/v1/operations/release", OutcomesSaid, IdsBody([number]))
        await grid.ended([number])


async def test_many_files_are_copied_side_by_side(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        files = {f"/store/{number % 7}/f{number}": bytes([number % 256]) * number for number in range(300)}
        await one.hold(files)
        await grid.start()
        ids = await grid.submit(*(OperationItem("copy", "b", lfn, ("a",)) for lfn in files))
        await grid.ended(ids)
        assert {lfn: two.path(lfn).read_bytes() for lfn in files} == files


async def refused(grid: World, item: OperationItem, said: str) -> None:
    with pytest.raises(BodyInvalid, match=said):
        await grid.submit(item)


async def test_what_cannot_be_right_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, Storage("a", tmp_path), Storage("b", tmp_path)) as grid:
        await grid.start()
        await refused(grid, OperationItem("copy", "c", "/f", ("a",)), "site 'c' is not defined here")
        await refused(grid, OperationItem("copy", "b", "/f"), "a copy needs sources")
        await refused(grid, OperationItem("copy", "b", "/f", ("b",)), "cannot be the source of a copy to itself")
        await refused(grid, OperationItem("delete", "b", "/f"), "needs a witness")
        await refused(grid, OperationItem("copy", "b", "/f", ("a",), checksum="x"), "names no known algorithm")
        assert await grid.operations() == []
        with pytest.raises(OperationUnknown, match="there is no operation 7"):
            await grid.operation(7)
