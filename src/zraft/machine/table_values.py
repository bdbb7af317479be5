"""What commands of the backend "table" may hold, checked before anything changes, and when two values are the same."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from zraft.limits import MAX_NESTING, TABLE_TTL_S
from zraft.machine.backend import Reject
from zraft.types import Millis, Value

_WRAPPING: Final = 4
"""Levels that an answer puts around a value: the results of a transaction, their list, an entry, and one to spare."""
MAX_DEPTH: Final = MAX_NESTING - _WRAPPING
_LARGEST: Final = (1 << 63) - 1
_MILLISECOND: Final = timedelta(milliseconds=1)
_TEXTS: Final = (str, bytes, datetime)


def check_value(value: Value) -> None:
    """Raises Reject "bad_value" where the value is nested too deep to be answered again."""
    if type(value) in (list, tuple, dict) and not _fits(value, MAX_DEPTH):
        raise Reject("bad_value", f"nested deeper than {MAX_DEPTH}")


def _fits(value: Value, room: int) -> bool:
    if type(value) is dict:
        return room > 0 and all(_fits(part, room - 1) for pair in value.items() for part in pair)
    if type(value) in (list, tuple):
        return room > 0 and all(_fits(part, room - 1) for part in value)
    return True


def deadline_of(ttl: Any, time: Millis) -> Millis | None:
    """The replicated time at which an entry goes that is put now; None: it stays. Raises Reject "bad_ttl".

    A timedelta comes as the text that messages have for one.
    """
    if ttl is None:
        return None
    seconds = ttl
    if type(seconds) is str:
        try:
            seconds = msgspec.convert(seconds, timedelta)
        except msgspec.ValidationError:
            raise Reject("bad_ttl", "neither a number of seconds nor a duration") from None
    if type(seconds) is timedelta:
        milliseconds = -(-seconds // _MILLISECOND)
    elif (type(seconds) is int or type(seconds) is float) and 0 < seconds <= TABLE_TTL_S:
        milliseconds = math.ceil(seconds * 1000)
    else:
        milliseconds = 0
    if not 0 < milliseconds <= TABLE_TTL_S * 1000:
        raise Reject("bad_ttl", f"a time to live is a number of seconds above 0, at most {TABLE_TTL_S}")
    return time + milliseconds


def summed(value: Value, by: Any) -> int:
    """Raises Reject: "bad_amount" where `by` is no int, "not_a_number" where `value` is none, "overflow"."""
    if type(by) is not int:
        raise Reject("bad_amount", f"cannot add a {type(by).__name__}")
    if type(value) is not int:
        raise Reject("not_a_number", f"the value is a {type(value).__name__}")
    total = value + by
    if not -_LARGEST - 1 <= total <= _LARGEST:
        raise Reject("overflow", "the sum does not fit into 64 bits with a sign")
    return total


def are_same(one: Value, other: Value) -> bool:
    """Equal type and content, at every depth. The order of a dict does not count, and NaN is not the same as itself."""
    kind = type(one)
    if kind is tuple or kind is list:
        return type(other) in (list, tuple) and len(one) == len(other) and all(map(are_same, one, other))
    if kind is not type(other):
        return False
    if kind is dict:
        return len(one) == len(other) and all(key in other and are_same(one[key], other[key]) for key in one)
    return bool(one == other)


def are_ordered(one: Value, other: Value) -> bool:
    """One of the two may be called less than the other."""
    kinds = type(one), type(other)
    return all(kind in (int, float) for kind in kinds) or (kinds[0] is kinds[1] and kinds[0] in _TEXTS)
