"""Was the history of one object linearizable? The search of Wing and Gong, with the memory of Lowe, key by key.

An object made of independent keys is linearizable when each key is (Herlihy and Wing, locality), so every key is
searched alone. The search lifts operations out of a doubly linked list of call and return events: at a call it tries
to let the operation take effect now; at a return of an operation that has not, it takes the last choice back. (set of
operations that took effect, state) pairs that were met before are not tried again. Intervals are closed: of equal
moments calls count first.

Relies on `history`. Says "unknown" after `budget` pairs, which is neither good nor bad. What it cannot see:
operations over several keys at once, and whether the server's claims about indexes are true; for those see
`checks.witness`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from enum import Enum
from typing import Final

import msgspec

from zraft.sim.history import Get, Model, Operation, State

BUDGET: Final = 2_000_000
"""Pairs remembered per key before the answer is "unknown": about a gigabyte."""


class Answer(Enum):
    """Of a whole history: BAD where any key is bad, else UNKNOWN where any is unknown."""

    OK = "ok"
    BAD = "bad"
    UNKNOWN = "unknown"


class Verdict(msgspec.Struct, frozen=True):
    """`explanation` is empty for OK; else it has the key, the longest order found, and what could not follow it."""

    answer: Answer
    explanation: str = ""


def check_history(operations: Iterable[Operation], model: Model, *, budget: int = BUDGET) -> Verdict:
    """Whether the operations, of any number of keys, can be put in one legal order that respects real time."""
    keys: dict[Hashable, list[Operation]] = {}
    for operation in operations:
        if operation.is_refused:
            continue  # it has no place in the order; that it had no effect follows from what others saw
        if operation.returned is not None or not isinstance(operation.input, Get):
            keys.setdefault(operation.key, []).append(operation)
    unknown = Verdict(Answer.OK)
    for key, history in keys.items():
        search = _Search(history, model, budget)
        answer = search.run()
        if answer is Answer.BAD:
            return Verdict(answer, search.explanation(key))
        if answer is Answer.UNKNOWN:
            unknown = Verdict(answer, f"key {key!r}: gave up after {budget} states of {len(history)} operations")
    return unknown


class _Search:
    """One key. Events are numbered in order of time; the number `end` is head and tail of the ring."""

    def __init__(self, history: Sequence[Operation], model: Model, budget: int) -> None:
        self._history, self._model, self._budget = history, model, budget
        events = [(operation.call, 0, place) for place, operation in enumerate(history)]
        events += [
            (operation.returned, 1, place) for place, operation in enumerate(history) if operation.returned is not None
        ]
        events.sort()
        self._events = events
        self._end = end = len(events)
        self._next = [*range(1, end + 1), 0]
        self._before = [end, *range(end)]
        self._return_of = {place: number for number, (_, kind, place) in enumerate(events) if kind}
        self._longest: list[int] = []
        self._stuck: list[int] = []

    def run(self) -> Answer:
        """The search itself. Ends when every operation that returned has taken effect: the others may never."""
        end, events, history, returns = self._end, self._events, self._history, self._return_of
        step = self._model.step
        seen: set[tuple[int, State]] = set()
        chosen: list[tuple[int, State]] = []
        missing, done, state = len(returns), 0, self._model.initial
        number = self._next[end]
        while missing:
            if len(seen) > self._budget:
                return Answer.UNKNOWN
            if number != end and not events[number][1]:
                place = events[number][2]
                operation = history[place]
                output, after = step(state, operation.input)
                now = (done | 1 << place, after)
                if (operation.returned is None or output == operation.output) and now not in seen:
                    seen.add(now)
                    chosen.append((number, state))
                    done, state = now
                    self._lift(number)
                    if place in returns:
                        self._lift(returns[place])
                        missing -= 1
                    number = self._next[end]
                else:
                    number = self._next[number]
                continue
            self._remember(chosen)
            if not chosen:
                return Answer.BAD
            number, state = chosen.pop()
            place = events[number][2]
            done &= ~(1 << place)
            if place in returns:
                self._unlift(returns[place])
                missing += 1
            self._unlift(number)
            number = self._next[number]
        return Answer.OK

    def _lift(self, number: int) -> None:
        before, after = self._before[number], self._next[number]
        self._next[before], self._before[after] = after, before

    def _unlift(self, number: int) -> None:
        self._next[self._before[number]] = number
        self._before[self._next[number]] = number

    def _remember(self, chosen: list[tuple[int, State]]) -> None:
        """Keeps the longest order, and the operations that were open where it ended."""
        if self._stuck and len(chosen) <= len(self._longest):
            return
        self._longest = [self._events[number][2] for number, _ in chosen]
        self._stuck = []
        number = self._next[self._end]
        while number != self._end and not self._events[number][1]:
            self._stuck.append(self._events[number][2])
            number = self._next[number]

    def explanation(self, key: Hashable) -> str:
        """The longest legal order, its end state, and the operations of which none could come next."""
        state = self._model.initial
        lines = [f"key {key!r} is not linearizable: after the longest legal order of {len(self._longest)} operations"]
        for place in self._longest:
            _, state = self._model.step(state, self._history[place].input)
        lines += [f"   {self._history[place]}" for place in self._longest[-8:]]
        lines.append(f"the state is {state!r}, and none of these can come next:")
        lines += [f"   {self._history[place]}" for place in self._stuck]
        return "\n".join(lines)
