"""In which turn proposals are looked at: by chance, with weight by their plugins' priorities.

As long as several plugins have proposals left, the next comes from one of them with a chance in proportion to
1/priority (Dynamo paper, section 4.2); proposals of priority 0 come before all, of their plugins with even chances.
That is the same as letting each plugin's proposals arrive after pauses that are exponentially distributed with that
rate, since what is left of such a pause does not depend on how long it has lasted: so all turns are drawn at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from placement.dealer.proposal import Proposal


@dataclass(frozen=True, slots=True)
class Turn:
    """A proposal whose turn it is: the plugin, the place among the plugin's own, and the chance, from 0 to 1, that
    chooses the destination."""

    plugin: str
    number: int
    proposal: Proposal
    chance: float


def drawn(proposed: Mapping[str, tuple[int, Sequence[Proposal]]], seed: int) -> list[Turn]:
    """All turns from what each plugin, with its priority, proposes. The same seed and proposals give the same turns.

    Each plugin has chances of its own, so that another one's proposals do not change them.
    """
    names = sorted(proposed)
    first, moment, place, number, chance = [], [], [], [], []
    for at, name in enumerate(names):
        priority, proposals = proposed[name]
        rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
        pauses, chances = rng.random((2, len(proposals)))
        moment.append(np.cumsum(-np.log1p(-pauses) * max(priority, 1)))
        first.append(np.full(len(proposals), priority > 0))
        place.append(np.full(len(proposals), at))
        number.append(np.arange(len(proposals)))
        chance.append(chances)
    if not names:
        return []
    order = np.lexsort([np.concatenate(keys) for keys in (number, place, moment, first)])
    whole = zip(*(np.concatenate(keys)[order].tolist() for keys in (place, number, chance)), strict=True)
    return [Turn(names[at], each, proposed[names[at]][1][each], drawn) for at, each, drawn in whole]
