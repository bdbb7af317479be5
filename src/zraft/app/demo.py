"""`python -m zraft.app.demo`: a cluster that loses its leader, to watch.

Three real processes, and clients that write and read throughout. The leader is killed in the middle, another takes
over, the dead one comes back. In the end every write that was acknowledged is looked for on every node, and one order
of all that was read and written on shared keys. Exit status 0 where both are found.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from zraft.app.advice import line_of
from zraft.app.processes import PortLease, ServerFailed, ServerProcess
from zraft.app.registers import Observed, judge, use_registers
from zraft.app.writers import Ledger, check_peer, write_keys
from zraft.client.client import Client
from zraft.errors import ZraftError
from zraft.types import PeerId

WRITERS: Final = 8
SHARERS: Final = 4
"""Clients that read and write keys of each other."""
CALM_S: Final = 2.0
"""How long the load runs before the leader is killed, and again after another leads."""
PATIENCE_S: Final = 15.0
"""A cluster that has not recovered by then never will."""


class _Failed(Exception):
    """What the demonstration was to show did not happen."""


async def _watch(client: Client, servers: dict[PeerId, ServerProcess]) -> None:
    peers = list(servers)
    await client.create(peers, timeout=PATIENCE_S)
    print(f"group of {len(peers)} peers: {', '.join(map(str, peers))}")
    ledger, observed = Ledger(), Observed()
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(write_keys(client, peers, ledger, str(writer), patience_s=PATIENCE_S))
            for writer in range(WRITERS)
        ]
        running += [
            tasks.create_task(use_registers(client, peers, observed, f"sharer{sharer}", patience_s=PATIENCE_S))
            for sharer in range(SHARERS)
        ]
        try:
            run = await _lose_leader(client, servers, ledger)
        finally:
            ledger.is_over = observed.is_over = True
    await asyncio.to_thread(servers[run.dead].start)
    print(f"{run.dead} is started again")
    await _verify(client, peers, ledger)
    await asyncio.to_thread(judge, observed)
    print(f"{len(observed.operations):,} reads and writes of shared keys: one order explains all of them")
    _tell(ledger, observed, run)


class _Run(NamedTuple):
    """What the load went through."""

    dead: PeerId
    per_second: float
    """Writes, before the leader was killed."""
    failover_ms: float
    """From the kill to the first write that another leader acknowledged."""


async def _lose_leader(client: Client, servers: dict[PeerId, ServerProcess], ledger: Ledger) -> _Run:
    """Let the load run, kill who leads, and see another take over."""
    began = time.perf_counter()
    await asyncio.sleep(CALM_S)
    per_second = len(ledger.acknowledged) / (time.perf_counter() - began)
    print(f"{WRITERS} clients write, {SHARERS} read and write shared keys: {per_second:,.0f} writes/s")
    leader = (await client.get_conf(next(iter(servers)))).leader
    killed_at = time.perf_counter()
    servers[leader].kill()
    print(f"{leader} leads, and is killed (SIGKILL)")
    while ledger.leader in (None, leader) or ledger.leader_at <= killed_at:
        if time.perf_counter() - killed_at > PATIENCE_S:
            raise _Failed(f"nobody took over within {PATIENCE_S:g} s")
        await asyncio.sleep(0.001)
    failover_ms = (ledger.leader_at - killed_at) * 1000
    print(f"{ledger.leader} took over: first write after {failover_ms:.0f} ms")
    await asyncio.sleep(CALM_S)
    return _Run(leader, per_second, failover_ms)


def _tell(ledger: Ledger, observed: Observed, run: _Run) -> None:
    ordered = sorted(ledger.latencies)
    p50, p99 = (ordered[int(len(ordered) * part)] * 1000 for part in (0.5, 0.99))
    print(
        f"demo: {len(ledger.acknowledged):,} writes acknowledged, {len(ledger.unknown)} of unknown outcome, "
        f"{observed.reads:,} linearizable reads"
    )
    print(
        f"demo: {run.per_second:,.0f} writes/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms; failover {run.failover_ms:.0f} ms"
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
    print(f"demo: no acknowledged write was lost, every read was linearizable ({time.monotonic() - began:.1f} s)")
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
