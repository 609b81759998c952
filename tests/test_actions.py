"""What requests do: every route names its action, and the names that its rules are about."""

import ast
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import fileops.server
import lrc.server
import placement.server
import rli.server
from fileops.settings import FileopsSettings
from lrc.reading import DumpQuery, NamesQuery
from lrc.settings import LrcSettings
from placement.settings import PlacementSettings
from reploc.actions import Action
from reploc.routes import Route
from reploc.wire import DeleteBody, DeleteItem, MappingItem, MappingsBody, RenameBody, RenameItem
from rli.settings import RliSettings

ROOT = Path(__file__).parents[1]
PACKAGES = ("reploc", "lrc", "rli", "placement", "fileops", "consistency")
#: Fields of a query or a body that hold names, or what names begin with.
NAMING = {"lfn", "lfns", "mappings", "names", "name", "pattern", "site"}


@pytest.fixture
async def routes(tmp_path: Path) -> AsyncIterator[list[Route[Any]]]:
    """The routes of the services, without what every daemon has."""
    catalog = LrcSettings(site="a", store=str(tmp_path / "a"))
    carriers = FileopsSettings(journal=f"sqlite:///{tmp_path / 'journal.db'}")
    async with (
        lrc.server.compose(catalog) as one,
        rli.server.compose(RliSettings()) as other,
        fileops.server.compose(carriers) as third,
        placement.server.compose(PlacementSettings(database=f"sqlite:///{tmp_path / 'placement.db'}")) as fourth,
    ):
        yield [*one.routes, *other.routes, *third.routes, *fourth.routes]


def calls(tree: ast.AST, *names: str) -> Iterable[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


def test_every_route_in_the_source_names_its_action() -> None:
    """Read from the source, so that a route of a service that no test starts counts too."""
    found = 0
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        for call in calls(ast.parse(path.read_text(encoding="utf-8")), "get", "post"):
            first = call.args[0] if call.args else None
            if isinstance(first, ast.Constant) and str(first.value).startswith("/"):
                found += 1
                assert "action" in {keyword.arg for keyword in call.keywords}, f"{path}:{call.lineno}"
    assert found > 20


async def test_a_route_whose_request_holds_names_says_which(routes: list[Route[Any]]) -> None:
    for route in routes:
        fields = {field.name for field in msgspec.structs.fields(route.kind)}
        assert bool(fields & NAMING) <= (route.acts_on is not None), route.path


def acts_on(routes: Iterable[Route[Any]], path: str, what: object) -> list[str]:
    route = next(route for route in routes if route.path == path and route.kind is type(what))
    assert route.acts_on is not None
    return list(route.acts_on(what))


async def test_requests_act_on_the_names_that_they_read_or_change(routes: list[Route[Any]]) -> None:
    item = MappingItem("/a", "file:///a", collection="/set#1")
    assert acts_on(routes, "/v1/mappings", MappingsBody("put", [item, MappingItem("/b", "file:///b")])) == [
        "/a", "/set#1", "/b",
    ]  # fmt: skip
    assert acts_on(routes, "/v1/mappings/delete", DeleteBody([DeleteItem("/a")])) == ["/a"]
    assert acts_on(routes, "/v1/mappings/rename", RenameBody("lfn", [RenameItem("/a", "/b")])) == ["/a", "/b"]


async def test_what_is_about_every_name_acts_on_all(routes: list[Route[Any]]) -> None:
    """A dump, a listing without a prefix, and whatever goes by PFN, which may stand under any LFN."""
    assert acts_on(routes, "/v1/dump", DumpQuery()) == [""]
    assert acts_on(routes, "/v1/lfns", NamesQuery(pattern="*/a")) == [""]
    assert acts_on(routes, "/v1/lfns", NamesQuery(pfn="file:///a")) == [""]
    assert acts_on(routes, "/v1/mappings/rename", RenameBody("pfn", [RenameItem("file:///a", "file:///b")])) == [""]
    assert acts_on(routes, "/v1/lfns", NamesQuery(pattern="/store/mc/*")) == ["/store/mc/"]


async def test_no_route_of_a_service_is_open_to_whoever_comes(routes: list[Route[Any]]) -> None:
    assert [route.path for route in routes if route.action is Action.PUBLIC] == []
