"""`reploc lrc rls` against a real daemon: index servers added, listed, paced and removed."""

import json

import pytest
from rls_index_double import rls_index
from test_commands import beside, nothing_configured  # noqa: F401  fixtures
from test_rls_feed import Catalog, catalog  # noqa: F401  a fixture


@pytest.mark.usefixtures("nothing_configured")
async def test_an_index_server_is_added_listed_and_removed(catalog: Catalog) -> None:  # noqa: F811
    await catalog.put("/a/1", "/b/1")
    async with rls_index() as index:
        lrc = ("--lrc", catalog.base)
        assert (await beside("rls", "add", index.url, "--pattern", "/a/*", *lrc)).exit_code == 0
        assert (await beside("rls", "add", index.url, "--pattern", "/a/*", *lrc)).exit_code == 1
        await catalog.lists(index, "/a/1")
        shown = await beside("rls", "list", *lrc)
        assert (shown.exit_code, shown.stdout.split("\t")[:2]) == (0, [index.url, "/a/*"]), shown.output
        paced = await beside("rls", "pace", "factor=7", "immediate=false", "--json", *lrc)
        assert (json.loads(paced.stdout)["pace"]["factor"], json.loads(paced.stdout)["pace"]["immediate"]) == (7, False)
        for wrong in ("factor=0", "facter=1", "factor"):
            refused = await beside("rls", "pace", wrong, *lrc)
            assert refused.exit_code != 0, wrong
        assert (await beside("rls", "remove", index.url, *lrc)).exit_code == 0
        assert (await beside("rls", "list", *lrc)).stdout == ""
        assert (await beside("rls", "remove", index.url, *lrc)).exit_code == 1
