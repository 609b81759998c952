"""The folder of a run under way: what a killed run leaves behind, and the next one goes on from.

    STATE/SITE/catalog/       the catalog as it was read, in parts
    STATE/SITE/catalog.json   that it was read whole, and as what; written last
    STATE/SITE/filled.npy     digests of the directories that hold files
    STATE/SITE/journal        the listing (`consistency/checkpoint.py`)
    STATE/SITE/storage/ …     lists in parts, made anew

A run that ends removes the folder. What was read is used again only while it is younger than `AGE_S_MAX`: older, the
catalog's log of changes may not reach back so far, and the listing would say little of today.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np

from consistency.catalog import Read
from consistency.parts import Parts
from consistency.records import CATALOG

#: Seconds after which a run that was killed begins anew.
AGE_S_MAX = 7 * 86_400.0


class CatalogRead(msgspec.Struct, frozen=True):
    """A catalog that was read whole: when that began, its position then, the parts, and what was counted."""

    began_at: float
    position: int
    parts: int
    rows: int
    mappings: int
    foreign: int
    first_foreign: str
    roots: list[str]


class Workplace:
    """The folder of one site's run."""

    def __init__(self, state: Path, site: str) -> None:
        self.folder = state / site
        self.journal = self.folder / "journal"
        self._said = self.folder / "catalog.json"
        self._filled = self.folder / "filled.npy"

    def begin(self, roots: list[str], now: float) -> tuple[CatalogRead, Read] | None:
        """What a killed run has read of the catalog, or None, and then the folder is empty."""
        try:
            said = msgspec.json.decode(self._said.read_bytes(), type=CatalogRead)
            filled = np.load(self._filled)
        except (OSError, ValueError, msgspec.MsgspecError):
            said = None
        if said is None or said.roots != roots or now - said.began_at > AGE_S_MAX:
            self.end()
            self.folder.mkdir(parents=True)
            return None
        for name in ("after", "storage"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        read = Read(said.mappings, said.foreign, said.first_foreign, set(filled.tolist()))
        return said, read

    def keep(self, said: CatalogRead, read: Read) -> None:
        """Takes note that the catalog was read whole."""
        np.save(self._filled, np.fromiter(read.directories, dtype=np.uint64, count=len(read.directories)))
        aside = self._said.with_suffix(".new")
        aside.write_bytes(msgspec.json.encode(said))
        aside.replace(self._said)

    def catalog(self, parts: int) -> Parts:
        """The catalog's list."""
        return Parts(self.folder / "catalog", CATALOG, parts)

    def end(self) -> None:
        """Removes everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
