"""What a cycle decided, put on record and written as orders, all in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from placement import history, orders, requests
from placement.history import CycleRecord
from placement.messages import Written
from placement.orders import Handover, Wish
from placement.requests import Ruling


@dataclass(frozen=True)
class Decided:
    """What a decider decided: wishes and changes of owners, what becomes of requests, and what history keeps of it."""

    wishes: tuple[Wish, ...] = ()
    handovers: tuple[Handover, ...] = ()
    totals: Mapping[str, Any] = field(default_factory=dict)
    decisions: bytes = b""
    seed: int | None = None
    rulings: tuple[Ruling, ...] = ()


def put(connection: Connection, record: CycleRecord, decided: Decided, now: float) -> tuple[int, Written]:
    """Keeps the record of a cycle and writes what it decided: its number, and the orders.

    The transaction is of who calls. Raises what `orders.write` does.
    """
    number = history.keep(connection, record)
    by = f"cycle {number}"
    written = orders.write(connection, decided.wishes, decided.handovers, asked_by=by, now=now, cycle=number)
    requests.rule(connection, decided.rulings, by, now)
    return number, written
