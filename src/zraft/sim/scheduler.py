"""Virtual time: the events of a run, in order, and the clocks by which the nodes see them.

Time is an integer of milliseconds that jumps from event to event. Events of the same millisecond run in an order drawn
from the seed. An event may belong to an owner: while the owner is paused its events wait, its clock runs; when the
owner's life ends, the events of that life are dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final, TypeAlias

from zraft.sim.chance import Chance
from zraft.types import Millis

ANY_LIFE: Final = -1
"""The event outlives its owner's life: a packet reaches whoever listens there then."""

Call: TypeAlias = Callable[[Any], None]

_RATE_ONE: Final = 1000
_NEVER_MS: Final = 1 << 62


class Clock:
    """A node's monotonic clock: `rate` in thousandths of true speed, beginning anywhere. Readings are at least 1."""

    __slots__ = ("_offset_ms", "_origin_ms", "rate")

    def __init__(self, rate: int = _RATE_ONE, offset_ms: Millis = 1) -> None:
        self.rate, self._offset_ms, self._origin_ms = rate, max(1, offset_ms), 0

    def reading(self, true_ms: Millis) -> Millis:
        """What the clock shows at `true_ms`. Never decreases, whatever `change_rate` did."""
        return self._offset_ms + (true_ms - self._origin_ms) * self.rate // _RATE_ONE

    def when(self, reading_ms: Millis) -> Millis:
        """The first true time at which the clock shows `reading_ms` or more."""
        behind = reading_ms - self._offset_ms
        return self._origin_ms + -(-behind * _RATE_ONE // self.rate)

    def change_rate(self, true_ms: Millis, rate: int) -> None:
        """From `true_ms` on the clock runs at `rate`."""
        self._offset_ms, self._origin_ms = self.reading(true_ms), true_ms
        self.rate = rate


class Owner:
    """Somebody whose events can be held back or dropped: a node."""

    __slots__ = ("clock", "life", "name", "paused_until_ms", "put_off_to_ms")

    def __init__(self, name: str, clock: Clock | None = None) -> None:
        self.name, self.clock = name, clock or Clock()
        self.life = 0
        self.paused_until_ms: Millis = 0
        self.put_off_to_ms: Millis = 0
        """The latest moment to which a pause has put something off; it comes then, also where the pause ended early."""

    def end_life(self) -> None:
        """Every event scheduled for the life so far is dropped; the pause is over."""
        self.life += 1
        self.paused_until_ms = 0


class TimeIsUp(Exception):
    """The run was to end here."""


class Scheduler:
    """The queue of what will happen. `now_ms` is true time, `performed` the number of events that ran.

    Nothing happens after `end_ms`: the step to it raises TimeIsUp.
    """

    __slots__ = ("_chance", "_heap", "_sequence", "end_ms", "now_ms", "performed")

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._heap: list[tuple[Millis, int, int, Owner | None, int, Call, Any]] = []
        self._sequence = 0
        self.now_ms: Millis = 0
        self.end_ms: Millis = _NEVER_MS
        self.performed = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(
        self, time_ms: Millis, call: Call, argument: Any = None, *, owner: Owner | None = None, life: int | None = None
    ) -> None:
        """`call(argument)` at `time_ms` or now, whichever is later. `life` None: the owner's present one."""
        self._sequence += 1
        if life is None:
            life = owner.life if owner is not None else ANY_LIFE
        when = time_ms if time_ms > self.now_ms else self.now_ms
        heappush(self._heap, (when, self._chance.bits(), self._sequence, owner, life, call, argument))

    def after(
        self, delay_ms: Millis, call: Call, argument: Any = None, *, owner: Owner | None = None, life: int | None = None
    ) -> None:
        """`call(argument)` in `delay_ms`."""
        self.at(self.now_ms + delay_ms, call, argument, owner=owner, life=life)

    def step(self, until_ms: Millis) -> bool:
        """Performs the next event due at or before `until_ms`; where there is none: False, and it is that late."""
        heap = self._heap
        while heap:
            if heap[0][0] > until_ms:
                break
            time_ms, _, _, owner, life, call, argument = heappop(heap)
            if time_ms > self.end_ms:
                raise TimeIsUp
            self.now_ms = time_ms
            if owner is not None:
                if life not in (owner.life, ANY_LIFE):
                    continue
                if owner.paused_until_ms > time_ms:
                    owner.put_off_to_ms = max(owner.put_off_to_ms, owner.paused_until_ms)
                    self.at(owner.paused_until_ms, call, argument, owner=owner, life=life)
                    continue
            self.performed += 1
            call(argument)
            return True
        self.now_ms = max(self.now_ms, until_ms)
        return False

    def run_until(self, until_ms: Millis) -> None:
        """Performs everything due at or before `until_ms`."""
        while self.step(until_ms):
            pass
