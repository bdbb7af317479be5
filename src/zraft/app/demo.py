"""`python -m zraft.app.demo`: a cluster that loses its leader, to watch.

Three real processes, writers and readers; the leader is killed in the middle, another takes over, the dead one comes
back, and every write that was acknowledged is looked for on every node. Exit status 0 if all of them are there.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from zraft.app.advice import line_of
from zraft.app.processes import PortLease, ServerFailed, ServerProcess
from zraft.app.writers import Ledger, check_peer, write_keys
from zraft.client.client import Client
from zraft.errors import RequestError, ZraftError
from zraft.types import PeerId

WRITERS: Final = 8
READERS: Final = 4
CALM_S: Final = 2.0
"""How long the load runs before the leader is killed, and again after another leads."""
PATIENCE_S: Final = 15.0
"""A cluster that has not recovered by then never will."""


class _Failed(Exception):
    """What the demonstration was to show did not happen."""


async def _read(client: Client, peers: list[PeerId], ledger: Ledger, reader: int) -> None:
    """Linearizable reads of keys that were acknowledged before: each has to be there."""
    targets = itertools.cycle(peers)
    target = next(targets)
    while not ledger.is_over:
        key = f"{reader}-0"
        if key not in ledger.acknowledged:
            await asyncio.sleep(0.01)
            continue
        try:
            value, target = await client.query(target, key, timeout=PATIENCE_S)
        except RequestError:
            target = next(targets)
            continue
        ledger.reads += 1
        if value != 0:
            raise _Failed(f"an acknowledged write was not read: {key} is {value!r}")


async def _watch(client: Client, servers: dict[PeerId, ServerProcess]) -> None:
    peers = list(servers)
    await client.create(peers, timeout=PATIENCE_S)
    print(f"group of {len(peers)} peers: {', '.join(map(str, peers))}")
    ledger = Ledger()
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(write_keys(client, peers, ledger, str(writer), patience_s=PATIENCE_S))
            for writer in range(WRITERS)
        ]
        running += [tasks.create_task(_read(client, peers, ledger, reader)) for reader in range(READERS)]
        try:
            dead = await _lose_leader(client, servers, ledger)
        finally:
            ledger.is_over = True
    _tell_load(ledger)
    await asyncio.to_thread(servers[dead].start)
    print(f"{dead} is started again")
    await _verify(client, peers, ledger)


async def _lose_leader(client: Client, servers: dict[PeerId, ServerProcess], ledger: Ledger) -> PeerId:
    """Let the load run, kill who leads, and see another take over."""
    began = time.perf_counter()
    await asyncio.sleep(CALM_S)
    rate = len(ledger.acknowledged) / (time.perf_counter() - began)
    print(f"{WRITERS} writers and {READERS} readers: {rate:,.0f} writes/s")
    leader = (await client.get_conf(next(iter(servers)))).leader
    killed_at = time.perf_counter()
    servers[leader].kill()
    print(f"{leader} leads, and is killed (SIGKILL)")
    while ledger.leader in (None, leader) or ledger.leader_at <= killed_at:
        if time.perf_counter() - killed_at > PATIENCE_S:
            raise _Failed(f"nobody took over within {PATIENCE_S:g} s")
        await asyncio.sleep(0.001)
    print(f"{ledger.leader} took over: first write after {(ledger.leader_at - killed_at) * 1000:.0f} ms")
    await asyncio.sleep(CALM_S)
    return leader


def _tell_load(ledger: Ledger) -> None:
    ordered = sorted(ledger.latencies)
    p50, p99 = (ordered[int(len(ordered) * part)] * 1000 for part in (0.5, 0.99))
    print(
        f"{len(ledger.acknowledged):,} writes acknowledged, {len(ledger.unknown)} unknown, {ledger.reads:,} reads; "
        f"latency of writes: half within {p50:.1f} ms, 99 % within {p99:.1f} ms"
    )


async def _verify(client: Client, peers: list[PeerId], ledger: Ledger) -> None:
    """Every acknowledged write is in the state of every node, once it has caught up."""
    for peer in peers:
        found = await check_peer(client, peer, ledger, patience_s=PATIENCE_S)
        print(f"{peer}: all {len(ledger.acknowledged):,} acknowledged writes are there, and {found} of unknown outcome")


def main() -> int:
    """Run it, say how it ended, and clean up."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="zraft-demo-"))
    leases = [PortLease() for _ in range(3)]
    addresses = [lease.address for lease in leases]
    servers = {
        PeerId("demo", address): ServerProcess(folder / f"n{number}", address)
        for number, address in enumerate(addresses, 1)
    }
    problem = "it was interrupted"
    try:
        problem = _run(servers)
    except KeyboardInterrupt:
        pass
    finally:
        for server in servers.values():
            server.kill()
        for lease in leases:
            lease.release()
    if problem:
        print(f"demo: FAILED: {problem}; the data and logs are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    print(f"demo: no acknowledged write was lost ({time.monotonic() - began:.1f} s)")
    return 0


def _run(servers: dict[PeerId, ServerProcess]) -> str:
    """Empty, or what went wrong."""
    problem = ""

    async def scene() -> None:
        async with Client() as client:
            await _watch(client, servers)

    try:
        for server in servers.values():
            server.spawn()
        for server in servers.values():
            server.wait_ready()
        print(f"three nodes: {', '.join(f'{server.address} (pid {server.pid})' for server in servers.values())}")
        asyncio.run(scene())
        for server in servers.values():
            if server.stop() != 0:
                raise ServerFailed(f"{server.address} did not end cleanly: {server.last_line()}")
    except* (_Failed, OSError, ZraftError) as group:
        problem = _first(group)
    return problem


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error = group.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        return _first(error)
    return line_of(error) if isinstance(error, ZraftError) else str(error)


if __name__ == "__main__":
    sys.exit(main())
