"""What every daemon says of itself: whether it is well, who it is, and what it holds."""

from __future__ import annotations

from typing import Literal

from reploc.wire import Answer, NodeProgress


class Health(Answer, frozen=True):
    status: Literal["ok", "starting", "draining"]
    reason: str = ""


class LrcStatus(Answer, frozen=True):
    """`GET /v1/status` of an LRC: who it is, what it holds, and how far the index has taken its news."""

    site: str
    version: str
    uptime_s: float
    url: str
    epoch: int
    position: int
    lfns: int
    mappings: int
    collections: int
    slots: int
    store_bytes: int
    nodes: list[NodeProgress] = []
    ring: str = ""
    #: What is wrong with the settings file that was read last; empty where nothing is.
    reload_error: str = ""
    #: Where clients of the Globus RLS reach it; empty where it opens no port for them.
    rls_url: str = ""
    kind: Literal["lrc"] = "lrc"


class RliStatus(Answer, frozen=True):
    """`GET /v1/status` of an index node. `slots_complete` counts those of `slots_owned` that it is complete for."""

    node: str
    version: str
    uptime_s: float
    url: str
    slots: int
    redundancy: int
    error_rate: float
    ring: str
    slots_owned: int
    slots_complete: int
    sites_live: int
    sites_silent: int
    memory_bytes: int
    #: What is wrong with the settings file that was read last; empty where nothing is.
    reload_error: str = ""
    #: Where clients of the Globus RLS reach it; empty where it opens no port for them.
    rls_url: str = ""
    #: How far each parent has taken this node's own news.
    parents: list[NodeProgress] = []
    kind: Literal["rli"] = "rli"
