"""The one interface of all listers. `tests/suites/listers.py` is the conformance suite that every one passes.

A lister speaks through one door. It is handed several directories at a time, as many as its `batch`, because a local
file system answers thousands a second where a remote one takes its time for each; the answers come in the same order.
Paths are absolute below the root of the site's storage, in raw bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reploc.errors import ReplocError


@dataclass(slots=True)
class Listed:
    """What a directory holds: files as (name, size, mtime, checksum), directories as (name, mtime).

    Sizes are bytes, mtimes seconds since the epoch; what the storage does not say is None. `others` are links, pipes
    and the like, which are no files. `complete` is False where the storage broke off: what is missing is not known.
    """

    files: list[tuple[bytes, int | None, int | None, str | None]] = field(default_factory=list)
    directories: list[tuple[bytes, int | None]] = field(default_factory=list)
    others: int = 0
    complete: bool = True

    @property
    def empty(self) -> bool:
        """Whether the directory seems to hold nothing."""
        return not (self.files or self.directories or self.others)


@dataclass(frozen=True, slots=True)
class Failed:
    """A directory that could not be listed, and why; whether asking again may help."""

    why: str
    retryable: bool = True

    @classmethod
    def of(cls, wrong: ReplocError) -> Failed:
        """What an error of the tree means for a directory."""
        return cls(f"{wrong.code}: {wrong.detail}", wrong.retryable)


#: What came of one directory: None where there is none of that name.
Answer = Listed | Failed | None


class Lister(Protocol):
    """A door to a site's storage, for looking only."""

    #: What the door is called in reports.
    door: str
    #: Directories that it is handed at a time.
    batch: int

    async def look(self, directories: Sequence[bytes]) -> Sequence[Answer]:
        """What each directory holds. Raises nothing: what goes wrong is the answer."""
        ...

    async def close(self) -> None:
        """Ends what is open."""
        ...
