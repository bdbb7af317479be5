"""When a log file is rotated whatever its size: the notation of the Erlang system, read and turned into moments.

    $H30      every hour, 30 minutes past
    $D0       every day at midnight             $D23      every day at 23:00
    $W0D23    on Sundays at 23:00 ($W6: Saturdays; without D: at midnight)
    $M1D0     on the first of every month       $M31D4    on the last at 4:00: a shorter month has no 31st
    (empty)   never: only its size counts

Times are local, as in the file itself.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Final

ROTATIONS: Final = '"$H30" (hourly, minute), "$D0" (daily, hour), "$W0D23" (weekly), "$M1D0" (monthly), or empty'
"""What may be written, for whoever wrote something else."""

_HOUR: Final = r"(?P<hour>[01]?[0-9]|2[0-3])"
_NOTATION: Final = re.compile(
    rf"\$(?:H(?P<minute>[0-5]?[0-9])|(?:W(?P<weekday>[0-6])|M(?P<day>0?[1-9]|[12][0-9]|3[01]))(?:D{_HOUR})?"
    rf"|D{_HOUR.replace('hour', 'of_day')})"
)


@dataclass(frozen=True, slots=True)
class Rotation:
    """A moment that comes again: every hour at `minute`; or at `hour`, every day, week or month."""

    minute: int | None = None
    hour: int = 0
    weekday: int | None = None
    """0 is Sunday."""
    day: int | None = None
    """Of the month."""

    def after(self, seconds: float) -> float:
        """The first such moment after `seconds`, both in seconds since 1970."""
        start = datetime.fromtimestamp(seconds)  # noqa: DTZ006 - the clock on the wall decides what a day is
        return next(at for at in (moment.timestamp() for moment in self._moments(start)) if at > seconds)

    def _moments(self, start: datetime) -> Iterator[datetime]:
        """All of them from about `start` on, in order, by the clock on the wall."""
        if self.minute is not None:
            hour = start.replace(minute=self.minute, second=0, microsecond=0)
            yield from (hour + timedelta(hours=number) for number in count())
        midnight = start.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        for number in count():
            moment = midnight + timedelta(days=number)
            if self._is_day(moment):
                yield moment

    def _is_day(self, moment: datetime) -> bool:
        if self.weekday is not None:
            return moment.isoweekday() % 7 == self.weekday
        return self.day is None or moment.day == min(self.day, calendar.monthrange(moment.year, moment.month)[1])


def parse_rotation(text: str) -> Rotation | None:
    """None where `text` is empty: no moment counts. Raises ValueError, whose text says what may be written."""
    if not text:
        return None
    match = _NOTATION.fullmatch(text)
    if match is None:
        raise ValueError(ROTATIONS)
    found = {name: int(value) for name, value in match.groupdict().items() if value is not None}
    hour = found.get("hour", found.get("of_day", 0))
    return Rotation(found.get("minute"), hour, found.get("weekday"), found.get("day"))
