"""The journal's hot path in SQL: operations are claimed, held, ended; each function does many in one transaction.

A claim raises the fencing number and takes the lease in one step. Whatever a runner writes later is taken only while
the operation is active under that number: one that was paused beyond its lease finds that nothing is its own any more.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    Double,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    case,
    exc,
    exists,
    insert,
    literal,
    or_,
    select,
    update,
)

from fileops import remains
from fileops.lane import Claimed, Ended, Lane, Standing, Tally
from fileops.operation import ENDED, GOING, OPEN, READY, UNDONE, Event, Step, after
from fileops.remains import Remain
from fileops.tables import in_states, in_steps, lanes, numbers, operations, orders, stories, suspects
from reploc import sql

T = TypeVar("T")

_c = operations.c
_other = operations.alias()

#: What is read of operations that are claimed, and of those that somebody goes on with.
_CLAIMED = tuple(
    _c[name]
    for name in (
        *("id", "site", "lfn", "size", "checksum", "collection"),
        *("attempts", "fence", "cancel", "step", "pfns", "failures", "reason"),
    )
)
_HELD: tuple[Column[Any], ...] = _c.id, _c.fence, _c.lane, _c.cancel, _c.step, _c.pfns
#: The step of an operation that nobody is at any more.
_left = case((in_steps(_c.step, UNDONE), ""), else_=_c.step)
#: Ids in one condition: SQLite's limit of variables is higher, and the plan stays an index look-up each.
IDS_MAX = 500


@dataclass(frozen=True)
class Claim:
    """So many operations of a lane are wanted, to be copied from `source`, which is empty for deletions."""

    lane: Lane
    source: str
    count: int


@dataclass(frozen=True)
class Hold:
    """How does this operation stand? `step` and `pfns` are written where it is ours: what will be done then."""

    operation: Claimed
    step: Step = ""
    pfns: tuple[str, ...] = ()


# ---- claiming --------------------------------------------------------------------------------------------------------


def claim(
    connection: Connection, claims: Sequence[Claim], runner: str, now: float, lease_s: float
) -> list[list[Claimed]]:
    """The operations that are `runner`'s from now on, per claim; fewer than wanted where no more are due.

    Another runner may be ahead at the same moment: then nothing is claimed, and the next claim finds what is left.
    """
    try:
        with connection.begin_nested():
            return _claimed(connection, claims, runner, now, now + lease_s)
    except exc.IntegrityError:
        return [[] for _ in claims]


def _claimed(
    connection: Connection, claims: Sequence[Claim], runner: str, now: float, until: float
) -> list[list[Claimed]]:
    taken: set[tuple[str, str]] = set()
    rows: list[list[Row[tuple[object, ...]]]] = []
    for each in claims:
        found = []
        for row in connection.execute(_due(each.lane.id, each.count, now)):
            if (row.site, row.lfn) not in taken:
                taken.add((row.site, row.lfn))
                found.append(row)
        rows.append(found)
    if not taken:
        return [[] for _ in claims]
    fence = connection.scalar(
        update(numbers).where(numbers.c.name == "fence").values(value=numbers.c.value + 1).returning(numbers.c.value)
    )
    assert fence is not None
    passages = []
    for each, found in zip(claims, rows, strict=True):
        begun = {"state": "active", "attempts": _c.attempts + 1, "runner": runner, "lease_s": until}
        for ids in _parts([row.id for row in found]):
            connection.execute(
                update(operations).where(_c.id.in_(ids)).values(fence=fence, source=each.source, **begun)
            )
        words = f"by {runner}" + (f", from {each.source}" if each.source else "")
        passages += [(row.id, Event.CLAIMED, "active", words) for row in found]
    tell(connection, now, passages)
    return [[_made(row, each, fence) for row in found] for each, found in zip(claims, rows, strict=True)]


def _due(lane: int, count: int, now: float) -> Select[tuple[object, ...]]:
    """The next operations of a lane whose (site, LFN) is free: none is active on it, and none that is older was
    interrupted behind a step that cannot be undone."""
    busy = exists().where(
        _other.c.site == _c.site,
        _other.c.lfn == _c.lfn,
        in_states(_other.c.state, OPEN),
        or_(_other.c.state == "active", and_(_other.c.step != "", _other.c.id < _c.id)),
    )
    return (
        select(*_CLAIMED)
        .where(_c.lane == lane, in_states(_c.state, READY), _c.due_s <= now, ~busy)
        .order_by(_c.due_s, _c.id)
        .limit(count)
        .with_for_update(skip_locked=True, of=operations)
    )


def _made(row: Row[tuple[object, ...]], wanted: Claim, fence: int) -> Claimed:
    return Claimed(
        id=row.id,
        lane=wanted.lane,
        lfn=row.lfn,
        size=row.size,
        checksum=row.checksum,
        collection=row.collection,
        attempts=row.attempts + 1,
        fence=fence,
        cancel=row.cancel,
        step=row.step,
        pfns=() if row.pfns == "[]" else tuple(json.loads(row.pfns)),
        failures={} if row.failures == "{}" else json.loads(row.failures),
        source=wanted.source,
        reason=row.reason,
    )


# ---- holding ---------------------------------------------------------------------------------------------------------


def hold(connection: Connection, holds: Sequence[Hold]) -> list[Standing]:
    """How each operation stands; the step and the PFNs are written only where it is OURS."""
    found = _ours(connection, [each.operation for each in holds])
    opposed = _opposed(connection, holds, found)
    answers = []
    for each in holds:
        row = found.get(each.operation.id)
        if row is None:
            answers.append(Standing.LOST)
        elif row.cancel and row.step in UNDONE:
            answers.append(Standing.CANCELLED)
        else:
            answers.append(Standing.OPPOSED if each.operation.id in opposed else Standing.OURS)
    begun = []
    for each, answer in zip(holds, answers, strict=True):
        if answer is Standing.OURS and each.step:
            row, pfns = found[each.operation.id], json.dumps(each.pfns)
            if (row.step, row.pfns) != (each.step, pfns):
                begun.append({"op": each.operation.id, "step": each.step, "pfns": pfns})
    if begun:
        connection.execute(update(operations).where(_c.id == bindparam("op")), begun)
    return answers


def _opposed(
    connection: Connection, holds: Sequence[Hold], found: Mapping[int, Row[tuple[object, ...]]]
) -> frozenset[int]:
    """The deletions among these that begin only now and must not: one is going on already that takes the copy which
    must survive this one, or that needs the copy which this one takes.

    Two runners that begin at one moment do it one after the other: they wait for each other at the last fence.
    """
    begin = [
        each.operation
        for each in holds
        if each.step in GOING and (row := found.get(each.operation.id)) is not None and row.step not in GOING
    ]
    if not begin:
        return frozenset()
    connection.execute(select(numbers.c.value).where(numbers.c.name == "fence").with_for_update())
    going: dict[str, list[tuple[str, str]]] = {}
    for lfns in _parts([each.lfn for each in begin]):
        asked = select(_c.lfn, _c.site, lanes.c.witness).join(lanes, lanes.c.id == _c.lane)
        open_and_going = in_steps(_c.step, GOING), in_states(_c.state, OPEN)
        for lfn, site, witness in connection.execute(asked.where(_c.lfn.in_(lfns), *open_and_going)):
            going.setdefault(lfn, []).append((site, witness))
    opposed = set()
    for each in begin:
        others = going.setdefault(each.lfn, [])
        if any(site == each.lane.witness or witness == each.lane.site for site, witness in others):
            opposed.add(each.id)
        else:
            others.append((each.lane.site, each.lane.witness))
    return frozenset(opposed)


def renew(connection: Connection, runner: str, held: Collection[int], now: float, lease_s: float) -> frozenset[int]:
    """Makes the leases of what a runner holds last on; the operations among them that are to be cancelled.

    What the journal says is the runner's, but is not among those that it `held`, is left to run out: the answer to its
    claim was lost, or its end could not be written.
    """
    own = and_(_c.runner == runner, in_states(_c.state, ("active",)))
    found = connection.execute(select(_c.id, _c.cancel).where(own)).all()
    for ids in _parts([row.id for row in found if row.id in held]):
        connection.execute(update(operations).where(_c.id.in_(ids), own).values(lease_s=now + lease_s))
    return frozenset(row.id for row in found if row.cancel)


def expire(connection: Connection, now: float, runner: str | None = None) -> int:
    """Gives back what is active and whose lease is over, or with `runner` all of that one, which was started anew.
    What copies among them may have left is noted."""
    over = _c.lease_s < now if runner is None else _c.runner == runner
    words = "its lease was over" if runner is None else f"{runner} was started again"
    gone = connection.execute(
        select(_c.id, _c.fence, _c.site, _c.lfn, lanes.c.kind)
        .join(lanes, lanes.c.id == _c.lane)
        .where(in_states(_c.state, ("active",)), over)
        .with_for_update(skip_locked=True, of=operations)
    ).all()
    remains.note(connection, [Remain(row.id, row.fence, row.site, row.lfn, now) for row in gone if row.kind == "copy"])
    _requeue(connection, [row.id for row in gone])
    tell(connection, now, [(row.id, Event.EXPIRED, "queued", words) for row in gone])
    return len(gone)


def _requeue(connection: Connection, ids: Sequence[int]) -> None:
    for some in _parts(ids):
        connection.execute(
            update(operations).where(_c.id.in_(some)).values(state="queued", due_s=0.0, runner="", step=_left)
        )


def _ours(connection: Connection, claimed: Sequence[Claimed]) -> dict[int, Row[tuple[object, ...]]]:
    """The rows of those operations that are active under the very fencing number of the claim."""
    fences = {each.id: each.fence for each in claimed}
    found: dict[int, Row[tuple[object, ...]]] = {}
    for ids in _parts(list(fences)):
        asked = select(*_HELD).where(_c.id.in_(ids), in_states(_c.state, ("active",)))
        for row in connection.execute(asked.with_for_update()):
            if row.fence == fences[row.id]:
                found[row.id] = row
    return found


# ---- ending ----------------------------------------------------------------------------------------------------------


def end(connection: Connection, ends: Sequence[Ended], now: float) -> list[bool]:
    """Writes what became of operations; False where one was no longer ours, and nothing is written."""
    found = _ours(connection, [each.operation for each in ends])
    ours = [each for each in ends if each.operation.id in found]
    done = [each for each in ours if each.event == Event.SUCCEEDED]
    if done:
        connection.execute(
            update(operations)
            .where(_c.id == bindparam("op"))
            .values(state="done", due_s=0.0, runner="", reason="", finished_s=now),
            [{"op": each.operation.id, "seconds": each.seconds, "moved": each.moved} for each in done],
        )
    others = [each for each in ours if each.event != Event.SUCCEEDED]
    if others:
        values = [_ended(connection, each, found[each.operation.id], now) for each in others]
        connection.execute(update(operations).where(_c.id == bindparam("op")), values)
    states = [after("active", Event(each.event)) for each in ours]
    tell(
        connection,
        now,
        [(each.operation.id, each.event, state, each.words) for each, state in zip(ours, states, strict=True)],
    )
    positions: dict[int, int] = {}
    for each in ours:
        order = each.operation.lane.order
        positions[order] = max(each.position, positions.get(order, 0))
    tallies = [
        Tally(each.operation.lane.order, "active", state, each.operation.size or 0)
        for each, state in zip(ours, states, strict=True)
    ]
    count(connection, tallies, positions)
    suspect(connection, ours, now)
    return [each.operation.id in found for each in ends]


def _ended(connection: Connection, each: Ended, row: Row[tuple[object, ...]], now: float) -> dict[str, object]:
    """What is written of an operation that did not succeed; one that lost a source goes to the lane of the others."""
    operation, lane_id = each.operation, row.lane
    state = after("active", Event(each.event))
    if each.failures:
        remaining = [source for source in operation.lane.sources if source not in each.failures]
        lane_id = lane_of(connection, operation.lane, remaining) if remaining else operation.lane.id
    return {
        "op": operation.id,
        "lane": lane_id,
        "state": state,
        "step": "" if row.step in UNDONE else row.step,
        "due_s": each.due_s,
        "runner": "",
        "failures": json.dumps(operation.failures if each.failures is None else each.failures),
        "reason": each.words,
        "finished_s": now if state in ENDED else None,
        "seconds": each.seconds,
        "moved": each.moved,
    }


def suspect(connection: Connection, ends: Sequence[Ended], now: float) -> None:
    """Notes, for the consistency checker, the copies that turned out bad or absent."""
    found = {
        (each.operation.source, each.operation.lfn): each.failures[each.operation.source]
        for each in ends
        if each.failures and each.operation.source in each.failures
    }
    rows = [{"site": site, "lfn": lfn, "words": words, "at_s": now} for (site, lfn), words in sorted(found.items())]
    sql.upsert(connection, suspects, rows)


def lane_of(connection: Connection, lane: Lane, sources: Sequence[str]) -> int:
    """The id of the lane that is like this one but for its sources; made where there is none."""
    what = {
        "order_id": lane.order,
        "kind": lane.kind,
        "site": lane.site,
        "sources": json.dumps(sorted(sources)),
        "witness": lane.witness,
        "large": lane.large,
    }
    known = select(lanes.c.id).where(*(lanes.c[name] == value for name, value in what.items()))
    found = connection.scalar(known)
    if found is None:
        try:
            with connection.begin_nested():
                found = connection.scalar(insert(lanes).values(what).returning(lanes.c.id))
        except exc.IntegrityError:  # somebody else made it at the same moment
            found = connection.scalar(known)
    assert found is not None
    return int(found)


def tell(connection: Connection, now: float, passages: Sequence[tuple[int, str, str, str]]) -> None:
    """Adds lines to stories: (operation, event, state since then, words); the same line of many in one statement."""
    together: dict[tuple[str, str, str], list[int]] = {}
    for operation, event, state, words in passages:
        together.setdefault((str(event), state, words), []).append(operation)
    alone = []
    for (event, state, words), ids in together.items():
        if len(ids) == 1:
            alone.append({"operation": ids[0], "at_s": now, "event": event, "state": state, "words": words})
            continue
        line = literal(now, Double), *(literal(text, Text) for text in (event, state, words))
        for some in _parts(ids):
            told = select(_c.id, *line).where(_c.id.in_(some))
            connection.execute(insert(stories).from_select(["operation", "at_s", "event", "state", "words"], told))
    if alone:
        connection.execute(insert(stories), alone)


def _parts(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """Ids, so many at once as stand in one condition."""
    return (ids[start : start + IDS_MAX] for start in range(0, len(ids), IDS_MAX))


def count(connection: Connection, tallies: Iterable[Tally], positions: dict[int, int] | None = None) -> None:
    """Adds passages to the sums of their orders, and ends those orders that nothing is left of."""
    sums: dict[int, dict[str, int]] = {}
    for each in tallies:
        if each.order and each.before != each.after:
            total = sums.setdefault(each.order, dict.fromkeys(("opened", "held", "done", "bytes_more", "cancelled"), 0))
            total["opened"] += (each.after in OPEN) - (each.before in OPEN)
            total["held"] += (each.after == "held") - (each.before == "held")
            total["done"] += each.after == "done"
            total["bytes_more"] += each.size if each.after == "done" else 0
            total["cancelled"] += each.after == "cancelled"
    if not sums:
        return
    o, known = orders.c, positions or {}
    position: BindParameter[int] = bindparam("reached")
    connection.execute(
        update(orders)
        .where(o.id == bindparam("which"))
        .values(
            files_open=o.files_open + bindparam("opened"),
            files_held=o.files_held + bindparam("held"),
            files_done=o.files_done + bindparam("done"),
            bytes_done=o.bytes_done + bindparam("bytes_more"),
            files_cancelled=o.files_cancelled + bindparam("cancelled"),
            position=case((o.position < position, position), else_=o.position),
            version=o.version + 1,
        ),
        [{"which": order, "reached": known.get(order, 0), **total} for order, total in sums.items()],
    )
    close(connection, list(sums))


def close(connection: Connection, ids: Sequence[int]) -> None:
    """Ends those of these orders that are wholly turned into operations and of which none is open."""
    o = orders.c
    ended = case((or_(o.files_cancelled > 0, o.cancel), "cancelled"), else_="done")
    connection.execute(
        update(orders)
        .where(o.id.in_(ids), o.state == "open", o.files_open == 0)
        .values(state=ended, version=o.version + 1)
    )
