"""`reploc fileops`: the commands of operators, against the daemon, as people run them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from carried import Storage, World, world
from click.testing import CliRunner, Result

from fileops.messages import LinkSaid, OperationSaid
from fileops.plots import colour, draw, flows, intervals
from reploc.cli import cli


async def said(grid: World, *words: str, status: int = 0) -> Result:
    """What a command says, run beside the daemon."""
    command = ["fileops", *words, "--fileops", grid.url]
    result = await asyncio.to_thread(CliRunner().invoke, cli, command)
    assert result.exit_code == status, result.output
    return result


async def test_operations_are_submitted_watched_and_told(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": b"x" * 5_000, "/g": b"y"})
        await grid.start()
        result = await said(grid, "submit", "copy", "/f", "/g", "--site", "b", "--from", "a", "--wait")
        assert [line.split("\t")[3] for line in result.output.splitlines()] == ["done", "done"]
        listed = await said(grid, "list", "--site", "b", "--json")
        rows = [json.loads(line) for line in listed.output.splitlines()]
        assert [row["lfn"] for row in rows] == ["/f", "/g"]
        story = await said(grid, "story", str(rows[0]["id"]))
        assert "copied from a" in story.output and "claimed" in story.output
        assert (await said(grid, "cancel", str(rows[0]["id"]), status=1)).output.startswith("reploc: operation-unready")
        await said(grid, "story", "99", status=1)
        history = await said(grid, "history", "--json")
        assert len(history.output.splitlines()) == 2
        ended, *first = (await said(grid, "history")).output.splitlines()[0].split("\t")
        assert ended.startswith("20") and [*first[:4], first[5]] == ["1", "copy", "b", "done", "5.0 kB"]
        assert float(first[6]) > 0 and first[7:] == ["a", "/f", "-"]
        await said(grid, "history", "--plot", str(tmp_path / "h.html"))
        assert "Flows" in (tmp_path / "h.html").read_text(encoding="utf-8")


async def test_a_held_operation_is_released_and_a_drained_service_waits(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": b"x"})
        await grid.start()
        result = await said(
            grid, "submit", "delete", "/f", "--site", "a", "--witness", "b", "--wait", "--json", status=1
        )
        assert json.loads(result.output)["state"] == "held"
        assert "drained: all sites" in (await said(grid, "drain", "--wait")).output
        await two.hold({"/f": b"x"})
        assert "is queued" in (await said(grid, "release", "--held")).output
        assert "1 queued" in (await said(grid, "status")).output
        assert "drained: no site" in (await said(grid, "drain", "--undo")).output
        await grid.ended([1])
        await said(grid, "links")
        assert "'nowhere' is not defined" in (await said(grid, "drain", "--site", "nowhere", status=2)).output
        await said(grid, "submit", "copy", "/f", "--site", "nowhere", "--from", "b", status=2)


def operation(number: int, end: float, moved: int, source: str = "a") -> OperationSaid:
    return OperationSaid(
        number, "copy", "b", f"/f{number}", "done", 0, (source,), "", moved, None, None, 1, source, "", "", 0.0, 0.0,
        end, 1.0, moved,
    )  # fmt: skip


def test_volumes_add_up_over_intervals_and_flows(tmp_path: Path) -> None:
    ended = [operation(number, 1_000.0 + number, 10, "ac"[number % 2]) for number in range(100)]
    moments, volumes, step = intervals(ended)
    assert len(moments) == 60 and sum(volumes["b"]) == 1_000 and step == pytest.approx(99 / 60)
    assert flows(ended) == {("a", "b"): 500, ("c", "b"): 500}
    assert intervals([]) == ([], {}, 1.0)
    draw([], [LinkSaid("a", "b", 0.5, 1.0, 1, 1, 1, 0.0)], tmp_path / "empty.html")
    assert (colour(0.0), colour(1.0)) == ("rgba(0, 160, 60, 0.6)", "rgba(210, 0, 60, 0.6)")
