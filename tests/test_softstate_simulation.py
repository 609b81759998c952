"""Soft state on a simulated network: whatever was lost, doubled, reordered or broken, the index becomes the truth.

The Giggle paper, section 3.3, trades strong consistency for soft state that is refreshed in time; these are the times.
A failing run prints its seed: `Grid(seed, …)` plays it again, event by event.
"""

import numpy as np
import pytest
from simnet.grid import BAD, CONVERGED_S, EXPIRY_S, FULL_S, NEVER_S, RENEWAL_S, ROUGH, Grid
from simnet.network import Faults
from simnet.site import Site

from rli.claims import mark

SEEDS_AT_ONCE = 10
#: What the processes of a site tell, one of these each; filters alone have tests of their own.
KINDS = [("list",), ("fingerprint",), ("collection",), ("bloom", "list", "fingerprint", "collection")]
SEEDS_OF_KIND = 4


@pytest.mark.parametrize("first", range(0, 50, SEEDS_AT_ONCE))
def test_after_the_last_fault_the_index_becomes_the_truth(first: int) -> None:
    """Within two renewal intervals and one full update, at every owner of every slot, for any seed."""
    for seed in range(first, first + SEEDS_AT_ONCE):
        print(f"seed {seed}")
        grid = Grid(seed, ROUGH)
        grid.rough_times(disturbances=12)
        grid.run_for(CONVERGED_S)
        grid.check_converged()


@pytest.mark.parametrize("first", range(1000, 1150, SEEDS_AT_ONCE))
def test_renewals_alone_find_and_repair_every_difference(first: int) -> None:
    """Without any full update, two renewals after a node may know all its senders."""
    for seed in range(first, first + SEEDS_AT_ONCE):
        print(f"seed {seed}")
        grid = Grid(seed, ROUGH, full_s=NEVER_S)
        grid.rough_times(disturbances=12)
        grid.run_for(EXPIRY_S + 2 * RENEWAL_S)
        grid.check_converged()


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
@pytest.mark.parametrize("full_s", [FULL_S, NEVER_S])
def test_every_kind_of_summary_becomes_the_truth(kinds: tuple[str, ...], full_s: float) -> None:
    """Whatever is told: whole names, fingerprints, totals, and sites that tell another kind after each start; and when
    all faults are over increments go on."""
    increments = 0
    for seed in range(6000, 6000 + SEEDS_OF_KIND):
        print(f"seed {seed}")
        grid = Grid(seed, ROUGH if seed % 2 else BAD, full_s, kinds)
        grid.rough_times(disturbances=8)
        grid.run_for(max(CONVERGED_S, EXPIRY_S + 2 * RENEWAL_S))
        grid.check_converged()
        for _ in range(8):
            grid.write_somewhere()
            grid.run_for(0.25)
        grid.run_for(CONVERGED_S)
        grid.check_converged()
        increments += sum(node.increments for node in grid.nodes.values())
    assert increments > 50


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_no_kind_of_summary_hides_a_site_that_is_up(kinds: tuple[str, ...]) -> None:
    for seed in range(7000, 7000 + SEEDS_OF_KIND):
        print(f"seed {seed}")
        grid = Grid(seed, kinds=kinds)
        grid.start()
        for _ in range(20):
            grid.write_somewhere()
            party = grid.rng.choice([*grid.nodes.values(), *grid.sites.values()])
            (party.stop if party.up else party.start)()
            for _ in range(grid.rng.randint(1, 3)):
                grid.run_for(0.25)
                grid.check_nothing_is_hidden()


@pytest.mark.parametrize("first", range(4000, 4010, SEEDS_AT_ONCE))
def test_what_is_cut_one_way_is_repaired_when_it_is_mended(first: int) -> None:
    """Messages arrive whose answers do not, or the other way round, between all parties, nodes among themselves too."""
    for seed in range(first, first + SEEDS_AT_ONCE):
        print(f"seed {seed}")
        grid = Grid(seed, full_s=NEVER_S)
        grid.start()
        grid.run_for(2 * RENEWAL_S)
        for _ in range(4):
            site, node = grid.rng.choice(list(grid.sites.values())).party, grid.rng.choice(list(grid.nodes))
            grid.network.cut(grid.rng.choice([(site, node), (node, site)]))
            grid.cut_some_ways()
            for _ in range(grid.rng.randint(2, 12)):
                grid.write_somewhere()
                grid.run_for(0.25)
            grid.network.heal()
            grid.run_for(EXPIRY_S + 2 * RENEWAL_S)
            grid.check_converged()


@pytest.mark.parametrize("full_s", [FULL_S, NEVER_S])
def test_increments_that_are_lost_doubled_late_or_spoiled_lead_to_the_truth(full_s: float) -> None:
    """On a network that is bad, but not so bad that most slots go whole; deletions wait for their builds."""
    increments = 0
    for seed in range(3000, 3000 + 2 * SEEDS_AT_ONCE):
        print(f"seed {seed}")
        grid = Grid(seed, BAD, full_s)
        grid.start()
        for _ in range(24):
            grid.write_somewhere()
            grid.run_for(0.25)
        grid.network.heal()
        grid.run_for(CONVERGED_S)
        grid.check_converged()
        increments += sum(node.increments for node in grid.nodes.values())
    assert increments > 500


@pytest.mark.parametrize("first", range(2000, 2050, SEEDS_AT_ONCE))
def test_a_complete_answer_hides_no_site_that_is_up(first: int) -> None:
    """Sites and nodes come and go on a network that loses nothing; "nowhere" is never said too soon."""
    for seed in range(first, first + SEEDS_AT_ONCE):
        print(f"seed {seed}")
        grid = Grid(seed)
        grid.start()
        for _ in range(30):
            grid.write_somewhere()
            party = grid.rng.choice([*grid.nodes.values(), *grid.sites.values()])
            (party.stop if party.up else party.start)()
            for _ in range(grid.rng.randint(1, 3)):
                grid.run_for(0.25)
                grid.check_nothing_is_hidden()


@pytest.mark.parametrize("seed", range(10))
def test_a_broken_transfer_leaves_the_last_good_state_with_its_age(seed: int) -> None:
    grid = Grid(seed)
    grid.start()
    grid.run_for(CONVERGED_S)
    grid.check_converged()
    served = {name: dict(node.served) for name, node in grid.nodes.items()}
    grid.network.faults = Faults(spoiled=1.0)
    site = grid.sites["site0"]
    for _ in range(6):
        grid.write(site, 12)
        grid.run_for(0.5)
        assert served == {name: node.served for name, node in grid.nodes.items()}
    for node in grid.nodes.values():
        if len(node.owned):
            number = np.array([node.registry.number("site0")])
            assert node.registry.ages(number, grid.clock.now)[0] > RENEWAL_S
    grid.network.heal()
    grid.run_for(2 * RENEWAL_S)
    grid.check_converged()


@pytest.mark.parametrize("seed", range(10))
def test_of_two_senders_for_one_site_the_second_waits_until_the_first_has_expired(seed: int) -> None:
    grid = Grid(seed)
    grid.start()
    grid.run_for(CONVERGED_S)
    first = grid.sites["site0"]
    second = Site("site0", grid.index, grid.network, dict(grid.nodes), "another-sender")
    second.history = first.history
    grid.write(second, 30)
    second.start()
    grid.run_for(2 * EXPIRY_S)
    grid.check_converged()
    assert {one.state for one in second.sender.progress(grid.clock.now)} == {"refused"}
    first.stop()
    grid.sites["site0"] = second
    grid.run_for(EXPIRY_S + 2 * RENEWAL_S)
    grid.check_converged()


@pytest.mark.parametrize("seed", range(5000, 5020))
def test_two_senders_of_one_site_that_different_nodes_heard_first_end_as_one(seed: int) -> None:
    """They start together, or one of them while the other is cut from some nodes; then every node hears both."""
    grid = Grid(seed)
    first = grid.sites["site0"]
    second = Site("site0", grid.index, grid.network, dict(grid.nodes), "another-sender")
    second.history = first.history
    grid.write(second, 30)
    for node in grid.nodes:
        grid.network.cut((grid.rng.choice([first, second]).party, node))
    grid.start()
    grid.run_for(grid.rng.choice([0.0, 0.5, EXPIRY_S]))
    second.start()
    grid.run_for(2 * RENEWAL_S)
    grid.network.heal()
    grid.run_for(3 * EXPIRY_S)
    claims = {
        member.claim
        for node in grid.nodes.values()
        if len(node.owned)
        for member in node.registry.members(grid.clock.now)
        if member.name == "site0"
    }
    assert claims in ({mark("sender-0")}, {mark("another-sender")})
    winner, loser = (first, second) if claims == {mark("sender-0")} else (second, first)
    assert {one.state for one in loser.sender.progress(grid.clock.now)} == {"refused"}
    grid.sites["site0"] = winner
    grid.check_converged()


@pytest.mark.parametrize("seed", range(10))
def test_a_site_that_is_gone_is_no_longer_served_and_is_missing(seed: int) -> None:
    """The Giggle paper, section 3.3: entries of a catalog that is not heard from time out."""
    grid = Grid(seed)
    grid.start()
    grid.run_for(CONVERGED_S)
    grid.sites["site0"].stop()
    grid.run_for(EXPIRY_S + RENEWAL_S)
    for node in grid.nodes.values():
        number = node.registry.number("site0")
        assert not [slot for holder, slot in node.served if holder == number]
        assert not node.registry.complete(node.owned).any()
        assert node.registry.missing_sites(node.owned) == (["site0"] if len(node.owned) else [])
