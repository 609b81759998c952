"""Pairs of keys and sites against plain sets, with keys that nearly all sites have and tables that grow."""

import numpy as np
import pytest

from rli.pairs import Pairs
from rli.runs import Runs


def found(pairs: Pairs | Runs, keys: np.ndarray) -> list[tuple[int, int]]:
    return [(int(keys[row]), site) for row, site in zip(*(part.tolist() for part in pairs.find(keys)), strict=True)]


@pytest.mark.parametrize("kind", [Pairs, Runs])
@pytest.mark.parametrize("keys", [40, 3_000, 1 << 62])
def test_pairs_are_found_as_long_as_a_site_has_them(kind: type[Pairs] | type[Runs], keys: int) -> None:
    """Few keys have many sites each, and fill their buckets; many make the table grow."""
    rng = np.random.default_rng(keys)
    pairs, held = kind(), dict[int, np.ndarray]()
    for _ in range(400):
        site = int(rng.integers(120))
        now = np.unique(rng.integers(0, keys, int(rng.integers(0, 120)), dtype=np.uint64))
        before = held.get(site, now[:0])
        pairs.remove(before[~np.isin(before, now)], site)
        pairs.add(now[~np.isin(now, before)], site)
        held[site] = now
    assert len(pairs) == sum(map(len, held.values()))
    asked = np.unique(np.concatenate([*held.values(), rng.integers(0, 1 << 63, 50, dtype=np.uint64)]))
    right = sorted((int(key), site) for site, has in held.items() for key in has)
    assert found(pairs, asked) == right
    for site, has in held.items():
        pairs.remove(has, site)
    assert len(pairs) == 0
    assert found(pairs, asked) == []


def test_one_key_is_found_as_many_are() -> None:
    pairs = Pairs()
    for site in range(500):
        pairs.add(np.array([7, 1_000 + site], dtype=np.uint64), site)
    assert pairs.sites_of(np.uint64(7)) == set(range(500))
    assert pairs.sites_of(np.uint64(1_007)) == {7}
    assert pairs.sites_of(np.uint64(5)) == set()


def test_a_key_that_moves_between_slots_stands_with_its_site_once() -> None:
    pairs, key = Pairs(), np.array([5], dtype=np.uint64)
    pairs.add(key, 3)
    pairs.add(key, 3)
    assert found(pairs, key) == [(5, 3)]
    pairs.remove(key, 3)
    assert found(pairs, key) == [(5, 3)]
    pairs.remove(key, 3)
    assert found(pairs, key) == []


def test_a_table_that_grows_keeps_what_it_holds_and_half_of_its_room() -> None:
    rng = np.random.default_rng(1)
    pairs, held = Pairs(), []
    for site in range(100):
        held.append(np.unique(rng.integers(0, 1 << 63, 3_000, dtype=np.uint64)))
        pairs.add(held[-1], site)
    everything = np.concatenate(held)
    sites = pairs.find(everything).sites
    assert np.array_equal(sites, np.repeat(np.arange(100), [len(each) for each in held]))
    assert pairs.memory() < 26 * len(pairs)
