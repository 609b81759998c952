"""What a worker says of who asks, when it hands a request to the main process: the address, and the identity.

The worker has the connection, with its certificate, and asked its guard; the main process has the socket that only its
workers reach, and believes them. On any other socket the header says nothing.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from reploc.security.identity import NOBODY, Identity

HEADER = "Reploc-Introduced"


class Introduction(msgspec.Struct, frozen=True):
    """Who asks, and from where."""

    address: str = ""
    who: Identity = NOBODY

    def header(self) -> str:
        return base64.b64encode(msgspec.json.encode(self)).decode()


_decode = msgspec.json.Decoder(Introduction).decode


def introduction(header: str | None) -> Introduction:
    """What a header says. One that says nothing introduces nobody."""
    try:
        return _decode(base64.b64decode(header or "", validate=True))
    except (binascii.Error, msgspec.MsgspecError):
        return Introduction()
