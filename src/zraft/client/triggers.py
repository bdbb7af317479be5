"""The watches of one session: which are open, which fired, and who is given what fired (§6.3 leaves watches open).

    asked ──opened──> open ──fired──> a waiter on its reference, else whoever takes any, else kept until one comes
                           ──lost───> the same for every open one, with the reason "change_leader"

A watch is asked for with its query, and open when the query is answered. It may fire in between, and the leader may be
lost in between: the first is as good as later, the second fires when the answer reaches the caller, not before.

Each watch fires once. What fired stays until somebody took it, so between a query and the wait nothing is missed. Open
and kept ones count against one bound: who asks for watches and never takes what fired is refused, not forgotten.

Decides only: a waiter is whatever its owner wakes, and waking is left to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from zraft.errors import Overloaded
from zraft.limits import SESSION_WATCHES

Reason: TypeAlias = Literal["change", "change_leader"]


@dataclass(frozen=True, slots=True)
class WatchTrigger:
    """The watch `ref` has fired: what was asked may have changed, or the leader that watched it was lost.

    `reason` says which: "change" or "change_leader". Both ask for the same: query again.
    """

    ref: Any
    reason: Reason


WaiterT = TypeVar("WaiterT", bound=Hashable)


class Triggers(Generic[WaiterT]):
    """See the top of this file. Numbers of watches are given by the caller and never used twice."""

    __slots__ = ("_any", "_asked", "_kept", "_kept_of", "_missed", "_on", "_open", "_serial")

    def __init__(self) -> None:
        self._asked: dict[int, Any] = {}
        """Their queries are under way."""
        self._missed: dict[int, Any] = {}
        """Asked for when the leader was lost; the query may have been answered before that."""
        self._open: dict[int, Any] = {}
        self._kept: dict[int, WatchTrigger] = {}
        """In the order in which they fired, by a serial number."""
        self._kept_of: dict[Any, deque[int]] = {}
        """By reference: the serial numbers, some of which may have been taken already."""
        self._any: dict[WaiterT, None] = {}
        self._on: dict[Any, dict[WaiterT, None]] = {}
        self._serial = 0

    @property
    def count(self) -> int:
        """Watches that are asked for, open, or wait to be taken."""
        return len(self._asked) + len(self._open) + len(self._kept)

    # -- watches

    def ask(self, number: int, ref: Any) -> None:
        """A query goes out that sets a watch. Raises `Overloaded` where too many are open or wait to be taken."""
        if self.count >= SESSION_WATCHES:
            raise Overloaded(
                f"{self.count} watches of this session are open, or fired and were not taken", reason="watches"
            )
        self._asked[number] = ref

    def opened(self, number: int) -> list[tuple[WaiterT, WatchTrigger]]:
        """The query was answered: whom to wake with what, where the leader was lost since."""
        if number in self._missed:
            return self._give([WatchTrigger(self._missed.pop(number), "change_leader")])
        if number in self._asked:
            self._open[number] = self._asked.pop(number)
        return []

    def forget(self, number: int) -> bool:
        """The query was not answered, or nobody waits for the answer: its watch is nobody's. False: it was answered."""
        self._missed.pop(number, None)
        return self._asked.pop(number, None) is not None

    def forget_all(self, ref: Any) -> list[int]:
        """Nobody wants to know of the watches `ref`: they fire nothing, and what was kept of them is gone.

        Returns the numbers of those that are open at the leader.
        """
        numbers = [number for number, other in self._open.items() if other == ref]
        for number in numbers:
            del self._open[number]
        for serial in self._kept_of.pop(ref, ()):
            del self._kept[serial]
        return numbers

    def fired(self, number: int, reason: Reason = "change") -> list[tuple[WaiterT, WatchTrigger]]:
        """The leader says that the watch fired: whom to wake with what. Nothing where it is not open."""
        for table in (self._open, self._asked):
            if number in table:
                return self._give([WatchTrigger(table.pop(number), reason)])
        return []

    def lost(self) -> list[tuple[WaiterT, WatchTrigger]]:
        """The connection to the leader is gone, and with it every open watch, in the order of their opening."""
        refs, self._open = list(self._open.values()), {}
        self._missed.update(self._asked)
        self._asked = {}
        return self._give([WatchTrigger(ref, "change_leader") for ref in refs])

    def _give(self, triggers: list[WatchTrigger]) -> list[tuple[WaiterT, WatchTrigger]]:
        given = []
        for trigger in triggers:
            waiter = self._waiter_for(trigger.ref)
            if waiter is None:
                self._keep(trigger)
            else:
                given.append((waiter, trigger))
        return given

    def _waiter_for(self, ref: Any) -> WaiterT | None:
        """The one that waits longest, and waits no more; None where nobody does."""
        waiters = self._on.get(ref) or self._any
        for waiter in waiters:
            self.leave(waiter, ref)
            return waiter
        return None

    def _keep(self, trigger: WatchTrigger) -> None:
        self._serial += 1
        self._kept[self._serial] = trigger
        self._kept_of.setdefault(trigger.ref, deque()).append(self._serial)

    # -- waiters

    def wait_any(self, waiter: WaiterT) -> WatchTrigger | None:
        """The first that was kept; None: the waiter waits until it is woken or leaves."""
        for serial, trigger in self._kept.items():
            self._take(serial, trigger)
            return trigger
        self._any[waiter] = None
        return None

    def wait_on(self, waiter: WaiterT, ref: Any) -> WatchTrigger | None:
        """The first of this reference that was kept; None: the waiter waits until it is woken or leaves."""
        serials = self._kept_of.get(ref)
        if serials:
            trigger = self._kept[serials[0]]
            self._take(serials[0], trigger)
            return trigger
        self._on.setdefault(ref, {})[waiter] = None
        return None

    def _take(self, serial: int, trigger: WatchTrigger) -> None:
        """It goes; within its reference it is the first, since both orders are that of firing."""
        del self._kept[serial]
        serials = self._kept_of[trigger.ref]
        serials.popleft()
        if not serials:
            del self._kept_of[trigger.ref]

    def leave(self, waiter: WaiterT, ref: Any = None) -> None:
        """It waits no more, neither for any nor for one of `ref`."""
        self._any.pop(waiter, None)
        on = self._on.get(ref)
        if on is not None:
            on.pop(waiter, None)
            if not on:
                del self._on[ref]

    def give_back(self, trigger: WatchTrigger) -> list[tuple[WaiterT, WatchTrigger]]:
        """Who was woken with it was cancelled before taking it: the next one gets it."""
        return self._give([trigger])

    def end(self) -> list[WaiterT]:
        """The session is over: whom to wake with that. Nothing is open or kept any more."""
        waiters = [*self._any, *(waiter for on in self._on.values() for waiter in on)]
        self._any, self._on, self._kept, self._kept_of = {}, {}, {}, {}
        self._asked, self._missed, self._open = {}, {}, {}
        return waiters
