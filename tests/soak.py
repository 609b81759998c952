"""The long runs: writers and scans killed thousands of times, and a million faults of the simulated network.

    PYTHONPATH=tests:tests/lrc python tests/soak.py [--kills N] [--faults N] [--seed N]

All that chance decides begins with the seed, which is printed first. Four kills in five are of a writer, one of a scan.
Every grid of the simulated network has a seed of its own, which is told where something is wrong: `Grid(SEED, …)` plays
it again. What is found wrong ends the run.
"""

import argparse
import random
import tempfile
from pathlib import Path

from kills import KilledScan, KilledWriter
from simnet.grid import BAD, CONVERGED_S, EXPIRY_S, FULL_S, NEVER_S, RENEWAL_S, ROUGH, Grid

#: A few hours on two cores, and one more.
KILLS = 10_000
FAULTS = 1_000_000
#: Kills, and faults, between two lines of news.
TOLD_EVERY_KILLS = 100
TOLD_EVERY_FAULTS = 10_000
#: Of so many kills one is of a scan, which takes several times as long.
SCAN_EVERY = 5
DISTURBANCES_MAX = 40


def kill(kills: int, rng: random.Random) -> None:
    """So many kills; SystemExit where one has cost anything."""
    with tempfile.TemporaryDirectory(prefix="reploc-soak-") as folder:
        writer, scan = KilledWriter(Path(folder), rng), KilledScan(Path(folder), rng)
        for number in range(1, kills + 1):
            try:
                (scan if number % SCAN_EVERY == 0 else writer).kill()
            except AssertionError as wrong:
                raise SystemExit(f"kill {number:,}: {wrong}") from wrong
            if number % TOLD_EVERY_KILLS == 0 or number == kills:
                print(f"{number:,} of {kills:,} kills, nothing lost", flush=True)


def simulate(faults: int, rng: random.Random) -> None:
    """One grid after the other, until so many faults were made; SystemExit where one did not become the truth."""
    made = told = grids = 0
    while made < faults:
        seed = rng.randrange(1 << 32)
        try:
            made += _rough(seed)
        except AssertionError as wrong:
            raise SystemExit(f"grid {seed}, after {made:,} faults: {wrong}") from wrong
        grids += 1
        if made - told >= TOLD_EVERY_FAULTS or made >= faults:
            told = made
            print(f"{made:,} of {faults:,} faults in {grids:,} grids, each of which became the truth", flush=True)


def _rough(seed: int) -> int:
    """Rough times for one grid, and then the truth, by full updates or by renewals alone; the faults that were made."""
    chance = random.Random(seed)
    full_s = chance.choice([FULL_S, NEVER_S])
    grid = Grid(seed, chance.choice([ROUGH, BAD]), full_s)
    grid.rough_times(chance.randint(1, DISTURBANCES_MAX))
    grid.run_for(max(CONVERGED_S, EXPIRY_S + 2 * RENEWAL_S))
    grid.check_converged()
    return grid.network.made


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description="Kills writers and scans, spoils a network, and checks what is left.")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how many (default {KILLS:,})")
    parser.add_argument("--faults", type=int, default=FAULTS, help=f"how many (default {FAULTS:,})")
    parser.add_argument("--seed", type=int, help="what chance begins with (default: another each time)")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    simulate(options.faults, random.Random(seed))
    kill(options.kills, random.Random(seed))


if __name__ == "__main__":
    main()
