"""Bearer tokens: JWTs whose signature, issuer, audience and times are checked before anything they say is believed.

Keys come from a JWKS (RFC 7517): a file, a URL, or where the issuer's openid-configuration points. Only RS256 and ES256
are verified, each with keys of its own kind, so that neither `alg: none` nor a public key taken for a shared secret
gets anywhere. A token that was verified is remembered until it ends, by its SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from reploc import telemetry
from reploc.client.transport import Request, Transport
from reploc.errors import ConfigInvalid, ReplocError, Unauthenticated, Unavailable
from reploc.security.identity import Identity, bounded, capabilities
from reploc.security.settings import IssuerSettings, TokenSettings

#: Characters of a token: WLCG's have about a thousand.
TOKEN_CHARS_MAX = 12_000
#: Verified tokens that are remembered: a few hundred bytes each.
REMEMBERED_MAX = 20_000
#: Keys of one issuer, of which a token that names none tries each.
KEYS_MAX = 32
#: The smallest RSA key, in bits.
RSA_BITS_MIN = 2_048
#: Seconds between two fetches of an issuer's keys because a token named one that is not known.
FETCH_AGAIN_S = 60.0
#: Seconds that an issuer may take to give its keys.
FETCH_S = 10.0


class JwkSet(msgspec.Struct, frozen=True):
    """A JWKS document."""

    keys: list[dict[str, Any]]


class Discovery(msgspec.Struct, frozen=True):
    """What is needed of an issuer's openid-configuration."""

    issuer: str
    jwks_uri: str


@dataclass(frozen=True)
class Key:
    """A public key that verifies tokens of one algorithm."""

    name: str
    algorithm: str
    public: Any


@dataclass
class _Issuer:
    settings: IssuerSettings
    keys: list[Key] = field(default_factory=list)
    fetched: float = -FETCH_AGAIN_S
    fault: str = "they were not fetched yet"
    #: Held while keys are fetched, so that who needs them meanwhile waits for that.
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)


def files(settings: TokenSettings) -> list[str]:
    """The files that keys are read from."""
    return [issuer.keys for issuer in settings.issuers if not issuer.remote]


class Tokens:
    """The issuers that a daemon believes, and the tokens that it verified."""

    def __init__(
        self,
        settings: TokenSettings,
        transport: Transport,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """`now` is monotonic, `clock` is Unix time, both in seconds. Raises ConfigInvalid: a file of keys is wrong."""
        self._settings = settings
        self._issuers = {one.issuer: _Issuer(one) for one in settings.issuers}
        self._transport = transport
        self._now = now
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        for issuer in self._issuers.values():
            if issuer.settings.remote:
                for url in filter(None, [issuer.settings.keys, issuer.settings.issuer]):
                    _require_safe(url)
        self.reread()()

    @property
    def remote(self) -> bool:
        """Whether keys have to be fetched."""
        return any(issuer.remote for issuer in self._settings.issuers)

    def reread(self) -> Callable[[], None]:
        """Reads the files of keys as they are now; what takes them over. Raises ConfigInvalid."""
        read = {
            name: keys_in(_read(one.settings.keys)) for name, one in self._issuers.items() if not one.settings.remote
        }

        def take() -> None:
            for name, keys in read.items():
                self._issuers[name].keys, self._issuers[name].fault = keys, ""
            self._known.clear()

        return take

    async def refresh(self) -> float:
        """Fetches keys from URLs that are due; seconds until the next ones are."""
        for issuer in self._issuers.values():
            if issuer.settings.remote:
                await self._fetch_after(issuer, self._pause(issuer))
        pauses = [self._pause(issuer) for issuer in self._issuers.values() if issuer.settings.remote]
        return min(pauses, default=self._settings.refresh_s)

    async def identity(self, token: str) -> Identity:
        """Who a token is for. Raises Unauthenticated in words that never hold the token, or Unavailable."""
        if (remembered := self.remembered(token)) is not None:
            return remembered
        if len(token) > TOKEN_CHARS_MAX:
            raise Unauthenticated(f"the token has {len(token):,} characters; at most {TOKEN_CHARS_MAX:,} are taken")
        try:
            who, until = await self._verified(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError) as wrong:
            raise Unauthenticated(f"the token is not accepted: {wrong}") from wrong
        self._known[_digest(token)] = (who, until)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return who

    def remembered(self, token: str) -> Identity | None:
        """Who a token is for that was verified before and has not ended, or None."""
        known = self._known.get(_digest(token))
        return None if known is None or self._clock() >= known[1] + self._settings.leeway_s else known[0]

    async def _verified(self, token: str) -> tuple[Identity, float]:
        header = jwt.get_unverified_header(token)
        issuer = self._issuer(token)
        algorithm = header.get("alg")
        if algorithm not in issuer.settings.algorithms:
            raise Unauthenticated(f"the token is signed with {str(algorithm)[:20]!r}; expected {_any(issuer)}")
        keys = await self._keys(issuer, str(algorithm), header.get("kid"))
        claims = self._claims(token, issuer.settings, keys)
        until = float(claims["exp"])
        begun = float(claims.get("iat", claims.get("nbf", self._clock())))
        if until - begun > self._settings.lifetime_s_max:
            raise ValueError(f"it is valid for {until - begun:,.0f} s; at most {self._settings.lifetime_s_max:,.0f}")
        return _identity(claims, issuer.settings), until

    def _issuer(self, token: str) -> _Issuer:
        claims = jwt.decode(token, options={"verify_signature": False})
        name = claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise Unauthenticated(f"the token's issuer {str(name)[:100]!r} is none that is believed here")
        return issuer

    async def _keys(self, issuer: _Issuer, algorithm: str, name: object) -> list[Key]:
        """The keys that may have signed the token; fetched again where it names one that is not there."""
        found = _fitting(issuer.keys, algorithm, name)
        if not found and issuer.settings.remote:
            await self._fetch_after(issuer, FETCH_AGAIN_S)
            found = _fitting(issuer.keys, algorithm, name)
        if not found and issuer.fault:
            raise Unavailable(f"the keys of {issuer.settings.issuer} are not to be had: {issuer.fault}")
        if not found:
            raise Unauthenticated(f"the token names key {str(name)[:100]!r}, which its issuer does not have")
        return found

    def _claims(self, token: str, settings: IssuerSettings, keys: list[Key]) -> dict[str, Any]:
        for key in keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.public,
                    algorithms=[key.algorithm],
                    audience=settings.audience,
                    issuer=settings.issuer,
                    leeway=self._settings.leeway_s,
                    options={"require": ["exp", "iss", "aud", "sub"]},
                )
            except jwt.InvalidSignatureError:
                if key is keys[-1]:
                    raise
            else:
                return claims
        raise AssertionError("there is a key, or `_keys` would have raised")

    async def _fetch_after(self, issuer: _Issuer, pause_s: float) -> None:
        """Has an issuer's keys fetched, or waits until who fetches them is done, unless it was just now."""
        async with issuer.fetching:
            if self._now() - issuer.fetched >= pause_s:
                await self._fetch(issuer)

    async def _fetch(self, issuer: _Issuer) -> None:
        """Fetches an issuer's keys; what went wrong is kept, and the keys that were there are."""
        issuer.fetched = self._now()
        url = issuer.settings.keys
        try:
            if not url:
                found = await self._get(
                    issuer.settings.issuer.rstrip("/") + "/.well-known/openid-configuration", Discovery
                )
                if found.issuer != issuer.settings.issuer:
                    raise Unavailable(f"it calls itself {found.issuer[:100]!r}")
                url = _require_safe(found.jwks_uri)
            issuer.keys, issuer.fault = keys_in(await self._get(url, JwkSet)), ""
            self._known.clear()
        except ReplocError as wrong:
            issuer.fault = wrong.detail
            telemetry.event("tokens.keys-failed", issuer=issuer.settings.issuer, detail=wrong.detail)

    async def _get(self, url: str, kind: type[Any]) -> Any:
        parts = urlsplit(url)
        query = dict(part.partition("=")[::2] for part in parts.query.split("&") if part)
        request = Request("GET", f"{parts.scheme}://{parts.netloc}", parts.path, kind, query)
        return await self._transport.ask(request, asyncio.get_running_loop().time() + FETCH_S)

    def _pause(self, issuer: _Issuer) -> float:
        return FETCH_AGAIN_S if issuer.fault else self._settings.refresh_s


def keys_in(document: JwkSet) -> list[Key]:
    """The keys of a JWKS that can verify a token; others, for encryption or of other kinds, are left out.

    Raises ConfigInvalid: one of them is broken or too short, or there are too many.
    """
    if len(document.keys) > KEYS_MAX:
        raise ConfigInvalid(f"the JWKS has {len(document.keys)} keys; at most {KEYS_MAX} are taken")
    found = []
    for raw in document.keys:
        algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(raw.get("kty")))
        if algorithm is None or raw.get("use", "sig") != "sig" or raw.get("alg", algorithm) != algorithm:
            continue
        name = str(raw.get("kid", ""))
        try:
            public = jwt.PyJWK({key: value for key, value in raw.items() if key != "d"}, algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError) as wrong:
            raise ConfigInvalid(f"key {name[:100]!r} of the JWKS cannot be read: {wrong}") from wrong
        if isinstance(public, rsa.RSAPublicKey) and public.key_size < RSA_BITS_MIN:
            raise ConfigInvalid(f"key {name[:100]!r} of the JWKS has {public.key_size} bits; at least {RSA_BITS_MIN}")
        if isinstance(public, ec.EllipticCurvePublicKey) and not isinstance(public.curve, ec.SECP256R1):
            continue
        found.append(Key(name, algorithm, public))
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _fitting(keys: list[Key], algorithm: str, name: object) -> list[Key]:
    return [key for key in keys if key.algorithm == algorithm and (name is None or key.name == name)]


def _identity(claims: dict[str, Any], settings: IssuerSettings) -> Identity:
    scope, groups = claims.get("scope", ""), claims.get(settings.groups_claim, [])
    if isinstance(scope, list):
        scope = " ".join(bounded(scope, "scope"))
    return Identity(
        "token",
        bounded([claims["sub"]], "sub")[0],
        settings.issuer,
        bounded(groups if isinstance(groups, list) else [groups], settings.groups_claim),
        capabilities(str(scope), settings.base_path) if settings.scopes else None,
    )


def _read(path: str) -> JwkSet:
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=JwkSet)
    except (OSError, msgspec.DecodeError) as wrong:
        raise ConfigInvalid(f"tokens.issuers.keys: {path} is no JWKS: {wrong}") from wrong


def _require_safe(url: str) -> str:
    """A URL that keys may be fetched from. Raises ConfigInvalid: anybody on the way could change them."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        return url
    raise ConfigInvalid(f"tokens.issuers: {url[:200]!r}: keys are fetched over https only")


def _any(issuer: _Issuer) -> str:
    return " or ".join(issuer.settings.algorithms)
