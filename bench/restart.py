"""How long a node with a long log needs to serve again after kill -9: the log is replayed, there is no snapshot.

    python bench/restart.py                          1,000,000 entries of 256 bytes in a group of one
    python bench/restart.py --entries 100000 --json

Entries are written many at once, and go to a limited number of keys, so that the log is long and the state is not.
The figure is from the start of the process to the answer of its first linearizable read, which needs every entry
applied. Memory is that of the process as the system sees it. The exit status is non-zero where a write failed or the
state after the restart is not the one before. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from systems import fresh_servers, machine, resident_mib

from zraft.app.loops import loop_factory
from zraft.app.processes import ServerProcess
from zraft.client.client import Client
from zraft.errors import ZraftError
from zraft.node.disk import RealDisk
from zraft.storage.store import Store, StoreSettings
from zraft.types import PeerId

PATIENCE_S = 600.0
LAST = "the last key"
UNCOMPACTED = {"ZRAFT_MAX_LOG_COUNT": "1000000000", "ZRAFT_MAX_LOG_BYTES": "1000GiB"}


class WrongState(ZraftError):
    """The node has forgotten something, or says something else than before."""


@dataclass(slots=True)
class Figures:
    """What is printed. Memory in MiB, -1 where the system does not tell."""

    entries: int
    size: int
    keys: int
    write_seconds: float = 0.0
    journal_mib: float = 0.0
    batches: int = 0
    restart_seconds: float = 0.0
    """Start of the process to the first linearizable read."""
    serving_seconds: float = 0.0
    """Start of the process to its word that it serves: the journal is read by then."""
    empty_mib: float = 0.0
    """A node without data."""
    written_mib: float = 0.0
    """The node that has written everything, before it is killed."""
    restarted_mib: float = 0.0
    """The node that has read everything."""
    cached_entries: int = 0
    """Of the newest batches, which recovery keeps in memory for slow followers."""
    cached_bytes_per_entry: float = 0.0
    """What one of these takes."""
    open_seconds: float = 0.0
    """Opening the folder alone, in a process of its own kind: reads and checks every byte."""


async def write_all(client: Client, peer: PeerId, figures: Figures, *, at_once: int) -> None:
    """Every entry, `at_once` of them under way together."""
    value = b"x" * figures.size
    async with client.light_session([peer]) as session:
        began = time.perf_counter()
        for start in range(0, figures.entries, at_once):
            count = min(at_once, figures.entries - start)
            data = [(f"key-{number % figures.keys:08d}", value) for number in range(start, start + count)]
            await session.write_many(data, timeout=PATIENCE_S)
            if start * 10 // figures.entries != (start + count) * 10 // figures.entries:
                print(f"{start + count:,} written", file=sys.stderr, flush=True)
        figures.write_seconds = time.perf_counter() - began
        await session.write((LAST, figures.entries), timeout=PATIENCE_S)


async def first_read(client: Client, peer: PeerId, expected: int) -> None:
    """Returns when a linearizable read is answered, and right."""
    deadline = time.perf_counter() + PATIENCE_S
    while True:
        try:
            found = (await client.query(peer, LAST, timeout=PATIENCE_S)).result
            break
        except ZraftError:
            if time.perf_counter() > deadline:
                raise
            await asyncio.sleep(0.005)
    if found != expected:
        raise WrongState(f"{expected} was written last, and {found!r} is read")


async def measure(server: ServerProcess, figures: Figures, *, at_once: int, profile: Callable[[int], None]) -> None:
    """Fills in what a client and the system can see."""
    peer = PeerId("bench", server.address)
    async with Client() as client:
        await client.create([peer], timeout=PATIENCE_S)
        figures.empty_mib = resident_mib(server.pid)
        await write_all(client, peer, figures, at_once=at_once)
        before = await client.stat(peer)
        figures.written_mib = resident_mib(server.pid)
        server.kill()
        began = time.perf_counter()
        server.spawn()
        profile(server.pid)
        await asyncio.to_thread(server.wait_ready, PATIENCE_S)
        figures.serving_seconds = time.perf_counter() - began
        await first_read(client, peer, figures.entries)
        figures.restart_seconds = time.perf_counter() - began
        figures.restarted_mib = resident_mib(server.pid)
        after = await client.stat(peer)
        if after.commit_index < before.commit_index or after.first_index != before.first_index:
            raise WrongState(f"the log was {before.first_index} to {before.commit_index}, now it is {after}")
    server.stop()


def measure_store(data: Path, figures: Figures) -> None:
    """Fills in what the folder of a node that is stopped tells."""
    disk = RealDisk(data, lambda _completion: None)
    try:
        sizes = [disk.size(name) for name in disk.names()]
        before = resident_mib(os.getpid())
        began = time.perf_counter()
        opened = Store.open(disk, StoreSettings())
        figures.open_seconds = time.perf_counter() - began
        (replica,) = opened.replicas
        tail = replica.recovered.tail
        figures.journal_mib = round(sum(sizes) / (1 << 20), 1)
        figures.batches = len(replica.recovered.lasts)
        figures.cached_entries = sum(batch.count for batch in tail)
        kept = sum(sys.getsizeof(batch) + sys.getsizeof(batch.payload) for batch in tail)
        figures.cached_bytes_per_entry = round(kept / max(figures.cached_entries, 1), 1)
        print(f"opening took {resident_mib(os.getpid()) - before:.1f} MiB in this process", file=sys.stderr)
    finally:
        disk.close()


def text_of(figures: Figures) -> str:
    """For people."""
    return "\n".join(
        (
            f"{figures.entries:,} entries of {figures.size} bytes over {figures.keys:,} keys in {figures.batches:,} "
            f"batches: {figures.journal_mib} MiB of journal, written in {figures.write_seconds:.1f} s",
            f"kill -9, start, first linearizable read after {figures.restart_seconds:.2f} s "
            f"(it says that it serves after {figures.serving_seconds:.2f} s; "
            f"opening the folder alone takes {figures.open_seconds:.2f} s)",
            f"memory: {figures.empty_mib} MiB empty, {figures.written_mib} MiB after the writes, "
            f"{figures.restarted_mib} MiB after the restart",
            f"cached: {figures.cached_entries:,} entries, {figures.cached_bytes_per_entry} bytes each",
        )
    )


def main() -> int:
    """Measures, prints, and raises what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=256, help="bytes of a value")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=8192, help="writes under way together")
    parser.add_argument("--profile", action="store_true", help="print the pid of the restarted server, for a profiler")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    words = parser.parse_args()
    if min(words.entries, words.keys, words.at_once) < 1 or words.size < 0:
        parser.error("--entries, --keys and --at-once must be at least 1, --size at least 0")
    figures = Figures(words.entries, words.size, words.keys)

    def profile(pid: int) -> None:
        if words.profile:
            print(f"restarted as {pid}", file=sys.stderr, flush=True)

    with fresh_servers(1, UNCOMPACTED) as servers:
        (server,) = servers.values()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(measure(server, figures, at_once=words.at_once, profile=profile))
        measure_store(server.folder, figures)
    if words.json:
        print(json.dumps(asdict(figures)))
    else:
        print(text_of(figures))
        print(machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
