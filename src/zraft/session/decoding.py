"""From bytes to what a backend takes: a whole batch in one call, and one by one where one of them does not fit.

Every replica decodes the same bytes with the same types, so every replica refuses the same commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from zraft.errors import BackendError, ProtocolError, Rejected, ReplicaFault, TooLarge, UsageError
from zraft.machine.backend import Backend
from zraft.session.items import Item, RawItem
from zraft.session.outcomes import attempted
from zraft.types import Value
from zraft.wire.values import decoder_for

_RAW_ITEMS: Final = msgspec.msgpack.Decoder(list[RawItem])


class Malformed:
    """Stands where a command should be that is not of the backend's Command type."""


MALFORMED: Final = Malformed()


class BackendDecoder:
    """Decodes commands and queries for one backend. Raises `UsageError` where msgspec cannot decode its types."""

    def __init__(self, backend: Backend) -> None:
        try:
            self._items: msgspec.msgpack.Decoder[list[Item[Any]]] = decoder_for(_list_of_items(backend.Command))
            self._command: msgspec.msgpack.Decoder[Any] = decoder_for(backend.Command)
            self._query: msgspec.msgpack.Decoder[Any] = decoder_for(backend.Query)
        except (TypeError, ValueError) as error:
            raise UsageError(f"backend {backend.name!r}: no decoder for its Command or Query: {error}") from error

    def items(self, payload: bytes) -> tuple[Sequence[Item[Any]], bool]:
        """The items of a payload, and whether the backend can take every command; `MALFORMED` stands for each other.

        Raises `ReplicaFault` where the payload is no array of items of this version.
        """
        items = attempted("decoding a batch", self._items.decode, payload)
        return (self._one_by_one(payload), False) if isinstance(items, BackendError) else (items, True)

    def _one_by_one(self, payload: bytes) -> Sequence[Item[Any]]:
        raw = raw_items(payload)
        return [Item(self._command_of(item.command), item.marks) for item in raw]

    def _command_of(self, raw: msgspec.Raw) -> Any:
        command = attempted("decoding a command", self._command.decode, raw)
        return MALFORMED if isinstance(command, BackendError) else command

    def query(self, data: bytes | msgspec.Raw) -> Value:
        """A query as the backend takes it. Raises `Rejected` where it is not of the backend's Query type."""
        try:
            return self._query.decode(data)
        except (msgspec.MsgspecError, ValueError, ProtocolError, TooLarge, RecursionError) as error:
            raise Rejected("bad_query", "not a query that this backend knows") from error


def raw_items(payload: bytes) -> Sequence[RawItem]:
    """The items with their commands left as bytes. Raises `ReplicaFault` where it is no array of this version's."""
    try:
        return _RAW_ITEMS.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ReplicaFault(f"a batch that is no array of items of this version: {error}") from error


def _list_of_items(command: Any) -> Any:
    """The type is known at run time only."""
    return list[Item[command]]
