"""What a snapshot costs the writers meanwhile: a group of one with a million keys takes one under load.

    python bench/snapshot_pause.py                        1,000,000 keys, at most 50 ms without an acknowledgement
    python bench/snapshot_pause.py --keys 100000 --json
    python bench/snapshot_pause.py --size 1000            values of 1000 bytes
    python bench/snapshot_pause.py --lists                values that the garbage collector looks at

A few clients write all the time. Two stretches are compared: before the snapshot is due, and from the moment in which
its state is captured until it is published. A gap is the time between two acknowledgements, whoever got them; a pause
of the node shows as one. The exit status is non-zero where the longest gap of the snapshot is above `--at-most`, where
a write failed, or where the snapshot does not hold what was written. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from systems import fresh_servers, machine

from zraft.app.loops import loop_factory
from zraft.app.processes import ServerProcess
from zraft.client.client import Client
from zraft.errors import ZraftError
from zraft.node.catalogue import kept_below, wrong_with_kept
from zraft.types import PeerId, Value

WRITERS = 16
AT_ONCE = 1000
"""Keys that are stored with one request, to begin with."""
PATIENCE_S = 600.0
CALM_S = 2.0
"""Of load, at the least, before the snapshot is due."""
LOOK_S = 0.0005


class Wrong(ZraftError):
    """The snapshot did not come, or is not what it should be."""


@dataclass(slots=True)
class Stretch:
    """What the writers saw in a stretch of time, in milliseconds."""

    seconds: float = 0.0
    writes: int = 0
    longest_gap_ms: float = 0.0
    p99_ms: float = 0.0
    longest_write_ms: float = 0.0


@dataclass(slots=True)
class Writes:
    """Every acknowledged write: when it was sent and when it was acknowledged."""

    times: list[tuple[float, float]] = field(default_factory=list)
    is_over: bool = False

    def stretch(self, begin: float, end: float) -> Stretch:
        """Of the writes that were under way between two moments."""
        found = [(sent, done) for sent, done in self.times if done >= begin and sent <= end]
        if len(found) < 2:
            raise Wrong(f"{len(found)} writes in {end - begin:.3f} s")
        took = sorted(done - sent for sent, done in found)
        ends = sorted(done for _, done in found)
        gaps = [later - earlier for earlier, later in itertools.pairwise(ends)]
        return Stretch(
            round(end - begin, 3),
            len(found),
            round(1000 * max(gaps), 1),
            round(1000 * took[len(took) * 99 // 100], 2),
            round(1000 * took[-1], 1),
        )


async def fill(client: Client, peer: PeerId, keys: int, value: Value) -> None:
    """So many keys, which later writes replace."""
    async with client.light_session(peer) as session:
        for first in range(0, keys, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, keys))
            await session.write_many([(f"k{number}", value) for number in numbers], timeout=PATIENCE_S)


async def write_on(client: Client, peer: PeerId, writes: Writes, writer: int, keys: int, value: Value) -> None:
    """One write after the other, until it is over."""
    number, step = writer, 7919
    while not writes.is_over:
        number = (number + step) % keys
        sent = time.perf_counter()
        await client.write(peer, (f"k{number}", value), timeout=PATIENCE_S)
        writes.times.append((sent, time.perf_counter()))


def watch(snapshots: Path) -> tuple[float, float]:
    """When a snapshot was begun and when it was published; blocks until then."""
    deadline = time.perf_counter() + PATIENCE_S
    begun = 0.0
    while time.perf_counter() < deadline:
        names = [path.name for path in snapshots.glob("*/*")]
        now = time.perf_counter()
        if not begun and names:
            begun = now
        if any(not name.endswith(".writing") for name in names):
            return begun, now
        time.sleep(LOOK_S)
    raise Wrong(f"no snapshot within {PATIENCE_S:g} s")


async def measure(server: ServerProcess, keys: int, value: Value) -> tuple[Stretch, Stretch]:
    """Before the snapshot, and while it was taken."""
    peer, writes = PeerId("bench", server.address), Writes()
    async with Client() as client:
        await client.create([peer], timeout=PATIENCE_S)
        print(f"storing {keys} keys", file=sys.stderr, flush=True)
        await fill(client, peer, keys, value)
        async with asyncio.TaskGroup() as tasks:
            for writer in range(WRITERS):
                tasks.create_task(write_on(client, peer, writes, writer, keys, value))
            began = time.perf_counter()
            try:
                begun, published = await asyncio.to_thread(watch, server.folder / "snapshots")
                await asyncio.sleep(0.2)
            finally:
                writes.is_over = True
    if begun - began < CALM_S / 2:
        raise Wrong(f"the snapshot was due after {begun - began:.3f} s of load: raise --calm-writes")
    # The state was captured just before its folder was made: the pause of that belongs to the snapshot.
    return writes.stretch(began + 0.2, begun - 0.2), writes.stretch(begun - 0.2, published + 0.1)


def check(data: Path, keys: int) -> int:
    """Bytes of the snapshot, which is sound."""
    (kept,) = [kept for kept in kept_below(data) if not kept.is_archived]
    problems = wrong_with_kept(kept, lambda _: None)
    if problems or kept.manifest is None or kept.manifest.mark.index < keys:
        raise Wrong(f"the snapshot is not what it should be: {problems or kept.manifest}")
    return kept.manifest.size


def main() -> int:
    """Measures, prints, and says whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=16, help="bytes of a value")
    parser.add_argument("--lists", action="store_true", help="values are lists, which the garbage collector looks at")
    parser.add_argument("--calm-writes", type=int, default=30_000, help="writes under load before the snapshot is due")
    parser.add_argument("--at-most", type=float, default=50.0, metavar="MS", help="the longest gap that is accepted")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    words = parser.parse_args()
    text = "x" * words.size
    value: Value = [text] if words.lists else text
    environment = {
        "ZRAFT_MAX_LOG_COUNT": str(words.keys + words.calm_writes),
        "ZRAFT_MAX_LOG_BYTES": "1000GiB",
        "ZRAFT_ELECTION_TIMEOUT": "5s",
    }
    with fresh_servers(1, environment) as servers:
        (server,) = servers.values()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            before, during = runner.run(measure(server, words.keys, value))
        size = check(server.folder, words.keys)
    is_good = during.longest_gap_ms <= words.at_most
    report(words, before, during, size, is_good=is_good)
    return 0 if is_good else 1


def report(words: Any, before: Stretch, during: Stretch, size: int, *, is_good: bool) -> None:
    if words.json:
        found: dict[str, Any] = {
            "keys": words.keys,
            "snapshot_bytes": size,
            "before": asdict(before),
            "during": asdict(during),
        }
        print(
            json.dumps({**found, "at_most_ms": words.at_most, "is_good": is_good, "load": round(os.getloadavg()[0], 1)})
        )
        return
    print(f"a snapshot of {words.keys} keys, {size / 2**20:.1f} MiB, group of one, {WRITERS} writers")
    for name, stretch in (("before", before), ("during", during)):
        print(
            f"{name}: {stretch.seconds:6.1f} s, {stretch.writes} writes; longest gap {stretch.longest_gap_ms} ms, "
            f"p99 of writes {stretch.p99_ms} ms, longest write {stretch.longest_write_ms} ms"
        )
    print(f"{'good' if is_good else 'TOO LONG'}: a gap of at most {words.at_most:g} ms is wanted")
    print(machine())


if __name__ == "__main__":
    sys.exit(main())
