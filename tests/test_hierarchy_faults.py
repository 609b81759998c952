"""A tree of three levels under faults: what is called complete is, and in the end everything is right again."""

import pytest
from simnet.network import Faults
from simnet.tree import FaultyTree

#: A network on which one message in ten is lost each way.
ROUGH = Faults(lost=0.1, doubled=0.3, delay_max_s=0.05)
#: Generous, for a machine that does other things too; on an idle one it takes about a second.
PATIENCE_S = 60.0


@pytest.mark.parametrize(
    ("seed", "told"), [*((seed, "none") for seed in range(4)), *((seed, "bloom") for seed in (7, 8))]
)
async def test_no_complete_answer_of_the_root_lacks_a_copy_whatever_happens_below(seed: int, told: str) -> None:
    tree = FaultyTree(seed, told)
    try:
        await tree.settled(PATIENCE_S)
        await tree.rough_times(60, ROUGH)
        await tree.settled(PATIENCE_S)
    finally:
        await tree.stop()
