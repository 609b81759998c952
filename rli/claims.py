"""Which of two claimants speaks for a site, decided alike at every node: the one that some node is bound to longest.

A node binds a site to the first sender that it hears. Two catalogs that claim one site and start together, or one that
claims another's while a node restarts, may so be bound at different nodes, each for ever. Nodes tell each other in
their lists of members which claim they are bound to, and since how long; where two differ, the younger one is given up
and kept away while the older one lasts. Two that are about as old are told apart by their marks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from reploc.errors import SiteClaimed
from reploc.wire import Member, SoftState

#: Seconds between two claims of which neither counts as the older: more than a list of members takes on its way.
MARGIN_S = 2.0


def mark(sender: str) -> str:
    """What tells a sender from another, but not what it is called: who knows that could speak in its name."""
    return hashlib.sha256(sender.encode()).hexdigest()[:16]


def precedes(theirs: Member, ours: Member) -> bool:
    """Whether the claim that another node is bound to is the one to keep.

    The windows overlap: in a pair of nodes at least one gives way, and where both do, they begin anew together.
    """
    if theirs.claim == ours.claim:
        return False
    older_s = theirs.bound_s - ours.bound_s
    return older_s > MARGIN_S or (older_s > -2 * MARGIN_S and theirs.claim < ours.claim)


@dataclass(frozen=True)
class _Kept:
    """A site that is kept for a claim, at an address, until a moment."""

    claim: str
    url: str
    until: float


class Claims:
    """The sites that a node keeps for claims which other nodes are bound to."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def keep(self, member: Member, until: float) -> None:
        """Keeps the site of a member of another node for its claim until it would expire there."""
        self._kept[member.name] = _Kept(member.claim, member.url, until)

    def require(self, message: SoftState, now: float) -> None:
        """Raises SiteClaimed: the site of a message is kept for another sender."""
        kept = self._kept.get(message.site)
        if kept is None:
            return
        if now >= kept.until:
            del self._kept[message.site]
        elif mark(message.sender) != kept.claim:
            raise SiteClaimed(
                f"site {message.site!r} is spoken for by another sender, at {kept.url}, as another node knows"
            )
