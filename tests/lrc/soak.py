"""The long run of kills: writers and scans are killed thousands of times, from a seed that is printed.

    python tests/lrc/soak.py [--kills N] [--seed N]

Four kills in five are of a writer, one of a scan. What is found wrong ends the run, with the number of kills before.
"""

import argparse
import random
import tempfile
from pathlib import Path

from kills import KilledScan, KilledWriter

#: A few hours on two cores.
KILLS = 10_000
#: Kills between two lines of news.
TOLD_EVERY = 100
#: Of so many kills one is of a scan, which takes several times as long.
SCAN_EVERY = 5


def run(kills: int, seed: int) -> None:
    """So many kills; AssertionError where one has cost anything."""
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="reploc-soak-") as folder:
        writer, scan = KilledWriter(Path(folder), rng), KilledScan(Path(folder), rng)
        for number in range(1, kills + 1):
            try:
                (scan if number % SCAN_EVERY == 0 else writer).kill()
            except AssertionError as wrong:
                raise SystemExit(f"kill {number:,} of seed {seed}: {wrong}") from wrong
            if number % TOLD_EVERY == 0 or number == kills:
                print(f"{number:,} of {kills:,} kills, nothing lost", flush=True)


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description="Kills writers and scans, and checks what they leave.")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how many (default {KILLS:,})")
    parser.add_argument("--seed", type=int, help="what chance begins with (default: another each time)")
    options = parser.parse_args()
    run(options.kills, random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed)


if __name__ == "__main__":
    main()
