"""What sessions cost: beside light ones, while they are idle, and with many watches open.

    python bench/sessions.py                         256 writers on 64 sessions, 10,000 idle ones, 100,000 watches
    python bench/sessions.py --total 2000 --idle 500 --watches 5000 --json

Three nodes. **Writes**: the same writers write through sessions and through light sessions, in blocks that follow each
other in turn; each pair of blocks gives a ratio, and the median counts. The processor time of a write is that of all
three nodes and of the clients. **Idle**: sessions with a timeout of 5 s do nothing but live for some seconds; no entry
may be written for them, and the leader's processor time is measured. **Watches**: a key is watched, written by another
session, and its trigger comes, again and again, with ten watches open and with very many; each round's processor time
at the leader, and how long after the reply to the write the trigger comes. Floors are wishes, and are reported; the
exit status is non-zero where a write failed, an idle session ended or something was written for one. Nothing else
should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from systems import cpu_seconds, machine, three_servers

from zraft.app.loops import loop_factory
from zraft.app.processes import ServerProcess
from zraft.client.caller import each
from zraft.client.client import Client
from zraft.client.light_session import LightSession
from zraft.client.session import Session
from zraft.errors import RequestError, ZraftError
from zraft.types import PeerId

RATIO = 0.8
"""Writes a second through sessions to those through light sessions, at least."""
IDLE_PERCENT = 25.0
"""Of a core, that the leader uses for idle sessions at most."""
TRIGGER_MS = 2.0
"""How long after the reply to a write its trigger comes, in the median."""
IDLE_TIMEOUT_S = 5.0
LONG_S = 600.0
PATIENCE_S = 120.0
FEW = 10
"""Watches that are open beside the one that fires."""
WATCHES_OF_ONE = 4000
"""Watches of one session."""
AT_ONCE = 200

Writer = Session | LightSession


class Wrong(ZraftError):
    """What was to be measured did not happen."""


@dataclass(slots=True)
class Block:
    """Writes of one kind in one stretch; processor time in microseconds a write."""

    per_second: float = 0.0
    servers_us: float = 0.0
    clients_us: float = 0.0


@dataclass(slots=True)
class Firing:
    """Watches that fire while so many others are open."""

    watches: int = 0
    rounds: int = 0
    leader_us: float = 0.0
    """Processor time of the leader for a query, a write and a trigger."""
    after_reply_ms: float = 0.0
    """Median time of the trigger after the reply to the write; below 0 where it came first."""
    after_reply_p99_ms: float = 0.0


@dataclass(slots=True)
class Figures:
    """What is printed."""

    clients: int
    connections: int
    size: int
    total: int
    light: list[Block] = field(default_factory=list)
    sessions: list[Block] = field(default_factory=list)
    ratio: float = 0.0
    """Of the rates, the median of the pairs."""
    servers_ratio: float = 0.0
    """Of the processor time of the nodes, session to light."""
    clients_ratio: float = 0.0
    together_ratio: float = 0.0
    """Of both together: what counts where they share the cores, as here."""
    floor: float = RATIO
    idle: int = 0
    idle_seconds: float = 0.0
    idle_leader_percent: float = 0.0
    """Of one core."""
    idle_client_percent: float = 0.0
    idle_entries: int = 0
    """Written meanwhile: none is allowed."""
    idle_bytes: int = 0
    """By which the leader's files grew meanwhile."""
    idle_lost: int = 0
    firing: list[Firing] = field(default_factory=list)
    failed: int = 0
    load: float = 0.0

    @property
    def is_well(self) -> bool:
        """What must hold on any machine."""
        return not (self.failed or self.idle_entries or self.idle_lost)


def spent_by(servers: Sequence[ServerProcess]) -> float:
    """Processor seconds of all of them so far."""
    return sum(cpu_seconds(server.pid) for server in servers)


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# -- writes


async def write_block(writers: Sequence[Writer], servers: Sequence[ServerProcess], figures: Figures) -> Block:
    """Every client writes, waits for the answer, and writes again."""
    started, value = 0, b"x" * figures.size

    async def one(number: int) -> None:
        nonlocal started
        writer = writers[number % len(writers)]
        while started < figures.total:
            key = f"key-{started % 10_000:08d}"
            started += 1
            try:
                await writer.write((key, value), timeout=PATIENCE_S)
            except RequestError:
                figures.failed += 1

    before, own, begun = spent_by(servers), time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(figures.clients):
            tasks.create_task(one(number))
    seconds, own = time.perf_counter() - begun, time.process_time() - own
    spent = spent_by(servers) - before
    return Block(round(started / seconds, 1), round(spent / started * 1e6, 1), round(own / started * 1e6, 1))


async def measure_writes(
    client: Client, peers: list[PeerId], servers: Sequence[ServerProcess], figures: Figures, pairs: int
) -> None:
    """Pairs of blocks, each kind first in turn."""
    async with AsyncExitStack() as stack:
        light = [await stack.enter_async_context(client.light_session(peers)) for _ in range(figures.connections)]
        sessions = [
            await stack.enter_async_context(client.start_session(peers, LONG_S)) for _ in range(figures.connections)
        ]
        for writer in (*light, *sessions):
            await writer.write(("warm", 1), timeout=PATIENCE_S)
        for number in range(pairs):
            kinds: list[tuple[Sequence[Writer], list[Block]]] = [(light, figures.light), (sessions, figures.sessions)]
            for writers, blocks in kinds if number % 2 else reversed(kinds):
                blocks.append(await write_block(writers, servers, figures))
            say(f"light {figures.light[-1]}\nsessions {figures.sessions[-1]}")
    both = list(zip(figures.light, figures.sessions, strict=True))
    figures.ratio = round(statistics.median(one.per_second / other.per_second for other, one in both), 3)
    figures.servers_ratio = round(statistics.median(one.servers_us / other.servers_us for other, one in both), 3)
    figures.together_ratio = round(
        statistics.median(
            (one.servers_us + one.clients_us) / (other.servers_us + other.clients_us) for other, one in both
        ),
        3,
    )
    figures.clients_ratio = round(statistics.median(one.clients_us / other.clients_us for other, one in both), 3)


# -- idle sessions


async def measure_idle(
    client: Client, peers: list[PeerId], leader: ServerProcess, figures: Figures, seconds: float
) -> None:
    """Sessions that only live, each with a connection of its own, as every session of this client has."""
    sessions: list[Session] = []
    try:
        while len(sessions) < figures.idle:
            count = min(AT_ONCE, figures.idle - len(sessions))
            sessions += await each(_started(client, peers) for _ in range(count))
        say(f"{len(sessions)} sessions are idle")
        await asyncio.sleep(IDLE_TIMEOUT_S)
        last, size = (await client.stat(peers[0])).last_index, size_of(leader.folder)
        before, own, begun = cpu_seconds(leader.pid), time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        figures.idle_seconds = round(time.perf_counter() - begun, 2)
        figures.idle_leader_percent = round(100 * (cpu_seconds(leader.pid) - before) / figures.idle_seconds, 1)
        figures.idle_client_percent = round(100 * (time.process_time() - own) / figures.idle_seconds, 1)
        figures.idle_entries = (await client.stat(peers[0])).last_index - last
        figures.idle_bytes = size_of(leader.folder) - size
        figures.idle_lost = sum(session.state != "connected" for session in sessions)
    finally:
        for first in range(0, len(sessions), AT_ONCE):
            await each(session.stop() for session in sessions[first : first + AT_ONCE] if session.state == "connected")


async def _started(client: Client, peers: list[PeerId]) -> Session:
    return await client.start_session(peers, IDLE_TIMEOUT_S)


# -- watches


async def measure_watches(
    client: Client, peers: list[PeerId], leader: ServerProcess, figures: Figures, watches: int, rounds: int
) -> None:
    """Rounds of a query that watches, a write by somebody else, and the trigger; with few watches, and with many."""
    async with AsyncExitStack() as stack:
        count = 1 + -(-watches // WATCHES_OF_ONE)
        holders = [await stack.enter_async_context(client.start_session(peers, LONG_S)) for _ in range(count)]
        writer = await stack.enter_async_context(client.start_session(peers, LONG_S))
        watcher, opened = holders.pop(), 0
        for goal in (FEW, watches):
            while opened < goal:
                some = range(opened, min(goal, opened + AT_ONCE))
                await each(
                    holders[number // WATCHES_OF_ONE].query(f"watched {number}", watch=number, timeout=PATIENCE_S)
                    for number in some
                )
                opened = some.stop
            figures.firing.append(await _fire(watcher, writer, leader, opened, rounds))
            say(f"{figures.firing[-1]}")


async def _fire(watcher: Session, writer: Session, leader: ServerProcess, opened: int, rounds: int) -> Firing:
    """Each round one watch on one of ten keys."""
    late: list[float] = []
    before = cpu_seconds(leader.pid)
    for number in range(rounds):
        key = f"fired {number % FEW}"
        await watcher.query(key, watch=key, timeout=PATIENCE_S)
        seen = asyncio.create_task(_fired_at(watcher, key))
        await writer.write((key, number), timeout=PATIENCE_S)
        replied = time.perf_counter()
        late.append((await seen - replied) * 1000)
    spent = cpu_seconds(leader.pid) - before
    late.sort()
    median, high = late[len(late) // 2], late[int(len(late) * 0.99)]
    return Firing(opened, rounds, round(spent / rounds * 1e6, 1), round(median, 3), round(high, 3))


async def _fired_at(watcher: Session, key: str) -> float:
    trigger = await watcher.wait_trigger(key, timeout=PATIENCE_S)
    if trigger.reason != "change":
        raise Wrong("the leader changed while watches fired")
    return time.perf_counter()


# -- all of it


async def measure(servers: dict[PeerId, ServerProcess], figures: Figures, words: Any) -> None:
    """Fills in the figures."""
    peers = list(servers)
    async with Client() as client:
        await client.create(peers, timeout=PATIENCE_S)
        await measure_writes(client, peers, list(servers.values()), figures, words.pairs)
        leader = servers[(await client.get_conf(peers[0])).leader]
        if words.idle:
            await measure_idle(client, peers, leader, figures, words.seconds)
        if words.watches:
            await measure_watches(client, peers, leader, figures, words.watches, words.rounds)


def text_of(figures: Figures) -> str:
    """For people."""
    light, sessions = (
        statistics.median(block.per_second for block in blocks) for blocks in (figures.light, figures.sessions)
    )
    lines = [
        f"three nodes, {figures.clients} writers on {figures.connections} connections, values of {figures.size} bytes",
        f"light sessions: {light:,.0f} writes/s; sessions: {sessions:,.0f} writes/s",
        f"ratio {figures.ratio}, {'above' if figures.ratio >= figures.floor else 'BELOW'} the floor of "
        f"{figures.floor}; processor time of a write: x {figures.servers_ratio} on the nodes, "
        f"x {figures.clients_ratio} in the clients, x {figures.together_ratio} together",
    ]
    if figures.idle:
        lines.append(
            f"{figures.idle:,} idle sessions with a timeout of {IDLE_TIMEOUT_S:g} s: the leader uses "
            f"{figures.idle_leader_percent} % of a core ({IDLE_PERCENT:g} % wanted at most), the clients "
            f"{figures.idle_client_percent} %; {figures.idle_entries} entries and {figures.idle_bytes:,} bytes were "
            f"written in {figures.idle_seconds} s, {figures.idle_lost} sessions were lost"
        )
    lines += [
        f"{one.watches:,} watches: {one.leader_us:,.0f} us of the leader for a query, a write and its trigger, which "
        f"comes {one.after_reply_ms} ms after the reply (p99 {one.after_reply_p99_ms} ms; {TRIGGER_MS:g} ms wanted at "
        f"most)"
        for one in figures.firing
    ]
    lines.append(f"{figures.failed} writes failed")
    lines.append(machine())
    return "\n".join(lines)


def words_of() -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=256, help="writers")
    parser.add_argument("--connections", type=int, default=64, help="sessions of each kind that they share")
    parser.add_argument("--size", type=int, default=256, help="bytes of a value")
    parser.add_argument("--total", type=int, default=20_000, help="writes of a block")
    parser.add_argument("--pairs", type=int, default=7, help="blocks of each kind")
    parser.add_argument("--idle", type=int, default=10_000, help="idle sessions; 0: none are measured")
    parser.add_argument("--seconds", type=float, default=20.0, help="for which they are idle")
    parser.add_argument("--watches", type=int, default=100_000, help="open watches; 0: none are measured")
    parser.add_argument("--rounds", type=int, default=2000, help="watches that fire, one after the other")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    words = parser.parse_args()
    if min(words.clients, words.connections, words.total, words.pairs, words.rounds) < 1 or words.size < 0:
        parser.error("--clients, --connections, --total, --pairs and --rounds must be at least 1, --size at least 0")
    if words.idle < 0 or words.watches < 0 or 0 < words.watches < FEW:
        parser.error(f"--idle: at least 0; --watches: 0, or at least {FEW}")
    return words


def main() -> int:
    """Measures, prints, and says whether what must hold held."""
    words = words_of()
    figures = Figures(words.clients, words.connections, words.size, words.total, idle=words.idle)
    with three_servers({}) as servers, asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(measure(servers, figures, words))
    figures.load = round(os.getloadavg()[0], 1)
    print(json.dumps(asdict(figures)) if words.json else text_of(figures))
    return 0 if figures.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
