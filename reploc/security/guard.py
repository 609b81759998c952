"""Who asks, may they, and what is written down of it: the guard of one daemon, in front of all of its routes.

A request is from whom its token is for, else from whom its connection's certificate is for, else from nobody. Its
action is checked before its body is read, and the names that it acts on and the addresses that it announces before it
is carried out. Files are read again when they change or on SIGHUP; what cannot be used then changes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from reploc import config, telemetry
from reploc.actions import Action
from reploc.client.transport import Transport
from reploc.errors import ConfigInvalid, Forbidden, Unauthenticated, Unavailable
from reploc.security import tls, tokens
from reploc.security.arrivals import Arrivals
from reploc.security.audit import Audit
from reploc.security.identity import NOBODY, Identity
from reploc.security.rules import Rights, Rules
from reploc.security.settings import (
    AuditSettings,
    AuthorizationSettings,
    LimitSettings,
    TlsSettings,
    TokenSettings,
)
from reploc.security.tls import Peer, ServerTls
from reploc.security.tokens import Tokens
from reploc.security.watched import LOOK_S, Watched
from reploc.telemetry import Metrics

#: Identities whose rights are remembered.
RIGHTS_MAX = 10_000
#: What a request that carries a token begins its header with (RFC 6750).
BEARER = "bearer "


class Guarded(Protocol):
    """The settings that a guard is made from."""

    @property
    def tls(self) -> TlsSettings: ...
    @property
    def tokens(self) -> TokenSettings: ...
    @property
    def authorization(self) -> AuthorizationSettings: ...
    @property
    def limits(self) -> LimitSettings: ...
    @property
    def audit(self) -> AuditSettings: ...
    @property
    def processes(self) -> int: ...


class Shown(Protocol):
    """What is kept of a connection: whether its other end's certificate was looked at, and what it says; and whether
    the request that is under way was counted against the rates already."""

    looked: bool
    peer: Peer | None
    counted: bool

    @property
    def transport(self) -> Any: ...


class Guard:
    """The guard of one daemon."""

    def __init__(
        self,
        settings: Guarded,
        metrics: Metrics,
        transport: Transport,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """`transport` fetches keys; `now` is monotonic, `clock` is Unix time. Raises ConfigInvalid."""
        self._settings = settings
        self._clock = clock
        # They are looked at before they are read: what changes in between is seen to have changed.
        self._watched = Watched(
            [*tls.files(settings.tls), *tokens.files(settings.tokens), settings.authorization.rules]
        )
        self.tls = ServerTls(settings.tls) if settings.tls.certificate else None
        self.tokens = Tokens(settings.tokens, transport, now, clock)
        self.rules = _rules(settings.authorization)
        try:
            self.arrivals = Arrivals(settings.limits.of_one(settings.processes), metrics, now)
        except ValueError as wrong:
            raise ConfigInvalid(f"limits.exempt: {wrong}") from wrong
        self.audit = Audit(settings.audit, metrics) if settings.audit.file else None
        #: What is wrong with the files as they were looked at last; empty where nothing is.
        self.error = ""
        self._rights: OrderedDict[Identity, Rights] = OrderedDict()
        self._reloads = metrics.counter("reploc_security_reloads", "Looks at changed files, by what came", "outcome")
        self._refused = metrics.counter("reploc_authorization_refused", "Requests that rules refuse", "action")

    @property
    def idle(self) -> bool:
        """Whether nobody is asked who they are, and nothing of what they do is bounded or written down."""
        return not (self._asks or self.arrivals.rates_bounded or self.audit)

    @property
    def _asks(self) -> bool:
        return self.rules is not None or self.tls is not None or bool(self._settings.tokens.issuers)

    # ---- a request ---------------------------------------------------------------------------------------------------

    async def admit(self, connection: Shown, address: str, authorization: str | None) -> Identity:
        """Who asks for something. Raises Unauthenticated: what they show is not accepted; or TooManyRequests.

        A request that `admit_at_once` let in, and that comes here after all, is counted once.
        """
        counted, connection.counted = connection.counted, False
        if not counted:
            self.arrivals.take_of_address(address)
        peer = self._peer(connection)
        token = self._token(authorization)
        who = (peer.who if peer else NOBODY) if token is None else await self.tokens.identity(token)
        if not counted:
            self.arrivals.take_of_identity(who)
        return who

    def admit_at_once(self, connection: Shown, address: str, authorization: str | None) -> Identity:
        """The same of someone who asked before. Raises Unavailable too: it takes time to find out. A request that is
        not let in was not counted."""
        peer = self._peer(connection)
        token = self._token(authorization)
        who = (peer.who if peer else NOBODY) if token is None else self.tokens.remembered(token)
        if who is None:
            raise Unavailable("the token has to be verified again")
        self.arrivals.take(address, who)
        connection.counted = True
        return who

    def _token(self, authorization: str | None) -> str | None:
        if authorization is None:
            return None
        if not authorization.lower().startswith(BEARER) or not self._settings.tokens.issuers:
            raise Unauthenticated("expected a client certificate or a bearer token of an issuer that is believed here")
        return authorization[len(BEARER) :].strip()

    def rights(self, who: Identity) -> Rights | None:
        """What an identity may; None where everyone may everything."""
        if self.rules is None:
            return None
        found = self._rights.get(who)
        if found is None:
            found = self._rights[who] = self.rules.rights(who)
            if len(self._rights) > RIGHTS_MAX:
                self._rights.popitem(last=False)
        return found

    def require(
        self, rights: Rights | None, action: Action, names: Iterable[str] | None = None, announced: Iterable[str] = ()
    ) -> None:
        """Raises Forbidden unless the action is allowed on all the names, and the addresses are the identity's own."""
        if rights is None:
            return
        if not rights.has(action) or (
            names is not None and (names := list(names)) and rights.refused(action, names) is not None
        ):
            self._refused.labels(action).inc()
            raise Forbidden(rights.decide(action, names).because)
        for url in announced:
            if not rights.owns(url):
                self._refused.labels(action).inc()
                raise Forbidden(
                    f"{rights.who} announces {url[:200]!r}, whose host is none of its own",
                    hint="a certificate must be for that host, or a rule's `addresses` must name it",
                )

    def _peer(self, connection: Shown) -> Peer | None:
        """The certificate at the other end, which is looked at once, and compared with time and lists always."""
        if not connection.looked and connection.transport is not None:
            connection.looked = True
            ssl_object = connection.transport.get_extra_info("ssl_object")
            connection.peer = tls.peer(ssl_object, self._settings.tls.names_from) if ssl_object else None
        peer = connection.peer
        if peer is None:
            return None
        if peer.fault:
            raise Unauthenticated(peer.fault)
        if self._clock() > peer.until:
            raise Unauthenticated("the certificate has expired since the connection began")
        if self.tls is not None and not self.tls.revoked.isdisjoint(peer.numbers):
            raise Unauthenticated("the certificate was taken back by its authority")
        return peer

    # ---- files that change -------------------------------------------------------------------------------------------

    async def look(self) -> float:
        """Takes changed files over. The duty behind certificates, lists, keys and rules."""
        if self._watched.changed():
            self.reload()
        return LOOK_S

    def reload(self) -> None:
        """Takes all files as they are now, or none of them, and keeps in `error` why not."""
        try:
            rules = _rules(self._settings.authorization)
            take_tls = self.tls.reread() if self.tls is not None else None
            take_keys = self.tokens.reread()
        except ConfigInvalid as wrong:
            self.error = wrong.detail
            self._reloads.labels("refused").inc()
            telemetry.event("security.reload-refused", detail=wrong.detail)
            return
        self.error = ""
        self.rules = rules
        if take_tls is not None:
            take_tls()
        take_keys()
        self._rights.clear()
        self._reloads.labels("taken").inc()
        telemetry.event("security.reloaded")

    def close(self) -> None:
        self.arrivals.close()
        if self.audit is not None:
            self.audit.close()


@contextmanager
def guarding(
    settings: Guarded,
    metrics: Metrics,
    transport: Transport,
    now: Callable[[], float],
    clock: Callable[[], float],
) -> Iterator[Guard]:
    """A guard, whose files close with the context."""
    guard = Guard(settings, metrics, transport, now, clock)
    try:
        yield guard
    finally:
        guard.close()


def _rules(settings: AuthorizationSettings) -> Rules | None:
    return config.load(Rules, Path(settings.rules)) if settings.rules else None
