"""Which slots are complete, against sets and plain loops."""

from random import Random

import numpy as np
import pytest

from reploc.partition import Partition
from rli.completeness import Completeness
from rli.former import Share

SLOTS = 4
ALL = np.arange(SLOTS)


@pytest.mark.parametrize("parts", [1, 3])
def test_completeness_agrees_with_sets_whatever_happens(parts: int) -> None:
    """Sites of several parts, some of which are ours in some slots; what was owned before a change of the ring is still
    complete by that ring."""
    for seed in range(30):
        rng = Random(seed)
        share = np.array([[parts == 1 or rng.random() < 0.6 for _ in range(parts)] for _ in range(SLOTS)])
        ours, model, part_of = Completeness(share, 0.0), dict[int, set[int]](), dict[int, int]()
        before = None
        ours.know_owned_before(0.0)
        for _ in range(200):
            number, slot = rng.randrange(20), rng.randrange(SLOTS)
            match rng.randrange(6):
                case 0 if number not in model:
                    part_of[number] = rng.randrange(parts)
                    ours.list_site(number, part_of[number])
                    model[number] = set()
                case 1 if number in model and rng.random() < 0.3:
                    ours.unlist(number)
                    del model[number]
                case 2 if number in model:
                    ours.drop(number, np.array([slot]))
                    model[number].discard(slot)
                case 3 if parts > 1 and rng.random() < 0.1:
                    before = Share(Partition(SLOTS), share, ours.known_cells.copy())
                    share = np.array([[rng.random() < 0.6 for _ in range(parts)] for _ in range(SLOTS)])
                    ours.own(share, 1.0)
                    ours.know_owned_before(1.0)
                case _ if number in model:
                    ours.hold(number, np.array([slot]))
                    model[number].add(slot)
            missing = [
                {n for n, held in model.items() if slot not in held and share[slot, part_of[n]]}
                for slot in range(SLOTS)
            ]
            if before is not None:
                whole = [
                    before.cells[slot].any()
                    and all(slot in held for n, held in model.items() if before.cells[slot, part_of[n]])
                    for slot in range(SLOTS)
                ]
                by_ring = ours.complete_in(before, {n: part_of[n] for n in model}, ALL)
                assert by_ring.tolist() == whole, seed
            known = ours.known.tolist()
            complete = [know and not names for know, names in zip(known, missing, strict=True)]
            assert ours.complete(ALL).tolist() == complete, seed
            assert [set(np.flatnonzero(row).tolist()) for row in ours.missing(ALL)] == missing, seed


def test_sites_may_be_of_fewer_parts_than_before() -> None:
    """A number that is free keeps nothing of the part that its last site was of."""
    ours = Completeness(np.ones((SLOTS, 3), dtype=bool), 0.0)
    for number in range(3):
        ours.list_site(number, number)
        ours.hold(number, ALL)
    ours.unlist(2)
    cells = np.array([[True, False]] * SLOTS)
    ours.part_anew(cells, {0: 0, 1: 1}, 1.0)
    assert not ours.complete(ALL).any()
    ours.know_owned_before(1.0)
    assert ours.complete(ALL).all()
    ours.drop(1)
    assert ours.complete(ALL).all(), "that part is another node's"
    ours.list_site(2, 0)
    assert [set(np.flatnonzero(row).tolist()) for row in ours.missing(ALL)] == [{2}] * SLOTS
