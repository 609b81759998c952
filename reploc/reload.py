"""Settings that are read again while a daemon runs: what may change is taken over, or the file is refused whole.

A daemon says which settings it can take over (`Reloadable`). On SIGHUP its file is read as at the start. What is wrong
with it, or has changed and cannot be taken over, is logged, counted and shown by `/v1/status`, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec

from reploc import telemetry
from reploc.config import Settings
from reploc.errors import ConfigInvalid
from reploc.partition import Rule, same_patterns
from reploc.telemetry import Metrics

S = TypeVar("S", bound=Settings)


class Reloadable(Generic[S]):
    """The settings of a running daemon: which it can take over, how, and what came of the last look at its file."""

    def __init__(self, settings: S, keys: frozenset[str], take: Callable[[S], object], metrics: Metrics) -> None:
        """`keys` can change, those of inner tables with dots; `take` takes new settings over."""
        #: Those that are in force.
        self.settings = settings
        self._keys = keys
        self._take = take
        #: What is wrong with the file that was read last; empty where nothing is.
        self.error = ""
        self._reloads = metrics.counter("reploc_reloads", "Looks at changed settings, by what came of them", "outcome")

    def reload(self, load: Callable[[], S]) -> None:
        """Takes over the settings that `load` reads, which raises ConfigInvalid, or keeps in `error` why not."""
        try:
            settings = load()
            changed = list(changed_keys(self.settings, settings))
            self._require_reloadable(changed)
        except ConfigInvalid as wrong:
            self.error = wrong.detail
            self._reloads.labels("refused").inc()
            telemetry.event("daemon.reload-refused", detail=wrong.detail)
            return
        self.error = ""
        if changed:
            self._take(settings)
        self.settings = settings
        self._reloads.labels("taken" if changed else "unchanged").inc()
        telemetry.event("daemon.reloaded", changed=", ".join(changed) or "nothing")

    def _require_reloadable(self, changed: list[str]) -> None:
        if fixed := [key for key in changed if key not in self._keys]:
            raise ConfigInvalid(
                f"{', '.join(fixed)}: cannot change while the daemon runs; only {', '.join(sorted(self._keys))} can",
                hint="restart the daemon, or take the change back",
            )


def changed_keys(old: Settings, new: Settings) -> Iterator[str]:
    """The keys whose values differ, those of inner tables with dots; a list or a mapping is one value. Of rules that
    differ in the nodes alone it is `KEY.nodes`."""
    for field in msgspec.structs.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if isinstance(before, Settings) and isinstance(after, Settings):
            yield from (f"{field.encode_name}.{key}" for key in changed_keys(before, after))
        elif before != after:
            yield f"{field.encode_name}.nodes" if _is_of_rules(before, after) else field.encode_name


def _is_of_rules(before: object, after: object) -> bool:
    """Whether two lists of rules part names alike."""
    if not isinstance(before, list) or not isinstance(after, list):
        return False
    return all(isinstance(each, Rule) for each in [*before, *after]) and same_patterns(before, after)
