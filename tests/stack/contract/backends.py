"""State machines that show what a backend is told, and what becomes of what it does."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

import zraft


class Counter(zraft.Backend):
    """The one of the documentation: adds up, refuses to go below zero."""

    name = "counter"

    def __init__(self, peer_id: zraft.PeerId) -> None:
        self.value = 0

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        if self.value + command < 0:
            raise zraft.Reject("negative", {"would_be": self.value + command})
        self.value += command
        return zraft.Applied(self.value, changed=("value",))

    def query(self, query: Any) -> Any:
        return zraft.Answer(self.value, watch=("value",))

    def digest(self) -> int:
        return self.value


class Teller(zraft.Backend):
    """Answers with what it was told of the entry."""

    name = "teller"

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        return {
            "command": command,
            "index": ctx.index,
            "term": ctx.term,
            "time": ctx.time,
            "wall": ctx.wall,
            "session": ctx.session,
            "temporary": ctx.temporary,
            "version": ctx.version,
            "random": [ctx.random(), ctx.random()],
            "bytes": ctx.randbytes(20),
        }

    def query(self, query: Any) -> Any:
        return {"query": query, "peer": str(self.peer_id)}


class Thrower(zraft.Backend):
    """Raises what it is told to, after it has changed its state."""

    name = "thrower"
    KINDS: ClassVar[dict[str, type[BaseException]]] = {
        kind.__name__: kind
        for kind in (ValueError, KeyError, AssertionError, MemoryError, RecursionError, OSError, SystemError)
    }

    def __init__(self, peer_id: zraft.PeerId) -> None:
        super().__init__(peer_id)
        self.seen: list[str] = []

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        self.seen.append(command)
        if command in self.KINDS:
            raise self.KINDS[command]("a text with secrets")
        if command == "set":
            return {1, 2}
        raise zraft.Reject(command)

    def query(self, query: Any) -> Any:
        if query == "seen":
            return self.seen
        if query == "reject":
            raise zraft.Reject("no", [1])
        raise self.KINDS[query]("a text with secrets")


class Put(msgspec.Struct, tag="put"):
    """Stores."""

    key: str
    value: int


class Drop(msgspec.Struct, tag="drop"):
    """Removes."""

    key: str


class Size(msgspec.Struct):
    """Asks how many there are."""

    above: int = 0


class Typed(zraft.Backend):
    """Its commands and queries are msgspec types."""

    name = "typed"
    Command = Put | Drop
    Query = Size

    def __init__(self, peer_id: zraft.PeerId) -> None:
        super().__init__(peer_id)
        self.data: dict[str, int] = {}

    def apply(self, command: Put | Drop, ctx: zraft.Context) -> Any:
        match command:
            case Put(key, value):
                self.data[key] = value
                return [key, value]
            case Drop(key):
                return self.data.pop(key, zraft.NOT_FOUND)

    def query(self, query: Size) -> Any:
        return sum(value > query.above for value in self.data.values())


class Timed(zraft.Backend):
    """Keys that go by themselves: (key, ttl in milliseconds)."""

    name = "timed"

    def __init__(self, peer_id: zraft.PeerId) -> None:
        super().__init__(peer_id)
        self.until: dict[str, int] = {}
        self.gone: list[tuple[str, int, int]] = []

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        key, ttl = command
        self.until[key] = ctx.time + ttl
        return self.until[key]

    def query(self, query: Any) -> Any:
        return {"keys": sorted(self.until), "gone": self.gone}

    def due(self) -> int | None:
        return min(self.until.values(), default=None)

    def advance(self, ctx: zraft.Context) -> Iterable[Any]:
        over = [key for key, until in self.until.items() if until <= ctx.time]
        for key in over:
            self.gone.append((key, self.until.pop(key), ctx.time))
        return over


class Gate(zraft.Backend):
    """Its apply waits until it is let through."""

    name = "gate"
    entered = threading.Event()
    open = threading.Event()

    def __init__(self, peer_id: zraft.PeerId) -> None:
        super().__init__(peer_id)
        self.seen: list[Any] = []

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        Gate.entered.set()
        Gate.open.wait(20)
        self.seen.append(command)
        return len(self.seen)

    def query(self, query: Any) -> Any:
        return self.seen


BACKENDS: dict[str, type[zraft.Backend]] = {
    backend.name: backend for backend in (Counter, Teller, Thrower, Typed, Timed, Gate)
}
