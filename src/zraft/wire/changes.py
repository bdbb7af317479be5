"""Changed keys: what a backend reports, what a watch names, and what of it travels in a stream.

    Change    what a backend says of a key that it changed        Prefix   every key that begins so
    Chunk     what a stream is told: the changes after one index, up to and with another

A chunk says everything about its indexes: what it does not name did not change there. So one that comes twice, or late,
does no harm, and one that is missing is noticed. All changes of an entry are in one chunk.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from zraft.errors import ProtocolError, TooLarge
from zraft.limits import MAX_TERM
from zraft.types import Index, Value
from zraft.wire.values import decode_value, encode_value

_Index = Annotated[int, msgspec.Meta(ge=0, le=MAX_TERM)]

UNSAID: Final = "change"
"""The kind of a change of which the backend named the key and nothing else."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """A changed key with what it became, for watchers that want to know: `kind` is the backend's word, as "put".

    The value is told later, and again: nothing changes it in place any more.
    """

    key: Value
    value: Value = None
    kind: str = "put"


class Prefix(msgspec.Struct, frozen=True, gc=False):
    """A watch key that stands for every key beginning with `key`."""

    key: Value


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Everything that a stream has to be told of the indexes above `after`, up to `index`.

    `entries` are in the order of the log, each with all of its changes: see `decode_entry`.
    """

    after: _Index
    index: _Index
    entries: list[msgspec.Raw] = []


Entry: TypeAlias = tuple[Index, list[Change]]
"""The changes of the entry at an index: each key once, as the entry left it."""

_CHUNK: Final = msgspec.msgpack.Decoder(Chunk)


def encode_entry(index: Index, changes: list[Change]) -> bytes:
    """One entry of a chunk. Raises what `encode_value` raises: a value that cannot travel.

    Each value is checked by itself: what could be written can be told, however deep it is nested.
    """
    parts = [[_raw(change.key), _raw(change.value), change.kind] for change in changes]
    return msgspec.msgpack.encode([index, *parts])


def _raw(value: Value) -> msgspec.Raw:
    return msgspec.Raw(encode_value(value))


def encode_chunk(chunk: Chunk) -> bytes:
    """The value of a Result that answers SessionWatch."""
    return msgspec.msgpack.encode(chunk)


def decode_chunk(value: msgspec.Raw | bytes) -> Chunk:
    """What SessionWatch brought. Raises `ProtocolError`."""
    try:
        return _CHUNK.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a piece of a stream: {error}") from error


def entries_of(chunk: Chunk) -> list[Entry]:
    """What is in it. Raises `ProtocolError` where indexes do not rise from `after` to `index`, and for other forms."""
    try:
        return _entries_of(chunk)
    except (TooLarge, RecursionError):
        raise ProtocolError("a piece of a stream that is nested too deep") from None


def _entries_of(chunk: Chunk) -> list[Entry]:
    found: list[Entry] = []
    last = chunk.after
    for raw in chunk.entries:
        match decode_value(raw):
            case [int(index), *changes] if last < index <= chunk.index and changes:
                found.append((index, [_change(change) for change in changes]))
                last = index
            case _:
                raise ProtocolError(f"not an entry of a stream after {last}, up to {chunk.index}")
    if chunk.index < chunk.after:
        raise ProtocolError(f"a piece of a stream from {chunk.after} to {chunk.index}")
    return found


def _change(value: Any) -> Change:
    match value:
        case [key, what, str(kind)]:
            return Change(plain(key), what, kind)
    raise ProtocolError("not a change of a stream")


def plain(key: Any) -> Hashable:
    """A key that a dict takes: arrays are tuples, and what cannot be a key at all is its text."""
    if type(key) is list or type(key) is tuple:
        return tuple([plain(part) for part in key])
    return key if isinstance(key, Hashable) else repr(key)


Place: TypeAlias = tuple[type, int, Hashable]
"""Where a prefix is filed: kind of key, length, and the prefix itself. A tuple of a type, so it is no key."""


def place_of(key: Any) -> Hashable:
    """Where a watch on `key`, a key or a `Prefix`, is filed: a key as it is, a prefix as a `Place`."""
    if type(key) is not Prefix:
        return plain(key)
    prefix = plain(key.key)
    if isinstance(prefix, str | bytes | tuple):
        return (type(prefix), len(prefix), prefix)
    return prefix


def is_prefix(place: Hashable) -> bool:
    """The place is that of a prefix."""
    return type(place) is tuple and len(place) == 3 and isinstance(place[0], type)


def begins_so(key: Any, place: Any) -> bool:
    """The plain `key` begins with the prefix that is filed at `place`."""
    kind, length, prefix = place
    return type(key) is kind and key[:length] == prefix
