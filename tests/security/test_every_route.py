"""Every route of every daemon, asked by every kind of identity with every role: who gets in is what the table says.

The table is written by hand, so that a slip in a route's own `action` is a difference from it. A route without a line
fails, and so does a line without a route. A route's line says which action it needs; a new route gets one here.
"""

from __future__ import annotations

import ast
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from every_daemon import DAEMONS, ROOT, served
from parties import Parties

from reploc.actions import Action
from reploc.security.settings import AuthorizationSettings

#: Where the routes of a service stand, and what each needs.
EVERY_DAEMON = {
    "GET /healthz": "public",
    "GET /readyz": "public",
    "GET /openapi.json": "public",
    "GET /v1/whoami": "public",
    "GET /metrics": "monitor",
    "GET /v1/requests": "monitor",
}
TABLE: dict[str, dict[str, str]] = {
    "lrc": {
        "GET /v1/replicas": "read-catalog",
        "POST /v1/replicas": "read-catalog",
        "POST /v1/exists": "read-catalog",
        "GET /v1/lfns": "read-catalog",
        "GET /v1/collections": "read-catalog",
        "GET /v1/collection": "read-catalog",
        "GET /v1/collection/files": "read-catalog",
        "GET /v1/dump": "read-catalog",
        "GET /v1/changes": "read-catalog",
        "GET /v1/attributes": "read-catalog",
        "GET /v1/attributes/values": "read-catalog",
        "POST /v1/attributes/values": "read-catalog",
        "POST /v1/attributes/search": "read-catalog",
        "POST /v1/attributes/define": "write-catalog",
        "POST /v1/attributes/undefine": "write-catalog",
        "POST /v1/attributes/set": "write-catalog",
        "POST /v1/attributes/remove": "write-catalog",
        "POST /v1/mappings": "write-catalog",
        "POST /v1/mappings/delete": "write-catalog",
        "POST /v1/mappings/rename": "write-catalog",
        "GET /v1/rls/indexes": "monitor",
        "POST /v1/rls/indexes": "administer",
        "POST /v1/rls/indexes/delete": "administer",
        "POST /v1/rls/pace": "administer",
        "POST /v1/softstate/push": "administer",
        "GET /v1/softstate": "monitor",
        "GET /v1/status": "monitor",
    },
    "rli": {
        "GET /v1/locations": "read-index",
        "POST /v1/locations": "read-index",
        "POST /v1/exists": "read-index",
        "GET /v1/replicas": "read-index",
        "POST /v1/replicas": "read-index",
        "GET /v1/redirect": "read-index",
        "GET /v1/lfns": "read-index",
        "GET /v1/collection": "read-index",
        "GET /v1/collections/sites": "read-index",
        "GET /v1/collections/arrow": "read-index",
        "GET /v1/members": "read-index",
        "POST /v1/softstate": "send-soft-state",
        "GET /v1/status": "monitor",
    },
    "placement": {
        "GET /v1/inventory": "read-index",
        "GET /v1/definitions": "read-index",
        "GET /v1/datasets": "read-index",
        "GET /v1/dataset": "read-index",
        "GET /v1/locks": "read-index",
        "GET /v1/cycles": "read-index",
        "GET /v1/cycle/decisions": "read-index",
        "GET /v1/orders/history": "read-index",
        "POST /v1/inject": "place",
        "POST /v1/pull": "place",
        "POST /v1/locks": "place",
        "POST /v1/locks/release": "place",
        "POST /v1/orders": "place",
        "POST /v1/orders/cancel": "place",
        "GET /v1/data/requests": "read-index",
        "POST /v1/data/requests": "place",
        "POST /v1/data/requests/cancel": "place",
        "GET /v1/orders": "operate",
        "POST /v1/orders/progress": "operate",
        "GET /v1/block/files": "operate",
        "GET /v1/status": "monitor",
    },
    "fileops": {
        "GET /v1/operations": "monitor",
        "GET /v1/operation": "monitor",
        "POST /v1/operations": "operate",
        "POST /v1/operations/cancel": "operate",
        "POST /v1/operations/release": "operate",
        "POST /v1/drain": "operate",
        "GET /v1/links": "monitor",
        "GET /v1/carried": "monitor",
        "GET /v1/history": "monitor",
        "GET /v1/suspects": "monitor",
        "GET /v1/status": "monitor",
    },
}


def in_source(package: str) -> set[str]:
    """The routes that stand in the source of a service, started here or not."""
    found = set()
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("get", "post"):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and str(first.value).startswith("/"):
                    found.add(f"{node.func.id.upper()} {first.value}")
    return found


@pytest.mark.parametrize("package", ["lrc", "rli", "placement", "fileops", "consistency"])
def test_every_route_has_a_line(package: str) -> None:
    assert in_source(package) == set(TABLE.get(package, {}))


def test_every_route_of_every_daemon_has_a_line() -> None:
    assert in_source("reploc") == set(EVERY_DAEMON)


@dataclass(frozen=True)
class Who:
    """An identity that has the one role that allows one action, or none."""

    certificate: str = ""
    token: str = ""
    may: str = ""


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Parties, list[Who]]:
    """Nobody, somebody without a role, and for each action someone with a certificate and someone with a token."""
    parties = Parties.meet(tmp_path_factory.mktemp("identities"))
    lines = []
    found = [Who(), Who("stranger"), Who(token=parties.token())]
    for action in Action:
        parties.authority.issue_person(f"may-{action}")
        lines += [
            f'[[roles]]\nname = "{action}"\ngrants = [{{ actions = ["{action}"] }}]',
            f'[[rules]]\nsubject = "/O=reploc/OU=people/CN=may-{action}"\nroles = ["{action}"]',
            f'[[rules]]\nkind = "token"\ngroup = "/may/{action}"\nroles = ["{action}"]',
        ]
        found.append(Who(f"may-{action}", may=action))
        found.append(Who(token=parties.token(**{"wlcg.groups": [f"/may/{action}"]}), may=action))
    (parties.directory / "rules.toml").write_text("\n".join(sorted(lines)))
    return parties, found


@pytest.mark.parametrize("package", DAEMONS)
async def test_who_gets_in_is_what_the_table_says(
    package: str, identities: tuple[Parties, list[Who]], tmp_path: Path
) -> None:
    """The requests have neither query nor body, so that who gets in is told what is missing, and changes nothing."""
    parties, found = identities
    guarded = parties.guarded() | {"authorization": AuthorizationSettings(rules=str(parties.directory / "rules.toml"))}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(served(package, tmp_path, **guarded))
        for who in found:
            headers = {"Authorization": f"Bearer {who.token}"} if who.token else {}
            connector = aiohttp.TCPConnector(ssl=parties.context(who.certificate))
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, headers=headers))
            for route, needed in (EVERY_DAEMON | TABLE[package]).items():
                method, _, path = route.partition(" ")
                async with session.request(method, url + path, data=b"null" if method == "POST" else None) as answer:
                    gets_in = answer.status not in (401, 403)
                    assert gets_in == (needed in ("public", who.may)), f"{route}: {who} got {answer.status}"
