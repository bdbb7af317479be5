"""When the host gets its turns, and which time it is told: a deadline counts once the sockets had their say.

A loop that was held up may look at its timers before its sockets (uvloop always does). Election timeouts would then
pass while the leader's heartbeats wait to be read. So when a deadline has come, turns are told the moment before it
until the loop has read its sockets, and has gone on doing so while messages of other nodes came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from zraft.types import Millis

PASSES: Final = 6
"""Passes of the loop, at most, in which the sockets are read before a deadline that has come is believed."""


def now_ms() -> Millis:
    """The local monotonic clock."""
    return time.monotonic_ns() // 1_000_000


class Timekeeper:
    """Calls `turn` soon after it was asked to, and by the host's next deadline."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Callable[[], None]) -> None:
        self.peer_frames = 0
        """Frames of other nodes that were read; whoever reads them counts."""
        self._loop, self._turn = loop, turn
        self._is_turn_due = False
        self._wake_at_ms: Millis | None = None
        """The host's next deadline."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms: Millis = 0
        self._is_reading = self._has_read = False
        """The deadline has come, and the sockets are read first, or have been."""

    def schedule_turn(self) -> None:
        """A turn, when what the loop has at hand is done; asked for once or many times."""
        if not self._is_turn_due:
            self._is_turn_due = True
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._is_turn_due = False
        self._turn()

    def believed_ms(self) -> Millis:
        """The time for a turn that begins now; while the sockets may refute a deadline, the moment before it."""
        now, wake_at_ms, has_read = now_ms(), self._wake_at_ms, self._has_read
        self._has_read = False
        if wake_at_ms is None or now < wake_at_ms or has_read:
            return now
        if not self._is_reading:
            self._is_reading = True
            self._read_first(PASSES, -1)
        return wake_at_ms - 1

    def _read_first(self, passes: int, frames: int) -> None:
        """Twice round is one look at the sockets, whatever the loop does first; then on while messages come."""
        if passes and (passes > PASSES - 2 or frames != self.peer_frames):
            self._loop.call_soon(self._read_first, passes - 1, self.peer_frames)
        else:
            self._is_reading, self._has_read = False, True
            self.schedule_turn()

    def turn_ended(self, wake_at_ms: Millis | None) -> None:
        """The host's next deadline is `wake_at_ms`."""
        self._wake_at_ms = wake_at_ms
        if wake_at_ms is None or self._is_reading or (self._timer is not None and self._timer_ms == wake_at_ms):
            return
        self.cancel()
        self._timer_ms = wake_at_ms
        self._timer = self._loop.call_later(max(wake_at_ms - now_ms(), 0) / 1000, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        self.schedule_turn()

    def cancel(self) -> None:
        """No deadline calls for a turn any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
