"""Cycles as they were: what decided, on which inventory, from which seed, what it decided and what came of it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, insert, select, update

from placement import tables
from placement.messages import Cycle, CycleDecisions, Cycles, CyclesQuery
from reploc.errors import DefinitionUnknown


@dataclass(frozen=True)
class CycleRecord:
    """A cycle to be kept. `decisions` are text of whoever decided, kept compressed; `totals` are JSON."""

    kind: str
    policy: str
    inventory: str
    started_s: float
    ended_s: float
    outcome: str
    reason: str = ""
    seed: int | None = None
    totals: Mapping[str, Any] = field(default_factory=dict)
    decisions: bytes = b""


def keep(connection: Connection, record: CycleRecord) -> int:
    """Keeps a cycle; its number."""
    told = {name: getattr(record, name) for name in CycleRecord.__dataclass_fields__}
    told |= {"totals": msgspec.json.encode(record.totals), "decisions": zlib.compress(record.decisions)}
    result = connection.execute(insert(tables.cycles).values(told))
    (number,) = result.inserted_primary_key or (0,)
    return int(number)


def amend(connection: Connection, number: int, totals: Mapping[str, Any]) -> None:
    """Puts other totals into a cycle, which its orders have made known."""
    values = {"totals": msgspec.json.encode(totals)}
    connection.execute(update(tables.cycles).where(tables.cycles.c.id == number).values(values))


def page(connection: Connection, asked: CyclesQuery) -> Cycles:
    """Cycles from the newest back."""
    table = tables.cycles
    wanted = select(table).order_by(table.c.id.desc()).limit(asked.limit + 1)
    if asked.kind is not None:
        wanted = wanted.where(table.c.kind == asked.kind)
    if asked.before is not None:
        wanted = wanted.where(table.c.id < asked.before)
    rows = connection.execute(wanted).mappings().all()
    found = [_cycle(row) for row in rows[: asked.limit]]
    return Cycles(found, found[-1].id if len(rows) > asked.limit else None)


def decisions(connection: Connection, number: int) -> CycleDecisions:
    """What a cycle decided. Raises DefinitionUnknown."""
    table = tables.cycles
    kept = connection.execute(select(table.c.kind, table.c.decisions).where(table.c.id == number)).one_or_none()
    if kept is None:
        raise DefinitionUnknown(f"cycle {number} is not defined")
    return CycleDecisions(number, kept.kind, zlib.decompress(kept.decisions))


def _cycle(row: RowMapping) -> Cycle:
    told = {name: row[name] for name in Cycle.__struct_fields__ if name != "totals"}
    return Cycle(**told, totals=msgspec.json.decode(row["totals"]))
