"""Backends for tests of what surrounds one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from zraft.core.entries import Batch, Kind
from zraft.machine.backend import Applied, Backend, Context, Directory, Reject, SnapshotWriter
from zraft.session.items import encode_items
from zraft.session.machine import ReplicatedMachine
from zraft.types import PeerId
from zraft.wire.values import encode_value

PEER = PeerId("a", "127.0.0.1:7101")


class Add(msgspec.Struct, tag=True):
    """Adds."""

    by: int

    def __post_init__(self) -> None:
        if self.by == 13:
            raise KeyError("a type that raises what it should not")


class Sum(Backend):
    """Adds up; typed commands and queries."""

    Command = Add
    Query = str

    def __init__(self, peer_id: PeerId) -> None:
        super().__init__(peer_id)
        self.total = 0

    def apply(self, command: Add, ctx: Context) -> Any:
        if command.by < 0:
            raise Reject("negative", command.by)
        self.total += command.by
        return self.total

    def query(self, query: str) -> int:
        return self.total

    def snapshot(self) -> SnapshotWriter:
        total = self.total

        def write(directory: Directory) -> None:
            with directory.create("sum") as file:
                file.write(str(total).encode())

        return write

    def install_snapshot(self, directory: Directory) -> None:
        with directory.open("sum") as file:
            self.total = int(file.read())


class Scripted(Backend):
    """Does what a test puts into its fields; remembers what it was told."""

    def __init__(self, peer_id: PeerId = PEER) -> None:
        super().__init__(peer_id)
        self.told: list[tuple[int, int, int, int, Any]] = []
        self.on_apply: Callable[[Any, Context], Any] = lambda command, ctx: command
        self.on_query: Callable[[Any], Any] = lambda query: query
        self.on_due: Callable[[], int | None] = lambda: None
        self.on_advance: Callable[[Context], Iterable[Any]] = lambda ctx: ()
        self.snapshot_is: Any = None
        self.installed: Directory | None = None

    def apply(self, command: Any, ctx: Context) -> Any:
        self.told.append((ctx.index, ctx.term, ctx.time, ctx.wall, command))
        return self.on_apply(command, ctx)

    def query(self, query: Any) -> Any:
        return self.on_query(query)

    def due(self) -> int | None:
        return self.on_due()

    def advance(self, ctx: Context) -> Iterable[Any]:
        return self.on_advance(ctx)

    def snapshot(self) -> Any:
        return self.snapshot_is

    def install_snapshot(self, directory: Directory) -> None:
        self.installed = directory


def commands(first: int, values: Sequence[Any], *, term: int = 1, time: int = 0, wall: int = 0) -> Batch:
    """A batch of light writes."""
    payload = encode_items([encode_value(value) for value in values])
    return Batch(first, len(values), term, time, wall, Kind.COMMANDS, payload)


def single(first: int, kind: int, *, term: int = 1, time: int = 0) -> Batch:
    """A batch of one entry that is no command."""
    return Batch(first, 1, term, time, 0, kind, b"")


def machine(backend: Backend | None = None) -> ReplicatedMachine:
    """A fresh machine."""
    return ReplicatedMachine(backend or Scripted())


def raising(error: BaseException) -> Callable[..., Any]:
    """A function that raises."""

    def fail(*_: Any) -> Any:
        raise error

    return fail


def applied(result: Any, *keys: Any) -> Callable[..., Any]:
    """A function that returns a result with changed keys."""
    return lambda *_: Applied(result, keys)
