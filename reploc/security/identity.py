"""Who asks: what a verified certificate or token says, in one form that rules can be written about.

Distinguished names are written as grid software writes them, `/DC=org/DC=example/CN=Jane Doe`. A value that could be
read as another part of the name, `x/CN=admin`, makes the whole name no identity (`DnAmbiguous`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reploc.actions import Action

Kind: TypeAlias = Literal["nobody", "certificate", "token"]

#: Characters of a subject, an issuer or a group: longer ones are no identity. Distinguished names have a few hundred.
TEXT_CHARS_MAX = 1_024
#: Groups of one identity, and rights that a token carries itself: WLCG's tokens have a dozen.
ITEMS_MAX = 100

_PART_INSIDE = re.compile(r"/[A-Za-z0-9.]+=")
#: What each right that a token carries lets its bearer do, as WLCG and SciTokens name them. `storage.create` alone does
#: not allow to replace or delete, which writing to a catalog is, and gives nothing here.
_SCOPES: dict[str, tuple[Action, ...]] = {
    "storage.read": (Action.READ_CATALOG, Action.READ_INDEX),
    "storage.modify": (Action.WRITE_CATALOG,),
    "read": (Action.READ_CATALOG, Action.READ_INDEX),
    "write": (Action.WRITE_CATALOG,),
}
#: Rights that say that a token is about paths, whether they give anything here or not.
_PATHED = frozenset([*_SCOPES, "storage.create", "storage.stage"])


class DnAmbiguous(ValueError):
    """A distinguished name that could be read in two ways."""


@dataclass(frozen=True, slots=True)
class Capability:
    """A right that a token carries itself: an action on a path and what lies under it."""

    action: Action
    path: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `hosts` are the names and addresses that a certificate is for; `sites` and `nodes` those that it names
    and that its authority is believed about. `capabilities` are None where no token said what it is good for."""

    kind: Kind
    subject: str = ""
    issuer: str = ""
    groups: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] | None = None
    hosts: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}".rstrip()


#: Who shows neither certificate nor token.
NOBODY = Identity("nobody")


def dn(parts: Sequence[tuple[str, str]]) -> str:
    """The distinguished name of (type, value) in order. Raises DnAmbiguous."""
    for _, value in parts:
        if _PART_INSIDE.search(value) or not value.isprintable():
            raise DnAmbiguous(f"the part {value[:80]!r} of a distinguished name could be read as more than one")
    name = "".join(f"/{kind}={value}" for kind, value in parts)
    if len(name) > TEXT_CHARS_MAX:
        raise DnAmbiguous(f"a distinguished name has {len(name):,} characters; at most {TEXT_CHARS_MAX:,} are taken")
    return name


def capabilities(scope: str, base_path: str) -> tuple[Capability, ...] | None:
    """What the scopes of a token, divided by blanks, allow; None where none of them is about paths.

    Paths are below `base_path`. Raises ValueError: a path is not absolute or climbs out of itself, or there are too
    many.
    """
    found: list[Capability] = []
    pathed = False
    for word in scope.split():
        right, _, path = word.partition(":")
        pathed |= right in _PATHED
        found += [Capability(action, _joined(base_path, path or "/")) for action in _SCOPES.get(right, ())]
    if len(found) > 2 * ITEMS_MAX:
        raise ValueError(f"the token carries {len(found)} rights; at most {2 * ITEMS_MAX} are taken")
    return tuple(found) if pathed else None


def _joined(base_path: str, path: str) -> str:
    if not path.startswith("/") or climbs(path):
        raise ValueError(f"scope path {path[:80]!r} is not absolute and normal")
    return base_path.rstrip("/") + "/" + path.strip("/")


def climbs(name: str) -> bool:
    """Whether a name has a part `..`: where a site's rules make a path of it, it leads out of what it begins with."""
    return ".." in name and ".." in name.split("/")


def bounded(texts: Iterable[object], what: str) -> tuple[str, ...]:
    """The texts of a claim. Raises ValueError: one is no text or too long, or there are too many."""
    found = tuple(texts)
    if len(found) > ITEMS_MAX:
        raise ValueError(f"{what} has {len(found)} items; at most {ITEMS_MAX} are taken")
    for text in found:
        if not isinstance(text, str) or not text.isprintable() or len(text) > TEXT_CHARS_MAX:
            raise ValueError(f"{what} holds something that is no short text")
    return tuple(str(text) for text in found)
