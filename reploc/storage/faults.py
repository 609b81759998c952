"""What can go wrong with storage, classified once: by errno and by mover, never by guessing in callers.

    StorageFault           blame says whose fault it is, and so what is done about it
    ├── Absent             the file or directory is not there
    ├── Exists             something is there already
    └── NotEmpty           a directory still holds something

`transient` is tried again after a pause, `source` is tried with another source, `destination` is tried again after a
pause and then held, `permanent` is held at once: only a person or a change can mend it.
"""

from __future__ import annotations

import errno
from typing import Literal, TypeAlias

Blame: TypeAlias = Literal["transient", "source", "destination", "permanent"]
#: Which end of a copy something was done at; a deletion has only a destination.
Side: TypeAlias = Literal["source", "destination"]

#: Characters of what a storage says that are kept: a sentence, not its log.
SAID_CHARS_MAX = 500

#: Who is to blame for an errno that is always the same; others are blamed on the side where they were met.
BY_ERRNO: dict[int, Blame] = {
    **dict.fromkeys(
        (
            errno.EAGAIN,
            errno.EBUSY,
            errno.EINTR,
            errno.EIO,
            errno.ECONNREFUSED,
            errno.ECONNRESET,
            errno.ECONNABORTED,
            errno.EHOSTUNREACH,
            errno.ENETUNREACH,
            errno.ENETDOWN,
            errno.EMFILE,
            errno.ENFILE,
            errno.ENOMEM,
            errno.EPIPE,
            errno.ESTALE,
            errno.ETIMEDOUT,
        ),
        "transient",
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG), "destination"),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTSUP, errno.ELOOP), "permanent"),
}


class StorageFault(Exception):
    """Something that a storage said no to, and whose fault it is."""

    def __init__(self, blame: Blame, said: str) -> None:
        self.blame: Blame = blame
        self.said = _told(said)[:SAID_CHARS_MAX]
        super().__init__(self.said)

    def at(self, side: Side) -> StorageFault:
        """The same fault, met at one end of a copy: what is absent or refused there is that end's fault."""
        if self.blame == "source" and side == "destination":
            return type(self)("destination", self.said)
        return self


def _told(said: str) -> str:
    """One line of text that every database and terminal takes: programs end what they say with a zero byte, and names
    hold bytes that are no text."""
    text = said.encode(errors="backslashreplace").decode()
    return " ".join("".join(each for each in text if each.isprintable() or each.isspace()).split())


class Absent(StorageFault):
    """The file or directory is not there."""


class Exists(StorageFault):
    """Something is there already."""


class NotEmpty(StorageFault):
    """A directory still holds something."""


def of_errno(number: int, said: str) -> StorageFault:
    """The fault of an errno; what is no known one is blamed on the side where it was met."""
    if number == errno.ENOENT:
        return Absent("source", said)
    if number == errno.EEXIST:
        return Exists("destination", said)
    if number == errno.ENOTEMPTY:
        return NotEmpty("destination", said)
    return StorageFault(BY_ERRNO.get(number, "source"), said)


def of_system(wrong: OSError, what: str) -> StorageFault:
    """The fault that the operating system reports."""
    return of_errno(wrong.errno or 0, f"{what}: {wrong.strerror or wrong}")
