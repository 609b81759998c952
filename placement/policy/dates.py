"""Moments as policies write them, and the second that each is at the clock of a run; everything is UTC.

The forms are those of GNU `date -d` that policies are known to use: `90 days ago`, `3 months ago`, `yesterday`,
`2018-03-01`, `2018-03-01 12:30`, `January 1`, `1 Jan 2018`. Months are the calendar's, and a day that the month has not
counts on into the next one, as there: a month before March 31 is March 3.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_SECONDS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_SECONDS["fortnight"] = 2 * _SECONDS["week"]
_MONTHS = {"month": 1, "year": 12}
_NAMES = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_ISO = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?(?: ?(?:Z|UTC))?")
_AGO = re.compile(r"(\d{1,6}|an?) ([a-z]+?)s? ago")
_MONTH_DAY = re.compile(r"([A-Za-z]{3,9})\.? (\d{1,2})(?:,? (\d{4}))?")
_DAY_MONTH = re.compile(r"(\d{1,2}) ([A-Za-z]{3,9})\.?(?: (\d{4}))?")

#: For messages.
FORMS = "a time such as `90 days ago`, `3 months ago`, `2018-03-01`, `2018-03-01 12:30` or `January 1`"


class DateInvalid(ValueError):
    """The text is no moment that can be."""


@dataclass(frozen=True)
class Moment:
    """A moment, fixed or relative to a run's clock; two are equal when they mean the same, however written.

    Relative: `months` and `seconds` before now. Fixed: `day` is (year, month, day), year 0 for that of the clock, with
    `seconds` since its midnight.
    """

    months: int = 0
    seconds: int = 0
    day: tuple[int, int, int] | None = None
    text: str = field(default="", compare=False)

    def at(self, now_s: float) -> float:
        """The moment in seconds since the epoch of POSIX, for a run whose clock shows `now_s`.

        Raises DateInvalid: the moment lies before the year 1.
        """
        now = datetime.fromtimestamp(now_s, UTC)
        try:
            if self.day is not None:
                year, month, day = self.day
                return datetime(year or now.year, month, day, tzinfo=UTC).timestamp() + self.seconds
            if not self.months:
                return now_s - self.seconds
            year, month = divmod(now.year * 12 + now.month - 1 - self.months, 12)
            return (now.replace(year=year, month=month + 1, day=1) + timedelta(days=now.day - 1)).timestamp()
        except (ValueError, OverflowError) as wrong:
            raise DateInvalid(f"{self.text!r} lies before all dates") from wrong


def moment(text: str) -> Moment:
    """The moment that a text means. Raises DateInvalid: in no known form, or a day that there is not."""
    said = " ".join(text.split())
    for form in (_simple, _ago, _iso, _month_day):
        found = form(said)
        if found is not None:
            return found
    raise DateInvalid(f"{text!r} is no time")


def _simple(said: str) -> Moment | None:
    seconds = {"now": 0, "yesterday": _SECONDS["day"]}.get(said.lower())
    return None if seconds is None else Moment(seconds=seconds, text=said)


def _ago(said: str) -> Moment | None:
    found = _AGO.fullmatch(said.lower())
    if found is None or found[2] not in {*_SECONDS, *_MONTHS}:
        return None
    count = int(found[1]) if found[1].isdigit() else 1
    return Moment(count * _MONTHS.get(found[2], 0), count * _SECONDS.get(found[2], 0), text=said)


def _iso(said: str) -> Moment | None:
    found = _ISO.fullmatch(said)
    if found is None:
        return None
    hour, minute, second = (int(part or 0) for part in found.groups()[3:])
    if hour > 23 or minute > 59 or second > 59:
        raise DateInvalid(f"{said!r} has a time that no clock shows")
    return _on(said, int(found[1]), int(found[2]), int(found[3]), hour * 3_600 + minute * 60 + second)


def _month_day(said: str) -> Moment | None:
    if found := _MONTH_DAY.fullmatch(said):
        name, day, year = found.groups()
    elif found := _DAY_MONTH.fullmatch(said):
        day, name, year = found.groups()
    else:
        return None
    months = [number for number, known in enumerate(_NAMES, 1) if name.lower() in (known, known[:3])]
    return _on(said, int(year or 0), months[0], int(day), 0) if months else None


def _on(said: str, year: int, month: int, day: int, seconds: int) -> Moment:
    # Without a year the day must be in every year: February 29 needs its year.
    if not 1 <= month <= 12 or not 1 <= day <= monthrange(year or 2001, month)[1]:
        raise DateInvalid(f"{said!r} is no day of {'that' if year else 'every'} year")
    if year and year < 1970:
        raise DateInvalid(f"{said!r} lies before 1970")
    return Moment(seconds=seconds, day=(year, month, day), text=said)
