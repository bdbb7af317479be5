"""Backends that break one rule each, for the exam: every one is like `Sound` but for a line, which says BROKEN."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec

import zraft

COMMANDS = [("a", 1), ("b", 2), ("a", 3), ("refuse", 1), ("c", 1), ("a", 5), ("b", 7)]
QUERIES = ["a", "b", "zz"]


class Sound(zraft.Backend):
    """Lists under keys; refuses what is named "refuse"."""

    name = "sound"

    def __init__(self, peer_id: zraft.PeerId) -> None:
        super().__init__(peer_id)
        self.data: dict[str, list[Any]] = {}

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        key, value = command
        if key == "refuse":
            raise zraft.Reject("refused")
        self.data.setdefault(key, []).append(value)
        return zraft.Applied(len(self.data[key]), (key,))

    def query(self, query: Any) -> Any:
        return zraft.Answer(list(self.data.get(query, ())), (query,))

    def snapshot(self) -> Any:
        data = {key: list(values) for key, values in self.data.items()}
        return lambda directory: self.write(data, directory)

    def write(self, data: dict[str, list[Any]], directory: zraft.Directory) -> None:
        for number, (key, values) in enumerate(data.items()):
            with directory.create(f"{number:04}") as file:
                file.write(msgspec.msgpack.encode([key, values]))

    def install_snapshot(self, directory: zraft.Directory) -> None:
        for name in directory.names():
            with directory.open(name) as file:
                key, values = msgspec.msgpack.decode(file.read())
            self.data[key] = values


class Clock(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        self.at = time.time()  # BROKEN
        return super().apply(command, ctx)


class Calendar(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        self.day = datetime.now(UTC).toordinal()  # BROKEN
        return super().apply(command, ctx)


class Chance(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        if random.choice([1, 2]) < 3:  # BROKEN
            return super().apply(command, ctx)


class Entropy(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        self.salt = os.urandom(0)  # BROKEN
        return super().apply(command, ctx)


class Place(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        super().apply(command, ctx)
        return id(self) > 0  # BROKEN


class SetOrder(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        super().apply(command, ctx)
        words = {"alpha", "beta", "gamma", "delta", "epsilon"}
        return list(words)  # BROKEN


class HashOrder(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        super().apply(command, ctx)
        return hash(command[0]) % 1000  # BROKEN


class Shared(Sound):
    seen: ClassVar[list[Any]] = []

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        self.seen.append(command)
        super().apply(command, ctx)
        return len(self.seen)  # BROKEN


class Named(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        super().apply(command, ctx)
        return self.peer_id.node  # BROKEN


class SharedValues(Sound):
    def snapshot(self) -> Any:
        data = dict(self.data)  # BROKEN
        return lambda directory: self.write(data, directory)


class LateCapture(Sound):
    def snapshot(self) -> Any:
        return lambda directory: self.write(self.data, directory)  # BROKEN


class Forgetful(Sound):
    def install_snapshot(self, directory: zraft.Directory) -> None:
        super().install_snapshot(directory)
        self.data.pop("a", None)  # BROKEN


class Unwritable(Sound):
    def snapshot(self) -> Any:
        return lambda directory: directory.create("../outside")  # BROKEN


class Halfway(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        self.last = command[0]  # BROKEN
        return super().apply(command, ctx)


class Unencodable(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        super().apply(command, ctx)
        return {1, 2}  # BROKEN


class Asking(Sound):
    def query(self, query: Any) -> Any:
        return len(self.data.setdefault(query, []))  # BROKEN


class Silent(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        return super().apply(command, ctx).result  # BROKEN


class Endless(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        while command[0] == "b":  # BROKEN
            pass
        return super().apply(command, ctx)


class Fragile(Sound):
    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        if command[0] == "c":
            raise OSError("no space")  # BROKEN
        return super().apply(command, ctx)


class Unmakable(Sound):
    def __init__(self, peer_id: zraft.PeerId) -> None:
        super().__init__(peer_id)
        raise LookupError("no settings")  # BROKEN


class Leaving(Sound):
    """Temporary data that is counted, and never goes."""

    count = 0

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        self.count += ctx.temporary
        return super().apply(command, ctx)

    def expire_session(self, session: int, ctx: zraft.Context) -> Iterable[Any]:
        return ()  # BROKEN

    def temporary_count(self) -> int:
        return self.count


class Overdue(Sound):
    def due(self) -> int | None:
        return 500  # BROKEN

    def advance(self, ctx: zraft.Context) -> Iterable[Any]:
        return ()


def line_of(kind: type[Sound]) -> str:
    """file:line of the line that is broken in it."""
    text = Path(__file__).read_text(encoding="utf-8").splitlines()
    start = text.index(f"class {kind.__name__}(Sound):")
    return f"{__file__}:{next(number for number, line in enumerate(text[start:], start + 1) if 'BROKEN' in line)}"
