"""Rules from identities to roles, and from roles to actions on names: who may do what, and which rule says so.

Rules are tried in order, and each that matches adds its roles; a `final` one is the last to be looked at. What no role
allows is refused. A rule may also say for which sites and index nodes an identity speaks, and which addresses are its
own; a certificate says that itself where its authority is believed about it. The rights that a token carries itself
(WLCG and SciTokens scopes) take the place of all rules: it was made to do these things and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from reploc.actions import Action, Beginning
from reploc.config import Settings
from reploc.security.identity import Identity, climbs

#: Rules of one file: a grid-mapfile of a large collaboration has a few thousand lines.
RULES_MAX = 20_000
#: Names of refused items that an answer shows, in characters.
SHOWN_CHARS = 120


class Grant(Settings, frozen=True):
    """Actions that a role allows, on names that begin with one of some texts."""

    actions: Annotated[list[Action], Meta(description="What is allowed.", min_length=1)]
    names: Annotated[
        list[str], Meta(description="What names must begin with; an empty text allows all names.", min_length=1)
    ] = msgspec.field(default_factory=lambda: [""])


class Role(Settings, frozen=True):
    """What those may do who have this role."""

    name: Annotated[str, Meta(description="What rules call it.", min_length=1)]
    grants: Annotated[list[Grant], Meta(description="What it allows, a table each.")] = []


class Rule(Settings, frozen=True):
    """Whom it is about, and what they get. Patterns know `*`, `?` and `[…]`; one that is empty matches all."""

    kind: Annotated[
        Literal["any", "certificate", "token", "nobody"],
        Meta(description="How they show who they are; `any` leaves out who does not."),
    ] = "any"
    subject: Annotated[str, Meta(description="Pattern of the distinguished name, or of the token's subject.")] = ""
    subject_regex: Annotated[str, Meta(description="The same as a regular expression, which must match all of it.")] = (
        ""
    )
    issuer: Annotated[str, Meta(description="Pattern of the authority's name, or of the token's issuer.")] = ""
    group: Annotated[str, Meta(description="Pattern of one of the token's groups.")] = ""
    roles: Annotated[list[str], Meta(description="The roles that they have.")] = []
    sites: Annotated[list[str], Meta(description="Sites for which they speak.")] = []
    nodes: Annotated[list[str], Meta(description="Index nodes for which they speak.")] = []
    addresses: Annotated[list[str], Meta(description="Hosts (patterns) that they may announce as their own.")] = []
    final: Annotated[bool, Meta(description="Look at no further rule.")] = False

    def __post_init__(self) -> None:
        try:
            re.compile(self.subject_regex)
        except re.error as wrong:
            raise ValueError(f"subject_regex {self.subject_regex[:80]!r} is no regular expression: {wrong}") from wrong

    def matches(self, who: Identity) -> bool:
        """Whether it is about this identity."""
        if self.kind == "any":
            if who.kind == "nobody":
                return False
        elif self.kind != who.kind:
            return False
        return (
            _like(who.subject, self.subject)
            and (not self.subject_regex or re.fullmatch(self.subject_regex, who.subject) is not None)
            and _like(who.issuer, self.issuer)
            and (not self.group or any(fnmatchcase(group, self.group) for group in who.groups))
        )

    def __str__(self) -> str:
        told = {
            "subject": self.subject,
            "subject_regex": self.subject_regex,
            "issuer": self.issuer,
            "group": self.group,
        }
        said = ", ".join(f"{key} {value!r}" for key, value in told.items() if value)
        return f"{self.kind} with {said}" if said else f"{self.kind}"


class Rules(Settings, frozen=True):
    """Who may do what."""

    roles: Annotated[list[Role], Meta(description="Roles, a table each.")] = []
    rules: Annotated[list[Rule], Meta(description="Rules, a table each, in order.", max_length=RULES_MAX)] = []

    def __post_init__(self) -> None:
        known = [role.name for role in self.roles]
        if twice := sorted({name for name in known if known.count(name) > 1}):
            raise ValueError(f"role {twice[0]!r} is there twice")
        for number, rule in enumerate(self.rules, start=1):
            for name in rule.roles:
                if name not in known:
                    raise ValueError(f"rule {number} gives role {name!r}; expected one of {', '.join(known) or 'none'}")

    def rights(self, who: Identity) -> Rights:
        """What an identity may."""
        if who.capabilities is not None:
            return _of_capabilities(who)
        rights = Rights(who, sites=list(who.sites), nodes=list(who.nodes), addresses=sorted(who.hosts))
        roles = {role.name: role for role in self.roles}
        for number, rule in enumerate(self.rules, start=1):
            if rule.matches(who):
                rights.matched.append(f"rule {number} ({rule})")
                rights.add(f"rule {number}", [roles[name] for name in rule.roles])
                rights.sites += rule.sites
                rights.nodes += rule.nodes
                rights.addresses += rule.addresses
                if rule.final:
                    break
        return rights


@dataclass(frozen=True)
class Reason:
    """Why an action is allowed on names that begin with a text, or on a name whole."""

    prefix: str
    why: str
    exact: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether something is allowed, and why or why not."""

    allowed: bool
    because: str


@dataclass
class Rights:
    """What one identity may do, with the rule and role that says so; made once, asked for every request."""

    who: Identity
    reasons: dict[Action, list[Reason]] = field(default_factory=dict)
    matched: list[str] = field(default_factory=list)
    sites: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    _prefixes: dict[Action, tuple[str, ...]] = field(default_factory=dict)
    _exact: dict[Action, frozenset[str]] = field(default_factory=dict)

    def add(self, whence: str, roles: Iterable[Role]) -> None:
        for role in roles:
            for grant in role.grants:
                for action in grant.actions:
                    for prefix in grant.names:
                        self.reason(action, Reason(prefix, f"{whence} gives role {role.name!r}"))

    def reason(self, action: Action, reason: Reason) -> None:
        self.reasons.setdefault(action, []).append(reason)
        of = self.reasons[action]
        self._prefixes[action] = tuple(one.prefix for one in of if not one.exact)
        self._exact[action] = frozenset(one.prefix for one in of if one.exact)

    def has(self, action: Action) -> bool:
        """Whether the action is allowed on any name at all."""
        return action is Action.PUBLIC or action in self.reasons

    def refused(self, action: Action, names: Iterable[str]) -> str | None:
        """The first of some names on which the action is not allowed, or None. Of soft state the names are senders'."""
        if action is Action.SEND_SOFT_STATE:
            return next((name for name in names if not self.speaks_for(name)), None)
        prefixes = self._prefixes.get(action, ())
        if "" in prefixes or action is Action.PUBLIC:
            return None
        exact = self._exact.get(action, frozenset())
        for name in names:
            if climbs(name) or not name.startswith(prefixes):
                if name in exact and not isinstance(name, Beginning):
                    continue
                return name
        return None

    def speaks_for(self, name: str) -> bool:
        """Whether a site or an index node of this name is the identity's own."""
        return any(fnmatchcase(name, pattern) for pattern in (*self.sites, *self.nodes))

    def owns(self, url: str) -> bool:
        """Whether the host of an address is the identity's own."""
        host = _canonical(urlsplit(url).hostname or "")
        return any(fnmatchcase(host, _canonical(pattern)) for pattern in self.addresses)

    def decide(self, action: Action, names: Iterable[str] | None) -> Decision:
        """The decision about an action on some names, in words; without names about the action as such."""
        if action is Action.PUBLIC:
            return Decision(True, "whoever reaches the service may")
        if action not in self.reasons:
            heard = "; ".join(self.matched[:5]) or "no rule matches"
            return Decision(False, f"{self.who} has no role that allows {action} ({heard})")
        names = [] if names is None else list(names)
        wrong = self.refused(action, names)
        if wrong is None:
            return Decision(True, self._why(action, names))
        if action is Action.SEND_SOFT_STATE:
            own = ", ".join(sorted({*self.sites, *self.nodes})[:5]) or "none"
            return Decision(False, f"{self.who} does not speak for {wrong[:SHOWN_CHARS]!r}; it does for: {own}")
        on = ", ".join(sorted({repr(one.prefix) for one in self.reasons[action]})[:5])
        what = "all names that begin with " if isinstance(wrong, Beginning) else ""
        return Decision(False, f"{self.who} may {action} on {on}, and not on {what}{wrong[:SHOWN_CHARS]!r}")

    def _why(self, action: Action, names: list[str]) -> str:
        reasons = self.reasons[action]
        fitting = [one for one in reasons if not names or names[0].startswith(one.prefix)]
        return (fitting or reasons)[0].why


def _of_capabilities(who: Identity) -> Rights:
    rights = Rights(who, matched=["the token's own scopes"])
    for capability in who.capabilities or ():
        why = f"the token's scopes allow it on {capability.path}"
        folder = capability.path.rstrip("/") + "/"
        rights.reason(capability.action, Reason(folder if folder != "/" else "", why))
        rights.reason(capability.action, Reason(capability.path, why, exact=True))
    return rights


def _like(text: str, pattern: str) -> bool:
    return not pattern or fnmatchcase(text, pattern)


def _canonical(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")
