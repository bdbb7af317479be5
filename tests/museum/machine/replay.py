"""One log with a little of everything, and a process that applies it and prints what came out."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.unit.machine.directory import MemoryDirectory
from tests.unit.session.backends import PEER, commands, single
from zraft.core.entries import Batch, Kind
from zraft.machine.backend import Applied, Context
from zraft.machine.dict_backend import DictBackend
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


def main() -> None:
    """Prints the index, the digest, and hashes of the outcomes and of the snapshot."""
    replica, outcomes, directory = fresh(), [], MemoryDirectory()
    for batch in log(60):
        outcomes += replica.apply_batch(batch)
    replica.capture().write(directory)
    told = hashlib.sha256(repr([o if not isinstance(o, Exception) else str(o) for o in outcomes]).encode())
    written = hashlib.sha256(repr(sorted(directory.files.items())).encode())
    print(replica.last_applied, replica.digest(), told.hexdigest(), written.hexdigest())


if __name__ == "__main__":
    main()
