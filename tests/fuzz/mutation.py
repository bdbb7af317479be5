"""Valid inputs, changed: bits, bytes, lengths that lie, pieces that are missing, twice there or of another input.

Half of the changes of what is MessagePack happen to the values in it, so that what comes out is well formed and wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec

EDGES = (0, 1, 2, 127, 128, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**62 + 1, 2**63 - 1, 2**63)
HEADS = (
    b"\xdd\xff\xff\xff\xff",  # an array of 4 milliard values
    b"\xdf\xff\xff\xff\xff",  # a map
    b"\xc6\xff\xff\xff\xff",  # bytes
    b"\xdb\xff\xff\xff\xff",  # text
    b"\xc9\xff\xff\xff\xff\x01",  # an extension
    b"\xc7\x0c\xff" + b"\xff" * 12,  # a moment far away
    b"\xd6\xff\x00\x00\x00\x00",
    b"\xcb\x7f\xf8" + bytes(6),  # not a number
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + bytes(7),
    b"\xd4\x01\x00",
    b"\xc7\x00\x01",
    b"\xc0",
    b"\xc1",
    b"\x90",
    b"\x80",
    b"\xa0",
    b"\x81\x90\x90",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
)
LEAVES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 17, 2**62, 2**63 - 1, 2**64 - 1, -(2**63), 0.5, float("nan"), float("inf"), "", "a",
    "a:1", "x" * 300, "\ud7ff\x00", b"", b"g" * 16, b"\x00" * 32, [], {}, [[]], {1: 2}, [["a", "a:1"], 1],
)  # fmt: skip
DEPTHS = (60, 70, 600, 5000)


def mutated(chance: Random, samples: Sequence[bytes]) -> bytes:
    """One of the samples after one to five changes."""
    data = chance.choice(samples)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
        if chance.randrange(2):
            data = _reshaped(chance, data)
        data = _CHANGES[chance.randrange(len(_CHANGES))](chance, data, samples)
    return data


def _reshaped(chance: Random, data: bytes) -> bytes:
    """The same MessagePack with one value in it replaced, removed or repeated; anything else as it is."""
    try:
        value = msgspec.msgpack.decode(data)
        return msgspec.msgpack.encode(_changed(chance, value))
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        return data


def _changed(chance: Random, value: Any) -> Any:
    if isinstance(value, list) and value and chance.randrange(8):
        at = chance.randrange(len(value))
        match chance.randrange(8):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value[: at + 1] + value[at:]
            case 2:
                return [*value, chance.choice(LEAVES)]
            case _:
                return [*value[:at], _changed(chance, value[at]), *value[at + 1 :]]
    if isinstance(value, dict) and value and chance.randrange(4):
        key = chance.choice(list(value))
        return {**value, key: _changed(chance, value[key])}
    if isinstance(value, int) and not isinstance(value, bool) and chance.randrange(2):
        return chance.choice((value + 1, value - 1, *EDGES))
    return chance.choice(LEAVES)


def _bit(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) or 1)
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :] if data else data


def _byte(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) or 1)
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def _number(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """A number of 1 to 8 bytes, in either order of bytes, is another one."""
    width = chance.choice((1, 2, 4, 8))
    at = chance.randrange(len(data) or 1)
    number = chance.choice(EDGES) % (1 << 8 * width)
    return data[:at] + number.to_bytes(width, chance.choice(("big", "little"))) + data[at + width :]


def _head(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(HEADS) + data[at + chance.randrange(3) :]


def _missing(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at + chance.choice((1, 2, 4, 16, 512)) :]


def _twice(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at, size = chance.randrange(len(data) + 1), chance.choice((1, 2, 4, 16, 512))
    return data[: at + size] + data[at:]


def _cut(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _spliced(chance: Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    other = chance.choice(samples)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _deep(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice((b"\x91", b"\x81\x01")) * chance.choice(DEPTHS) + data[at:]


_CHANGES = (_bit, _bit, _byte, _byte, _number, _number, _head, _head, _missing, _twice, _cut, _spliced, _deep)
