"""What is asked of an index node about LFNs, and how good the answer is demanded to be."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from reploc.names import SITE_CHARS_MAX
from reploc.wire import AGE_S_MAX, BATCH_ITEMS_MAX, DEADLINE_S, DEADLINE_S_MAX, Body, Name

Deadline: TypeAlias = Annotated[float, Meta(description="Seconds that the answer may take.", gt=0, le=DEADLINE_S_MAX)]
MaxAge: TypeAlias = Annotated[
    float, Meta(description="Seconds: no site is judged by news that is older.", ge=0, le=AGE_S_MAX)
]
SiteName: TypeAlias = Annotated[
    str,
    Meta(
        description="A site, whose clients want the nearest copies first.",
        pattern="^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        max_length=SITE_CHARS_MAX,
    ),
]
Lfns: TypeAlias = Annotated[list[Name], Meta(max_length=BATCH_ITEMS_MAX)]


class Demand(Struct, frozen=True):
    """How good an answer must be: news no older than `max_age_s`, and with `verify` each site's own word.

    What cannot be had in time is named in the answer, which is then not complete.
    """

    max_age_s: float | None = None
    verify: bool = False

    @property
    def is_none(self) -> bool:
        """Whether anything that the node knows will do."""
        return self.max_age_s is None and not self.verify


#: Whatever is known will do.
NO_DEMAND = Demand()


class LocateQuery(Body, frozen=True):
    """Which sites may hold one LFN. `verify`: ask their catalogs whether they do. A query string has no null.

    An index that is parted by collections, or is told of them alone, wants to know the LFN's `collection`.
    """

    lfn: Name
    collection: Name | UnsetType = UNSET
    max_age_s: MaxAge | UnsetType = UNSET
    verify: bool = False
    deadline_s: Deadline = DEADLINE_S

    @property
    def demand(self) -> Demand:
        return Demand(None if self.max_age_s is UNSET else self.max_age_s, self.verify)


class LocateBody(Body, frozen=True):
    """The same for many LFNs, all of the one `collection` where it is given."""

    lfns: Lfns
    collection: Name | UnsetType = UNSET
    max_age_s: MaxAge | None = None
    verify: bool = False
    deadline_s: Deadline = DEADLINE_S

    @property
    def demand(self) -> Demand:
        return Demand(self.max_age_s, self.verify)


class ResolveQuery(Body, frozen=True):
    """Which LFN to look up at its catalogs."""

    lfn: Name
    collection: Name | UnsetType = UNSET
    max_age_s: MaxAge | UnsetType = UNSET
    deadline_s: Deadline = DEADLINE_S
    client_site: SiteName | UnsetType = UNSET

    @property
    def demand(self) -> Demand:
        return Demand(None if self.max_age_s is UNSET else self.max_age_s)


class ResolveBody(Body, frozen=True):
    """The same for many LFNs, all of the one `collection` where it is given."""

    lfns: Lfns
    collection: Name | UnsetType = UNSET
    max_age_s: MaxAge | None = None
    deadline_s: Deadline = DEADLINE_S
    client_site: SiteName | UnsetType = UNSET

    @property
    def demand(self) -> Demand:
        return Demand(self.max_age_s)
