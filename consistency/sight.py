"""How a run sees a storage: by listing it through its doors, or by a dump that the site made.

Either way a run learns which files there are, what was not seen, and of each path the moment at which it was looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from consistency import gather
from consistency.catalog import Read
from consistency.checkpoint import Begun, Checkpoint
from consistency.gather import Gathered
from consistency.intervals import Intervals
from consistency.listers.lister import Lister
from consistency.listing import ListingSettings, Progress, Summary, Walk
from consistency.parts import Parts


@dataclass(frozen=True)
class Looked:
    """What a look at a storage came to beside its files."""

    summary: Summary
    gathered: Gathered


class Sight(Protocol):
    """A way to see a storage."""

    @property
    def began_at(self) -> float:
        """When the looking began, at the earliest (seconds since the epoch): younger files are not judged."""
        ...

    async def see(self, read: Read, storage: Parts) -> Looked:
        """Looks at everything and hands all files to `storage`, which has the columns of STORAGE, in whose context this
        runs; `read` is what the catalog was read as. Raises DumpUnfit, StoreError."""
        ...

    def moments(self, paths: Sequence[bytes]) -> dict[bytes, float]:
        """When each path was looked at; those that nobody could have seen are left out."""
        ...


class Listing:
    """A storage that is listed through its doors; what was answered lies in a journal, so that a killed run goes on."""

    def __init__(
        self,
        listers: Sequence[Lister],
        settings: ListingSettings,
        journal: Path,
        begun: Begun,
        excluded: Intervals,
        progress: Progress,
    ) -> None:
        self._listers = listers
        self._settings = settings
        self._journal = journal
        self._begun = begun
        self._excluded = excluded
        self._progress = progress
        self.began_at = begun.began_at

    async def see(self, read: Read, storage: Parts) -> Looked:
        """Lists every directory, or those that a killed run has not listed. Raises StoreError."""
        with Checkpoint(self._journal, self._begun) as journal:
            walk = Walk(self._listers, self._settings, journal, read.filled, self._excluded, self._progress)
            summary = await walk.run()
        return Looked(summary, await asyncio.to_thread(gather.gather, self._journal, storage))

    def moments(self, paths: Sequence[bytes]) -> dict[bytes, float]:
        """When the directory of each path was listed."""
        return gather.listed_at(self._journal, paths)
