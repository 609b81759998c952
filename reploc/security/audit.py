"""The audit log: who changed what, one JSON line per change, in a file that only grows.

A line has `time`, `who` (kind, subject, issuer, groups), `peer`, `action`, `route`, `what` (the request as it was
understood) and `outcome` (the answer, or the error). What the rules refused is no change, and is in the log. When a
line cannot be written, the next changes are refused until it can be: nothing is changed unseen.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from reploc import telemetry
from reploc.actions import Action
from reploc.errors import Unavailable
from reploc.security.identity import Identity
from reploc.security.lines import Lines
from reploc.security.settings import AuditSettings
from reploc.telemetry import Metrics

#: Actions that change what others see. Soft state is not among them: it says again what was changed at a catalog.
CHANGES = frozenset({Action.WRITE_CATALOG, Action.PLACE, Action.OPERATE, Action.ADMINISTER})
#: Lines that wait for a file that cannot be written: those of requests that were under way when it could not.
WAITING_MAX = 10_000


class Audit:
    """The audit log of one daemon."""

    def __init__(self, settings: AuditSettings, metrics: Metrics) -> None:
        """Raises ConfigInvalid: the file cannot be written."""
        self._lines = Lines(Path(settings.file), settings.bytes_max, settings.files)
        self._sync = settings.sync
        self._waiting: list[bytes] = []
        self._written = metrics.counter("reploc_audit_lines", "Changes written to the audit log")
        metrics.watch("reploc_audit_waiting_lines", "Changes not in the audit log yet", lambda: len(self._waiting))

    def require_writable(self) -> None:
        """Raises Unavailable while lines of earlier changes wait to be written."""
        self._write()
        if self._waiting:
            raise Unavailable("the audit log cannot be written, and nothing is changed unseen")

    def record(self, who: Identity, peer: str, action: Action, route: str, what: object, outcome: object) -> None:
        """Notes a change that was made, or that failed."""
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "who": _without_nothing(
                {"kind": who.kind, "subject": who.subject, "issuer": who.issuer, "groups": list(who.groups)}
            ),
            "peer": peer,
            "action": str(action),
            "route": route,
            "what": what,
            "outcome": outcome,
        }
        self._waiting.append(msgspec.json.encode(line))
        del self._waiting[:-WAITING_MAX]
        self._write()

    def close(self) -> None:
        self._lines.close()

    def _write(self) -> None:
        while self._waiting:
            try:
                self._lines.append(self._waiting[0], sync=self._sync)
            except OSError as wrong:
                telemetry.failure("audit.failed", wrong, file=str(self._lines.path), waiting=len(self._waiting))
                return
            del self._waiting[0]
            self._written.inc()


def _without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}
