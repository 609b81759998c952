"""Logging and metrics: one line per write, cycle and error with an event name and fields; reads are only counted.

A line is `time level event key=value …` for people, or one JSON object with `log_format = "json"`. Fields are given to
the standard logging module through `extra`, so that any handler of the operator's own sees them too.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

#: Characters of one field in a log line: a name of 4,096 bytes need not stand there whole.
FIELD_CHARS_MAX = 300

_log = logging.getLogger("reploc")


def event(name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Logs one event with its fields."""
    if _log.isEnabledFor(level):
        _log.log(level, name, extra={"fields": fields})


def failure(name: str, wrong: BaseException, **fields: Any) -> None:
    """Logs an unexpected error with its traceback."""
    _log.error(name, exc_info=wrong, extra={"fields": fields | {"error": repr(wrong)}})


def set_up(level: str, log_format: str) -> None:
    """Sends the process's log to standard error in the given form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLine() if log_format == "json" else _TextLine())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    text = text if len(text) <= FIELD_CHARS_MAX else text[:FIELD_CHARS_MAX] + "…"
    return json.dumps(text, ensure_ascii=False) if not text.isprintable() or " " in text or not text else text


class _TextLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = getattr(record, "fields", {})
        said = " ".join(f"{key}={_shown(value)}" for key, value in fields.items())
        line = f"{moment} {record.levelname.lower()} {record.getMessage()} {said}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        } | getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class Family(msgspec.Struct, frozen=True):
    """What one process has counted under one name: samples of (name, labels, value)."""

    name: str
    kind: str
    text: str
    samples: list[tuple[str, dict[str, str], float]]


def summed(counted: Sequence[Sequence[Family]]) -> list[Family]:
    """The families of several processes added up, sample by sample."""
    heads: dict[str, Family] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in chain.from_iterable(counted):
        heads.setdefault(family.name, family)
        values = sums.setdefault(family.name, {})
        for name, labels, value in family.samples:
            key = (name, tuple(labels.items()))
            values[key] = values.get(key, 0.0) + value
    return [
        Family(
            name, heads[name].kind, heads[name].text, [(key, dict(labels), one) for (key, labels), one in all_.items()]
        )
        for name, all_ in sums.items()
    ]


class Metrics:
    """One daemon's metrics, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "reploc_request_seconds",
            "Time to answer an HTTP request; its count is the number of requests",
            ["route", "status"],
            buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=self.registry,
        )

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def watch_each(self, name: str, text: str, label: str, values: Callable[[], dict[str, float]]) -> None:
        """A gauge for each value of a label; both are asked for when /metrics is read."""
        self.registry.register(_Watched(name, text, label, values))

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge whose value is asked for when /metrics is read."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def requests(self, others: Sequence[Sequence[Family]] = ()) -> Iterator[tuple[str, int]]:
        """(route, requests) for each route and status that was met, here and by other processes."""
        for families in (self.counted(), *others):
            for sample, labels, value in (one for family in families for one in family.samples):
                if sample == "reploc_request_seconds_count":
                    yield labels["route"], int(value)

    def counted(self) -> list[Family]:
        """What has been counted here: counters and histograms, which may be added to those of other processes."""
        return [
            Family(
                family.name,
                family.type,
                family.documentation,
                [(one.name, one.labels, one.value) for one in family.samples if not one.name.endswith("_created")],
            )
            for family in self.registry.collect()
            if family.type in ("counter", "histogram")
        ]

    def exposition(self, others: Sequence[Sequence[Family]] = ()) -> tuple[bytes, str]:
        """The text for /metrics and its media type, with what other processes have counted."""
        return generate_latest(_Together(self, others) if others else self.registry), CONTENT_TYPE_LATEST


class _Together(Collector):
    """One daemon's metrics, its counts added to those of other processes."""

    def __init__(self, metrics: Metrics, others: Sequence[Sequence[Family]]) -> None:
        self._metrics = metrics
        self._others = others

    def collect(self) -> Iterator[Metric]:
        counted = summed([self._metrics.counted(), *self._others])
        for family in counted:
            metric = Metric(family.name, family.text, family.kind)
            metric.samples = [Sample(name, labels, value) for name, labels, value in family.samples]
            yield metric
        names = {family.name for family in counted}
        yield from (one for one in self._metrics.registry.collect() if one.name not in names)


class _Watched(Collector):
    """Gauges whose labels come and go."""

    def __init__(self, name: str, text: str, label: str, values: Callable[[], dict[str, float]]) -> None:
        self._told = (name, text, label)
        self._values = values

    def collect(self) -> Iterator[GaugeMetricFamily]:
        name, text, label = self._told
        gauge = GaugeMetricFamily(name, text, labels=[label])
        for which, value in self._values().items():
            gauge.add_metric([which], value)
        yield gauge

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The name alone, so that registering asks for no values."""
        yield GaugeMetricFamily(*self._told[:2])
