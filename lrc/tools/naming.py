"""How the files of a tree are named in a catalog: the LFN, PFN and collection of a path, and which paths are left out.

A path is the bytes below the root of the tree, as the file system has them: names there need not be UTF-8, and those
that are not can be no LFN. An LFN is a prefix and the path as it stands; a PFN is a prefix and the path
percent-encoded, so that any file's PFN is a URL. Nothing is folded or normalised.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from reploc import names
from reploc.errors import NameInvalid

#: Characters of a path that a message shows.
SHOWN_CHARS = 200


class FileNames(NamedTuple):
    """What a file is called in the catalog."""

    lfn: str
    pfn: str
    collection: str | None


@dataclass(frozen=True)
class Exclusion:
    """One glob: without a slash it is matched with every single name, else with whole paths; `*` crosses slashes."""

    glob: str
    expression: re.Pattern[str]

    def matches(self, path: str) -> bool:
        name = path if "/" in self.glob else path.rpartition("/")[2]
        return self.expression.match(name) is not None


@dataclass(frozen=True)
class Naming:
    """How one tree is named.

    #: `collection` alone is every file's. With `collection_depth` N the first N directories below the root name it: as
    #: a block `collection#a/b`, or where no `collection` is given as `lfn_prefix` + `a/b`. A file with fewer than N has
    #: those that it has; one right in the root has `collection`, or none.
    """

    lfn_prefix: str
    pfn_prefix: str
    collection: str | None = None
    collection_depth: int = 0
    exclusions: tuple[Exclusion, ...] = ()

    def of(self, path: bytes) -> FileNames:
        """The names of the file at a path. NameInvalid where there can be none, which holds for all below it too."""
        try:
            text = path.decode()
        except UnicodeDecodeError as wrong:
            raise NameInvalid(f"the name is not UTF-8 at byte {wrong.start}") from wrong
        if wrong_path := names.fault(text):
            raise NameInvalid(f"the name {wrong_path}")
        found = FileNames(self.lfn_prefix + text, self.pfn_prefix + quote_from_bytes(path), self._collection_of(text))
        names.require(found.lfn)
        names.require(found.pfn, "pfn")
        if found.collection is not None:
            names.require(found.collection, "collection")
        return found

    def _collection_of(self, path: str) -> str | None:
        directories = path.split("/")[:-1][: self.collection_depth] if self.collection_depth else []
        if not directories:
            return self.collection
        named = "/".join(directories)
        return f"{self.collection}#{named}" if self.collection is not None else self.lfn_prefix + named

    def excludes(self, path: bytes) -> bool:
        """Whether the path, and with a directory all below it, is left out."""
        if not self.exclusions:
            return False
        text = path.decode(errors="surrogateescape")
        return any(each.matches(text) for each in self.exclusions)


def naming(
    lfn_prefix: str,
    pfn_prefix: str,
    *,
    collection: str | None = None,
    collection_depth: int = 0,
    excludes: Sequence[str] = (),
) -> Naming:
    """How a tree is named, with its prefixes checked: NameInvalid where a path would run into the prefix's last word.

    An empty LFN prefix is one; a PFN needs the beginning of a URL.
    """
    if lfn_prefix:
        _require_prefix(lfn_prefix, "lfn prefix")
    _require_prefix(pfn_prefix, "pfn prefix")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", pfn_prefix):
        raise NameInvalid(
            f"pfn prefix {pfn_prefix[:SHOWN_CHARS]!r} is not the beginning of a URL, such as file:///data/"
        )
    if collection is not None:
        names.require(collection, "collection")
    exclusions = tuple(Exclusion(glob, re.compile(fnmatch.translate(glob))) for glob in excludes)
    return Naming(lfn_prefix, pfn_prefix, collection, collection_depth, exclusions)


def _require_prefix(prefix: str, what: str) -> None:
    names.require(prefix, what)
    if prefix[-1].isalnum():
        shown = prefix[-SHOWN_CHARS:]
        raise NameInvalid(f"{what} {shown!r} ends in a letter or digit, and a path would run on from it; end it in '/'")


def shown(path: bytes) -> str:
    """A path for a message, on one line whatever bytes it has."""
    text = path.decode(errors="backslashreplace")
    text = text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
    return repr(text)
