"""Targets: the payload of a batch in the log, which a leader made of what its clients sent, and a journal gave back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import msgspec

from tests.fuzz.kit import Target
from tests.fuzz.shapes import any_value
from zraft.core.entries import Batch, Kind
from zraft.errors import ReplicaFault, TooLarge
from zraft.machine.backend import Backend
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.session.items import encode_items, encode_session_items, end_item, open_item, resume_item, write_item
from zraft.session.machine import ReplicatedMachine
from zraft.types import PeerId
from zraft.wire.values import encode_value

_COMMANDS: dict[type[Backend], object] = {DictBackend: ("k", 1), TableBackend: ["put", "k", 1]}


def _applied(backend: type[Backend]) -> Callable[[bytes], None]:
    """Whole or in slices it comes to the same; what is no array of items stops the replica, for good."""

    def feed(data: bytes) -> None:
        try:
            count = len(msgspec.msgpack.decode(data, type=list[msgspec.Raw]))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            count = 1
        batch = Batch(1, max(1, count), 1, 7, 9, Kind.COMMANDS, data)
        whole, sliced = (ReplicatedMachine(backend(PeerId("a", "a:1"))) for _ in range(2))
        fault = _fault_of(whole, batch)
        if fault:
            assert _fault_of(whole, batch) == fault, "a machine that stopped goes on"
            raise ReplicaFault(fault)
        for offset in range(batch.count):
            sliced.apply_batch(batch, offset, 1, replies=False)
        assert sliced.last_applied == whole.last_applied == batch.count
        try:
            digest = whole.digest()
        except TooLarge:  # nested deeper than the door lets in
            return
        assert sliced.digest() == digest

    return feed


def _fault_of(machine: ReplicatedMachine, batch: Batch) -> str:
    try:
        machine.apply_batch(batch)
    except ReplicaFault as fault:
        return str(fault)
    return ""


def _payloads(backend: type[Backend]) -> Callable[[Random], Sequence[bytes]]:
    def samples(chance: Random) -> list[bytes]:
        command = encode_value(_COMMANDS[backend])
        opened = open_item(b"d" * 16, 5000)
        return [
            encode_items([command, encode_value(any_value(chance))]),
            encode_session_items([opened, write_item(command, 1, 1, 0, temporary=True), end_item(1, "stopped")]),
            encode_session_items([opened, write_item(command, 1, 2, 1, temporary=False), resume_item(b"d" * 16, 3)]),
            encode_session_items(
                [opened, opened, write_item(encode_value(any_value(chance)), 1, 1, 0, temporary=False)]
            ),
        ]

    return samples


SESSION_TARGETS = tuple(
    Target(f"session.items of {backend.name}", _applied(backend), (ReplicaFault,), _payloads(backend))
    for backend in _COMMANDS
)
