"""State machines for trials: a good one, and some that have one fault each."""

from __future__ import annotations

from typing import Any

import msgspec

import zraft
from zraft.machine.backend import SnapshotWriter
from zraft.testing import Draw

NAMES = ("a", "b", "c")


class Bank(zraft.Backend):
    """Moves money between accounts, and counts how often."""

    def __init__(self, peer_id: zraft.PeerId) -> None:
        super().__init__(peer_id)
        self.accounts = {"a": 100, "b": 0, "c": 0}
        self.moves = 0

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        source, target, amount = command
        if self.accounts[source] < amount:
            raise zraft.Reject("poor")
        self.accounts[source] -= amount
        self.accounts[target] += amount
        self.moves += 1
        return self.accounts[target]

    def query(self, query: Any) -> Any:
        return self.accounts[query]

    def snapshot(self) -> SnapshotWriter:
        data = msgspec.msgpack.encode([self.accounts, self.moves])

        def write(directory: zraft.Directory) -> None:
            with directory.create("bank") as file:
                file.write(data)

        return write

    def install_snapshot(self, directory: zraft.Directory) -> None:
        with directory.open("bank") as file:
            self.accounts, self.moves = msgspec.msgpack.decode(file.read())


class Forgetful(Bank):
    """Its snapshots have no place for `moves`."""

    def install_snapshot(self, directory: zraft.Directory) -> None:
        super().install_snapshot(directory)
        self.moves = 0


class Leaky(Bank):
    """Moves to oneself make money."""

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        _, target, amount = command
        after = self.accounts[target] + amount
        result = super().apply(command, ctx)
        self.accounts[target] = after
        return result


class Curious(Bank):
    """Counts who looks at it."""

    def query(self, query: Any) -> Any:
        self.moves += 1
        return super().query(query)


class Partial(Bank):
    """What it answers depends on where it runs."""

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        return f"{super().apply(command, ctx)} by {self.peer_id}"


class Restless(Bank):
    """A set says who has money, and in which order it is listed."""

    def __init__(self, peer_id: zraft.PeerId) -> None:
        super().__init__(peer_id)
        self.rich = {0}

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        result = super().apply(command, ctx)
        self.rich.symmetric_difference_update({self.moves * 8})
        return [result, list(self.rich)]

    def snapshot(self) -> SnapshotWriter:
        data = msgspec.msgpack.encode([self.accounts, self.moves, sorted(self.rich, reverse=True)])

        def write(directory: zraft.Directory) -> None:
            with directory.create("bank") as file:
                file.write(data)

        return write

    def install_snapshot(self, directory: zraft.Directory) -> None:
        with directory.open("bank") as file:
            self.accounts, self.moves, rich = msgspec.msgpack.decode(file.read())
        self.rich = set(rich)


class Clumsy(Bank):
    """Knows no account of that name."""

    def apply(self, command: Any, ctx: zraft.Context) -> Any:
        return super().apply(("nobody", *command[1:]), ctx)


def transfer(draw: Draw) -> Any:
    """From somebody to somebody."""
    return (draw.choice(NAMES), draw.choice(NAMES), draw.randint(1, 50))


def no_money_is_lost(bank: Bank) -> None:
    """Nor made."""
    assert sum(bank.accounts.values()) == 100, f"{sum(bank.accounts.values())} instead of 100"
