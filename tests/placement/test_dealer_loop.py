"""The loop of the dealer: a rule lacks a copy, the dealer orders it, a carrier brings it, and then nothing lacks."""

from __future__ import annotations

import asyncio
from pathlib import Path

from carrier import Carrier
from click.testing import CliRunner, Result
from grid import grid, until
from test_loop import WHOLE, fill, placed, replicas, told_whole

from placement.messages import InjectBody, PartitionItem, QuotaItem
from reploc.cli import cli

RULES = """\
partition = "P"
[rules.far]
num_copies = 1
destinations = ["site.name == T3"]
replicas = ["dataset.name == /a"]
destination_group = "physics"
"""


async def test_what_a_rule_lacks_is_ordered_carried_out_and_heard_of_once(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "config").write_text(
        f'database = "sqlite:///{tmp_path / "placement.db"}"\n'
        '[dealer]\npartition = "P"\nmax_site_pending_fraction = 1.0\n'
        f'[dealer.plugins.enforcer]\nrules = "{tmp_path / "rules.toml"}"\n'
    )

    async def dealt() -> Result:
        words = ["placement", "dealer", "run", "--config", str(tmp_path / "config")]
        return await asyncio.to_thread(CliRunner().invoke, cli, words)

    async with grid(tmp_path, 2) as held:
        await fill(held, "T1", "/a#1", "/a#2")
        await fill(held, "T2", "/a#1")
        await fill(held, "T3")
        async with placed(held, tmp_path, save_interval_s=0.1) as (service, client):
            quotas = [QuotaItem(site=site, partition="P", quota=10_000) for site in held.sites]
            await client.inject(InjectBody(partitions=[PartitionItem(name="P", condition="always")], quotas=quotas))
            await until(lambda: told_whole(client), lambda seen: seen == WHOLE, "the inventory has it")
            done = await until(dealt, lambda seen: "1 orders written" in seen.output, "the dealer orders a copy")
            assert done.exit_code == 0
            # Before anything is carried out the copy is as good as there.
            assert "0 orders written" in (await dealt()).output
            carrier = Carrier(service.url, {name: site.url for name, site in held.sites.items()})
            assert await carrier.work() == 1
            expected = WHOLE | {("/a#1", "T3"): (3, True), ("/a#2", "T3"): (2, True)}
            await until(lambda: replicas(client, "/a"), lambda seen: seen == expected, "the copy is seen")
            await until(client.status, lambda status: status.pending_orders == 0, "the order is observed")
            owners = {(each.site, each.group) for each in (await client.dataset("/a")).replicas}
            assert ("T3", "physics") in owners
            assert "0 orders written" in (await dealt()).output
