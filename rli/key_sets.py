"""Fingerprints and lists of LFNs as a node holds them: the keys of each site and slot, and which sites have a key.

Both are exact: a deletion takes its key away at once, and a name is only found where the very same name was told. The
names of lists are kept once for all sites (`rli/interned.py`), and a site has their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reploc.digest import Digests
from reploc.errors import SummaryInvalid
from reploc.key_sets import checksum_of_fingerprints, checksum_of_names, fingerprints_from_bytes, names_from
from reploc.names import Pattern
from reploc.wire import Summary
from rli.filters import require_checksum
from rli.holding import Steps
from rli.interned import Interned
from rli.matrix import MayHold
from rli.pairs import Pairs
from rli.runs import Keys
from rli.texts import Texts

#: Names that are taken in between two questions: about a millisecond's work.
_STEP = 1 << 10
#: Names that one page of a search looks at: about twenty milliseconds.
NAMES_PER_PAGE_MAX = 20_000

_NONE: Keys = np.zeros(0, dtype=np.uint64)


#: Hears of keys, ascending: those that came, and those that went.
Watcher: TypeAlias = Callable[[Keys, Keys], None]


class _KeysHeld:
    """The keys of each site and slot, ascending, and all of them as pairs."""

    def __init__(self) -> None:
        self.pairs = Pairs()
        #: Hears which distinct keys have a first site now, and which have none any more.
        self.watcher: Watcher | None = None
        self._held: dict[int, dict[int, Keys]] = {}

    def of(self, slot: int, site: int) -> Keys:
        return self._held.get(site, {}).get(slot, _NONE)

    def put(self, slot: int, site: int, keys: Keys) -> Keys:
        """Puts keys in place of those that are there; which of these are gone."""
        before = self.of(slot, site)
        gone = before[~np.isin(before, keys, assume_unique=True)]
        new = keys[~np.isin(keys, before, assume_unique=True)]
        self.pairs.remove(gone, site)
        if self.watcher is not None and len(gone) + len(new):
            first, last = self._nowhere(new), self._nowhere(gone)
            self.pairs.add(new, site)
            self.watcher(first, last)
        else:
            self.pairs.add(new, site)
        held = self._held.setdefault(site, {})
        held.pop(slot, None)
        if len(keys):
            held[slot] = keys
        elif not held:
            del self._held[site]
        return gone

    def _nowhere(self, keys: Keys) -> Keys:
        """Those of some keys that no site has."""
        lonely = np.ones(len(keys), dtype=bool)
        lonely[self.pairs.find(keys).rows] = False
        return keys[lonely]

    def slots(self, site: int) -> list[int]:
        return list(self._held.get(site, {}))

    def memory(self) -> int:
        return self.pairs.memory() + sum(keys.nbytes for held in self._held.values() for keys in held.values())


class HeldFingerprints:
    """The fingerprints of all sites."""

    def __init__(self) -> None:
        self._keys = _KeysHeld()

    def verified(self, summary: Summary) -> Keys:
        """The fingerprints of a whole summary, ascending. Raises SummaryInvalid."""
        said = fingerprints_from_bytes(summary.body)
        if len(said.gone):
            raise SummaryInvalid(f"the whole summary of slot {summary.slot} has fingerprints that are gone")
        if (found := checksum_of_fingerprints(said.here)) != summary.checksum:
            raise SummaryInvalid(f"checksum of slot {summary.slot} is {found:016x}; it says {summary.checksum:016x}")
        return said.here

    def store(self, slot: int, site: int, whole: Keys) -> Steps:
        """Puts fingerprints in place of what is held of a slot, in one step."""
        self._keys.put(slot, site, whole)
        yield from ()

    def change(self, summary: Summary, site: int, checksum: int) -> None:
        """Takes fingerprints in and out. Raises SummaryInvalid, with nothing changed."""
        said, held = fingerprints_from_bytes(summary.body), self._keys.of(summary.slot, site)
        came = said.here[~np.isin(said.here, held, assume_unique=True)]
        went = said.gone[np.isin(said.gone, held, assume_unique=True)]
        gained = checksum_of_fingerprints(came) - checksum_of_fingerprints(went)
        require_checksum((checksum + gained) % (1 << 64), summary)
        stays = held[~np.isin(held, went, assume_unique=True)]
        self._keys.put(summary.slot, site, np.sort(np.concatenate([stays, came])))

    def drop(self, slot: int, site: int) -> bool:
        return len(self._keys.put(slot, site, _NONE)) > 0

    def drop_site(self, site: int) -> int:
        return sum(self.drop(slot, site) for slot in self._keys.slots(site))

    def slots(self, site: int) -> list[int]:
        return self._keys.slots(site)

    def __len__(self) -> int:
        """How many pairs of a fingerprint and a site there are."""
        return len(self._keys.pairs)

    def query(self, digests: Digests) -> MayHold:
        """Which sites have each of n LFNs, by their digests, shape (n, 2)."""
        return self._keys.pairs.find(digests[:, 0])

    def sites_of_each(self, digests: Digests) -> list[set[int]]:
        """The sites that have each of a few LFNs, by their digests, shape (n, 2)."""
        return [self._keys.pairs.sites_of(key) for key in digests[:, 0]]

    def watch(self, watcher: Watcher) -> None:
        """From now on somebody hears which fingerprints come and go."""
        self._keys.watcher = watcher

    def digests_of(self, keys: Keys) -> Digests:
        """What is known of their LFNs' digests, shape (n, 2): the first words."""
        return np.stack([keys, np.zeros_like(keys)], axis=1)

    def names_of(self, _: Keys) -> list[str]:
        """Nobody told."""
        return []

    def memory(self) -> int:
        """Bytes of all fingerprints."""
        return self._keys.memory()


class VerifiedNames(NamedTuple):
    """The names of one slot of a site, whose checksum is right."""

    names: list[bytes]


class NamesFound(NamedTuple):
    """Some names that match, with pairs of a name's place and a site, and behind which number a search goes on; -1 at
    the end."""

    names: list[str]
    found: MayHold
    next: int


class HeldLists:
    """The LFNs of all sites, each name once."""

    def __init__(self, texts: Texts | None = None) -> None:
        """`texts` is where the names lie, by default in memory."""
        self._interned = Interned(texts)
        self._keys = _KeysHeld()

    def verified(self, summary: Summary) -> VerifiedNames:
        """The names of a whole summary. Raises SummaryInvalid."""
        said = names_from(summary.body)
        if said.gone:
            raise SummaryInvalid(f"the whole summary of slot {summary.slot} has names that are gone")
        if (found := checksum_of_names(said.here)) != summary.checksum:
            raise SummaryInvalid(f"checksum of slot {summary.slot} is {found:016x}; it says {summary.checksum:016x}")
        return VerifiedNames([name.encode() for name in said.here])

    def store(self, slot: int, site: int, whole: VerifiedNames) -> Steps:
        """Puts names in place of what is held of a slot; the last step swaps."""
        taken: list[NDArray[np.int64]] = []
        stored = False
        try:
            for at in range(0, len(whole.names), _STEP):
                taken.append(self._interned.hold(whole.names[at : at + _STEP]))
                if at + _STEP < len(whole.names):
                    yield
            before = self._keys.of(slot, site)
            self._keys.put(slot, site, np.sort(np.concatenate(taken)).astype(np.uint64) if taken else _NONE)
            self._interned.release(before.astype(np.int64))
            stored = True
        finally:
            if not stored and taken:
                self._interned.release(np.concatenate(taken))

    def change(self, summary: Summary, site: int, checksum: int) -> None:
        """Takes names in and out. Raises SummaryInvalid, with nothing changed."""
        said, held = names_from(summary.body), self._keys.of(summary.slot, site)
        here, gone = ([name.encode() for name in names] for names in (said.here, said.gone))
        is_new = ~np.isin(self._interned.find(here).astype(np.uint64), held)
        gone_numbers = self._interned.find(gone).astype(np.uint64)
        was_there = np.isin(gone_numbers, held)
        came = [here[at] for at in np.flatnonzero(is_new).tolist()]
        went = [said.gone[at] for at in np.flatnonzero(was_there).tolist()]
        gained = checksum_of_names([name.decode() for name in came]) - checksum_of_names(went)
        require_checksum((checksum + gained) % (1 << 64), summary)
        stays = held[~np.isin(held, gone_numbers[was_there])]
        new = self._interned.hold(came).astype(np.uint64)
        self._interned.release(
            self._keys.put(summary.slot, site, np.sort(np.concatenate([stays, new]))).astype(np.int64)
        )

    def drop(self, slot: int, site: int) -> bool:
        gone = self._keys.put(slot, site, _NONE)
        self._interned.release(gone.astype(np.int64))
        return len(gone) > 0

    def drop_site(self, site: int) -> int:
        return sum(self.drop(slot, site) for slot in self._keys.slots(site))

    def slots(self, site: int) -> list[int]:
        return self._keys.slots(site)

    def __len__(self) -> int:
        """How many pairs of a name and a site there are."""
        return len(self._keys.pairs)

    def query(self, names: Sequence[str]) -> MayHold:
        """Which sites have each of n LFNs."""
        numbers = self._interned.find([name.encode() for name in names])
        known = np.flatnonzero(numbers >= 0)
        found = self._keys.pairs.find(numbers[known].astype(np.uint64))
        return MayHold(known[found.rows], found.sites)

    def matching(self, pattern: Pattern, limit: int, after: int) -> NamesFound:
        """Up to `limit` names that match, in order of their numbers behind `after`, which is -1 at first.

        A page may hold fewer, or none, and still not be the last. A name keeps its number while any site has it, so
        that one which some site had from the first page to the last is found, once.
        """
        if pattern.literal:
            return self._named(pattern.text)
        numbers = self._interned.held_behind(after, NAMES_PER_PAGE_MAX)
        matches: list[tuple[int, str]] = []
        follow = int(numbers[-1]) if len(numbers) == NAMES_PER_PAGE_MAX else -1
        for number, raw in zip(numbers.tolist(), self._interned.names().of(numbers), strict=True):
            if pattern.matches(name := raw.decode()):
                matches.append((number, name))
                if len(matches) == limit:
                    follow = number
                    break
        found = self._keys.pairs.find(np.array([number for number, _ in matches], dtype=np.uint64))
        return NamesFound([name for _, name in matches], found, follow)

    def _named(self, name: str) -> NamesFound:
        """The one name of a pattern without magic, where some site has it."""
        found = self.query([name])
        return NamesFound([name] if len(found.rows) else [], found, -1)

    def watch(self, watcher: Watcher) -> None:
        """From now on somebody hears which names come and go, by their numbers; those that go can still be asked for
        then."""
        self._keys.watcher = watcher

    def digests_of(self, keys: Keys) -> Digests:
        """The digests of names, by their numbers, shape (n, 2)."""
        return self._interned.digests_of(keys.astype(np.int64))

    def names_of(self, keys: Keys) -> list[str]:
        """The names themselves."""
        return [name.decode() for name in self._interned.names().of(keys.astype(np.int64))]

    def memory(self) -> int:
        """Bytes of all names and pairs."""
        return self._interned.memory() + self._keys.memory()
