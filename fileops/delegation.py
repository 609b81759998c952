"""A proxy certificate for a service that acts in our name (RFC 3820): what FTS3 asks for before the first job."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from reploc.errors import AnswerInvalid, ConfigInvalid

#: How long a proxy is good for.
LIFETIME = timedelta(hours=12)
#: Clocks of both ends may differ by so much.
SLACK = timedelta(minutes=5)
#: ProxyCertInfo with the policy "inherit all" (RFC 3820, section 3.8), as it is encoded.
_PROXY_INFO = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"), bytes.fromhex("300c300a06082b06010505071501")
)


def signed(request: bytes, credential: bytes, now: datetime | None = None) -> bytes:
    """The proxy for a certificate request, signed by a certificate with its key, and that one with its chain behind it.

    Raises AnswerInvalid: it is no request; ConfigInvalid: the credential is none, or is over.
    """
    now = now or datetime.now(UTC)
    try:
        asked = x509.load_pem_x509_csr(request)
        if not asked.is_signature_valid:
            raise InvalidSignature
    except (ValueError, InvalidSignature) as wrong:
        raise AnswerInvalid("the delegation's request is no certificate request") from wrong
    try:
        chain = x509.load_pem_x509_certificates(credential)
        key = serialization.load_pem_private_key(credential, None)
    except (ValueError, TypeError) as wrong:
        raise ConfigInvalid(f"fts3.proxy: is no PEM of certificate and key: {wrong}") from wrong
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ConfigInvalid("fts3.proxy: its key is neither RSA nor elliptic")
    own = chain[0]
    if own.not_valid_after_utc <= now:
        raise ConfigInvalid(f"fts3.proxy: is over since {own.not_valid_after_utc.isoformat()}")
    serial = secrets.randbits(63)
    name = [*own.subject.rdns, x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, str(serial))])]
    proxy = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(name))
        .issuer_name(own.subject)
        .public_key(asked.public_key())
        .serial_number(serial)
        .not_valid_before(max(now - SLACK, own.not_valid_before_utc))
        .not_valid_after(min(now + LIFETIME, own.not_valid_after_utc))
        .add_extension(_PROXY_INFO, critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return b"".join(each.public_bytes(pem) for each in (proxy, *chain))


def until_s(proxy: bytes) -> float:
    """The moment until which a proxy is good, of its chain the first that ends."""
    return min(each.not_valid_after_utc.timestamp() for each in x509.load_pem_x509_certificates(proxy))
