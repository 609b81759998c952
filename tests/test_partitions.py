"""Every sensible point of the framework's parameter space finds every copy; every other one is refused in words.

The Giggle paper, section 3.2 and table 1: G, P_L, P_R, R, S and C are chosen apart from each other.
"""

from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from grid import Grid, Site, grid, index_settings, pfns, until
from plain_http import ask

from reploc import config
from reploc.client.lrc import LrcClient
from reploc.errors import ConfigInvalid
from reploc.members import IndexSettings
from reploc.partition import Rule
from reploc.wire import MappingItem

NODES = ("n0", "n1", "n2", "n3")
SITES = ("cern.ch", "desy.de", "grid.desy.de", "fnal.us", "bnl.us")
LFN_RULES = [
    Rule(nodes=("n0", "n1"), prefix="/store/mc/"),
    Rule(nodes=("n2", "n1"), glob="/store/*/raw/*"),
    Rule(nodes=("n3", "n0"), regex="/user/[a-m].*"),
    Rule(nodes=("n2", "n3"), prefix=""),
]
SITE_RULES = [Rule(nodes=("n0", "n1"), glob="*.us"), Rule(nodes=("n2", "n3"), prefix="")]
RULES: dict[str, dict[str, Any]] = {"lfn": {"lfn_rules": LFN_RULES}, "site": {"site_rules": SITE_RULES}}

PAIRS = [
    (lfns, sites)
    for lfns, sites in product(("none", "hash", "collection", "pattern"), ("none", "domain", "site", "pattern"))
    if not (lfns == sites and lfns in ("none", "pattern"))
]
#: Every pair of partitions with filters, and redundancy 1 and 2 in turn; the other forms with some pairs; one for all.
COMBINATIONS = [
    *((*pair, 1 + number % 2, "bloom") for number, pair in enumerate(PAIRS)),
    *(("hash", "none", redundancy, "bloom") for redundancy in (3, 4)),
    ("hash", "none", 2, "auto"),
    ("collection", "none", 2, "none"),
    ("pattern", "none", 2, "fingerprint"),
    ("none", "domain", 2, "none"),
    ("hash", "site", 2, "auto"),
    *(("none", "none", 4, compression) for compression in ("bloom", "fingerprint", "auto", "none")),
]


def settings(lfns: str, sites: str, redundancy: int, compression: str, **changes: Any) -> dict[str, Any]:
    rules = (RULES["lfn"] if lfns == "pattern" else {}) | (RULES["site"] if sites == "pattern" else {})
    told = {"lfn_partition": lfns, "site_partition": sites, "redundancy": redundancy, "compression": compression}
    return {**told, "slots": 8, **rules, **changes}


def world(rng: Random) -> dict[str, dict[str, str | None]]:
    """For each site its LFNs with the collection of each; replicas are of the same collection everywhere."""
    homes = ["/store/mc/sim", "/store/data/raw/run", "/user/anna/", "/user/zoe/", "/tmp/"]
    files = {
        f"{rng.choice(homes)}{number}": rng.choice([None, *(f"/set{block}#{block}" for block in range(6))])
        for number in range(120)
    }
    return {site: {lfn: files[lfn] for lfn in rng.sample(sorted(files), 50)} for site in SITES}


async def put(site: Site, files: dict[str, str | None]) -> None:
    async with LrcClient(site.url) as client:
        await client.put([MappingItem(lfn, site.pfn(lfn), collection=block) for lfn, block in files.items()])
    site.held.update(files)


async def check_every_lookup(made: Grid, files: dict[str, str | None]) -> None:
    """Through the client that routes, and at a node that nobody chose, with and without the collection.

    A site that just began is in an answer as soon as its news has reached the node that is asked; that is waited for.
    """
    strangers = ["/store/mc/nobody", "/user/nobody", "/nobody"]
    await made.settled([*files, *strangers])
    truth = made.truth(files)
    for block in sorted({block for block in files.values() if block is not None}):
        lfns = [lfn for lfn, of in files.items() if of == block]
        expected = {lfn: truth[lfn] for lfn in lfns}
        await until(
            lambda lfns=lfns, block=block: made.client.lookup(lfns, collection=block),
            lambda seen, expected=expected: seen.complete and pfns(seen) == expected,
            f"{block} is found by its collection",
        )
    holders = {lfn: {site.name for site in made.sites.values() if lfn in site.held} for lfn in [*files, *strangers]}
    for node in made.nodes.values():
        await until(
            lambda node=node: ask(f"{node.url}/v1/locations", body={"lfns": list(holders)}),
            lambda seen: (
                not seen[1]["incomplete"]
                and all(sites <= set(seen[1]["locations"][lfn]) for lfn, sites in holders.items())
            ),
            f"{node.url} names every site",
        )


@pytest.mark.parametrize(("lfns", "sites", "redundancy", "compression"), COMBINATIONS)
async def test_every_lookup_finds_every_copy(
    lfns: str, sites: str, redundancy: int, compression: str, tmp_path: Path
) -> None:
    rng = Random(f"{lfns} {sites} {redundancy} {compression}")
    told = world(rng)
    async with grid(tmp_path, nodes=4, **settings(lfns, sites, redundancy, compression)) as made:
        for name, files in told.items():
            await put(await made.site(name), files)
        everything = {lfn: block for files in told.values() for lfn, block in files.items()}
        await check_every_lookup(made, everything)
        gone = rng.sample(sorted(made.sites["cern.ch"].held), 5)
        await made.sites["cern.ch"].delete(gone)
        await put(made.sites["bnl.us"], {"/store/mc/late": "/set1#1", "/user/zoe/late": None})
        await check_every_lookup(made, everything | {"/store/mc/late": "/set1#1", "/user/zoe/late": None})


async def test_an_lfn_whose_collection_is_another_now_is_found_by_it(tmp_path: Path) -> None:
    """It moves from slot to slot, and with it from node to node."""
    async with grid(tmp_path, nodes=4, **settings("collection", "none", 1, "none")) as made:
        site = await made.site("cern.ch")
        await put(site, {f"/lfn{number}": f"/old#{number}" for number in range(20)})
        await made.settled(site.held)
        async with LrcClient(site.url) as client:
            moved = [MappingItem(lfn, site.pfn(lfn), collection="/new#1") for lfn in sorted(site.held)]
            await client.put(moved, update=True)

        async def found() -> set[str]:
            said = await made.client.lookup(sorted(site.held), collection="/new#1")
            return {lfn for lfn, copies in said.replicas.items() if copies}

        assert await until(found, lambda seen: seen == site.held, "all are found by their new collection") == site.held
        assert (await made.client.locate(["/lfn3"], collection="/old#3")).said.locations["/lfn3"] in ([], ["cern.ch"])


async def test_a_node_that_fails_is_made_up_for_by_the_other_owners_of_its_shares(tmp_path: Path) -> None:
    """The Giggle paper, section 3.2: redundancy, where the index is parted by sites."""
    async with grid(tmp_path, nodes=4, **settings("hash", "site", 2, "bloom")) as made:
        told = world(Random(7))
        for name, files in told.items():
            await put(await made.site(name), files)
        lfns = sorted({lfn for files in told.values() for lfn in files})
        await made.settled(lfns)
        for name in NODES:
            await made.everywhere()
            await made.nodes[name].stop()
            assert (await made.right(lfns)).complete, name
            await made.nodes[name].start()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lfn_partition": "none"}, "each of the 4 nodes holds everything, but redundancy is 2"),
        (settings("pattern", "pattern", 1, "bloom"), 'both "pattern"'),
        ({"lfn_partition": "pattern"}, "there are no lfn_rules"),
        ({"site_partition": "pattern"}, "there are no site_rules"),
        ({"lfn_rules": LFN_RULES}, 'lfn_partition is "hash"'),
        (settings("pattern", "none", 1, "bloom", lfn_rules=LFN_RULES[:2]), "the last of lfn_rules may leave names out"),
        (settings("pattern", "none", 3, "bloom"), "names 2 nodes, but redundancy is 3"),
        (settings("pattern", "none", 1, "bloom", lfn_rules=[Rule(nodes=("who",), prefix="")]), "names node 'who'"),
        (settings("pattern", "none", 1, "collection"), "tells no LFN"),
        ({"redundancy": 5}, "redundancy is 5, but there are 4 nodes"),
        ({"slots": 12}, "expected a power of two"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        index_settings(4, **changes)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('nodes = ["a"]', "0 of prefix, glob and regex"),
        ('nodes = ["a"]\nprefix = "/"\nglob = "*"', "2 of prefix, glob and regex"),
        ('nodes = ["a"]\nregex = "("', "is none"),
        ('nodes = ["a", "a"]\nprefix = ""', "twice"),
        ('nodes = []\nprefix = ""', "length >= 1"),
        ('nodes = ["a"]\npattern = "x"', "pattern"),
    ],
)
def test_a_rule_that_cannot_be_right_is_refused_in_words(rule: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "index.toml"
    path.write_text(f'lfn_partition = "pattern"\n[[nodes]]\nname = "a"\nurl = "http://a:1"\n[[lfn_rules]]\n{rule}\n')
    with pytest.raises(ConfigInvalid, match=words):
        config.load(IndexSettings, path)
