"""Sessions over processes that are killed and stopped: nothing runs twice, and no client pays for a leader's pause.

`ZRAFT_KILLS` is how often; `make sessions` sets it to more than the few of every run.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import zraft
from tests.stack.clusters import WAIT_S, Cluster, run, wait_until
from tests.stack.conftest import MakeCluster
from tests.stack.recipes.traffic import Traffic
from zraft import table
from zraft.client.caller import each
from zraft.types import PeerId, Value

pytestmark = pytest.mark.uncounted

KILLS = int(os.environ.get("ZRAFT_KILLS", "3"))
LONG = 20.0
PAUSE_S = 0.7
"""Beyond two election timeouts: the only node finds that it was late."""


async def leader_of(client: zraft.Client, cluster: Cluster) -> PeerId:
    """Whoever leads, asked of those that answer."""
    while True:
        for peer in cluster.peers:
            try:
                return (await client.get_conf(peer, timeout=1.0)).leader
            except zraft.RequestError:
                continue


@pytest.mark.timeout(60 + 30 * KILLS)
@pytest.mark.parametrize(
    ("size", "is_killed"), [(3, True), (3, False), (1, False)], ids=["killed", "paused", "one node paused"]
)
def test_every_write_runs_exactly_once_while_leaders_die(make_cluster: MakeCluster, size: int, is_killed: bool) -> None:
    """Kill -9, or a pause beyond the election timeout and far within the session's (BM-068, BM-076).

    So does what is built on writes: tokens of a lock grow, and no item of a queue is taken twice or lost (BM-074).
    The count is what was acknowledged: a session that lives to its end leaves nothing of which nobody knows.
    """
    cluster = make_cluster(size)

    async def pause(leader: PeerId, go_on: Callable[[], Coroutine[Any, Any, None]]) -> None:
        server = cluster.servers[leader]
        if is_killed:
            going = asyncio.create_task(go_on())
            await asyncio.sleep(0.01)  # some are under way, some are answered
            server.kill()
            await going
            server.spawn()
            await asyncio.to_thread(server.wait_ready)
            return
        os.kill(server.pid, signal.SIGSTOP)
        try:
            going = asyncio.create_task(go_on())
            await asyncio.wait([going], timeout=PAUSE_S if size == 1 else None)
            assert going.done() == (size > 1)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await going

    async def story(client: zraft.Client) -> None:
        await client.ensure(cluster.peers, "table", timeout=60)
        sums: list[Value] = []
        async with client.start_session(cluster.peers, LONG) as session:
            await session.write(table.Put("mine", 1), temporary=True)
            traffic = Traffic(session)

            async def write_on() -> None:
                sums.extend(await each(session.write(table.Increment("n"), timeout=WAIT_S) for _ in range(50)))

            for _ in range(KILLS):
                await write_on()
                await pause(await leader_of(client, cluster), write_on)
            await pause(await leader_of(client, cluster), traffic.go_on)
            assert sums == list(range(1, 100 * KILLS + 1))
            assert (await session.query(table.Get("n"), timeout=WAIT_S))["value"] == len(sums)
            traffic.check()
            assert (await session.query(table.Get("mine"), timeout=WAIT_S))["value"] == 1
            await wait_until("it is connected", lambda: session.state == "connected")

    run(story)
