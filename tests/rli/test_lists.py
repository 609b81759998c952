"""Lists that are searched page by page while they change: what stayed is found, once."""

from random import Random

import pytest

from reploc import names
from reploc.key_sets import NameSet, checksum_of_names
from reploc.wire import Summary
from rli import interned, key_sets
from rli.key_sets import HeldLists

POOL = [f"/store/{number:04d}" for number in range(900)]
SITES = range(3)


def tell(held: HeldLists, site: int, slot: int, lfns: list[str]) -> None:
    """A site tells a slot whole."""
    summary = Summary(slot, "list", 0, 1, checksum_of_names(lfns), NameSet(sorted(lfns), []).to_bytes())
    for _ in held.store(slot, site, held.verified(summary)):
        pass


@pytest.mark.parametrize("seed", range(4))
def test_a_name_that_some_site_held_all_the_while_is_found_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sets, "NAMES_PER_PAGE_MAX", 60)
    monkeypatch.setattr(interned, "_SWEEP_MIN", 20)
    rng = Random(seed)
    held, pattern = HeldLists(), names.pattern("/store/*[02468]")
    told = {site: set(rng.sample(POOL, 400)) for site in SITES}
    for site in SITES:
        tell(held, site, 0, sorted(told[site]))
    stayed = set().union(*told.values())
    found: list[str] = []
    after = -1
    for page in range(100):
        said = held.matching(pattern, 25, after)
        found += said.names
        assert len(said.names) <= 25
        if (after := said.next) < 0:
            break
        if page % 3 == 0:
            site = rng.choice(SITES)
            told[site] = (told[site] - set(rng.sample(sorted(told[site]), 150))) | set(rng.sample(POOL, 100))
            tell(held, site, 0, sorted(told[site]))
            stayed &= set().union(*told.values())
    assert after == -1
    assert {name for name in stayed if pattern.matches(name)} <= set(found)
    assert all(found.count(name) == 1 for name in stayed if pattern.matches(name))
    assert all(pattern.matches(name) for name in found)
