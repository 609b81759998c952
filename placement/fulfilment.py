"""What of the open requests is so already, and what deletions that people want can be ordered now.

Requests are judged by what the inventory shows, not by how their orders ended: copies that arrived on another's order
count, and those that are lost again do not. Copies are for the dealer to order, which weighs them against everything
else; a deletion needs no weighing, only that nothing else is against it (`placement/wishes.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placement import orders, requests, wishes
from placement.inventory import Array, Inventory
from placement.items import Holdings, Items
from placement.keeper import Keeper
from placement.messages import WishItem
from placement.orders import Wish
from placement.policy.texts import glob_matching
from placement.request_messages import DataRequest, RequestState
from placement.requests import Ruling
from reploc import names, telemetry
from reploc.commands.terminal import shown_age

#: Sites whose reasons a request's reason tells; more are counted.
REASONS_MAX = 3


@dataclass(frozen=True)
class Standing:
    """Open requests beside an inventory: each request's sites, and what they hold of it, as one array of pairs.

    The pairs of request `n` are `of(n)`, with the keys of their sites in `site`.
    """

    inventory: Inventory
    requests: Sequence[DataRequest]
    items: Items
    first: Array
    site: Array

    @classmethod
    def of_requests(cls, inventory: Inventory, requests: Sequence[DataRequest]) -> Standing:
        """The requests, with their items and patterns of sites looked up."""
        items = Items.of(inventory, [request.item for request in requests])
        sites = [sites_of(inventory, request.sites) for request in requests]
        first = np.concatenate([[0], np.cumsum([len(each) for each in sites])]).astype(np.int64)
        return cls(inventory, requests, items, first, np.concatenate([*sites, np.zeros(0, dtype=np.int64)]))

    @cached_property
    def held(self) -> Holdings:
        """What each pair's site holds of its item."""
        request = np.repeat(np.arange(len(self.requests)), np.diff(self.first))
        groups = self.inventory.group_keys([each.group for each in self.requests])
        return self.items.held(self.inventory, request, self.site, groups[request])

    def of(self, number: int) -> slice:
        """The pairs of a request."""
        return slice(int(self.first[number]), int(self.first[number + 1]))

    def wanted(self, number: int) -> int:
        """How many copies a request wants over its sites."""
        return self.requests[number].copies or int(self.first[number + 1] - self.first[number])


def sites_of(inventory: Inventory, words: Sequence[str]) -> Array:
    """The keys of the sites that names and glob patterns mean, rising."""
    known = inventory.sites["name"]
    found = np.zeros(len(known), dtype=np.bool_)
    for word in words:
        found |= (known == word).to_numpy() if names.pattern(word).literal else glob_matching(word, known)
    return np.flatnonzero(found)


@dataclass(frozen=True)
class Judged:
    """What is decided about open requests: rulings on those that change, and deletions with the request of each."""

    rulings: tuple[Ruling, ...]
    deletions: tuple[tuple[int, Wish], ...]


def judged(
    inventory: Inventory, open_requests: Sequence[DataRequest], now: float, max_age_s: float, patience_s: float
) -> Judged:
    """Completes what is so, orders the deletions that can be, says why others wait, rejects what waited too long."""
    standing = Standing.of_requests(inventory, open_requests)
    rulings, deletions = [], []
    asked = wishes.Asked(inventory, now, max_age_s)
    for number, request in enumerate(open_requests):
        ruling: Ruling | None = None
        if _fulfilled(standing, number):
            ruling = Ruling(request.id, "completed")
        elif now - request.created_s > patience_s and not request.under_way:
            ruling = Ruling(request.id, "rejected", _tired(request, patience_s))
        elif request.kind == "delete":
            found, ruling = _deletions(standing, number, asked)
            deletions += [(request.id, wish) for wish in found]
        if ruling is not None and (ruling.sites or (ruling.state, ruling.reason) != (request.state, request.reason)):
            rulings.append(ruling)
    return Judged(tuple(rulings), tuple(deletions))


def _fulfilled(standing: Standing, number: int) -> bool:
    pairs, held = standing.of(number), standing.held
    if standing.requests[number].kind == "copy":
        return int((held.whole & held.owned)[pairs].sum()) >= standing.wanted(number) > 0
    # Of a site whose news is not complete it is not known what it holds.
    heard = standing.inventory.sites["news_complete"].to_numpy()[standing.site[pairs]]
    return bool(heard.all()) and not held.any[pairs].any()


def _tired(request: DataRequest, patience_s: float) -> str:
    failed = [f"order {order.id} at {order.site} {order.state}: {order.reason}" for order in request.orders[-1:]]
    last = "; ".join([reason for reason in (request.reason, *failed) if reason]) or "no cycle of the dealer took it up"
    return f"not fulfilled within {shown_age(patience_s)}; {last}"


def _deletions(standing: Standing, number: int, asked: wishes.Asked) -> tuple[list[Wish], Ruling]:
    """The deletions of a request that can be ordered now, and why the others cannot."""
    request, pairs, held = standing.requests[number], standing.of(number), standing.held
    names_of_sites = standing.inventory.sites["name"]
    found, reasons = [], []
    for site in standing.site[pairs][held.any[pairs] & ~held.leaving[pairs]]:
        wish, reason = asked.tried(WishItem("delete", request.item, names_of_sites[int(site)], request.group))
        if wish is not None:
            found.append(wish)
        else:
            reasons.append(reason)
    more = [f"and at {len(reasons) - REASONS_MAX} more sites"] if len(reasons) > REASONS_MAX else []
    state: RequestState = "activated" if found or request.state == "activated" else "new"
    said = "; ".join([*reasons[:REASONS_MAX], *more])
    return found, Ruling(request.id, state, said, tuple(wish.site for wish in found))


def run_once(keeper: Keeper, max_age_s: float, patience_s: float) -> int:
    """Judges the open requests and puts on record what changes; how many did."""
    with keeper.database.reading() as connection:
        waiting = requests.opened(connection)
    if not waiting:
        return 0
    first = judged(keeper.inventory(), waiting, keeper.clock(), max_age_s, patience_s)
    if not first.rulings:
        return 0
    with keeper.writing() as connection:
        # What was found without anybody waiting for it may have changed since.
        now = keeper.clock()
        found = judged(keeper.inventory(), requests.opened(connection), now, max_age_s, patience_s)
        for ruling in found.rulings:
            wanted = [wish for number, wish in found.deletions if number == ruling.id]
            by = f"request {ruling.id}"
            if wanted:
                orders.write(connection, wanted, asked_by=by, now=now)
            requests.rule(connection, [ruling], by, now)
    for ruling in found.rulings:
        telemetry.event("request.ruled", id=ruling.id, state=ruling.state, reason=ruling.reason)
    return len(found.rulings)
