"""The dealer decides what its slow twin decides, on thousands of small random worlds and proposals."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from dealer_twin import Twin
from dealing import Said, Shelf
from small_worlds import MEMBERS, NOW, drawn_world

from placement.dealer import application, planning, turns
from placement.dealer.deciding import Dealing
from placement.dealer.plugin import Scene
from placement.dealer.proposal import Answer, Proposal
from placement.dealer.settings import DealerSettings
from placement.inventory import Inventory

#: Worlds in one test, and tests: every kind of rejection many hundred times, in some twenty seconds.
WORLDS, TESTS = 200, 10
#: Worlds in which they differed once, all of them among twenty times as many.
FOUND = (9765, 13267, 13687, 18867, 21842)


def drawn_proposals(rng: Random, held: Inventory) -> list[Proposal]:
    """Whole datasets and some of their blocks, for one, some or all sites, by groups known or not."""
    blocks = held.blocks["dataset"].to_list()
    found = []
    for _ in range(rng.randint(1, 12)):
        dataset = rng.randrange(held.datasets.height)
        mine = [key for key, each in enumerate(blocks) if each == dataset]
        some = None if rng.random() < 0.7 else tuple(sorted(rng.sample(mine, rng.randint(1, len(mine)))))
        every = range(held.sites.height)
        many = [None, (rng.choice(every),), tuple(sorted(rng.sample(every, rng.randint(0, len(every)))))]
        group = rng.choice(["", "", "A", "D", "None", "nobody"])
        found.append(Proposal(dataset, some, rng.choice(many), group, rescue=rng.random() < 0.3))
    return found


def drawn_settings(rng: Random, partition: str) -> DealerSettings:
    return DealerSettings(
        partition=partition,
        group=rng.choice(["", "A", "C"]),
        target_sites=rng.choice([("*",), ("*",), ("S[0-3]", "!S2"), ("!*", "S1", "S2", "S3")]),
        target_site_occupancy=rng.choice([0.5, 0.93, 1.5]),
        max_site_pending_fraction=rng.choice([0.1, 0.5, 2.0]),
        max_cycle_volume=rng.choice([500, 3_000, 10**9]),
    )


def compared(seed: int) -> set[str]:
    """Follows our decisions with the twin; what happened, for the count of what was met."""
    rng = Random(seed)
    partition = rng.choice(list(MEMBERS))
    held = drawn_world(rng, partition)
    settings = drawn_settings(rng, partition)
    left_out = frozenset(site for site in held.sites["name"] if rng.random() < 0.1)
    scene = Scene(held, NOW, settings, left_out, {}, Shelf())
    names = held.sites["name"].to_list()
    twin = Twin(held, settings, scene.member.tolist(), left_out)
    order = turns.drawn({"some": (1, drawn_proposals(rng, held)), "more": (2, drawn_proposals(rng, held))}, seed)
    dealing, met = Dealing(scene), set()
    for decision in dealing.decide(order):
        proposal, verdict = decision.turn.proposal, decision.verdict
        due, said = twin.due(proposal), f"seed {seed}: {proposal} → {verdict}"
        if verdict.answer is Answer.REJECT:
            assert verdict.reason in (due.reason, "beyond max_cycle_volume"), said
            if due.sites:
                # Which site it would have been was drawn: it must be one that brings too much.
                assert not due.handed_over, said
                fits = {site: twin.lacking(site, twin.wanted(proposal)) <= twin.left for site in due.sites}
                assert twin.spent or not all(fits.values()), said
                smallest = min(twin.lacking(site, twin.wanted(proposal)) for site in due.sites)
                assert len(due.sites) > 1 or not twin.fits(proposal, next(iter(due.sites))), said
                if len(due.sites) > 1 and not twin.spent and smallest <= settings.max_cycle_volume:
                    return met
            met.add(verdict.reason)
            continue
        site = names[verdict.site]
        assert site in due.sites, said
        met.add(verdict.answer.value)
        if due.handed_over:
            assert verdict.answer is Answer.HAND_OVER, said
            assert set(decision.blocks) == twin.hand_over(proposal, site), said
        else:
            assert verdict.answer is Answer.COPY, said
            assert twin.fits(proposal, site), said
            before, beside = twin.left, twin.hand_over_beside(proposal, site)
            assert set(decision.beside) == beside, said
            met |= {"hand over beside a copy"} if beside else set()
            assert set(decision.blocks) == twin.give(proposal, site, held.groups["name"][decision.group]), said
            assert decision.size == before - twin.left, said
    assert dealing.room.projected.tolist() == [twin.projected[site] for site in names], f"seed {seed}"
    assert dealing.room.pending.tolist() == [twin.pending[site] for site in names], f"seed {seed}"
    return met


@pytest.mark.parametrize("test", range(TESTS))
def test_the_dealer_and_its_slow_twin_decide_the_same(test: int) -> None:
    met = [compared(seed) for seed in range(test * WORLDS, (test + 1) * WORLDS)]
    seen = {each for one in met for each in one}
    assert {
        "copy",
        "hand over",
        "hand over beside a copy",
        "no source for a block",
        "beyond max_cycle_volume",
        "the dataset's status",
    } <= seen
    assert len(seen) >= 12
    assert np.mean([bool(one) for one in met]) > 0.9


@pytest.mark.parametrize("seed", FOUND)
def test_they_decide_the_same_where_they_once_did_not(seed: int) -> None:
    assert compared(seed)


def test_what_a_plan_decides_holds_on_the_inventory_that_it_was_made_of() -> None:
    kinds = set()
    for seed in range(300):
        rng = Random(seed)
        partition = rng.choice(list(MEMBERS))
        held = drawn_world(rng, partition)
        scene = Scene(held, NOW, drawn_settings(rng, partition), frozenset(), {}, Shelf())
        plugins = {name: (1, Said(*drawn_proposals(rng, held))) for name in ("some", "more")}
        plan = planning.make(scene, plugins, seed)
        checked = application.compared(plan, held, scene.stock, frozenset())
        assert checked.failed().is_empty(), f"seed {seed}: {checked.failed()}"
        assert not plan.blocks.select("site", "block").is_duplicated().any(), f"seed {seed}"
        wanted = list(application.wishes(checked.held()))
        assert all(block.sources for wish in wanted for block in wish.blocks)
        kinds |= {"copy"} if wanted else set()
        kinds |= {"hand over"} if list(application.handovers(checked.held())) else set()
    assert kinds == {"copy", "hand over"}
