"""What a request does, for the rules of who may do it: every route names one action, and the names that it acts on.

The names are LFNs, collections, or text that names begin with: a listing of `/store/mc/*` acts on `/store/mc/`, one of
everything on the empty text. A right to names that begin with a prefix covers what begins with it, so that one
comparison serves both. Soft state acts on the site that it speaks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Protocol

from reploc import names


class Beginning(str):
    """Not a name, but what all the names begin with that a request acts on."""

    __slots__ = ()


#: Acting on every name there is.
EVERYTHING = (Beginning(),)


class Action(StrEnum):
    """What rules allow. An action of a catalog or an index is bounded by names, soft state by sites."""

    #: Whoever reaches the service may: is it alive, what does it speak, who am I.
    PUBLIC = "public"
    #: See how a service fares and what it does: metrics, status, lists of orders and operations. Changes nothing.
    MONITOR = "monitor"
    READ_CATALOG = "read-catalog"
    WRITE_CATALOG = "write-catalog"
    READ_INDEX = "read-index"
    #: Tell an index node what sites hold; also the talk of nodes among each other.
    SEND_SOFT_STATE = "send-soft-state"
    #: Decide what is where: inventory, policies, locks, requests, orders.
    PLACE = "place"
    #: Carry out: take orders, copy and remove files, report progress.
    OPERATE = "operate"
    #: Run the service: push soft state, change its settings, stop what it does.
    ADMINISTER = "administer"


class _OfOne(Protocol):
    @property
    def lfn(self) -> str: ...


class _OfMany(Protocol):
    @property
    def lfns(self) -> Sequence[str]: ...


class _ByPattern(Protocol):
    @property
    def pattern(self) -> str | None: ...


def matching(asked: _ByPattern) -> Iterable[str]:
    """What every name that matches begins with; all names where there is no pattern."""
    return EVERYTHING if asked.pattern is None else (Beginning(names.pattern(asked.pattern).prefix),)


def one_lfn(asked: _OfOne) -> Iterable[str]:
    """The LFN of a request about one."""
    return (asked.lfn,)


def all_lfns(asked: _OfMany) -> Iterable[str]:
    """The LFNs of a request about many."""
    return asked.lfns


def everything(_: object) -> Iterable[str]:
    """A request about all names there are."""
    return EVERYTHING
