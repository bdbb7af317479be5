"""How simulated clients speak to a backend, and what the committed log says in its tongue.

`Get`, `Put`, `Remove` and `Swap` are those of `history`; a key that is absent has the value None there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from zraft.machine import table_types
from zraft.sim.history import Get, Input, Put, Remove, Swap
from zraft.types import NOT_FOUND, Value


class Speech(Protocol):
    """The tongue of one backend."""

    swaps: int
    """Percent of the writes that are swaps; 0 where the backend has none."""

    def request(self, key: str, asked: Input) -> Value:
        """The command or query."""

    def output(self, asked: Input, result: Value) -> Value:
        """The result, as the model of a register has it."""

    def heard(self, command: Any) -> tuple[str, Input]:
        """The key and the input of a committed command."""


class DictSpeech:
    """Of the backend "dict"."""

    swaps = 0

    def request(self, key: str, asked: Input) -> Value:
        match asked:
            case Get():
                return key
            case Put(value):
                return (key, value)
            case _:
                return (key,)

    def output(self, asked: Input, result: Value) -> Value:
        return None if result is NOT_FOUND else result

    def heard(self, command: Any) -> tuple[str, Input]:
        key, *value = command
        return key, Put(value[0]) if value else Remove()


class TableSpeech:
    """Of the backend "table"."""

    swaps = 30

    def request(self, key: str, asked: Input) -> Value:
        match asked:
            case Get():
                return table_types.Get(key)
            case Put(value):
                return table_types.Put(key, value)
            case Remove():
                return table_types.Delete(key)
            case Swap(expected, value):
                return table_types.CompareAndSet(key, NOT_FOUND if expected is None else expected, value)

    def output(self, asked: Input, result: Value) -> Value:
        if result is NOT_FOUND:
            return None
        return result["value"] if isinstance(asked, Get) else result

    def heard(self, command: Any) -> tuple[str, Input]:
        match command:
            case ["put", key, value, None]:
                return key, Put(value)
            case ["delete", key]:
                return key, Remove()
            case _:
                _, key, expected, value = command
                return key, Swap(None if expected is NOT_FOUND else expected, value)


SPEECHES: Final[Mapping[str, Speech]] = {"dict": DictSpeech(), "table": TableSpeech()}
"""By the name of the backend."""
