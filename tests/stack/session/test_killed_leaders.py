"""Sessions over processes that are killed and stopped: nothing runs twice, and no client pays for a leader's pause."""

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
from zraft import table
from zraft.client.caller import each
from zraft.types import PeerId, Value

pytestmark = pytest.mark.uncounted


async def leader_of(client: zraft.Client, cluster: Cluster) -> PeerId:
    """Whoever leads, asked of those that answer."""
    while True:
        for peer in cluster.peers:
            try:
                return (await client.get_conf(peer, timeout=1.0)).leader
            except zraft.RequestError:
                continue


@pytest.mark.timeout(120)
@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "paused"])
def test_every_write_runs_exactly_once_while_leaders_die(make_cluster: MakeCluster, is_killed: bool) -> None:
    """Kill -9, or a pause beyond the election timeout and far within the session's (BM-068, BM-076)."""
    cluster = make_cluster(3)

    async def pause(leader: PeerId, go_on: Callable[[], Coroutine[Any, Any, None]]) -> None:
        server = cluster.servers[leader]
        if is_killed:
            going = asyncio.create_task(go_on())
            await asyncio.sleep(0.01)  # some are under way, some are answered
            server.kill()
            await going
            server.spawn()
            await asyncio.to_thread(server.wait_ready)
        else:
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await go_on()
            finally:
                os.kill(server.pid, signal.SIGCONT)

    async def story(client: zraft.Client) -> None:
        await client.create(cluster.peers, "table", timeout=WAIT_S)
        sums: list[Value] = []
        async with client.start_session(cluster.peers, WAIT_S) as session:
            await session.write(table.Put("mine", 1), temporary=True)

            async def write_on() -> None:
                sums.extend(await each(session.write(table.Increment("n"), timeout=WAIT_S) for _ in range(50)))

            for _ in range(3):
                await write_on()
                await pause(await leader_of(client, cluster), write_on)
            assert sums == list(range(1, 301))
            assert (await session.query(table.Get("mine"), timeout=WAIT_S))["value"] == 1
            await wait_until("it is connected", lambda: session.state == "connected")

    run(story)
