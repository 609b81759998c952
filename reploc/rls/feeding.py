"""What a catalog sends to index servers of the Globus RLS: which of them, how often, and how far each one is."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from reploc.wire import Answer, Body, Name

#: Index servers of one catalog, and patterns of one of them.
INDEXES_MAX = 100
PATTERNS_MAX = 100
#: Seconds between two full updates, a year at most.
INTERVAL_S_MAX = 366 * 86_400

#: Whose bounds `reploc/rls/protocol.py` checks; here readers are told of them.
Url: TypeAlias = Annotated[
    str,
    Meta(
        description="rlsn://HOST[:PORT], or rls://HOST[:PORT] with TLS.",
        extra_json_schema={"pattern": r"^rlsn?://[A-Za-z0-9.-]{1,200}(:[1-9][0-9]{0,3})?$"},
    ),
]
Seconds: TypeAlias = Annotated[float, Meta(ge=0.01, le=INTERVAL_S_MAX)]


class Pace(Answer, frozen=True):
    """How updates are sent."""

    list_interval_s: float
    filter_interval_s: float
    immediate: bool
    buffer_s: float
    buffer_names: int
    factor: int
    retry_s: float
    filter_functions: int
    filter_bits: int


class PaceBody(Body, frozen=True):
    """What is to be another, until the daemon starts anew: then its settings count again."""

    list_interval_s: Seconds | UnsetType = UNSET
    filter_interval_s: Seconds | UnsetType = UNSET
    immediate: bool | UnsetType = UNSET
    buffer_s: Seconds | UnsetType = UNSET
    buffer_names: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET
    factor: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    retry_s: Seconds | UnsetType = UNSET
    filter_functions: Annotated[int, Meta(ge=1, le=8)] | UnsetType = UNSET
    filter_bits: Annotated[int, Meta(ge=1, le=64)] | UnsetType = UNSET


class AddIndexBody(Body, frozen=True):
    """An index server to send to: a filter of all names, or lists of those that match a glob pattern, else of all.

    Another pattern for a server that has some is added to them.
    """

    url: Url
    filters: bool = False
    pattern: Name | UnsetType = UNSET


class RemoveIndexBody(Body, frozen=True):
    """An index server to send no more to, or one of its patterns; with its last pattern it goes itself."""

    url: Url
    pattern: Name | UnsetType = UNSET


class IndexProgress(Answer, frozen=True):
    """One index server: what it is sent, and how far it is.

    `interval_s` are the seconds between two full updates. `told` is the position up to which everything was told, None
    before the first full update has ended; `lag_s` the age of the oldest change that it was not told. `trouble` says
    what went wrong last, and is empty while all is well.
    """

    url: str
    filters: bool
    patterns: list[str]
    interval_s: float
    told: int | None
    lag_s: float
    contact_age_s: float | None
    trouble: str


class RlsFeedStatus(Answer, frozen=True):
    """All of them. `url` is the address that they are told, empty where there is none."""

    url: str
    position: int
    pace: Pace
    indexes: list[IndexProgress]
