"""What plugins ask of the service's database: the last cycle of detox, and the open requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from placement import history, requests
from placement.detox import plan as detox_plans
from placement.detox.plan import Plan as DetoxPlan
from placement.keeper import Keeper
from placement.messages import CyclesQuery
from placement.request_messages import DataRequest

#: Cycles of detox that are looked through for one about a partition.
CYCLES_MAX = 1_000


class DatabaseArchive:
    """The archive of a service's database, which `opened` opens, or has open, for each question."""

    def __init__(self, opened: Callable[[], AbstractContextManager[Keeper]]) -> None:
        self._opened = opened

    def last_detox(self, partition: str) -> DetoxPlan | None:
        """What the last cycle of detox about a partition decided; None where there was none among the last ones."""
        with self._opened() as keeper, keeper.database.reading() as connection:
            cycles = history.page(connection, CyclesQuery(kind="detox", limit=CYCLES_MAX)).cycles
            for cycle in cycles:
                if cycle.outcome == "done" and cycle.totals.get("partition") == partition:
                    return detox_plans.decoded(history.decisions(connection, cycle.id).decisions, f"cycle {cycle.id}")
        return None

    def open_requests(self) -> Sequence[DataRequest]:
        """The requests that are open, the oldest first."""
        with self._opened() as keeper, keeper.database.reading() as connection:
            return requests.opened(connection)
