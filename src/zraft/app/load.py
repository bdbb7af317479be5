"""A closed loop of clients over light sessions: what `zraft bench` measures.

Every client waits for one answer before it asks again, so the latency is that of a service under so many clients, not
of a queue in front of it. Values are counted, never compared: this measures, the tests check.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, Literal

import msgspec

from zraft.client.client import Client
from zraft.errors import RequestError
from zraft.types import PeerId

KEYS: Final = 10_000
TELL_S: Final = 0.5

Operation = Literal["put", "get"]


class LoadResult(msgspec.Struct, frozen=True):
    """One measurement; times in milliseconds."""

    op: Operation
    clients: int
    connections: int
    size: int
    done: int
    failed: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    problem: str = ""
    """Why the first of those that failed did."""


async def run_load(
    client: Client,
    peers: Sequence[PeerId],
    op: Operation,
    *,
    clients: int,
    connections: int,
    size: int,
    total: int,
    tell: Callable[[int, float], None] | None = None,
) -> LoadResult:
    """`total` requests of `size`-byte values by `clients` that share `connections` light sessions.

    Twice a second `tell` is given how many are done, and the seconds since the beginning.
    """
    value, started, failed, problem = b"x" * size, 0, 0, ""
    latencies: list[float] = []
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(client.light_session(list(peers))) for _ in range(connections)]

        async def one(number: int) -> None:
            nonlocal started, failed, problem
            session = sessions[number % connections]
            while started < total:
                key = f"key-{started % KEYS:08d}"
                started += 1
                begun = time.perf_counter()
                try:
                    if op == "put":
                        await session.write((key, value))
                    else:
                        await session.query(key)
                except RequestError as error:
                    failed += 1
                    problem = problem or f"{type(error).__name__}: {error}"
                else:
                    latencies.append(time.perf_counter() - begun)

        for session in sessions:
            await session.query("key-00000000")  # connected, and the leader is known
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(one(number)) for number in range(clients)]
            while tell is not None and (await asyncio.wait(asking, timeout=TELL_S))[1]:
                tell(len(latencies) + failed, time.perf_counter() - begun)
        seconds = time.perf_counter() - begun
    latencies.sort()
    done = len(latencies)
    p50, p99 = (latencies[int(done * part)] * 1000 if done else 0.0 for part in (0.5, 0.99))
    return LoadResult(op, clients, connections, size, done, failed, seconds, done / seconds, p50, p99, problem)
