"""The ring changes while everything runs: nodes join, leave, are killed and restart, and no answer is wrong meanwhile.

The Giggle paper, section 3.5, leaves open what becomes of questions while an index is divided anew; here every client
verifies every answer. Seeds are printed, and decide who changes, in which order all are told, and with which pauses.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from changing import EXPIRY_S, LFNS, NOWHERE, POOL, REDUNDANCY, Rules, changing, no_rules
from msgspec.structs import replace

from reploc.members import IndexSettings
from reploc.partition import Rule

# A node that ends in mid-connection leaves a socket, or a transport over one, to the collector of garbage; `changing`
# has it collected before the test ends, so that no other test is blamed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

#: What LFNs and sites are told apart by, as prefixes.
LFN_PREFIXES, SITE_PREFIXES = ("/lfn/1", "/lfn/", ""), ("A", "B", "")


def rules_of(key: str, prefixes: Sequence[str]) -> Rules:
    """Each prefix has two nodes; those that are there stay, so that only what must move does."""

    def rules(before: IndexSettings, names: Sequence[str]) -> dict[str, Any]:
        kept = {rule.prefix: rule.nodes for rule in getattr(before, key)}
        made = []
        for number, prefix in enumerate(prefixes):
            turned = [*names[number % len(names) :], *names[: number % len(names)]]
            # A node that has just joined, the last one, takes a place of the first two rules.
            new = names[-1:] if number < 2 else []
            there = [name for name in kept.get(prefix, ()) if name in names]
            made.append(Rule(nodes=tuple(dict.fromkeys([*new, *there, *turned]))[:REDUNDANCY], prefix=prefix))
        return {key: made}

    return rules


PARTED: list[tuple[str, str, Rules]] = [
    ("collection", "none", no_rules),
    ("none", "site", no_rules),
    ("hash", "domain", no_rules),
    ("pattern", "none", rules_of("lfn_rules", LFN_PREFIXES)),
    ("none", "pattern", rules_of("site_rules", SITE_PREFIXES)),
]


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_lookup_becomes_wrong_while_nodes_join_leave_are_killed_and_restart(tmp_path: Path, seed: int) -> None:
    async with changing(tmp_path, seed) as ring:
        await ring.settled()
        async with ring.verified():
            for _ in range(5):
                here = len(ring.world.index.nodes)
                change = ring.rng.choice(
                    [ring.kill_and_restart, *[ring.join] * (here < POOL), *[ring.leave] * (here > REDUNDANCY)]
                )
                await change()
                await ring.settled()
        print(dict(ring.seen))
        assert ring.seen["old client, complete"] > 5
        assert ring.seen["new client, complete"] > 2
        await ring.world.settled([*LFNS, *NOWHERE])


async def test_no_answer_is_even_incomplete_while_sites_are_parted_by_other_rules(tmp_path: Path) -> None:
    """From then on other nodes hold a site's names, and nobody knows at once who else is of its part."""
    rules = rules_of("site_rules", SITE_PREFIXES)
    async with changing(tmp_path, 4, rules, lfn_partition="none", site_partition="pattern") as ring:
        await ring.settled()
        async with ring.verified():
            others = [Rule(nodes=("n2", "n1"), glob="[BC]"), Rule(nodes=("n1", "n0"), prefix="")]
            await ring.change_to(replace(ring.world.index, site_rules=others))
            await ring.settled()
            await asyncio.sleep(2 * EXPIRY_S)
        print(dict(ring.seen))
        assert ring.seen["old client, complete"] > 5
        assert ring.seen["new client, complete"] > 3
        assert {what: count for what, count in ring.seen.items() if "incomplete" in what} == {}


@pytest.mark.parametrize(("lfns", "sites", "rules"), PARTED)
async def test_no_answer_is_even_incomplete_while_nodes_join_and_leave_an_index_parted_in_any_way(
    tmp_path: Path, lfns: str, sites: str, rules: Rules
) -> None:
    """Where a new owner does not hold all yet, the former one is asked, by the ring in which it was one."""
    async with changing(tmp_path, 3, rules, lfn_partition=lfns, site_partition=sites) as ring:
        await ring.settled()
        async with ring.verified():
            await ring.join()
            await ring.settled()
            await ring.leave()
            await ring.settled()
        print(dict(ring.seen))
        assert ring.seen["old client, complete"] > 5
        assert ring.seen["new client, complete"] > 3
        assert {what: count for what, count in ring.seen.items() if "incomplete" in what} == {}
        await ring.world.settled([*LFNS, *NOWHERE])
