"""The keys of the backend "table", and their order: the same on every replica, in every process and language.

A key is bytes, a str, an int of 64 bits, or a tuple of these with one part at least. In this order: all bytes, then all
texts, then all numbers, then all tuples. Bytes compare as bytes, texts by their code points, numbers by their value,
tuples part by part, a shorter one before what it begins. A bool is no key: it would be equal to a number.

    bytes      01  the bytes
    str        02  UTF-8                    its order as bytes is that of the code points
    int        03  the number + 2^63        9 bytes, big-endian
    tuple      04  its parts                bytes and str end with 00, and a 00 within them is 00 FF

Each key has these bytes, its *place*, and places compare as keys do: Python compares them in C, whatever the kinds of
the keys are, and what begins with a prefix is a range.
"""

from __future__ import annotations

from typing import Any, Final

from zraft.machine.backend import Reject

_BYTES: Final = b"\x01"
_STR: Final = b"\x02"
_INT: Final = b"\x03"
_TUPLE: Final = b"\x04"
_LOWEST: Final = -(1 << 63)
_BEYOND: Final = 1 << 64
_AFTER_ALL_PARTS: Final = b"\xff"
FIRST: Final = b""
"""The place before every key."""
LAST: Final = b"\xff"
"""The place after every key."""


def place_of(key: Any) -> bytes:
    """Where the key stands. A list counts as a tuple: messages know no other. Raises Reject "bad_key"."""
    kind = type(key)
    if kind is str:
        return _STR + _utf8(key)
    if kind is bytes:
        return _BYTES + bytes(key)
    if kind is int:
        return _INT + _number(key)
    if (kind is tuple or kind is list) and key:
        return _TUPLE + _parts(key)
    raise Reject("bad_key", "an empty tuple is no key" if kind in (tuple, list) else f"{kind.__name__} is no key")


def as_key(key: Any) -> Any:
    """The key as it is kept and reported: an array is a tuple."""
    return tuple(key) if type(key) is list else key


def bounds(start: Any, end: Any) -> tuple[bytes, bytes]:
    """The places from `start` on, up to but not with `end`; None is before and after every key. Raises "bad_key"."""
    return FIRST if start is None else place_of(start), LAST if end is None else place_of(end)


def bounds_of_prefix(prefix: Any) -> tuple[bytes, bytes]:
    """The places of all keys that begin with `prefix`: texts, bytes, or tuples with these first parts.

    Raises Reject "bad_key": a number begins nothing. The empty tuple begins every tuple.
    """
    kind = type(prefix)
    if kind is tuple or kind is list:
        start = _TUPLE + _parts(prefix)
        return start, start + _AFTER_ALL_PARTS
    if kind is str or kind is bytes:
        start = place_of(prefix)
        kept = start.rstrip(b"\xff")
        return start, kept[:-1] + bytes([kept[-1] + 1])
    raise Reject("bad_key", f"no key begins with a {kind.__name__}")


def _parts(key: Any) -> bytes:
    return b"".join([_part(part) for part in key])


def _part(part: Any) -> bytes:
    kind = type(part)
    if kind is str:
        return _STR + _ended(_utf8(part))
    if kind is int:
        return _INT + _number(part)
    if kind is bytes:
        return _BYTES + _ended(part)
    raise Reject("bad_key", f"{kind.__name__} is no part of a key")


def _ended(data: bytes) -> bytes:
    return data.replace(b"\x00", b"\x00\xff") + b"\x00"


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Reject("bad_key", "half of a surrogate pair is no text") from None


def _number(number: int) -> bytes:
    if not _LOWEST <= number < _BEYOND:
        raise Reject("bad_key", "a number beyond 64 bits is no key")
    return (number - _LOWEST).to_bytes(9, "big")
