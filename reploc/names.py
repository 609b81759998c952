"""Logical names, physical names, sites and collections: their limits, their validation, and glob patterns over them.

A name is any UTF-8 text of 1 to 4,096 bytes without control characters; it is compared whole and byte for byte, never
folded or normalised. `ARCHITECTURE.md` defines the words; the limit is that of a POSIX path.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from urllib.parse import urlsplit

from reploc.errors import NameInvalid

#: Bytes in the longest LFN, PFN or collection name: PATH_MAX, so that every path of a file system is a name.
NAME_BYTES_MAX = 4096
#: A site's name appears in every answer and metric label; a DNS name fits.
SITE_CHARS_MAX = 253

#: What a name may not hold. No text for which `isprintable` is true holds any of it, and that is found out faster.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SITE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_MAGIC = re.compile(r"[*?\[]")
#: The parts of a pattern of SQL: one that is escaped, a magic one, or plain text; and what the magic ones match.
_LIKE_PARTS = re.compile(r"(?s)\\.|\\\Z|[%_]|[^%_\\]+")
_LIKE_MAGIC = {"%": ".*", "_": "."}
_LIKE_GLOBS = {"%": "*", "_": "?"}

#: Hexadecimal digits of each checksum algorithm that a catalog accepts.
CHECKSUM_DIGITS = {"adler32": 8, "crc32": 8, "crc32c": 8, "md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}


def fault(name: str) -> str | None:
    """What is wrong with a name, in words that name the limit, or None where it is a name."""
    if not name:
        return "is empty; expected 1 to 4,096 bytes of UTF-8"
    if not name.isprintable() and (found := _CONTROL.search(name)):
        what = "half a surrogate pair" if "\ud800" <= found[0] <= "\udfff" else "a control character"
        return f"holds {what} (U+{ord(found[0]):04X}) at character {found.start()}"
    if len(name) * 4 > NAME_BYTES_MAX and (size := len(name.encode())) > NAME_BYTES_MAX:
        return f"is {size:,} bytes long; at most {NAME_BYTES_MAX:,} are allowed"
    return None


def faults(names: Sequence[str]) -> dict[int, str]:
    """The same for many: index → what is wrong, empty where all are names. One scan when nothing is wrong."""
    joined = "".join(names)
    plain = joined.isprintable() or not _CONTROL.search(joined)
    if plain and all(names) and 4 * max(map(len, names), default=0) <= NAME_BYTES_MAX:
        return {}
    return {index: wrong for index, name in enumerate(names) if (wrong := fault(name))}


def require(name: str, what: str = "lfn") -> str:
    """The name itself, or NameInvalid saying which field is wrong and how."""
    if wrong := fault(name):
        raise NameInvalid(f"{what} {wrong}")
    return name


def require_all(names: Iterable[str], what: str = "lfns") -> None:
    """NameInvalid for the first of many that is no name, with its index."""
    for index, wrong in faults(list(names)).items():
        raise NameInvalid(f"{what}[{index}] {wrong}")


def require_site(site: str) -> str:
    """The site name itself: letters, digits, dot, dash and underscore, at most 253 characters."""
    if len(site) > SITE_CHARS_MAX or not _SITE.fullmatch(site):
        raise NameInvalid(
            f"site {site[:80]!r} is not a site name; expected letters, digits, '.', '_' or '-', at most 253"
        )
    return site


def require_url(url: str, what: str = "url") -> str:
    """The base address of a service itself, without a trailing slash: http or https with a host and nothing behind."""
    wrong = fault(url)
    if wrong is None:
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            valid = False
        wrong = (
            None
            if valid and not parts.query and not parts.fragment
            else "is not http://HOST[:PORT] or https://HOST[:PORT]"
        )
    if wrong:
        raise NameInvalid(f"{what} {url[:80]!r} {wrong}")
    return url.rstrip("/")


def checksum_fault(checksum: str) -> str | None:
    """What is wrong with a checksum written `algorithm:hexdigits`, or None."""
    algorithm, _, digits = checksum.partition(":")
    expected = CHECKSUM_DIGITS.get(algorithm)
    if expected is None:
        return f"checksum names no known algorithm; expected one of {', '.join(CHECKSUM_DIGITS)} before a colon"
    if len(digits) != expected or not re.fullmatch("[0-9a-f]+", digits):
        return f"{algorithm} checksum needs {expected} lower-case hexadecimal digits"
    return None


def split_block(collection: str) -> tuple[str, str | None]:
    """A collection as (dataset, block): the part before the first `#`, and what is behind it or None."""
    dataset, sep, block = collection.partition("#")
    return dataset, block if sep else None


@dataclass(frozen=True)
class Pattern:
    """A glob over names: `*`, `?` and `[…]`, anchored, case-sensitive; `*` crosses `/`."""

    text: str
    prefix: str
    expression: re.Pattern[str]

    @property
    def literal(self) -> bool:
        """Whether it holds no magic at all, so that it names one name."""
        return self.prefix == self.text

    def matches(self, name: str) -> bool:
        return self.expression.match(name) is not None


@lru_cache(maxsize=256)
def pattern(text: str) -> Pattern:
    """The compiled pattern. Raises NameInvalid where the text could be no name even without its magic."""
    require(text, "pattern")
    magic = _MAGIC.search(text)
    return Pattern(text, text[: magic.start()] if magic else text, re.compile(fnmatch.translate(text)))


@lru_cache(maxsize=256)
def like(text: str) -> Pattern:
    """A pattern of SQL, compiled: `%` any text, `_` any character, a backslash takes the magic from the next.

    Case-sensitive, as names are. Raises NameInvalid where the text could be no name even without its magic.
    """
    require(text, "pattern")
    parts = _LIKE_PARTS.findall(text)
    expression = "".join(_LIKE_MAGIC.get(part) or re.escape(part.removeprefix("\\") or part) for part in parts)
    prefix = "".join(part.removeprefix("\\") or part for part in takewhile(lambda part: part not in _LIKE_MAGIC, parts))
    return Pattern(text, prefix, re.compile(rf"(?s:{expression})\Z"))


def glob_of_like(text: str) -> str:
    """The glob pattern that matches what a pattern of SQL does: `*` for `%`, `?` for `_`, other magic in brackets."""
    return "".join(
        _LIKE_GLOBS.get(part) or _MAGIC.sub(r"[\g<0>]", part.removeprefix("\\") or part)
        for part in _LIKE_PARTS.findall(text)
    )
