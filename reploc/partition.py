"""Which part of an index an LFN, a collection or a site is of: the framework's parameters P_L and P_R.

    lfn_partition     slot of an LFN                                    who holds a slot (`reploc/ring.py`)
    none              by its digest, so that news stays small           every node
    hash              by its digest                                     R nodes of the ring
    collection        that of its collection's digest, or without       R nodes of the ring
                      a collection that of its own
    pattern           the first rule that matches it                    the nodes that the rule names

    site_partition    part of a site
    none              there is one
    site, domain      by the digest of its name, or of what is behind   R nodes of the ring
                      the name's first dot
    pattern           the first rule that matches its name              the nodes that the rule names

The Giggle paper, section 3.2 and table 1. Every party must come to the same answer: the rules travel with the list of
members. The last rule matches everything, so that nothing is of no part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal, TypeAlias

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from reploc import digest, names
from reploc.digest import Digests

LfnPartition: TypeAlias = Literal["none", "hash", "collection", "pattern"]
SitePartition: TypeAlias = Literal["none", "domain", "site", "pattern"]
Slots = NDArray[np.intp]

#: Parts that sites are of where they are told apart by name: sixteen for each of four nodes, so that shares are even.
SITE_PARTS = 64
#: Rules of one list: each is tried for each LFN that is asked for.
RULES_MAX = 1_000
REGEX_CHARS_MAX = 1_000
#: The slot of an LFN about which nothing is known that would tell it: it may be in any.
ANY_SLOT = -1


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """Names that begin with `prefix`, or match `glob` or `regex` as a whole, are of the nodes named; give one of the
    three."""

    nodes: Annotated[tuple[str, ...], Meta(min_length=1)]
    prefix: str | None = None
    glob: Annotated[str, Meta(min_length=1)] | None = None
    regex: Annotated[str, Meta(min_length=1, max_length=REGEX_CHARS_MAX)] | None = None

    def __post_init__(self) -> None:
        given = [text for text in (self.prefix, self.glob, self.regex) if text is not None]
        if len(given) != 1:
            raise ValueError(f"a rule has {len(given)} of prefix, glob and regex; expected one")
        if len(set(self.nodes)) != len(self.nodes):
            raise ValueError(f"the rule of {given[0]!r} names a node twice")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as wrong:
                raise ValueError(f"regex {self.regex!r} is none: {wrong}") from wrong

    @property
    def pattern(self) -> tuple[str | None, str | None, str | None]:
        """What it matches, whoever is named: prefix, glob and regex, one of which is given."""
        return self.prefix, self.glob, self.regex

    @property
    def matches_everything(self) -> bool:
        """Whether it is written as the one that takes what no other rule takes."""
        return self.prefix == "" or self.glob == "*" or self.regex == ".*"

    def matches(self, name: str) -> bool:
        """Whether a name is of this rule."""
        if self.prefix is not None:
            return name.startswith(self.prefix)
        if self.glob is not None:
            return _glob(self.glob).matches(name)
        return re.fullmatch(self.regex or "", name) is not None


class Partition(Struct, frozen=True):
    """How an index is parted, by LFNs and by sites. `slots` are those of LFNs."""

    slots: int
    lfns: LfnPartition = "hash"
    sites: SitePartition = "none"
    lfn_rules: tuple[Rule, ...] = ()
    site_rules: tuple[Rule, ...] = ()

    @property
    def site_parts(self) -> int:
        """How many parts sites are of."""
        return {"none": 1, "pattern": len(self.site_rules)}.get(self.sites, SITE_PARTS)

    @property
    def is_by_digest(self) -> bool:
        """Whether an LFN's digest alone says its slot."""
        return self.lfns in ("none", "hash")

    def has_parts_of(self, other: Partition) -> bool:
        """Whether LFNs and sites are of the same parts in another partition, whoever owns them."""
        return (self.slots, self.lfns, self.sites) == (other.slots, other.lfns, other.sites) and all(
            same_patterns(*rules) for rules in ((self.lfn_rules, other.lfn_rules), (self.site_rules, other.site_rules))
        )

    def part_of(self, site: str) -> int:
        """The part of a site."""
        if self.sites == "none":
            return 0
        if self.sites == "pattern":
            return _first(self.site_rules, site)
        key = site.partition(".")[2] or site if self.sites == "domain" else site
        return digest.slot_of(digest.of([key]), SITE_PARTS)

    def slots_of(self, lfns: Sequence[str], digests: Digests, collections: Sequence[str | None] | None = None) -> Slots:
        """The slot of each of n LFNs, with their digests, shape (n, 2); `ANY_SLOT` where only a collection would tell.

        With `collections` they are those of the LFNs, None where one has none; without, nobody knows.
        """
        if self.is_by_digest:
            return digest.slots_of(digests, self.slots)
        if self.lfns == "pattern":
            return np.array([_first(self.lfn_rules, lfn) for lfn in lfns], dtype=np.intp)
        if collections is None:
            return np.full(len(digests), ANY_SLOT, dtype=np.intp)
        slots = digest.slots_of(digests, self.slots)
        there = [at for at, collection in enumerate(collections) if collection is not None]
        if there:
            of = digest.of([collections[at] or "" for at in there])
            slots[there] = digest.slots_of(of, self.slots)
        return slots

    def slots_of_collections(self, collections: Sequence[str]) -> Slots:
        """The slot of the totals of each collection: that of its digest, whatever LFNs are parted by."""
        if not collections:
            return np.zeros(0, dtype=np.intp)
        words = digest.of(collections)
        if self.lfns == "pattern":
            return (words[:, 0] % np.uint64(self.slots)).astype(np.intp)
        return digest.slots_of(words, self.slots)


def same_patterns(rules: Sequence[Rule], others: Sequence[Rule]) -> bool:
    """Whether two lists of rules differ at most in the nodes that are named."""
    return [rule.pattern for rule in rules] == [rule.pattern for rule in others]


def _first(rules: Sequence[Rule], name: str) -> int:
    """The first rule that matches; the last one does."""
    return next((at for at, rule in enumerate(rules) if rule.matches(name)), len(rules) - 1)


@lru_cache(maxsize=RULES_MAX)
def _glob(text: str) -> names.Pattern:
    return names.pattern(text)
