"""A backend's state as numbers: a digest where it offers one, and every field of the object, without running its code.

Two instances that were told the same have the same fields: order of dicts and all, for who goes by that order later.
What cannot be looked into, an open file perhaps, counts by its type.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import msgspec

from zraft.machine.backend import Backend
from zraft.types import PeerId

_SIMPLE: Final = (type(None), bool, int, float, complex, str, bytes, bytearray)
_BY_REPR: Final = (date, time, timedelta, tzinfo, Decimal, Fraction, Enum)
_NAMED: Final = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type)
_DEEPEST: Final = 100
_MOST: Final = 300_000
"""Values that are looked at: beyond that the state is too large for this."""


class View(msgspec.Struct, frozen=True):
    """A state. `fields` is None where it was too large to be looked at, `digest` where the backend has none."""

    digest: int | None
    fields: dict[str, int] | None


class TooMuch(Exception):
    """The state has more parts than are looked at."""


def view_of(backend: Backend) -> View:
    """The present state. Raises what `digest` raises."""
    digest = backend.digest()  # first: it may tidy up what it has put off
    try:
        fields: dict[str, int] | None = fields_of(backend)
    except TooMuch:
        fields = None
    return View(digest, fields)


def fields_of(thing: object) -> dict[str, int]:
    """A number for each field. Raises TooMuch."""
    walk = _Walk()
    return {name: int.from_bytes(walk.digest(value), "big") for name, value in _fields(thing) if name != "peer_id"}


def changed_fields(one: View, other: View) -> list[str]:
    """Names of fields that differ, as far as both are known."""
    if one.fields is None or other.fields is None:
        return []
    names = dict.fromkeys((*one.fields, *other.fields))
    return [name for name in names if one.fields.get(name) != other.fields.get(name)]


class _Walk:
    """Through values, each of which becomes 16 bytes."""

    def __init__(self) -> None:
        self._room = _MOST
        self._path: list[object] = []
        """What is being looked into: an object that holds itself ends there."""

    def digest(self, value: object) -> bytes:
        self._room -= 1
        if self._room < 0:
            raise TooMuch
        return hashlib.blake2b(self._text(value), digest_size=8).digest()

    def _text(self, value: object) -> bytes:
        name = f"{type(value).__module__}.{type(value).__qualname__}:"
        if isinstance(value, PeerId):
            return name.encode()  # which replica it is
        if isinstance(value, (*_SIMPLE, *_BY_REPR)):
            return f"{name}{value!r}".encode("utf-8", "backslashreplace")
        if isinstance(value, _NAMED):
            return f"{name}{getattr(value, '__qualname__', value.__name__)}".encode()
        if len(self._path) >= _DEEPEST or any(value is each for each in self._path):
            return name.encode()
        self._path.append(value)
        try:
            return name.encode() + b"".join(self._parts(value))
        finally:
            self._path.pop()

    def _parts(self, value: object) -> Iterator[bytes]:
        digest = self.digest
        if isinstance(value, dict):
            for key, part in value.items():
                yield digest(key) + digest(part)
        elif isinstance(value, list | tuple | deque):
            yield from map(digest, value)
        elif isinstance(value, set | frozenset):
            yield from sorted(map(digest, value))
        for name, part in _fields(value):
            yield name.encode() + digest(part)


def _fields(value: object) -> Iterator[tuple[str, Any]]:
    """Names and values of an object's fields: of its dict, its slots, or as a Struct."""
    names = dict.fromkeys((*getattr(value, "__dict__", ()), *getattr(value, "__struct_fields__", ())))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        names |= dict.fromkeys((slots,) if isinstance(slots, str) else slots)
    for name in names:
        if name not in ("__dict__", "__weakref__") and hasattr(value, name):
            yield name, getattr(value, name)
