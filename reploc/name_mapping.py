"""LFN → PFN at one door of a site: ordered rules from LFN to path, chained, and the door's address before the path.

A rule takes a prefix or a regular expression over the whole name and gives the path; the first that fits decides. With
`chain` the name first goes through the rules of another protocol, as in the file catalogs of CMS. Without any rule the
LFN is the path. A path begins with a slash and has no empty component, no `.` and no `..`: so two LFNs never come to
one file by spelling alone, and none leads out of the storage that the door's address names.

The way back is exact: a path has an LFN where a prefix rule gives one that leads to this path again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, unquote

from msgspec import Meta

from reploc import names
from reploc.config import Settings
from reploc.errors import ConfigInvalid, NameInvalid

#: Rules of one site: the longest file catalogs of the LHC's sites have a few dozen.
RULES_MAX = 1_000
#: Schemes whose clients take the path as it stands, without percent-encoding.
UNQUOTED = ("root", "roots", "xroot", "xroots")
#: Characters of a name that a message shows.
SHOWN_CHARS = 200


class NameRule(Settings, frozen=True):
    """How some LFNs become paths: the first rule of a door's protocol that fits decides."""

    to: Annotated[str, Meta(description=r"The path: what goes before the rest, or a template with \1 or \g<name>.")]
    protocol: Annotated[str, Meta(description="The door's protocol that the rule is for; empty: any.")] = ""
    prefix: Annotated[str | None, Meta(description="Fits names that begin so; the rest goes behind `to`.")] = None
    pattern: Annotated[str | None, Meta(description="Fits names that are this regular expression from end to end.")] = (
        None
    )
    chain: Annotated[str, Meta(description="The protocol whose rules the name goes through first.")] = ""

    def __post_init__(self) -> None:
        if (self.prefix is None) == (self.pattern is None):
            raise ValueError("a rule has either a prefix or a pattern")
        if self.pattern is not None:
            try:
                re.compile(self.pattern).sub(self.to, "")  # a template that names no group of the pattern raises
            except (re.error, IndexError) as wrong:
                raise ValueError(f"pattern {self.pattern!r} with to = {self.to!r}: {wrong}") from wrong


@dataclass(frozen=True)
class _Rule:
    """A rule, compiled: `inner` are the rules that the name goes through first."""

    to: str
    prefix: str | None
    pattern: re.Pattern[str] | None
    inner: tuple[_Rule, ...]

    def path(self, name: str) -> str | None:
        if self.inner:
            before = _first(self.inner, name)
            if before is None:
                return None
            name = before
        if self.prefix is not None:
            return self.to + name[len(self.prefix) :] if name.startswith(self.prefix) else None
        assert self.pattern is not None
        found = self.pattern.fullmatch(name)
        return found.expand(self.to) if found else None

    def lfns(self, path: str) -> Iterator[str]:
        """The names that this rule may have made the path from."""
        if self.prefix is None or not path.startswith(self.to):
            return
        name = self.prefix + path[len(self.to) :]
        if not self.inner:
            yield name
        for rule in self.inner:
            yield from rule.lfns(name)


def _first(rules: Sequence[_Rule], name: str) -> str | None:
    return next((path for rule in rules if (path := rule.path(name)) is not None), None)


@dataclass(frozen=True)
class NameMapping:
    """How one door names files: `address` is what stands before every path."""

    address: str
    rules: tuple[_Rule, ...]
    quoted: bool

    def path(self, lfn: str) -> str:
        """The path of an LFN below the door's address. Raises NameInvalid: no rule fits, or it is no safe path."""
        path = _first(self.rules, lfn) if self.rules else lfn
        if path is None:
            raise NameInvalid(f"no rule of {self.address} fits {lfn[:SHOWN_CHARS]!r}")
        if wrong := self._fault(path):
            raise NameInvalid(f"{lfn[:SHOWN_CHARS]!r} is {path[:SHOWN_CHARS]!r} at {self.address}, which {wrong}")
        return path

    def pfn(self, lfn: str) -> str:
        """The PFN of an LFN. Raises NameInvalid as `path` does, and where the PFN is too long for a name."""
        path = self.path(lfn)
        return names.require(self.address + (quote(path) if self.quoted else path), "pfn")

    def path_of(self, pfn: str) -> str | None:
        """The path of a PFN below this door's address, None where it is none of this door's."""
        if not pfn.startswith(self.address):
            return None
        rest = pfn[len(self.address) :]
        try:
            path = unquote(rest, errors="strict") if self.quoted else rest
        except UnicodeDecodeError:
            return None
        return None if self._fault(path) else path

    def lfn(self, path: str) -> str | None:
        """The LFN of a path, where there is one that leads to this path again."""
        if not self.rules:
            return None if self._fault(path) else path
        found = (lfn for rule in self.rules for lfn in rule.lfns(path))
        return next((lfn for lfn in found if names.fault(lfn) is None and _first(self.rules, lfn) == path), None)

    def _fault(self, path: str) -> str:
        """What is wrong with a path, or empty text."""
        if not path.startswith("/"):
            return "does not begin with a slash"
        for part in path[1:].split("/"):
            if part in ("", ".", ".."):
                return f"holds the component {part!r}"
        if not self.quoted and (found := next((sign for sign in "?#" if sign in path), "")):
            return f"holds {found!r}, which its clients take for the end of the path"
        return ""


def mapping(rules: Sequence[NameRule], protocol: str, address: str) -> NameMapping:
    """How the door of a protocol at an address names files. Raises ConfigInvalid: rules are chained in a circle, or to
    a protocol without rules."""
    scheme, _, rest = address.partition("://")
    quoted = scheme not in UNQUOTED
    host, _, base = rest.partition("/")
    below = base.strip("/")
    # An absolute path of XRootD stands behind a second slash; `lrc scan` percent-encodes as `quote` does.
    begin = f"{scheme}://{host}" + ("" if quoted else "/") + (f"/{below}" if below else "")
    return NameMapping(begin, _compiled(rules, protocol, ()), quoted)


def _compiled(rules: Sequence[NameRule], protocol: str, above: tuple[str, ...]) -> tuple[_Rule, ...]:
    if protocol in above:
        raise ConfigInvalid(f"rules are chained in a circle: {' → '.join([*above, protocol])}")
    own = [rule for rule in rules if rule.protocol in ("", protocol)]
    if above and not own:
        raise ConfigInvalid(f"a rule is chained to {protocol!r}, which has no rules")
    return tuple(
        _Rule(
            rule.to,
            rule.prefix,
            re.compile(rule.pattern) if rule.pattern is not None else None,
            _compiled(rules, rule.chain, (*above, protocol)) if rule.chain else (),
        )
        for rule in own
    )
