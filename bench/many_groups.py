"""Many groups on three nodes: what idle ones cost, and what a hundred busy ones do together.

    python bench/many_groups.py                          500 groups of three peers; then 1 and 100 busy ones
    python bench/many_groups.py --groups 50 --json

Idle: processor time of each node's process, user and system, over some seconds after all groups have gone quiet; it
means something on a busy machine too. Busy: writes per second of the same number of writers, all to one group or spread
over a hundred, on a hundred connections both times, and the processor time of the three nodes for each write. Both are
loaded in turn, round after round, and the ratio is the median of the rounds'. The leaders are spread over the nodes.
The exit status is non-zero where a group could not be made or a write failed. For rates nothing else should run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from statistics import median

from systems import cpu_seconds, machine, resident_mib, three_servers

from zraft.app.loops import loop_factory
from zraft.app.processes import ServerProcess
from zraft.client.caller import each
from zraft.client.client import Client
from zraft.client.light_session import LightSession
from zraft.types import PeerId

PATIENCE_S = 120.0


@dataclass(slots=True)
class Figures:
    """What is printed."""

    groups: int
    busy_groups: int
    writers: int
    create_seconds: float = 0.0
    create_cpu_ms: float = 0.0
    """Processor time of all nodes for one group."""
    idle_percent: list[float] = field(default_factory=list)
    """Of one core, per node."""
    resident_mib: list[float] = field(default_factory=list)
    """Memory per node, with all groups idle."""
    one_per_second: float = 0.0
    one_cpu_us: float = 0.0
    """Processor time of all nodes for one write."""
    many_per_second: float = 0.0
    many_cpu_us: float = 0.0
    ratios: list[float] = field(default_factory=list)
    """Writes per second of many groups together to those of one, by round; the rates above are medians."""
    ratio: float = 0.0
    """The median."""


async def create_all(client: Client, nodes: Sequence[str], count: int, *, at_once: int) -> list[list[PeerId]]:
    """So many groups, each on all nodes, in turn founded on each."""
    gate = asyncio.Semaphore(at_once)

    async def create(number: int) -> list[PeerId]:
        first = number % len(nodes)
        peers = [PeerId(f"g{number}", node) for node in (*nodes[first:], *nodes[:first])]
        async with gate:
            return await client.create(peers, timeout=PATIENCE_S)

    return await each(create(number) for number in range(count))


async def load(
    client: Client, groups: Sequence[Sequence[PeerId]], *, sessions: int, writers: int, seconds: float
) -> float:
    """Writes per second of so many writers over so many sessions, which share the groups; a write after the other."""
    value, done = b"x" * 256, [0] * writers
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(client.light_session(groups[number % len(groups)], retry_unknown=True))
            for number in range(sessions)
        ]
        for session in opened:
            await session.write(("warm", value), timeout=PATIENCE_S)
        end = time.perf_counter() + seconds

        async def write(number: int, session: LightSession) -> None:
            while time.perf_counter() < end:
                await session.write((f"key-{number:08d}", value), timeout=PATIENCE_S)
                done[number] += 1

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(writers):
                tasks.create_task(write(number, opened[number % sessions]))
        return sum(done) / (time.perf_counter() - began)


async def measure(
    servers: Sequence[ServerProcess], figures: Figures, *, rounds: int, seconds: float, settle: float
) -> None:
    """Fills in everything."""
    nodes, pids = [server.address for server in servers], [server.pid for server in servers]

    def spent() -> list[float]:
        return [cpu_seconds(pid) for pid in pids]

    async with Client() as client:
        began, before = time.perf_counter(), sum(spent())
        groups = await create_all(client, nodes, figures.groups, at_once=32)
        figures.create_seconds = round(time.perf_counter() - began, 2)
        figures.create_cpu_ms = round(1000 * (sum(spent()) - before) / figures.groups, 2)
        print(f"made {figures.groups} groups", file=sys.stderr, flush=True)
        await asyncio.sleep(settle)
        began, idle = time.perf_counter(), spent()
        await asyncio.sleep(seconds)
        passed = time.perf_counter() - began
        figures.idle_percent = [round(100 * (a - b) / passed, 2) for a, b in zip(spent(), idle, strict=True)]
        figures.resident_mib = [resident_mib(pid) for pid in pids]

        async def loaded(busy: Sequence[Sequence[PeerId]]) -> tuple[float, float]:
            cpu = sum(spent())
            rate = await load(client, busy, sessions=figures.busy_groups, writers=figures.writers, seconds=seconds)
            return rate, 1e6 * (sum(spent()) - cpu) / max(rate * seconds, 1)

        ones, manies = [], []
        for number in range(rounds):
            ones.append(await loaded(groups[:1]))
            manies.append(await loaded(groups[: figures.busy_groups]))
            figures.ratios.append(round(manies[-1][0] / max(ones[-1][0], 1), 2))
            print(f"round {number + 1}: {figures.ratios[-1]} times", file=sys.stderr, flush=True)
        figures.one_per_second, figures.one_cpu_us = (round(median(column), 1) for column in zip(*ones, strict=True))
        figures.many_per_second, figures.many_cpu_us = (
            round(median(column), 1) for column in zip(*manies, strict=True)
        )
        figures.ratio = round(median(figures.ratios), 2)


def text_of(figures: Figures) -> str:
    """For people."""
    idle = ", ".join(f"{percent:g} %" for percent in figures.idle_percent)
    return "\n".join(
        (
            f"{figures.groups} groups of three peers, made in {figures.create_seconds:g} s "
            f"({figures.create_cpu_ms:g} ms of processor time each)",
            f"idle: {idle} of a core per node; {figures.resident_mib} MiB",
            f"busy: {figures.many_per_second:.0f} writes/s in {figures.busy_groups} groups, "
            f"{figures.one_per_second:.0f} in one: {figures.ratio:g} times, the median of {figures.ratios} "
            f"({figures.many_cpu_us:g} and {figures.one_cpu_us:g} µs of processor time for a write)",
        )
    )


def main() -> int:
    """Measures, prints, and raises what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--busy", type=int, default=100, help="groups that are written to")
    parser.add_argument("--writers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7, help="of busy groups, one and many in turn")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--settle", type=float, default=10.0, help="seconds until all groups have gone quiet")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    words = parser.parse_args()
    if words.groups < words.busy or min(words.busy, words.writers, words.rounds) < 1:
        parser.error("--groups must be at least --busy, and that, --writers and --rounds at least 1")
    figures = Figures(words.groups, words.busy, words.writers)
    with three_servers({}) as servers, asyncio.Runner(loop_factory=loop_factory()) as runner:
        figured = measure(
            list(servers.values()), figures, rounds=words.rounds, seconds=words.seconds, settle=words.settle
        )
        runner.run(figured)
    if words.json:
        print(json.dumps(asdict(figures)))
    else:
        print(text_of(figures))
        print(machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
