"""The consistency checker: ten million paths of dumps compared, and a tree listed.

    python -m loadtests.consistency_check [--quick]

Dumps of a catalog and a storage are drawn in random order, with a few files lost and a few orphaned; the product's own
command compares them in a process of its own, whose time and memory are told, and must find just what was planted.
Beside it `sort` and `comm` answer the same question, without sizes and checksums. The tree is listed by the walk of a
run, with its journal; beside it `find` prints the same of every file.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from consistency.checkpoint import Begun, Checkpoint
from consistency.intervals import Intervals
from consistency.listers.posix import PosixLister
from consistency.listing import ListingSettings, Walk
from loadtests import machine
from loadtests.figure import Figure, Result, shown
from loadtests.program import Scale, run, said, workspace

COMPARED = Figure("consistency, dumps compared", "s", "less", 60.0, "10,000,000 paths", "sort and comm, names alone")
MEMORY = Figure("consistency, memory of the comparison", "MB", "less", 300.0, "10,000,000 paths")
LISTED = Figure("consistency, `posix` listing", "entries/s", "more", 150_000, "", "find")

#: Every so manieth file is lost, or an orphan.
PLANTED = 5_000
#: Files of one directory of the tree: 926,000 directories hold ten million Debian paths.
FILES_A_DIRECTORY = 11
#: Seconds between two looks at a process's memory.
LOOK_S = 0.05
TREE, QUICK_TREE, TOY_TREE = 400_000, 100_000, 2_000


def measure(scale: Scale) -> Iterator[Result]:
    """Seconds and memory of a comparison, and entries listed in a second."""
    with workspace() as folder:
        yield from _comparison(scale, folder)
    with workspace() as folder:
        yield _listing(scale, folder)


# ---- comparing dumps -------------------------------------------------------------------------------------------------


def _comparison(scale: Scale, folder: Path) -> Iterator[Result]:
    said(f"drawing dumps of {scale.names:,} paths")
    catalog, storage, lost, orphans = _dumps(scale, folder)
    command = [sys.executable, "-m", "reploc", "consistency", "compare", str(catalog), str(storage)]
    command += ["--fields", "path,size,checksum", "--work", str(folder), "--list"]
    began = time.monotonic()
    found = folder / "missing"
    with found.open("wb") as out, subprocess.Popen([*command, "missing"], cwd=machine.ROOT, stdout=out) as running:
        peak = _peak_mb(running)
    took = time.monotonic() - began
    assert running.returncode == 0
    assert found.read_bytes().count(b"\n") == lost
    peer = _sorted(catalog, storage, folder, lost, orphans)
    what = f"{scale.names:,} paths in random order, sizes and checksums"
    size = catalog.stat().st_size + storage.stat().st_size
    yield Result(COMPARED, what, (took,), peer, f"{shown(size / 1e6)} MB of dumps")
    yield Result(MEMORY, what, (peak,), note="at its peak")


def _peak_mb(running: subprocess.Popen[bytes]) -> float:
    """The most memory that a process has had when it was looked at last, until it ends."""
    peak = 0.0
    while running.poll() is None:
        said = Path(f"/proc/{running.pid}/status").read_text(encoding="utf-8")
        if marks := [line for line in said.splitlines() if line.startswith("VmHWM")]:
            peak = int(marks[0].split()[1]) / 1000
        time.sleep(LOOK_S)
    return peak


def _dumps(scale: Scale, folder: Path) -> tuple[Path, Path, int, int]:
    """Two dumps, and how many files are only in the first and only in the second."""
    rng = np.random.default_rng(scale.seed)
    numbers = np.arange(scale.names)
    lost, orphaned = numbers % PLANTED == 1, numbers % PLANTED == 2
    paths = folder / "catalog.tsv", folder / "storage.tsv"
    for path, held in zip(paths, (~orphaned, ~lost), strict=True):
        order = rng.permutation(numbers[held])
        with path.open("wb") as file:
            for part in np.array_split(order, max(len(order) // 1_000_000, 1)):
                _lines(part).write_csv(file, separator="\t", include_header=False)
    return *paths, int(lost.sum()), int(orphaned.sum())


def _lines(numbers: np.ndarray) -> pl.DataFrame:
    """Paths as a collaboration names them, with sizes and checksums that follow from their numbers."""
    directory, unique = numbers // FILES_A_DIRECTORY, numbers * 2_654_435_761 % (1 << 32)
    columns = pl.DataFrame(
        {"n": numbers, "d": directory, "run": directory % 97, "block": directory // 97 % 1009, "unique": unique}
    )
    return columns.select(
        pl.format("/store/data/run{}/block{}/dir{}/file_{}-{}.root", "run", "block", "d", "unique", "n"),
        (pl.col("n") % 100_000).alias("size"),
        pl.format("adler32:{}", pl.col("unique").cast(pl.String).str.zfill(8).str.tail(8)).alias("checksum"),
    )


def _sorted(catalog: Path, storage: Path, folder: Path, lost: int, orphans: int) -> float:
    """The seconds that `sort` and `comm` take for the names alone."""
    environ = {**os.environ, "LC_ALL": "C"}
    began = time.monotonic()
    for path in (catalog, storage):
        cut = subprocess.Popen(["cut", "-f1", str(path)], stdout=subprocess.PIPE, env=environ)
        sort = ["sort", "--buffer-size=256M", f"--temporary-directory={folder}", f"--output={path}.sorted"]
        subprocess.run(sort, stdin=cut.stdout, env=environ, check=True)
        assert cut.stdout is not None
        cut.stdout.close()
        assert cut.wait() == 0
    words = ["comm", "-3", f"{catalog}.sorted", f"{storage}.sorted"]
    differ = subprocess.run(words, capture_output=True, env=environ, check=True).stdout
    assert differ.count(b"\n") == lost + orphans
    return time.monotonic() - began


# ---- listing a tree --------------------------------------------------------------------------------------------------


def _listing(scale: Scale, folder: Path) -> Result:
    files = scale.of(TREE, QUICK_TREE, TOY_TREE)
    said(f"making a tree of {files:,} files")
    root = folder / "tree"
    _grow(root, files)
    runs = [asyncio.run(_walked(root, folder / f"journal-{number}", files)) for number in range(scale.runs)]
    entries = files + files // FILES_A_DIRECTORY
    began = time.monotonic()
    subprocess.run(["find", str(root), "-printf", "%P\t%s\t%T@\n"], stdout=subprocess.DEVNULL, check=True)
    peer = entries / (time.monotonic() - began)
    rates = tuple(entries / each for each in runs)
    return Result(LISTED, f"{files:,} files, {FILES_A_DIRECTORY} a directory", rates, peer)


def _grow(root: Path, files: int) -> None:
    for number in range(-(-files // FILES_A_DIRECTORY)):
        directory = root / f"{number % 100:02d}" / f"{number:07d}"
        directory.mkdir(parents=True)
        for each in range(number * FILES_A_DIRECTORY, min((number + 1) * FILES_A_DIRECTORY, files)):
            (directory / f"file-{each:09d}.root").touch()


async def _walked(root: Path, journal: Path, files: int) -> float:
    """The seconds of one walk, with its journal."""
    lister = PosixLister(root)
    with Checkpoint(journal, Begun("site", [b"/"], 0.0)) as checkpoint:
        walk = Walk([lister], ListingSettings(), checkpoint, lambda _: False, Intervals(()), lambda *_: None)
        began = time.monotonic()
        summary = await walk.run()
        took = time.monotonic() - began
    await lister.close()
    assert summary.files == files
    return took


if __name__ == "__main__":
    run(__doc__ or "", measure, names=10_000_000, quick_names=1_000_000, toy_names=20_000)
