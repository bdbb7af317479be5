"""Backends that misbehave, and one that has something due."""

from __future__ import annotations

from typing import Any

from zraft.machine.backend import Backend, Context, Reject
from zraft.types import PeerId


class Broken(Backend):
    """Does as it is told: "die" as a command ends its replica."""

    name = "broken"

    def __init__(self, peer_id: PeerId) -> None:
        super().__init__(peer_id)
        self.due_error: BaseException | None = None

    def apply(self, command: Any, ctx: Context) -> Any:
        if command == "die":
            raise MemoryError("no memory left")
        return "ok"

    def query(self, query: Any) -> Any:
        if query == "refuse":
            raise Reject("no")
        raise ValueError(query)

    def due(self) -> int | None:
        if self.due_error is not None:
            raise self.due_error
        return None


class Unmakeable(Backend):
    """Its constructor raises, as one that cannot open its files does."""

    name = "unmakeable"

    def __init__(self, peer_id: PeerId) -> None:
        raise OSError("no such device")

    def apply(self, command: Any, ctx: Context) -> Any:
        return None

    def query(self, query: Any) -> Any:
        return None


class Clockwork(Backend):
    """Command n: fire once, n milliseconds of replicated time later."""

    name = "clockwork"

    def __init__(self, peer_id: PeerId) -> None:
        super().__init__(peer_id)
        self.at: int | None = None
        self.fired: list[int] = []

    def apply(self, command: Any, ctx: Context) -> Any:
        self.at = ctx.time + command
        return "ok"

    def query(self, query: Any) -> Any:
        return self.fired

    def due(self) -> int | None:
        return self.at

    def advance(self, ctx: Context) -> list[Any]:
        self.fired.append(ctx.time)
        self.at = None
        return []


BACKENDS: dict[str, type[Backend]] = {"broken": Broken, "unmakeable": Unmakeable, "clockwork": Clockwork}
