"""What clients saw: operations with the moments of call and return, and models of the object they spoke to.

A moment is any number that only grows and is the same clock for every client; the simulator uses the number of events
performed, so that no two moments of different events are equal. A return of None says that the client never learnt the
outcome: the operation may take effect at any time after its call, or never.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol, TypeAlias

import msgspec


class Put(msgspec.Struct, frozen=True, gc=False):
    """Store `value`."""

    value: Hashable


class Get(msgspec.Struct, frozen=True, gc=False):
    """Read the value."""


class Remove(msgspec.Struct, frozen=True, gc=False):
    """Remove the value."""


class Swap(msgspec.Struct, frozen=True, gc=False):
    """Store `value` where the present one is `expected`; the output says whether it was."""

    expected: Hashable
    value: Hashable


Input: TypeAlias = Put | Get | Remove | Swap


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of one client on one key."""

    client: str
    key: Hashable
    call: int
    returned: int | None
    input: Input
    output: Any = None
    """What the client was told. Means nothing where `returned` is None."""
    index: int | None = None
    """The log index that the reply named: of the entry for a write, of the state for a read."""
    is_refused: bool = False
    """The client was told that it has not run and never will."""

    def __str__(self) -> str:
        known = f"-> {self.output!r}" if self.returned is not None else "-> ?"
        at = f" @{self.index}" if self.index is not None else ""
        return f"[{self.call}, {self.returned}] {self.client} {self.key!r} {self.input} {known}{at}"


State: TypeAlias = Hashable


class Model(Protocol):
    """What one key does. Pure; states are compared and hashed."""

    @property
    def initial(self) -> State: ...

    def step(self, state: State, asked: Input) -> tuple[Any, State]:
        """The output that `asked` has in `state`, and the state after it."""


class Register:
    """A key of the dict backend: absent or one value. `missing` is what an absent key answers."""

    def __init__(self, *, missing: Hashable = None, stored: Hashable = "ok", removed: Hashable = "ok") -> None:
        self.initial: State = missing
        self._missing, self._stored, self._removed = missing, stored, removed

    def step(self, state: State, asked: Input) -> tuple[Any, State]:
        match asked:
            case Put(value):
                return self._stored, value
            case Get():
                return state, state
            case Remove():
                return (self._missing if state is self._missing else self._removed), self._missing
            case Swap(expected, value):
                return (True, value) if state == expected else (False, state)
