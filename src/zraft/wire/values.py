"""A user's commands, queries and results as MessagePack, and the check of commands that strangers encoded.

A value is None, bool, int of 64 bits, float, str, bytes, an aware datetime, `NOT_FOUND`, a list or tuple of values, or
a dict from values to values; nested at most 64 deep. Tuples come back as lists, as keys they stay tuples; a datetime
comes back in UTC. A float that is not a number is no key: it would be equal to nothing, and every replica would keep
another copy. An instance of a `msgspec.Struct` travels as what msgspec makes of it; one of a `Statement` as an array of
its fields, which are values.

Relies on msgspec for speed and memory safety: a declared length allocates nothing before its bytes are there.
Deep nesting is found by a walk of at most 64 levels and never exhausts the interpreter's stack.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeVar

import google_crc32c
import msgspec

from zraft.errors import ProtocolError, TooLarge, UsageError
from zraft.limits import MAX_NESTING
from zraft.types import NOT_FOUND, NotFound, Value

T = TypeVar("T")

EXT_NOT_FOUND: Final = 1
"""The MessagePack extension type of `NOT_FOUND`; its data is empty."""

_LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes, bytearray, memoryview, NotFound})
_CONTAINERS: Final = (list, tuple, dict)
_TOO_DEEP: Final = f"nested deeper than {MAX_NESTING}"


class Statement(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What typed commands and queries of a backend may be made from: an array of fields, after the tag if it has one.

    Unlike any other Struct its fields are checked as values are before they travel; a timedelta may be among them.
    """


def _encode_other(value: object) -> object:
    if value is NOT_FOUND:
        return msgspec.msgpack.Ext(EXT_NOT_FOUND, b"")
    raise TypeError(f"a {type(value).__name__} is not a value that travels")


def _decode_extension(code: int, data: memoryview) -> NotFound:
    if code == EXT_NOT_FOUND and not data:
        return NOT_FOUND
    raise ProtocolError(f"not a value: extension type {code} of {len(data)} bytes")


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_encode_other)
_DECODER: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(ext_hook=_decode_extension)


def encode_value(value: Value) -> bytes:
    """The bytes of `value`. Raises `UsageError` for what cannot travel and `TooLarge` for what is nested too deep."""
    typed = type(value) not in _LEAVES and _check_outgoing(value, MAX_NESTING)
    try:
        data = _ENCODER.encode(value)
    except RecursionError:
        raise TooLarge(_TOO_DEEP) from None
    except (OverflowError, TypeError, ValueError) as error:
        raise UsageError(f"not a value: {error}") from error
    if typed:
        _check_depth(decode_value(data), MAX_NESTING)
    return data


def checksum_of(value: Value) -> int:
    """64 bits over a value that travelled: the square of its CRC32C, whose sums depend on every summand."""
    checksum: int = google_crc32c.value(_ENCODER.encode(value))
    return checksum * checksum


def decode_value(data: bytes | msgspec.Raw) -> Value:
    """The value that `encode_value` wrote. Raises `ProtocolError`, or `TooLarge` where the stack would not hold it."""
    try:
        return _DECODER.decode(data)
    except RecursionError:
        raise TooLarge(_TOO_DEEP) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"not a value: {error}") from error


def check_command(data: bytes | msgspec.Raw) -> None:
    """Strangers' bytes are one whole value that every replica will be able to decode, or an error is raised.

    `TooLarge`: nested deeper than 64. `ProtocolError`: anything else. Costs one decoding and a look at each container.
    """
    value = decode_value(data)
    if type(value) is list or type(value) is dict:
        _check_depth(value, MAX_NESTING)


def decoder_for(type: type[T]) -> msgspec.msgpack.Decoder[T]:
    """A decoder of values into a msgspec type, for backends that declare one. It knows `NOT_FOUND`."""
    return msgspec.msgpack.Decoder(type, ext_hook=_decode_extension)


def _check_outgoing(value: Value, room: int) -> bool:
    """Every part may travel, and fits in `room` levels. True: a Struct is among them, whose depth is not known yet."""
    if isinstance(value, _CONTAINERS):
        if not room:
            raise TooLarge(_TOO_DEEP)
        if isinstance(value, dict):
            for key in value:
                if type(key) is not str:
                    _check_key(key, room - 1)
            parts: Any = value.values()
        else:
            parts = value
        typed = False
        for part in parts:
            if type(part) not in _LEAVES:
                typed |= _check_outgoing(part, room - 1)
        return typed
    if isinstance(value, Statement):
        fields = [getattr(value, name) for name in value.__struct_fields__]
        return _check_outgoing([field for field in fields if type(field) is not timedelta], room)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise UsageError("not a value: a datetime needs a time zone")
        return False
    if isinstance(value, msgspec.Struct):
        return True
    if type(value) in _LEAVES or isinstance(value, Enum):
        return False
    raise UsageError(f"not a value: a {type(value).__name__} does not travel")


def _check_key(key: Value, room: int) -> None:
    """`key` is hashable after the wire too, equal to itself, and fits in `room` further levels."""
    if isinstance(key, tuple):
        if not room:
            raise TooLarge(_TOO_DEEP)
        for part in key:
            _check_key(part, room - 1)
    elif isinstance(key, float) and key != key:
        raise UsageError("not a value: a float that is not a number cannot be a key")
    elif isinstance(key, msgspec.Struct | dict | list) or _check_outgoing(key, room):
        raise UsageError(f"not a value: a {type(key).__name__} cannot be a key")


def _check_depth(value: Value, room: int) -> None:
    """The same for what was decoded, where only containers and their keys can be wrong."""
    if not room:
        raise TooLarge(_TOO_DEEP)
    if type(value) is dict:
        for key in value:
            if type(key) is tuple or type(key) is float:
                _check_decoded_key(key, room - 1)
        value = value.values()
    for part in value:
        if type(part) is list or type(part) is dict:
            _check_depth(part, room - 1)


def _check_decoded_key(key: Value, room: int) -> None:
    if type(key) is tuple:
        if not room:
            raise TooLarge(_TOO_DEEP)
        for part in key:
            if type(part) is tuple or type(part) is float:
                _check_decoded_key(part, room - 1)
    elif key != key:
        raise ProtocolError("not a value: a float that is not a number is a key")
