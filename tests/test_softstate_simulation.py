"""Soft state on a simulated network: whatever was lost, doubled, reordered or broken, the index becomes the truth.

The Giggle paper, section 3.4, trades strong consistency for soft state that is refreshed in time; these are the times.
A failing run prints its seed: `Grid(seed, …)` plays it again, event by event.
"""

import pytest
from simnet.grid import CONVERGED_S, EXPIRY_S, NEVER_S, RENEWAL_S, Grid
from simnet.network import Faults

ROUGH = Faults(lost=0.2, doubled=0.2, spoiled=0.1, delay_max_s=1.5)
SEEDS_AT_ONCE = 10


def rough_times(grid: Grid, disturbances: int) -> None:
    """Writes all the while, and a disturbance now and then."""
    grid.start()
    for _ in range(disturbances):
        for _ in range(grid.rng.randint(1, 3)):
            grid.write_somewhere()
            grid.run_for(0.25)
        grid.disturb()
    grid.mend()


@pytest.mark.parametrize("first", range(0, 60, SEEDS_AT_ONCE))
def test_after_the_last_fault_the_index_becomes_the_truth(first: int) -> None:
    """Within two renewal intervals and one full update, at every owner of every slot, for any seed."""
    for seed in range(first, first + SEEDS_AT_ONCE):
        print(f"seed {seed}")
        grid = Grid(seed, ROUGH)
        rough_times(grid, disturbances=12)
        grid.run_for(CONVERGED_S)
        grid.check_converged()


@pytest.mark.parametrize("first", range(1000, 1200, SEEDS_AT_ONCE))
def test_renewals_alone_find_and_repair_every_difference(first: int) -> None:
    """Without any full update, two renewals after a node may know all its senders."""
    for seed in range(first, first + SEEDS_AT_ONCE):
        print(f"seed {seed}")
        grid = Grid(seed, ROUGH, full_s=NEVER_S)
        rough_times(grid, disturbances=12)
        grid.run_for(EXPIRY_S + 2 * RENEWAL_S)
        grid.check_converged()
