"""Logs with a little of everything, one for each built-in backend; a process applies them and prints what came out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from tests.unit.machine.directory import MemoryDirectory
from tests.unit.session.backends import PEER, commands, single
from zraft import table
from zraft.core.entries import Batch, Kind
from zraft.machine.backend import Applied, Context
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.session.machine import ReplicatedMachine
from zraft.types import NOT_FOUND


class Chancy(DictBackend):
    """A dict that draws a value for the key "draw", as a backend may."""

    def apply(self, command: Any, ctx: Context) -> Any:
        if command == ["draw"]:
            return super().apply([f"draw{ctx.index}", [ctx.random(), ctx.randbytes(9), ctx.time]], ctx)
        result = super().apply(command, ctx)
        return result.result if isinstance(result, Applied) and ctx.index % 2 else result


def fresh() -> ReplicatedMachine:
    """A machine that has applied nothing."""
    return ReplicatedMachine(Chancy(PEER))


def log(batches: int) -> list[Batch]:
    """Keys of every kind that come and go, commands that are refused, entries that are none."""
    made: list[Batch] = []
    index = 1
    for number in range(batches):
        keys: list[Any] = [f"k{number % 5}", number, [number % 3, "é", [b"x"]], 1.5 * number, None, True]
        values: list[Any] = [{f"{letter}": number for letter in "zyxw"}, [number], -0.0, "ı", NOT_FOUND, 2**63]
        batch = commands(
            index,
            [
                *([key, value] for key, value in zip(keys, values, strict=True)),
                [keys[number % 4]],
                ["draw"],
                ["gone"],
                [{"no": "key"}, 1],
                "nonsense",
            ],
            term=1 + number // 4,
            time=100 * number,
        )
        kind = (Kind.NOOP, Kind.TIME, Kind.CONFIGURATION)[number % 3]
        made += [batch, single(batch.last + 1, kind, term=batch.term, time=batch.time + 1)]
        index = batch.last + 2
    return made


def table_log(batches: int) -> list[Batch]:
    """Keys of every kind, sums, conditions, transactions that are undone, times to live that end, ranges that go."""
    made: list[Batch] = []
    index = 1
    for number in range(batches):
        keys: list[Any] = [f"k{number % 5}", b"k", number - 7, ("é", number % 3), ("é", b"\0", number)]
        puts = [table.Put(key, {"z": number, "a": [key]}, ttl=0.1 + key_number) for key_number, key in enumerate(keys)]
        wrong = table.Txn([], [table.DeleteRange(None, None), table.Increment("k0", "x")])
        batch = commands(
            index,
            [
                *puts,
                table.Increment(("sum", number % 4), number - 20),
                table.CompareAndSet("k1", {"a": ["k1"], "z": 1}, 1.5),
                table.Txn([table.Compare("k2", "version", ">", 1)], [table.Delete("k2")], [table.Put("k2", number)]),
                wrong,
                table.DeleteRange(("é", number % 2), ("é", 2)),
                ["put", "k3"],
            ],
            term=1 + number // 4,
            time=100 * number,
        )
        made += [batch, single(batch.last + 1, Kind.TIME, term=batch.term, time=batch.time + 50)]
        index = batch.last + 2
    return made


STORIES: dict[str, tuple[Callable[[], ReplicatedMachine], Callable[[int], list[Batch]]]] = {
    "dict": (fresh, log),
    "table": (lambda: ReplicatedMachine(TableBackend(PEER)), table_log),
}
"""A fresh machine and a log for it, by the name of the backend."""


def shown(outcome: Any) -> Any:
    """What can be compared between processes."""
    if isinstance(outcome, Exception):
        return str(outcome)
    return bytes(outcome) if isinstance(outcome, msgspec.Raw) else outcome


def main() -> None:
    """Prints the index, the digest, and hashes of the outcomes and of the snapshot, for each backend."""
    for make, batches_of in STORIES.values():
        replica, batches = make(), batches_of(60)
        outcomes: list[Any] = []
        directory = MemoryDirectory()
        for batch in batches:
            outcomes += replica.apply_batch(batch)
        replica.capture().write(directory)
        told = hashlib.sha256(repr([shown(outcome) for outcome in outcomes]).encode())
        written = hashlib.sha256(repr(sorted(directory.files.items())).encode())
        print(replica.last_applied, replica.digest(), told.hexdigest(), written.hexdigest())


if __name__ == "__main__":
    main()
