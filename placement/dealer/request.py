"""The plugin `request`: copies that people ask for, and what becomes of their requests by what the dealer decides.

A request is for so many copies over a list of sites (`placement/requests.py`). What is there or on its way counts; a
whole copy of another group at one of the sites is to be handed over; what lacks then is proposed, one copy each. Where
all of that is rejected for a reason that does not pass by itself, the request is rejected with it; otherwise it waits,
and its reason says for what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

import polars as pl
from msgspec import Meta

from placement.dealer.deciding import DEAD_SAID, GROUP_SAID
from placement.dealer.plugin import Scene
from placement.dealer.proposal import Answer, Proposal, Verdict
from placement.dealer.room import Reason
from placement.dealer.settings import PluginSettings
from placement.fulfilment import Standing
from placement.request_messages import RequestState
from placement.requests import Ruling
from reploc import names
from reploc.commands.terminal import shown_bytes
from reploc.wire import Size

#: Sites that one reason names; more are counted.
SITES_TOLD_MAX = 3
#: Reasons that no later cycle will find otherwise.
LASTING = frozenset([Reason.NO_TARGET.words, DEAD_SAID, GROUP_SAID])


class RequestSettings(PluginSettings, frozen=True):
    """What people may ask for."""

    max_size: Annotated[Size, Meta(description="Bytes of the largest dataset or block asked for; 0: any.")] = 0


class Request:
    """The plugin `request`."""

    settings: ClassVar[type[PluginSettings]] = RequestSettings

    def __init__(self, settings: RequestSettings) -> None:
        self._settings = settings

    def variables(self) -> frozenset[str]:
        """None: requests say all that it needs."""
        return frozenset()

    def propose(self, scene: Scene) -> Sequence[Proposal]:
        """The copies that open requests lack, the oldest request first."""
        standing = _standing(scene)
        asked = [names.split_block(request.item)[0] for request in standing.requests]
        return [
            proposal
            for number, dataset in enumerate(scene.inventory.dataset_keys(asked).tolist())
            if not self._too_large(standing, number)
            for proposal in _lacking(standing, number, dataset)
        ]

    def ruled(self, scene: Scene, verdicts: Sequence[Verdict]) -> Sequence[Ruling]:
        """What becomes of each request: activated where something is ordered for it or on its way, rejected where
        nothing ever will be, and waiting otherwise."""
        by_request: dict[int | None, list[Verdict]] = {}
        for verdict in verdicts:
            by_request.setdefault(verdict.proposal.request, []).append(verdict)
        standing = _standing(scene)
        rulings = []
        for number, request in enumerate(standing.requests):
            if size := self._too_large(standing, number):
                most = shown_bytes(self._settings.max_size)
                rulings.append(Ruling(request.id, "rejected", f"it has {shown_bytes(size)}; at most {most} are taken"))
            else:
                rulings.append(_ruling(standing, number, by_request.get(request.id, [])))
        return rulings

    def _too_large(self, standing: Standing, number: int) -> int:
        """The bytes of what is asked for, where they are too many; else 0."""
        size = int(standing.inventory.blocks["size"].to_numpy()[standing.items.blocks(number)].sum())
        return size if 0 < self._settings.max_size < size else 0


def _standing(scene: Scene) -> Standing:
    asked = [request for request in scene.archive.open_requests() if request.kind == "copy"]
    return Standing.of_requests(scene.inventory, asked)


def _lacking(standing: Standing, number: int, dataset: int) -> Iterator[Proposal]:
    """First the copies of others that one may have, each at its site, then those that are not there."""
    request, pairs, held = standing.requests[number], standing.of(number), standing.held
    sites = standing.site[pairs]
    there, owned = held.coming[pairs], held.owned[pairs]
    single = names.split_block(request.item)[1] is not None
    blocks = tuple(standing.items.blocks(number).tolist()) if single else None
    left = standing.wanted(number) - int((there & owned).sum())
    foreign = sites[there & ~owned][: max(left, 0)].tolist()
    if request.copies is None:
        lacking = [(site,) for site in sites[~there].tolist()]
    else:
        lacking = [tuple(sites.tolist())] * (left - len(foreign))
    for wanted in [*((site,) for site in foreign), *lacking]:
        yield Proposal(dataset, blocks, wanted, request.group, why=f"request {request.id}", request=request.id)


def _ruling(standing: Standing, number: int, verdicts: Sequence[Verdict]) -> Ruling:
    request, pairs, held = standing.requests[number], standing.of(number), standing.held
    names_of_sites = standing.inventory.sites["name"]
    given = {verdict.site for verdict in verdicts if verdict.answer is Answer.COPY}
    handed = any(verdict.answer is Answer.HAND_OVER for verdict in verdicts)
    coming = set(standing.site[pairs][held.coming[pairs] & ~held.whole[pairs]].tolist())
    refused = [verdict for verdict in verdicts if verdict.answer is Answer.REJECT]
    state: RequestState = "activated" if given or handed or coming or request.state == "activated" else "new"
    if state == "new" and refused and all(verdict.reason in LASTING for verdict in refused):
        state = "rejected"
    reason = _reasons(refused, names_of_sites)
    return Ruling(request.id, state, reason, tuple(sorted(names_of_sites[site] for site in given | coming)))


def _reasons(refused: Sequence[Verdict], names_of_sites: pl.Series) -> str:
    """Why copies cannot be ordered: with the site where a proposal named just one."""
    said: dict[str, list[str]] = {}
    for verdict in refused:
        sites = verdict.proposal.sites or ()
        said.setdefault(verdict.reason, []).extend(names_of_sites[site] for site in sites if len(sites) == 1)
    return "; ".join(f"{reason}{_listed(sites)}" for reason, sites in said.items())


def _listed(sites: Sequence[str]) -> str:
    more = [f"and {len(sites) - SITES_TOLD_MAX} more"] if len(sites) > SITES_TOLD_MAX else []
    return f" ({', '.join([*sites[:SITES_TOLD_MAX], *more])})" if sites else ""
