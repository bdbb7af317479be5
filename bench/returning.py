"""What a follower that comes back costs the writers: it was away so long that only a snapshot helps it.

    python bench/returning.py                        away for 100,000 entries of 256 bytes, five times
    python bench/returning.py --entries 20000 --rounds 1 --json

Three nodes, and a few clients that share light sessions and write all the time. Two rates are compared: with all three
up, and from the restart of the follower until it has applied all but the last thousand entries of the leader. In
between it was stopped (SIGTERM), and so much was written that the leader's log no longer begins where the follower's
ends. A follower is back within a second, most of which its process takes to start: one round says little, the median of
several is what counts. The floor of the ratio is a wish, and is reported. The exit status is non-zero where the
follower did not come back, or came back without a snapshot. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from systems import machine, three_servers

from zraft.app.loops import loop_factory
from zraft.app.processes import ServerProcess
from zraft.client.client import Client
from zraft.client.light_session import LightSession
from zraft.client.views import PeerStatus
from zraft.errors import RequestError, ZraftError
from zraft.types import Index, PeerId

NEAR = 1000
"""Entries behind the leader, with which a follower counts as back."""
FLOOR = 0.8
PATIENCE_S = 300.0
LOOK_S = 0.02


class NotBack(ZraftError):
    """The follower did not come back, or not in the way that is measured."""


@dataclass(slots=True)
class Figures:
    """What is printed."""

    entries: int
    size: int
    keys: int
    clients: int
    connections: int
    max_log_count: int
    together_per_second: float = 0.0
    """Acknowledged writes with all three up."""
    together_seconds: float = 0.0
    away_per_second: float = 0.0
    """With the follower stopped."""
    returning_per_second: float = 0.0
    """From its restart until it is back."""
    returning_seconds: float = 0.0
    serving_seconds: float = 0.0
    """Of these, until its process said that it serves."""
    returning_writes: int = 0
    applied: Index = 0
    """By the follower when it counted as back."""
    leader_applied: Index = 0
    """By the leader, which was asked just before."""
    ratio: float = 0.0
    """Returning to together."""
    floor: float = FLOOR
    is_above_floor: bool = False
    had_at_most: Index = 0
    """Where the leader's log ended once the follower was stopped."""
    missed: int = 0
    """Entries after that one when the follower was started."""
    leader_first_index: Index = 0
    """Where the leader's log began then."""
    snapshot_index: Index = 0
    """Of the follower, once it is back."""
    first_index: Index = 0
    was_snapshot_used: bool = False
    failed: int = 0
    """Writes that ended with an error, mostly of elections."""
    load: float = 0.0


@dataclass(slots=True)
class Load:
    """Writes that go on until it is over."""

    size: int
    keys: int
    done: int = 0
    failed: int = 0
    is_over: bool = False

    async def write_on(self, session: LightSession, number: int, step: int) -> None:
        """One after the other, each to the next key of this writer."""
        value = b"x" * self.size
        while not self.is_over:
            try:
                await session.write((f"key-{number % self.keys:08d}", value), timeout=PATIENCE_S)
            except RequestError:
                self.failed += 1
                await asyncio.sleep(LOOK_S)
            else:
                self.done += 1
            number += step

    async def wait_more(self, count: int) -> None:
        """Returns after so many further acknowledged writes. Raises `NotBack` where they do not come."""
        goal, seen, deadline = self.done + count, self.done, time.perf_counter() + PATIENCE_S
        while self.done < goal:
            if self.done > seen:
                seen, deadline = self.done, time.perf_counter() + PATIENCE_S
            if time.perf_counter() > deadline:
                raise NotBack(f"no write was acknowledged for {PATIENCE_S:g} s")
            await asyncio.sleep(LOOK_S)


class Rate:
    """Writes a second since it was made."""

    def __init__(self, load: Load) -> None:
        self._load, self._done, self._began = load, load.done, time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def writes(self) -> int:
        return self._load.done - self._done

    @property
    def per_second(self) -> float:
        return round(self.writes / self.seconds, 1)


async def leading(client: Client, peers: Sequence[PeerId]) -> PeerStatus:
    """The leader as it sees itself; it is asked for as long as there is none."""
    deadline = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < deadline:
        for peer in peers:
            try:
                status = await client.stat(peer)
            except RequestError:
                continue
            if status.role == "leader":
                return status
        await asyncio.sleep(LOOK_S)
    raise NotBack(f"nobody led for {PATIENCE_S:g} s")


async def wait_back(client: Client, follower: PeerId, others: Sequence[PeerId]) -> tuple[PeerStatus, PeerStatus]:
    """What the follower and the leader say once they are near each other. Raises `NotBack`."""
    deadline, problem = time.perf_counter() + PATIENCE_S, ""
    while time.perf_counter() < deadline:
        leader = await leading(client, [*others, follower])
        try:
            status = await client.stat(follower)
        except RequestError as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            if status.fault is not None:
                raise NotBack(f"{follower} has failed: {status.fault}")
            # The leader was asked first, and goes on meanwhile: what the follower lacks now is more than the difference
            # says, by what is written between two answers.
            if status.last_applied + NEAR >= leader.last_applied:
                return status, leader
            problem = f"it has applied {status.last_applied} of {leader.last_applied}"
        await asyncio.sleep(LOOK_S)
    raise NotBack(f"{follower} did not come back within {PATIENCE_S:g} s: {problem}")


async def story(
    client: Client, servers: dict[PeerId, ServerProcess], load: Load, figures: Figures, together: int
) -> None:
    """What happens to the follower while the writers write; fills in the figures."""
    await load.wait_more(together // 10)
    rate = Rate(load)
    await load.wait_more(together)
    figures.together_per_second, figures.together_seconds = rate.per_second, round(rate.seconds, 2)
    say(f"all three up: {figures.together_per_second:,.0f} writes/s")

    leader = (await leading(client, list(servers))).id
    follower = next(peer for peer in servers if peer != leader)
    others = [peer for peer in servers if peer != follower]
    await asyncio.to_thread(servers[follower].stop)
    rate = Rate(load)
    figures.had_at_most = (await leading(client, others)).last_index
    while True:
        await load.wait_more(1)
        status = await leading(client, others)
        if status.last_index >= figures.had_at_most + figures.entries:
            break
        await asyncio.sleep(LOOK_S)
    figures.away_per_second = rate.per_second
    say(f"one away: {figures.away_per_second:,.0f} writes/s")

    figures.leader_first_index, figures.missed = status.first_index, status.last_index - figures.had_at_most
    rate = Rate(load)
    await asyncio.to_thread(servers[follower].start)
    figures.serving_seconds = round(rate.seconds, 2)
    back, ahead = await wait_back(client, follower, others)
    figures.returning_writes = rate.writes
    figures.returning_per_second, figures.returning_seconds = rate.per_second, round(rate.seconds, 2)
    figures.snapshot_index, figures.first_index = back.snapshot_index, back.first_index
    figures.applied, figures.leader_applied = back.last_applied, ahead.last_applied


async def measure(servers: dict[PeerId, ServerProcess], figures: Figures, *, together: int) -> None:
    """Fills in the figures."""
    peers, load = list(servers), Load(figures.size, figures.keys)
    async with Client() as client, AsyncExitStack() as stack:
        await client.create(peers, timeout=PATIENCE_S)
        sessions = [await stack.enter_async_context(client.light_session(peers)) for _ in range(figures.connections)]
        async with asyncio.TaskGroup() as tasks:
            for number in range(figures.clients):
                session = sessions[number % figures.connections]
                tasks.create_task(load.write_on(session, number, figures.clients))
            try:
                await story(client, servers, load, figures, together)
            finally:
                load.is_over = True
    figures.failed = load.failed
    figures.ratio = round(figures.returning_per_second / figures.together_per_second, 3)
    figures.is_above_floor = figures.ratio >= figures.floor
    # Its own log ended before the leader's began, and now begins later: that gap is crossed by a snapshot only.
    was_needed = figures.leader_first_index > figures.had_at_most + 1
    figures.was_snapshot_used = was_needed and figures.snapshot_index > 0 and figures.first_index > figures.had_at_most


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def text_of(figures: Figures) -> str:
    """For people."""
    verdict = "above" if figures.is_above_floor else "BELOW"
    used = "a snapshot was used" if figures.was_snapshot_used else "NO SNAPSHOT WAS USED"
    return "\n".join(
        (
            f"three nodes, {figures.keys:,} keys with values of {figures.size} bytes, "
            f"{figures.clients} writers on {figures.connections} sessions",
            f"all three up: {figures.together_per_second:,.0f} writes/s in {figures.together_seconds} s",
            f"one away:     {figures.away_per_second:,.0f} writes/s",
            f"coming back:  {figures.returning_per_second:,.0f} writes/s in {figures.returning_seconds} s "
            f"({figures.returning_writes:,} writes; it had missed {figures.missed:,} entries; "
            f"its process served after {figures.serving_seconds} s)",
            f"ratio of coming back to all three up: {figures.ratio}, {verdict} the floor of {figures.floor:g}",
            f"{used}: the follower had at most {figures.had_at_most:,}, the leader's log began at "
            f"{figures.leader_first_index:,}; back, it has a snapshot at {figures.snapshot_index:,} and a log from "
            f"{figures.first_index:,}",
            f"{figures.failed} writes failed",
        )
    )


def words_of() -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000, help="written while the follower is away")
    parser.add_argument("--together", type=int, default=30_000, help="writes that are measured with all three up")
    parser.add_argument("--size", type=int, default=256, help="bytes of a value")
    parser.add_argument("--keys", type=int, help="10,000, or a quarter of the entries where these are few")
    parser.add_argument("--clients", type=int, default=64, help="writers")
    parser.add_argument("--connections", type=int, default=1, help="light sessions that they share")
    parser.add_argument("--election-timeout", default="500ms", metavar="TIME", help="as in a settings file")
    parser.add_argument("--rounds", type=int, default=5, help="each with new nodes; the median of their ratios counts")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each round")
    words = parser.parse_args()
    if min(words.together, words.clients, words.connections, words.rounds) < 1 or words.size < 0:
        parser.error("--together, --clients, --connections and --rounds must be at least 1, --size at least 0")
    if words.entries < 1000:
        parser.error("--entries: at least 1000")
    words.keys = min(10_000, words.entries // 4) if words.keys is None else words.keys
    if not 1 <= words.keys <= words.entries // 4:
        parser.error("--keys: 1 to a quarter of --entries; where the state is larger, snapshots are rarer")
    return words


def main() -> int:
    """Measures, prints, and says whether the follower came back by a snapshot every time."""
    words = words_of()
    found = [one_round(words) for _ in range(words.rounds)]
    ratio = median(figures.ratio for figures in found)
    if not words.json:
        verdict = "above" if ratio >= FLOOR else "BELOW"
        each = ", ".join(f"{figures.ratio:.2f}" for figures in found)
        print(f"median of the ratios {each}: {ratio:.2f}, {verdict} the floor of {FLOOR:g}")
        print(machine())
    return 0 if all(figures.was_snapshot_used for figures in found) else 1


def one_round(words: Any) -> Figures:
    """With nodes of its own; printed."""
    most = words.entries // 4
    figures = Figures(words.entries, words.size, words.keys, words.clients, words.connections, most)
    environment = {
        "ZRAFT_ELECTION_TIMEOUT": words.election_timeout,
        "ZRAFT_MAX_LOG_COUNT": str(most),
        "ZRAFT_TRAILING_LOG_COUNT": str(min(10_000, most // 10)),
        "ZRAFT_MAX_LOG_BYTES": "1000GiB",
    }
    with three_servers(environment) as servers, asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(measure(servers, figures, together=words.together))
    figures.load = round(os.getloadavg()[0], 1)
    print(json.dumps(asdict(figures)) if words.json else text_of(figures), flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main())
