"""What the demo knows to be true, and whether a lookup says the same.

The story keeps its own account of which site holds which file, apart from everything that reploc does. A lookup is
right when it lists exactly those copies, with size and checksum, and when every listed file, opened, is what it is said
to be. While a site is down its copies cannot be verified: then a lookup is right when it lists all others and names the
site, so that nobody takes its silence for an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from reploc.client.resolve import Lookup
from reploc.demo.files import adler32


@dataclass(frozen=True)
class Expected:
    """One file: its size and checksum, where they are known, and the PFN of its copy at each site that has one."""

    size: int | None
    checksum: str | None
    pfns: dict[str, str]


@dataclass
class Verdict:
    """How many lookups and claims were right, and what was wrong with the others."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Verdict) -> None:
        """Takes the count of another verdict as well."""
        self.right += other.right
        self.wrong += other.wrong

    def claim(self, holds: bool, what: str) -> bool:
        """Counts a claim about the grid, in words, as right or wrong; whether it holds."""
        if holds:
            self.right += 1
        else:
            self.wrong.append(f"it does not hold that {what}")
        return holds


Opened = Callable[[str, Expected], str]


def local_path(pfn: str) -> Path | None:
    """The path of a PFN on this machine, None where it is elsewhere."""
    parts = urlsplit(pfn)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def opened(pfn: str, expected: Expected) -> str:
    """What is wrong with the file that a PFN names, or empty text."""
    path = local_path(pfn)
    if path is None:
        return f"{pfn}: is no file of this machine"
    try:
        data = path.read_bytes()
    except OSError as wrong:
        return f"{path}: {wrong.strerror}"
    if (len(data), adler32(data)) != (expected.size, expected.checksum):
        return f"{path}: holds {len(data)} bytes, {adler32(data)}"
    return ""


def listed(_: str, __: Expected) -> str:
    """For files that are only on a list: there is nothing to open, and the list itself is the truth."""
    return ""


def judged(truth: dict[str, Expected], found: Lookup, down: frozenset[str], look: Opened) -> Verdict:
    """Whether each LFN of a lookup is right, when the sites in `down` do not answer."""
    verdict = Verdict()
    for lfn in found.replicas:
        faults = list(_faults(lfn, truth.get(lfn, Expected(None, None, {})), found, down, look))
        if faults:
            verdict.wrong.append(f"{lfn}: {faults[0]}")
        else:
            verdict.right += 1
    return verdict


def _faults(lfn: str, expected: Expected, found: Lookup, down: frozenset[str], look: Opened) -> Iterator[str]:
    said = {(replica.site, pfn): replica for replica in found.replicas[lfn] for pfn in replica.pfns}
    true = {(site, pfn) for site, pfn in expected.pfns.items() if site not in down}
    if lacking := sorted(true - said.keys()):
        yield f"{lacking[0][1]} at {lacking[0][0]} was not found"
    if strange := sorted(said.keys() - true):
        yield f"{strange[0][1]} at {strange[0][0]} does not exist"
    for (_, pfn), replica in said.items():
        if (replica.size, replica.checksum) != (expected.size, expected.checksum):
            yield f"{pfn} is said to have {replica.size} bytes, {replica.checksum}"
        elif wrong := look(pfn, expected):
            yield wrong
    resolved = found.of(lfn)
    named = {*resolved.missing, *resolved.unreachable}
    if unsaid := sorted((expected.pfns.keys() & down) - named):
        yield f"{unsaid[0]} is down, and the answer does not say so"
    if not down and not resolved.complete:
        yield f"the answer says that it is not complete, for {', '.join(sorted(named)) or 'lack of news'}"
