"""`reploc tree`, and what a node measures of those below it, over real sockets."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from grid import until
from plain_http import ask
from tree import Tree, level, tree

from reploc.cli import cli
from reploc.client.tree import levels
from reploc.hierarchy import LEVELS_MAX

LFNS = [f"/run/{number}" for number in range(20)]


async def run(*args: str) -> Result:
    """The command in a thread of its own, since it runs a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, cli, list(args), env={"HOME": "/nonexistent"})


async def shown(made: Tree, name: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and what is shown of each node, begun at one of them."""
    said = await run("tree", "--json", "--rli", made.nodes[name].url)
    return said.exit_code, {one["node"]: one for one in map(json.loads, said.stdout.splitlines())}


def states(senders: list[dict[str, Any]]) -> dict[str, str]:
    return {one["name"]: one["state"] for one in senders}


async def gauge(made: Tree, name: str, metric: str) -> dict[str, float]:
    """A metric of a node by its label."""
    _, text = await ask(made.nodes[name].url + "/metrics")
    rows = [line.split() for line in text.decode().splitlines() if line.startswith(f"{metric}{{")]
    return {labels.split('"')[1]: float(value) for labels, value in rows}


async def test_the_tree_is_shown_from_any_node_with_what_is_silent(tmp_path: Path) -> None:
    low, other, middle, root = level("cern-1", "cern-2"), level("fnal-1"), level("eu-1", "eu-2"), level("root")
    async with tree(tmp_path, [low, other], [middle], [root]) as made:
        await made.site("a", low, LFNS)
        await made.site("b", other, LFNS[::3])
        await made.settled([*LFNS, "/nowhere"])
        for name in made.nodes:
            _, found = await until(
                lambda name=name: shown(made, name), lambda said: said[0] == 0, f"all is complete, seen from {name}"
            )
            assert {name: one["level"] for name, one in found.items()} == {
                "root": 1,
                "eu-1": 2,
                "eu-2": 2,
                "cern-1": 3,
                "cern-2": 3,
                "fnal-1": 3,
            }
            assert states(found["root"]["children"]) == {"eu-1": "live", "eu-2": "live"}
            assert all(one["complete"] and one["news_age_s"] >= 0 for one in found["eu-1"]["children"])
            assert (found["cern-1"]["parents"], states(found["cern-1"]["sites"])) == (["eu-1", "eu-2"], {"a": "live"})
        assert await gauge(made, "root", "reploc_children") == {"live": 2, "silent": 0, "listed": 0}
        assert await gauge(made, "root", "reploc_child_complete") == {"eu-1": 1, "eu-2": 1}
        assert (await gauge(made, "root", "reploc_child_news_age_seconds")).keys() == {"eu-1", "eu-2"}
        assert await gauge(made, "cern-1", "reploc_children") == {}, "it has none"
        await made.sites["a"].stop()
        await made.nodes["fnal-1"].stop()
        status, found = await until(
            lambda: shown(made, "eu-2"),
            lambda said: (
                states(said[1]["cern-1"]["sites"]) == {"a": "silent"}
                and states(said[1]["eu-1"]["children"])["fnal-1"] == "silent"
                and not any(one.get("complete") for one in said[1]["root"]["children"])
            ),
            "what is silent is shown",
        )
        assert (status, found["fnal-1"]["level"], found["fnal-1"]["code"]) == (3, 3, "not-connected")
        assert (await gauge(made, "eu-1", "reploc_children"))["silent"] == 1
        assert await gauge(made, "root", "reploc_child_complete") == {"eu-1": 0, "eu-2": 0}
        words = await run("tree", "--rli", made.nodes["root"].url)
        rows = [line.split("\t") for line in words.stdout.splitlines()]
        assert ["1", "root", made.nodes["root"].url, "incomplete"] in [row[:4] for row in rows]
        assert ["cern-1", "a", "silent"] in [row[:3] for row in rows]
        assert ["root", "eu-1", "live"] in [row[:3] for row in rows]
        assert "fnal-1: not-connected" in words.stderr


async def test_a_node_that_nobody_answers_for_ends_in_failure() -> None:
    said = await run("tree", "--rli", "http://127.0.0.1:1")
    assert (said.exit_code, "not-connected" in said.stdout) == (4, True)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([], {"a": 1, "b": 1, "c": 1}),
        ([("a", "b"), ("b", "c"), ("a", "c")], {"a": 1, "b": 2, "c": 3}),
        ([("b", "c"), ("a", "b"), ("x", "a")], {"a": 1, "b": 2, "c": 3}),
    ],
)
def test_a_node_is_one_level_below_the_lowest_of_its_parents(
    edges: list[tuple[str, str]], expected: dict[str, int]
) -> None:
    assert levels("abc", edges) == expected


def test_a_circle_in_the_settings_ends() -> None:
    assert max(levels("abc", [("a", "b"), ("b", "c"), ("c", "a")]).values()) == LEVELS_MAX
