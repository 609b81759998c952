"""Who belongs to the index, and who else is there: a static list, or a registry that its members keep alive.

With kind `etcd` every service puts a description of itself under a lease, which it renews: soft state, so that one that
dies is gone when its lease has ended. The index nodes among them are the index's nodes, and news of them changes the
ring of a party while it runs, as a changed settings file does. What is believed, and when, says `reploc/roster.py`.
While no etcd answers everything goes on with what was known last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field
from msgspec.structs import replace

from reploc import __version__, etcd, service, telemetry
from reploc.config import Settings
from reploc.errors import NameInvalid, ReplocError, Unreachable
from reploc.members import NODES_MAX, IndexSettings, Node
from reploc.names import require_site, require_url
from reploc.roster import Roster
from reploc.security.credentials import Credentials
from reploc.security.settings import CredentialSettings, TlsSettings
from reploc.service import Duty
from reploc.telemetry import Metrics
from reploc.wire import Service

#: The longest lease and the longest pause before a change: a quarter of an hour without a dead node's slots is long.
SECONDS_MAX = 900
#: Bytes of one description: a name, an address and a dozen parameters.
DESCRIPTION_BYTES_MAX = 16 << 10
#: A lease is renewed so many times before it would end.
RENEWALS = 3
#: After a time without a registry every member has so many leases to come back.
PATIENCE_LEASES = 3
#: Seconds between two attempts to reach a registry.
RETRY_S = 1.0
#: Seconds in which members whose registry came back are in it again, all but those that cannot reach it.
COME_BACK_S = 3 * RETRY_S
#: Seconds between two looks for the first of them.
LOOK_S = 0.1
#: What an index node is in the index above it.
CHILD = "child"

_decode = msgspec.json.Decoder(Service).decode


class MembershipSettings(Settings, frozen=True):
    """Who the index nodes are: the list in index.nodes, or those that have put themselves into an etcd."""

    kind: Annotated[Literal["static", "etcd"], Meta(description="static: index.nodes. etcd: who is there.")] = "static"
    endpoints: Annotated[
        list[str],
        Meta(description="http:// or https://HOST:PORT of each member of the etcd.", min_length=1, max_length=100),
    ] = field(default_factory=lambda: ["http://127.0.0.1:2379"])
    prefix: Annotated[str, Meta(description="Where in the etcd this index is; its own for each.", min_length=1)] = (
        "/reploc/"
    )
    user: Annotated[str, Meta(description="The etcd user; empty: none.")] = ""
    password: Annotated[str, Meta(description="The etcd user's password.")] = ""
    certificate: Annotated[
        str, Meta(description="PEM file of the certificate that an etcd behind https is shown; empty: none.")
    ] = ""
    key: Annotated[str, Meta(description="PEM file of its key. Empty: it is in the same file.")] = ""
    authorities: Annotated[
        str, Meta(description="PEM file or hashed directory of the etcd's authorities. Empty: the system's.")
    ] = ""
    lease_s: Annotated[
        int, Meta(description="A service that gives no sign of life for so long is gone.", ge=1, le=SECONDS_MAX)
    ] = 10
    settle_s: Annotated[
        float, Meta(description="Changes of the index are gathered for so long.", ge=0.05, le=SECONDS_MAX)
    ] = 2.0

    def __post_init__(self) -> None:
        for endpoint in self.endpoints:
            require_url(endpoint, "endpoint")
        if self.key and not self.certificate:
            raise ValueError("membership.key is given, but membership.certificate names no certificate of it")
        plain = [endpoint for endpoint in self.endpoints if not endpoint.startswith("https:")]
        if plain and (self.certificate or self.authorities):
            raise ValueError(f"membership has certificates or authorities, but endpoint {plain[0]} is not https")

    @property
    def shown(self) -> Credentials:
        """What the etcd is shown, and must prove."""
        files = TlsSettings(certificate=self.certificate, key=self.key, authorities=self.authorities)
        return Credentials(files, CredentialSettings(), service.now)


def described(kind: str, name: str, url: str, parameters: dict[str, str | int | float]) -> Service:
    """A service's description of itself, as it starts now."""
    since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Service(kind, name, url, __version__, since, parameters)


class Membership:
    """The members of one index as one daemon knows them. `on_change` is called, in the loop, when the index has other
    nodes, or other index nodes below it."""

    def __init__(
        self,
        settings: MembershipSettings,
        index: IndexSettings,
        me: Service,
        metrics: Metrics,
        measured: str = "reploc_membership",
    ) -> None:
        """`measured` is what the names of its metrics begin with, where a daemon is a member of two indexes."""
        self._settings = settings
        self._me = me
        self._slots = index.slots
        own = {me.name: me.url} if me.kind == "rli" else {}
        self._roster = Roster(
            {**index.urls, **own} if settings.kind == "etcd" else index.urls,
            patience_s=PATIENCE_LEASES * settings.lease_s,
            settle_s=settings.settle_s,
            now=service.now(),
        )
        self._own = own
        self._services: list[Service] = []
        self._below: dict[str, str] = {}
        self._heard_at: float | None = None
        self._endpoint = 0
        self._shown = settings.shown
        self.on_change: Callable[[], object] = lambda: None
        if settings.kind == "etcd":
            metrics.watch(f"{measured}_nodes", "Index nodes that are believed", lambda: len(self._roster.nodes))
            metrics.watch(f"{measured}_age_seconds", "Age of the last word of the registry", self._age_s)

    def duties(self) -> list[Duty]:
        """What keeps a daemon's membership alive."""
        return [Duty("membership", self.run_once)] if self._settings.kind == "etcd" else []

    def announce(self, url: str) -> None:
        """The address that this service listens on is known now."""
        self._me = replace(self._me, url=url)

    def over(self, index: IndexSettings) -> IndexSettings:
        """The index with the nodes that there are; the settings' own where these are the list."""
        if self._settings.kind == "static":
            return index
        nodes = [Node(name=name, url=url) for name, url in sorted(self._roster.nodes.items())]
        redundancy = len(nodes) if index.holds_everything else min(index.redundancy, len(nodes))
        return replace(index, nodes=nodes, redundancy=max(1, redundancy))

    def services(self) -> list[Service]:
        """Every service that is known by its own description, this one first."""
        others = [one for one in self._services if (one.kind, one.name) != (self._me.kind, self._me.name)]
        return [self._me, *others]

    def below(self) -> dict[str, str]:
        """The index nodes below that have put themselves here, name → address."""
        return self._below

    async def first_if_heard(self) -> None:
        """Learns who is there, if a registry says so, for a daemon that can begin without."""
        try:
            await self.first()
        except Unreachable as wrong:
            telemetry.event("membership.lost", detail=wrong.detail)

    async def first(self) -> None:
        """Learns who is there before this daemon begins. Raises Unreachable: no registry said so.

        An index node that finds no other one waits a moment for them: the registry may have come back empty just now,
        and who took itself for the whole index would send those who know no other node away from all that is held.
        """
        if self._settings.kind == "static":
            return
        failed = []
        for endpoint in self._settings.endpoints:
            try:
                async with self._connected(endpoint) as registry:
                    await self._look_around(registry)
                    return
            except Unreachable as wrong:
                failed.append(wrong.detail)
        raise Unreachable("; ".join(failed), hint="an index node cannot know its slots without the registry")

    async def _look_around(self, registry: etcd.Etcd) -> None:
        until = service.now() + (COME_BACK_S if self._own else 0.0)
        while True:
            self._roster.first(self._nodes(await registry.listed()), service.now())
            if service.now() >= until or self._roster.nodes.keys() - self._own.keys():
                return
            await asyncio.sleep(LOOK_S)

    async def run_once(self) -> float:
        """One connection to a registry, for as long as it holds; then seconds until the next."""
        endpoint = self._settings.endpoints[self._endpoint % len(self._settings.endpoints)]
        try:
            async with self._connected(endpoint) as registry, asyncio.TaskGroup() as tasks:
                tasks.create_task(registry.watch())
                await self._attend(registry)
        except* ReplocError as wrong:
            self._endpoint += 1
            self._roster.lost()
            telemetry.event("membership.lost", endpoint=endpoint, detail=str(wrong.exceptions[0]))
        return RETRY_S

    def _connected(self, endpoint: str) -> etcd.Connection:
        told, context = self._settings, self._shown.context(endpoint)
        return etcd.connected(endpoint, told.prefix, told.user, told.password, context)

    async def _attend(self, registry: etcd.Etcd) -> None:
        """Stays in the registry and takes in who else is, until it breaks."""
        while True:
            registry.changed.clear()
            if not await registry.keep():
                await self._claim(registry)
                telemetry.event("membership.joined", member=f"{self._me.kind}/{self._me.name}")
            listed, below = await registry.listed(), self._below
            now = service.now()
            self._heard_at = now
            self._roster.listed(self._nodes(listed), now)
            if self._roster.settle(now):
                telemetry.event("membership.changed", nodes=", ".join(sorted(self._roster.nodes)))
                self.on_change()
            elif below != self._below:
                self.on_change()
            wait_s = min(self._settings.lease_s / RENEWALS, self._roster.due_s(now))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await registry.changed.wait()

    async def _claim(self, registry: etcd.Etcd) -> None:
        """Puts this service's description, unless another service of that name is there under another address."""
        key = f"{self._me.kind}/{self._me.name}"
        there = (await registry.listed()).get(key)
        held = None if there is None else _described(key, there)
        if held is not None and held.url != self._me.url:
            raise Unreachable(f"{key} is registered as {held.url}: another service has this name, or its lease runs on")
        await registry.claim(key, msgspec.json.encode(self._me), self._settings.lease_s)

    def _nodes(self, listed: dict[str, bytes]) -> dict[str, str]:
        """The index nodes among what is listed, which are this one and those of the same slots."""
        found = [one for key, value in listed.items() if (one := _described(key, value)) is not None]
        self._services = found
        self._below = self._of_this_index(CHILD, found)
        return {**self._of_this_index("rli", found), **self._own}

    def _of_this_index(self, kind: str, found: Iterable[Service]) -> dict[str, str]:
        told = [one for one in found if one.kind == kind and one.parameters.get("slots") == self._slots]
        return {one.name: one.url for one in sorted(told, key=lambda one: one.name)[: NODES_MAX - 1]}

    def _age_s(self) -> float:
        return -1.0 if self._heard_at is None else service.now() - self._heard_at


def _described(key: str, value: bytes) -> Service | None:
    """What a key of the registry describes; None where it is no description of ours."""
    if len(value) > DESCRIPTION_BYTES_MAX:
        return None
    try:
        found = _decode(value)
        require_site(found.name)
        require_url(found.url)
    except (msgspec.MsgspecError, NameInvalid, UnicodeDecodeError):
        return None
    return found if key == f"{found.kind}/{found.name}" else None
