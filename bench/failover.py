"""How long a group of three is without an answer when its leader is killed: kill -9 to the next acknowledged write.

    python bench/failover.py                 ten times, with the default election timeout of 500 ms
    python bench/failover.py --rounds 30 --election-timeout 150ms --json

A few clients write all the time, so the figure is what a client sees: the votes, and the search for who won them. An
answer of the dead leader that was under way does not count. The exit status is non-zero where a write that was
acknowledged is lost, or where nobody takes over in time. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time

from systems import machine, three_servers

from zraft.app.loops import loop_factory
from zraft.app.processes import ServerProcess
from zraft.app.writers import Ledger, check_peer, write_keys
from zraft.client.client import Client
from zraft.errors import ZraftError
from zraft.types import PeerId

WRITERS = 4
PATIENCE_S = 30.0
CALM_S = 1.0
"""Under load, all three nodes up, before the next kill."""
TICK_S = 0.0005


class TooLong(ZraftError):
    """Something did not happen within `PATIENCE_S`."""


async def wait_leader(ledger: Ledger, since: float, dead: PeerId | None) -> None:
    """Returns once a write was acknowledged after `since`, by another than `dead`."""
    deadline = time.perf_counter() + PATIENCE_S
    while ledger.leader is None or ledger.leader == dead or ledger.leader_at < since:
        if time.perf_counter() > deadline:
            raise TooLong(f"no write was acknowledged within {PATIENCE_S:g} s")
        await asyncio.sleep(TICK_S)


async def lose_leaders(
    client: Client, servers: dict[PeerId, ServerProcess], ledger: Ledger, rounds: int
) -> list[float]:
    """Seconds from each kill to the next acknowledgement."""
    found = []
    for number in range(rounds):
        await asyncio.sleep(CALM_S)
        await wait_leader(ledger, time.perf_counter(), None)
        leader = ledger.leader
        if leader is None:
            raise TooLong("nobody leads")
        process = servers[leader]
        killed_at = time.perf_counter()
        process.kill()
        await wait_leader(ledger, killed_at, leader)
        found.append(ledger.leader_at - killed_at)
        print(f"round {number + 1}: {found[-1] * 1000:7.0f} ms", file=sys.stderr, flush=True)
        await asyncio.to_thread(process.start)
        await client.query_local(leader, "none", min_index=ledger.highest, timeout=PATIENCE_S)
    return found


async def measure(servers: dict[PeerId, ServerProcess], rounds: int) -> tuple[list[float], int]:
    """Seconds of every round, and how many writes were acknowledged in all of them; none of these is lost."""
    peers, ledger = list(servers), Ledger()
    async with Client() as client:
        await client.create(peers, timeout=PATIENCE_S)
        async with asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                tasks.create_task(write_keys(client, peers, ledger, str(number), patience_s=PATIENCE_S))
            try:
                found = await lose_leaders(client, servers, ledger, rounds)
            finally:
                ledger.is_over = True
        for peer in peers:
            await check_peer(client, peer, ledger)
    return found, len(ledger.acknowledged)


def main() -> int:
    """Measures, prints, and says whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--election-timeout", default="500ms", metavar="TIME", help="as in a settings file")
    parser.add_argument("--json", action="store_true", help="one line of JSON, times in milliseconds")
    words = parser.parse_args()
    if words.rounds < 1:
        parser.error("--rounds: at least 1")
    environment = {"ZRAFT_ELECTION_TIMEOUT": words.election_timeout}
    with three_servers(environment) as servers, asyncio.Runner(loop_factory=loop_factory()) as runner:
        found, acknowledged = runner.run(measure(servers, words.rounds))
    times = sorted(round(seconds * 1000, 1) for seconds in found)
    median = statistics.median(times)
    if words.json:
        figures = {"median_ms": median, "min_ms": times[0], "max_ms": times[-1], "rounds_ms": times}
        print(json.dumps({"election_timeout": words.election_timeout, **figures, "acknowledged": acknowledged}))
    else:
        print(f"kill -9 of the leader to the next acknowledged write, {len(times)} times, three nodes,")
        print(f"election timeout {words.election_timeout}: median {median} ms, min {times[0]} ms, max {times[-1]} ms")
        print(f"{acknowledged} writes were acknowledged, none of them is lost")
        print(machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
