"""The commands over real sockets: what they print, for people and programs, and how they end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from service_doubles import CatalogDouble, NodeDouble, nonsense, serving

from reploc import __version__
from reploc.cli import ServiceCommands, cli
from reploc.commands import terminal
from reploc.questions import Demand
from reploc.wire import DeleteBody, DeleteItem, MappingItem, MappingsBody

GONE = "http://127.0.0.1:1"


async def run(*args: str, stdin: bytes | None = None, **environ: str) -> Result:
    """The command in a thread of its own, since it runs a loop of its own."""
    nobody = {"REPLOC_LRC": "", "REPLOC_RLI": "", "HOME": "/nonexistent"}
    return await asyncio.to_thread(CliRunner().invoke, cli, list(args), input=stdin, env=nobody | environ)


@dataclass
class Grid:
    """One site that is there, one that is gone, and an index node that knows both."""

    catalog: CatalogDouble
    node: NodeDouble
    lrc: str
    rli: str


@pytest.fixture
async def grid() -> AsyncIterator[Grid]:
    catalog = CatalogDouble({"/a": ["file:///a"], "/both": ["file:///both"]}, site="X")
    async with AsyncExitStack() as stack:
        lrc = await stack.enter_async_context(serving(catalog.routes()))
        held = {"/a": ["X"], "/both": ["X", "Gone"], "/false": ["X"]}
        node = NodeDouble("node-0", held=held, sites={"X": lrc, "Gone": GONE}, redundancy=1)
        rli = await stack.enter_async_context(serving(node.routes()))
        node.urls = {"node-0": rli}
        yield Grid(catalog, node, lrc, rli)


async def test_register_puts_one_mapping(grid: Grid) -> None:
    args = ["--size", "7", "--checksum", "adler32:00000001", "--collection", "/set#1"]
    result = await run("register", "/new", "file:///new", *args, "--lrc", grid.lrc)
    assert result.stdout == "registered 1; the catalog is at position 1\n"
    assert result.exit_code == 0
    item = MappingItem("/new", "file:///new", 7, "adler32:00000001", "/set#1")
    assert grid.catalog.written == [MappingsBody("put", [item])]


async def test_register_reads_a_file_and_names_the_lines_that_were_refused(grid: Grid, tmp_path: Path) -> None:
    grid.catalog.refused = {"/2", "/9001"}
    file = tmp_path / "mappings.tsv"
    file.write_text("".join(f"/{number}\tfile:///{number}\n" for number in range(10_000)))
    result = await run("register", "--mode", "create", "--file", str(file), REPLOC_LRC=grid.lrc)
    assert result.exit_code == 1
    assert result.stdout.startswith("registered 9,998, 2 refused; ")
    assert f"reploc: {file} line 3: lfn-exists: /2 exists\n" in result.stderr
    assert f"reploc: {file} line 9002: lfn-exists: /9001 exists\n" in result.stderr


async def test_register_tells_programs_what_was_refused(grid: Grid) -> None:
    grid.catalog.refused = {"/2"}
    lines = b'{"lfn":"/1","pfn":"x"}\n{"lfn":"/2","pfn":"x"}\n'
    result = await run("register", "--file", "-", "--format", "ndjson", "--json", "--lrc", grid.lrc, stdin=lines)
    refused, done = map(json.loads, result.stdout.splitlines())
    assert (refused["code"], refused["message"]) == ("lfn-exists", "/2 exists")
    assert refused["where"].endswith("line 2")
    assert done == {"done": 1, "refused": 1, "position": 1}


async def test_unregister_deletes_a_mapping_or_a_whole_lfn(grid: Grid) -> None:
    assert (await run("unregister", "/a", "file:///a", "--lrc", grid.lrc)).exit_code == 0
    assert (await run("unregister", "--file", "-", "--lrc", grid.lrc, stdin=b"/a\n")).exit_code == 0
    assert grid.catalog.written == [DeleteBody([DeleteItem("/a", "file:///a")]), DeleteBody([DeleteItem("/a")])]


async def test_locate_prints_sites_between_tabs(grid: Grid) -> None:
    result = await run("locate", "/a", "/nobody", "--rli", grid.rli)
    assert result.stdout == f"/a\tX\t1.0 s\t{grid.lrc}\n/nobody\tnowhere\t-\t-\n"
    assert result.exit_code == 1


async def test_locate_says_that_its_answer_is_incomplete(grid: Grid) -> None:
    grid.node.incomplete, grid.node.missing = {"/nobody"}, ["Far"]
    result = await run("locate", "/nobody", "--rli", grid.rli)
    assert result.stdout == "/nobody\tunknown\t-\t-\n"
    assert result.stderr == "reploc: incomplete: the index has no news of site Far\n"
    assert result.exit_code == 3


@pytest.mark.parametrize("command", ["locate", "lookup"])
async def test_an_answer_that_is_incomplete_says_why_though_no_site_is_named(grid: Grid, command: str) -> None:
    grid.node.incomplete = {"/a"}
    result = await run(command, "/a", "--rli", grid.rli)
    assert result.stderr == "reploc: incomplete: the index does not know all sites yet; other sites may hold copies\n"
    assert result.exit_code == 3


async def test_locate_says_only_whether_names_exist(grid: Grid) -> None:
    grid.node.incomplete, grid.node.missing = {"/far"}, ["Far"]
    result = await run("locate", "--exists", "/a", "/nobody", "/far", "--rli", grid.rli)
    assert result.stdout == "/a\tmaybe\n/nobody\tno\n/far\tunknown\n"
    assert result.exit_code == 3
    result = await run("locate", "--exists", "--verify", "--json", "/a", "--rli", grid.rli)
    assert json.loads(result.stdout) == {"lfn": "/a", "exists": "yes"}
    assert grid.node.demanded[-1] == Demand(None, True)


async def test_a_demanded_age_goes_to_the_index_and_stale_sites_are_named(grid: Grid) -> None:
    grid.node.incomplete, grid.node.stale = {"/a"}, ["Slow"]
    for command in ("locate", "lookup"):
        result = await run(command, "--max-age", "5", "/a", "--rli", grid.rli)
        assert "incomplete: the news of site Slow is too old, and it could not be asked" in result.stderr
        assert result.exit_code == 3
        assert grid.node.demanded[-1] == Demand(5.0)


async def test_lookup_prints_verified_copies(grid: Grid) -> None:
    result = await run("lookup", "/a", "--rli", grid.rli)
    assert result.stdout == "/a\tX\t1 byte\tfile:///a\n"
    assert result.exit_code == 0


async def test_lookup_says_what_the_order_for_a_site_lacks(grid: Grid) -> None:
    result = await run("lookup", "/a", "--client-site", "Y", "--rli", grid.rli)
    assert result.stderr == "reploc: copies are ordered by round trip: no distance is configured from Y to X\n"
    assert result.exit_code == 0
    assert (await run("lookup", "/a", "--client-site", "X", "--rli", grid.rli)).stderr == ""


async def test_lookup_leaves_out_false_positives(grid: Grid) -> None:
    result = await run("lookup", "/false", "--rli", grid.rli)
    assert result.stdout == "/false\tnowhere\t-\t-\n"
    assert result.exit_code == 1


async def test_lookup_names_the_sites_that_could_not_be_asked(grid: Grid) -> None:
    result = await run("lookup", "--file", "-", "--json", "--rli", grid.rli, stdin=b"/a\n/both\n")
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["complete"]
    assert second["unreachable"] == ["Gone"]
    assert [replica["pfns"] for replica in second["replicas"]] == [["file:///both"]]
    assert "site Gone could not be asked: not-connected" in result.stderr
    assert result.exit_code == 3


async def test_lookup_of_many_names_keeps_their_order(grid: Grid) -> None:
    lfns = [f"/{number}" for number in range(9_000)]
    result = await run("lookup", "--file", "-", "--json", "--rli", grid.rli, stdin="\n".join(lfns).encode())
    assert [json.loads(line)["lfn"] for line in result.stdout.splitlines()] == lfns


async def test_status_shows_catalogs_and_nodes(grid: Grid) -> None:
    result = await run("status", "--lrc", grid.lrc, "--rli", grid.rli)
    assert result.exit_code == 0
    rows = [line.split("\t") for line in result.stdout.splitlines() if line]
    assert rows[0][0] == "X"
    assert rows[1][:2] == ["node-0", grid.rli]


async def test_status_goes_on_where_a_service_is_down(grid: Grid) -> None:
    result = await run("status", "--lrc", GONE, "--rli", grid.rli, "--json")
    down, node, members = map(json.loads, result.stdout.splitlines())
    assert (down["kind"], down["url"], down["code"]) == ("lrc", GONE, "not-connected")
    assert (node["kind"], node["node"]) == ("rli", "node-0")
    assert members["node"] == "node-0"
    assert result.exit_code == 3


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["lookup", "/a"], 2, "config-invalid: no index node is known\nreploc: hint: name one with --rli"),
        (["register", "/a", "b"], 2, "config-invalid: no catalog is known; expected one"),
        (["status"], 2, "config-invalid: no service is known"),
        (["lookup", "/a", "--rli", GONE], 4, "unreachable: no index node could say"),
        (["register", "/a", "b", "--lrc", GONE], 4, "not-connected: POST http://127.0.0.1:1/v1/mappings: cannot"),
        (["status", "--lrc", GONE], 4, "not-connected"),
        (["lookup", "/a", "--rli", "nonsense"], 2, "rli 'nonsense' is not http://HOST"),
        (["lookup", "--rli", GONE], 2, "expected LFNs or --file"),
        (["lookup", "", "--rli", GONE], 2, "input-invalid: LFN 1 on the command line is empty"),
        (["lookup", "/a\n", "--rli", GONE], 2, "holds a control character (U+000A)"),
        (["lookup", "/a", "--deadline", "0", "--rli", GONE], 2, "0.0 is not in the range"),
        (["lookup", "/a", "--deadline", "nan", "--rli", GONE], 2, "'nan' is not a number of seconds"),
        (["locate", "/a", "--max-age", "nan", "--rli", GONE], 2, "'nan' is not a number of seconds"),
        (["register", "/a", "--lrc", GONE], 2, "expected LFN and PFN, or --file"),
        (["register", "x" * 4097, "b", "--lrc", GONE], 2, "name-invalid: lfn is 4,097 bytes long"),
        (["register", "--file", "-", "--size", "1", "--lrc", GONE], 2, "with --file everything stands in the file"),
        (["unregister", "--lrc", GONE], 2, "expected LFN, or --file"),
        (["register", "--file", "/nonexistent", "--lrc", GONE], 2, "No such file"),
        (["frobnicate"], 2, "No such command 'frobnicate'"),
    ],
)
async def test_what_goes_wrong_is_said_in_a_line_and_a_status(args: list[str], status: int, words: str) -> None:
    result = await run(*args)
    assert words in result.stderr
    assert result.exit_code == status
    assert "Traceback" not in result.output


async def test_a_line_of_input_that_is_wrong_is_named(grid: Grid) -> None:
    result = await run("register", "--file", "-", "--lrc", grid.lrc, stdin=b"/a\tfile:///a\n/b\n")
    assert "line 2: has 1 columns; expected lfn, pfn" in result.stderr
    assert result.exit_code == 2


async def test_an_index_that_is_something_else_is_said_to_be(grid: Grid) -> None:
    grid.node.trouble = nonsense
    result = await run("lookup", "/a", "--rli", grid.rli)
    assert "answered 'text/html'" in result.stderr
    assert result.exit_code == 4


@pytest.mark.parametrize("command", ["register", "unregister", "locate", "lookup", "status"])
async def test_every_command_says_how_it_may_end(command: str) -> None:
    result = await run(command, "--help")
    assert "Exit status:\n    0  everything was done or found\n" in result.stdout


async def test_the_version_is_that_of_the_package() -> None:
    assert __version__ in (await run("--version")).stdout


def test_a_command_that_cannot_be_loaded_disturbs_no_other() -> None:
    @click.group(cls=ServiceCommands)
    def group() -> None:
        """A group of commands."""

    point = EntryPoint("broken", "reploc_no_such_module:command", "reploc.commands")
    group._found = {"broken": point}  # the cached list of installed entry points
    group.add_command(click.Command("fine", callback=lambda: click.echo("done")))
    listed = CliRunner().invoke(group, ["--help"])
    assert "cannot be loaded: ModuleNotFoundError" in " ".join(listed.stdout.split())
    assert CliRunner().invoke(group, ["fine"]).stdout == "done\n"
    broken = CliRunner().invoke(group, ["broken", "serve", "--config", "x"])
    assert "command 'broken' (reploc_no_such_module:command) cannot be loaded" in broken.stderr
    assert broken.exit_code == 2


def test_an_unexpected_error_is_one_line_and_no_traceback() -> None:
    @click.group(cls=ServiceCommands)
    def group() -> None:
        """A group of commands."""

    @group.command()
    def divide() -> None:
        raise ZeroDivisionError("division by zero")

    result = CliRunner().invoke(group, ["divide"])
    assert "reploc: internal: ZeroDivisionError: division by zero\n" in result.stderr
    assert result.exit_code == 4


@pytest.mark.parametrize(
    ("show", "value", "shown"),
    [
        (terminal.shown_age, None, "-"),
        (terminal.shown_age, 0.25, "0.2 s"),
        (terminal.shown_age, 119, "119.0 s"),
        (terminal.shown_age, 7200, "2 h"),
        (terminal.shown_age, 864_000, "10 d"),
        (terminal.shown_bytes, None, "-"),
        (terminal.shown_bytes, 5_000_000, "5.0 MB"),
        (terminal.printable, "a\x1b[2Jb", "a\\x1b[2Jb"),
    ],
)
def test_figures_are_shown_for_people(show: Callable[[Any], str], value: Any, shown: str) -> None:
    assert show(value) == shown
