"""What arrives at a daemon and whether it is taken: connections, rates, offences, and what was asked in vain.

Calls that are malformed or ask for what does not exist are told apart from valid ones, in the log or in a file of their
own, and counted by what they asked: so one sees what users would like to have, and from the counts of the routes what
nobody uses. Whoever sends many of them is not listened to for a while (the Dynamo paper, section 4.5). Where several
processes share a port one of them keeps these counts, and the others tell it what they saw (`reploc/witness.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from reploc import errors, telemetry
from reploc.errors import ReplocError
from reploc.security.identity import NOBODY, Identity
from reploc.security.limits import Buckets, Networks, Offences, network_of
from reploc.security.lines import Lines
from reploc.security.settings import LimitSettings
from reploc.telemetry import Metrics

#: Errors after many of which an address is refused; each is of a request that nobody sends who knows the service.
OFFENCES = (
    errors.RequestMalformed,
    errors.RouteUnknown,
    errors.MethodUnknown,
    errors.Unauthenticated,
    errors.BodyLate,
    errors.TooLarge,
    errors.TooManyRequests,
)
#: Errors that say that a call cannot be right, whatever the service holds.
ASKED_IN_VAIN = (errors.BadRequest, errors.Unauthenticated, errors.Forbidden)
#: Different calls in vain that are counted by what they asked; the rarest makes way for a new one.
ASKED_MAX = 1_000
#: Characters of what was asked that are kept.
ASKED_CHARS = 200
#: Lines a second that calls in vain may write, and their burst: a flood is counted, and does not fill the disk.
LINES_PER_S = 50.0
LINES_BURST_S = 4.0
#: Bytes of one file of such lines, and how many are kept.
FILE_BYTES_MAX = 64 << 20
FILES = 4


class Asked(msgspec.Struct, frozen=True):
    """How often something was asked in vain: the error's code, and the method and path, or the words of the error."""

    code: str
    what: str
    times: int


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """Something that an address did: why it was wrong, and whether it offends.

    `event` is the log's name of a call in vain, and empty where no call came.
    """

    address: str
    why: str
    offends: bool
    event: str = ""
    asked: str = ""
    detail: str = ""


class Arrivals:
    """The bounds of one daemon, and what came up against them."""

    def __init__(self, settings: LimitSettings, metrics: Metrics, now: Callable[[], float]) -> None:
        """`now` is monotonic seconds. Raises ValueError or ConfigInvalid: a network or the file is wrong."""
        self.settings = settings
        self._now = now
        self._exempt = Networks(settings.exempt)
        self._by_address: dict[str, int] = {}
        self._connections = 0
        self._addresses = Buckets(settings.rate_per_address, settings.burst_s)
        self._identities = Buckets(settings.rate_per_identity, settings.burst_s)
        self._offences = Offences(settings.offences, settings.offence_s, settings.refused_s)
        self._speaking = Buckets(LINES_PER_S, LINES_BURST_S)
        self._file = Lines(Path(settings.refused_log), FILE_BYTES_MAX, FILES) if settings.refused_log else None
        self._asked: dict[tuple[str, str], int] = {}
        #: Who keeps count in this one's place, where it is not the only process of a daemon.
        self.keeper: Callable[[Seen], object] | None = None
        #: Who is told at once that a network is refused, and for how many seconds.
        self.on_refusal: Callable[[dict[str, float]], object] = dict
        self._turned_away = metrics.counter("reploc_connections_refused", "Connections not taken, by reason", "reason")
        self._limited = metrics.counter("reploc_requests_limited", "Requests beyond a rate, by whose it is", "whose")
        self._in_vain = metrics.counter("reploc_requests_refused", "Calls that cannot be right, by error", "code")
        metrics.watch("reploc_connections", "Connections of clients", lambda: self._connections)
        metrics.watch("reploc_addresses_refused", "Addresses not listened to", lambda: len(self.refused()))

    @property
    def rates_bounded(self) -> bool:
        return self._addresses.bounding or self._identities.bounding

    def admit(self, address: str) -> bool:
        """Whether a new connection is taken. One that is counts until `leave`."""
        network = network_of(address)
        reason = self._why_not(network)
        if reason:
            self._turned_away.labels(reason).inc()
            return False
        self._connections += 1
        self._by_address[network] = self._by_address.get(network, 0) + 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was taken has ended."""
        network = network_of(address)
        self._connections -= 1
        self._by_address[network] -= 1
        if not self._by_address[network]:
            del self._by_address[network]

    def take_of_address(self, address: str) -> None:
        """One request of an address. Raises TooManyRequests."""
        if self._bounds(address):
            _require(self._addresses.take(network_of(address), self._now()), "address")

    def take_of_identity(self, who: Identity) -> None:
        """One request of an identity; nobody's counts for its address alone. Raises TooManyRequests."""
        if self._identities.bounding and who is not NOBODY:
            _require(self._identities.take(_key(who), self._now()), "identity")

    def take(self, address: str, who: Identity) -> None:
        """One request of both. Raises TooManyRequests, and then nothing is taken of either."""
        if not self.rates_bounded:
            return
        if self._bounds(address):
            _require(self._addresses.wait(network_of(address), self._now()), "address")
        self.take_of_identity(who)
        self.take_of_address(address)

    def in_vain(self, address: str, wrong: ReplocError, asked: str = "") -> None:
        """Notes an error; of calls that cannot be right it is told and counted, and perhaps an offence."""
        if not isinstance(wrong, (*ASKED_IN_VAIN, errors.TooManyRequests)):
            return
        if isinstance(wrong, errors.TooManyRequests):
            self._limited.labels(wrong.whose).inc()
        self._in_vain.labels(wrong.code).inc()
        offends = isinstance(wrong, OFFENCES)
        self._see(Seen(address, wrong.code, offends, _event(wrong), asked[:ASKED_CHARS], wrong.detail))

    def offend(self, address: str, why: str) -> None:
        """One offence more of an address, which is no call."""
        self._see(Seen(address, why, offends=True))

    def note(self, seen: Seen) -> None:
        """Keeps count of what this process or another one saw."""
        if seen.event:
            self._count(seen.why, seen.asked or seen.detail[:ASKED_CHARS])
            if self._speaking.take("", self._now()) == 0.0:
                self._tell(seen)
        network = network_of(seen.address)
        if seen.offends and not self._exempt.hold(seen.address) and self._offences.note(network, self._now()):
            seconds = self.settings.refused_s
            fields = {"peer": seen.address, "network": network, "last": seen.why, "seconds": seconds}
            telemetry.event("address.refused", level=logging.WARNING, **fields)
            self.on_refusal({network: seconds})

    def refused(self) -> dict[str, float]:
        """The networks that are refused, and for how many seconds still."""
        return self._offences.refused(self._now())

    def refuse(self, networks: dict[str, float]) -> None:
        """Refuses networks for so many seconds, as the process that keeps count says."""
        for network, seconds in networks.items():
            self._offences.refuse(network, self._now(), seconds)

    def asked(self) -> list[Asked]:
        """What was asked in vain, the most frequent first."""
        found = [Asked(code, what, times) for (code, what), times in self._asked.items()]
        return sorted(found, key=lambda one: (-one.times, one.code, one.what))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _why_not(self, network: str) -> str:
        if self._offences.refused_s(network, self._now()):
            return "offences"
        if self._connections >= self.settings.connections_max:
            return "connections"
        if self._by_address.get(network, 0) >= self.settings.connections_per_address:
            return "connections-of-address"
        return ""

    def _bounds(self, address: str) -> bool:
        return self._addresses.bounding and not self._exempt.hold(address)

    def _count(self, code: str, what: str) -> None:
        """Counts the most frequent (Metwally et al., "Space-Saving", 2005): a new one takes the rarest one's place."""
        key = (code, what)
        if key not in self._asked and len(self._asked) >= ASKED_MAX:
            rarest = min(self._asked, key=self._asked.__getitem__)
            self._asked[key] = self._asked.pop(rarest)
        self._asked[key] = self._asked.get(key, 0) + 1

    def _see(self, seen: Seen) -> None:
        (self.keeper or self.note)(seen)

    def _tell(self, seen: Seen) -> None:
        fields = {"peer": seen.address, "code": seen.why, "asked": seen.asked, "detail": seen.detail}
        if self._file is None:
            telemetry.event(seen.event, level=logging.WARNING, **fields)
            return
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self._file.append(msgspec.json.encode({"time": moment, "event": seen.event} | fields))
        except OSError as full:
            telemetry.failure("refused-log.failed", full, file=str(self._file.path))


def _event(wrong: ReplocError) -> str:
    """The log's name of a call in vain."""
    if isinstance(wrong, errors.RequestMalformed):
        return "request.malformed"
    unknown = isinstance(wrong, errors.RouteUnknown | errors.MethodUnknown)
    return "request.unknown" if unknown else "request.refused"


def _key(who: Identity) -> str:
    return f"{who.issuer} {who.subject}"


def _require(wait: float, whose: str) -> None:
    if wait:
        words = f"more requests of this {whose} than are taken; wait {wait:.1f} s"
        raise errors.TooManyRequests(words, wait_s=wait, whose=whose)
