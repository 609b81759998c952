"""What an attribute producer is, how one is found and configured, and how a run gets its columns from several.

A producer is a class behind an entry point of the group `reploc.attributes`, made with its settings. Whatever goes
wrong with one, a failure, a wrong shape, silence, stops the run before anything is decided.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from placement.inventory import Inventory
from placement.policy.bits import Coded, Column
from placement.policy.source import nearest
from placement.policy.variables import INVENTORY, VARIABLES, Kind, Level, Variable
from reploc import config
from reploc.config import Settings
from reploc.errors import ConfigInvalid, ProducerFailed, ReplocError

T = TypeVar("T")

ENTRY_POINTS = "reploc.attributes"
#: Producers that need no settings: they are there whether configured or not.
ALWAYS = ("locks", "unhandled_copies")
#: Seconds that a producer may take; those that ask other services set deadlines of their own well below.
DEADLINE_S = 300.0


@dataclass(frozen=True)
class Asked:
    """What a producer is asked: columns for this inventory, as of a moment."""

    inventory: Inventory
    now_s: float


class Producer(Protocol):
    """Supplies columns. It is made with its settings, once; `produce` may be called again and again."""

    #: The type of its settings.
    settings: ClassVar[type[Settings]]

    def variables(self) -> frozenset[str]:
        """The names of the variables that it supplies. Raises ConfigInvalid."""

    def produce(self, asked: Asked) -> Mapping[str, Column]:
        """A column for each of its variables, as long as there are datasets, dataset replicas or block replicas."""


def configured(tables: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, Producer]:
    """The producers of a table of settings, by name, and those that are always there.

    Raises ConfigInvalid: there is no such producer, or its settings are wrong.
    """
    known = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    made: dict[str, Producer] = {}
    for name in dict.fromkeys([*ALWAYS, *tables]):
        if name not in known:
            near = nearest(name, known)
            raise ConfigInvalid(f"{where}: there is no attribute producer {name!r}{near}; known: {', '.join(known)}")
        kind = known[name].load()
        made[name] = kind(config.parse(kind.settings, dict(tables.get(name, {})), f"{where}: attributes.{name}"))
    return made


def collected(
    needed: Iterable[Variable], producers: Mapping[str, Producer], asked: Asked, deadline_s: float = DEADLINE_S
) -> dict[str, Column]:
    """The columns of all variables that need a producer, by name.

    Raises ConfigInvalid: nobody supplies a variable, or two do. ProducerFailed: one failed, hung, or gave what does not
    fit.
    """
    wanted = {each.name for each in needed if each.producer != INVENTORY}
    suppliers = _suppliers(wanted, producers)
    found: dict[str, Column] = {}
    for name in sorted(set(suppliers.values())):
        mine = {variable for variable, supplier in suppliers.items() if supplier == name}
        columns = within(deadline_s, f"producer {name!r}", partial(producers[name].produce, asked))
        for variable in sorted(mine):
            if variable not in columns:
                raise ProducerFailed(f"producer {name!r} gave nothing for {variable}")
            found[variable] = _fitting(name, VARIABLES[variable], columns[variable], asked.inventory)
    return found


def _suppliers(wanted: set[str], producers: Mapping[str, Producer]) -> dict[str, str]:
    supplied: dict[str, str] = {}
    for name, producer in producers.items():
        for variable in producer.variables() & wanted:
            if variable in supplied:
                raise ConfigInvalid(f"{variable} is supplied by two producers, {supplied[variable]!r} and {name!r}")
            supplied[variable] = name
    if missing := sorted(wanted - set(supplied)):
        usual = sorted({VARIABLES[variable].producer for variable in missing})
        said = f"no configured producer supplies {', '.join(missing)}"
        raise ConfigInvalid(said, hint=f"configure {', '.join(usual)}, or `table` with a file that has them")
    return supplied


def within(deadline_s: float, who: str, give: Callable[[], T]) -> T:
    """What somebody gives, from a thread of its own, which nobody waits for any longer when it hangs.

    Raises ProducerFailed: it failed, or gave nothing in time.
    """
    given: list[T] = []
    wrong: list[Exception] = []

    def run() -> None:
        try:
            given.append(give())
        except Exception as error:
            wrong.append(error)

    thread = threading.Thread(target=run, name=who, daemon=True)
    thread.start()
    thread.join(deadline_s)
    if wrong:
        said = wrong[0].detail if isinstance(wrong[0], ReplocError) else f"{type(wrong[0]).__name__}: {wrong[0]}"
        raise ProducerFailed(f"{who} failed: {said}") from wrong[0]
    if not given:
        raise ProducerFailed(f"{who} gave nothing within {deadline_s:g} s")
    return given[0]


def _fitting(name: str, variable: Variable, column: Column, inventory: Inventory) -> Column:
    frames = {
        Level.DATASET: inventory.datasets,
        Level.REPLICA: inventory.dataset_replicas,
        Level.BLOCK: inventory.block_replicas,
        Level.SITE: inventory.sites,
    }
    height = frames[variable.level].height
    values = column.codes if isinstance(column, Coded) else column
    length = (
        len(column.words) if isinstance(column, Coded) and values is None else len(values) if values is not None else 0
    )
    if length != height:
        raise ProducerFailed(f"producer {name!r} gave {length:,} values for {variable}; expected {height:,}")
    if isinstance(column, Coded):
        fits = variable.kind in (Kind.TEXT, Kind.WORD)
    elif variable.kind is Kind.BOOLEAN:
        fits = column.dtype == np.bool_
    else:
        fits = column.dtype.kind in "iuf" and not np.isnan(column).any()
    if not fits:
        raise ProducerFailed(f"producer {name!r} gave for {variable} something else than a {variable.kind.value} each")
    return column
