"""Index witness: replies name log indexes, so the order of effects is claimed and has only to be verified.

Formula: with `log` the committed commands in order, and `state(i)` the model after every command up to i,
  (a) a write's reply names the index of its own command, and its output is the model's output there;
  (b) a read's output is the model's answer in state(index);
  (c) real time: an operation that returned before another was called has index <= the other's (< if the other is a write);
  (d) no operation is in the log twice, and one whose outcome is unknown is there once or never.
Source: §6.3, §6.4 of the thesis; C1, C3, C4 and X1 of the list of invariants. Needs no search: n log n.
Cannot see: a server that lies about both index and content consistently; `linearizability` does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import msgspec

from zraft.sim.history import Get, Input, Model, Operation, State


class Command(msgspec.Struct, frozen=True, gc=False):
    """A committed command: `ref` is the name of the operation that it belongs to."""

    index: int
    key: Hashable
    input: Input
    ref: Hashable


def check_witness(operations: Iterable[Operation], log: Iterable[Command], model: Model) -> str:
    """Empty, or what the first operation that contradicts the log did."""
    history = list(operations)
    replay = _Replay(model)
    for command in log:
        if (problem := replay.add(command)) != "":
            return problem
    for operation in history:
        if operation.returned is not None and (problem := replay.compare(operation)) != "":
            return problem
    return _real_time(history)


class _Replay:
    """The committed log run through the model: outputs by name, states of each key by index."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._by_ref: dict[Hashable, tuple[int, Any]] = {}
        self._states: dict[Hashable, list[tuple[int, State]]] = {}
        self._last = 0

    def add(self, command: Command) -> str:
        if command.index <= self._last:
            return f"the log has index {command.index} after {self._last}"
        self._last = command.index
        if command.ref in self._by_ref:
            return f"{command.ref!r} took effect at {self._by_ref[command.ref][0]} and again at {command.index}"
        states = self._states.setdefault(command.key, [(0, self._model.initial)])
        output, state = self._model.step(states[-1][1], command.input)
        states.append((command.index, state))
        self._by_ref[command.ref] = (command.index, output)
        return ""

    def compare(self, operation: Operation) -> str:
        if operation.index is None:
            return f"no index in the reply: {operation}"
        if isinstance(operation.input, Get):
            expected = self._model.step(self._state(operation.key, operation.index), operation.input)[0]
        else:
            entry = self._by_ref.get(operation.ref)
            if entry is None:
                return f"acknowledged, and not in the log: {operation}"
            index, expected = entry
            if index != operation.index:
                return f"the log has it at {index}: {operation}"
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
