"""Index witness: replies name log indexes, so the order of effects is claimed and has only to be verified.

Formula: with `log` the committed commands in order, and `state(i)` the model after every command up to i,
  (a) a write's reply names the index of its own command, and its output is the model's output there;
  (b) a read's output is the model's answer in state(index);
  (c) real time: what returned before another was called has an index <= the other's (< if the other is a write);
  (d) no value is put twice (every put of a history has its own), and a refused one never.
Source: §6.3, §6.4 of the thesis; C1, C3, C4 and X1 of the list of invariants. Needs no search: n log n.
Cannot see: a server that lies about both index and content consistently; `linearizability` does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import msgspec

from zraft.sim.history import Get, Input, Model, Operation, Put, State


class Command(msgspec.Struct, frozen=True, gc=False):
    """A committed command."""

    index: int
    key: Hashable
    input: Input


def check_witness(operations: Iterable[Operation], log: Iterable[Command], model: Model) -> str:
    """Empty, or what the first operation that contradicts the log did."""
    history = list(operations)
    replay = _Replay(model)
    for command in log:
        if (problem := replay.add(command)) != "":
            return problem
    for operation in history:
        if (problem := replay.compare(operation)) != "":
            return problem
    return _real_time(history)


class _Replay:
    """The committed log run through the model: outputs by index, states of each key by index."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._by_index: dict[int, tuple[Command, Any]] = {}
        self._puts: dict[tuple[Hashable, Hashable], int] = {}
        self._states: dict[Hashable, list[tuple[int, State]]] = {}
        self._last = 0

    def add(self, command: Command) -> str:
        if command.index <= self._last:
            return f"the log has index {command.index} after {self._last}"
        self._last = command.index
        if isinstance(command.input, Put):
            first = self._puts.setdefault((command.key, command.input.value), command.index)
            if first != command.index:
                return f"{command.key!r} {command.input} took effect at {first} and again at {command.index}"
        states = self._states.setdefault(command.key, [(0, self._model.initial)])
        output, state = self._model.step(states[-1][1], command.input)
        states.append((command.index, state))
        self._by_index[command.index] = (command, output)
        return ""

    def compare(self, operation: Operation) -> str:
        if operation.is_refused:
            asked = operation.input
            ran = isinstance(asked, Put) and (operation.key, asked.value) in self._puts
            return f"refused, and in the log: {operation}" if ran else ""
        if operation.returned is None:
            return ""
        if operation.index is None:
            return f"no index in the reply: {operation}"
        if isinstance(operation.input, Get):
            expected = self._model.step(self._state(operation.key, operation.index), operation.input)[0]
        else:
            entry = self._by_index.get(operation.index)
            if entry is None or (entry[0].key, entry[0].input) != (operation.key, operation.input):
                return f"acknowledged, the log has {entry and entry[0]}: {operation}"
            expected = entry[1]
        return "" if expected == operation.output else f"the log gives {expected!r}: {operation}"

    def _state(self, key: Hashable, index: int) -> State:
        states = self._states.get(key, [(0, self._model.initial)])
        low, high = 0, len(states)
        while high - low > 1:
            middle = (low + high) // 2
            if states[middle][0] <= index:
                low = middle
            else:
                high = middle
        return states[low][1]


def _real_time(history: list[Operation]) -> str:
    """(c), by one sweep through calls and returns; calls first where moments are equal."""
    events = [(operation.call, 0, place) for place, operation in enumerate(history) if operation.index is not None]
    events += [
        (operation.returned, 1, place)
        for place, operation in enumerate(history)
        if operation.returned is not None and operation.index is not None
    ]
    floors: dict[int, tuple[int, int]] = {}
    floor, floor_place = 0, -1
    for _, is_return, place in sorted(events):
        index = history[place].index or 0
        if not is_return:
            floors[place] = (floor, floor_place)
            continue
        behind, witness = floors[place]
        strict = not isinstance(history[place].input, Get)
        if index < behind or (strict and index == behind and witness >= 0):
            return f"{history[place]} was called after this had returned: {history[witness]}"
        if index > floor:
            floor, floor_place = index, place
    return ""
