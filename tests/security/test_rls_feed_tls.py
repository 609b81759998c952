"""Updates to an index server of the Globus RLS by TLS: either side shows its certificate, and rules decide."""

from __future__ import annotations

from pathlib import Path

import pytest
from grid import index_settings, until
from parties import Parties

import lrc.server
import rli.server
from lrc.catalog import Catalog
from lrc.layout import StoredIndex
from lrc.settings import LrcRlsSettings, LrcSettings
from reploc import service
from reploc.members import IndexSettings
from reploc.rls.client import RlsSaidNo, connected
from reploc.security.settings import AuthorizationSettings
from reploc.wire import MappingItem, MappingsBody
from rli.settings import RliRlsSettings, RliSettings

OWN = "rls://127.0.0.1:39281"


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties.meet(tmp_path_factory.mktemp("parties"))


#: At the RLS port nothing says for which site somebody speaks, so that who sends there must speak for all.
RULES = """
[[roles]]
name = "sender"
grants = [{ actions = ["send-soft-state", "read-index"] }]
[[rules]]
kind = "certificate"
subject = "/O=reploc/OU=sites/*"
sites = ["*"]
roles = ["sender"]
"""


async def test_updates_go_by_tls_to_who_proves_itself_from_who_may_send(parties: Parties, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    rules = AuthorizationSettings(rules=str(tmp_path / "rules.toml"))
    node = RliSettings(
        node="n0",
        listen="127.0.0.1:0",
        index=index_settings(1),
        rls=RliRlsSettings(listen="127.0.0.1:0", tls=True),
        matrix_bytes_max=1 << 30,
        **parties.guarded() | {"authorization": rules},
    )
    async with rli.server.compose(node) as index, service.listening(index, node):
        route = next(route for route in index.routes if route.path == "/v1/status")
        url = (await route.handler(None)).rls_url  # type: ignore[arg-type]
        assert url.startswith("rls://")
        with Catalog.create(tmp_path / "store", "site-a") as catalog:
            catalog.write(MappingsBody("put", [MappingItem("/store/a", "file:///a")]))
            catalog.put_rls_indexes([StoredIndex(url, False)])
        told = LrcSettings(
            site="site-a",
            store=str(tmp_path / "store"),
            listen="127.0.0.1:0",
            index=IndexSettings(nodes=[], redundancy=1),
            rls=LrcRlsSettings(url=OWN),
            **parties.guarded() | {"tls": parties.tls("site-a")},
        )
        async with (
            lrc.server.compose(told) as daemon,
            service.listening(daemon, told),
            connected(url, parties.context("site-b"), 20) as other,
        ):

            async def heard() -> bool:
                try:
                    return OWN in await other.senders()
                except RlsSaidNo as wrong:
                    assert wrong.code == 19, wrong
                    return False

            await until(heard, bool, "the index has heard from the catalog")
        async with connected(url, parties.context("stranger"), 20) as stranger:
            with pytest.raises(RlsSaidNo, match="code 7"):
                await stranger.update(OWN, ["/store/b"], [])
