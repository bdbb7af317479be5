"""A backend that does not do the same everywhere, in a cluster of real nodes: the divergence alarm (BM-119)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import zraft
from zraft.client.views import PeerStatus
from zraft.errors import RequestError
from zraft.limits import ALARM_ENTRIES
from zraft.machine.backend import Applied, Backend, Context
from zraft.testing import LocalCluster

WAIT_S = 60.0
PATIENCE_S = 5.0
"""For one round of writes: where followers have stopped, none is answered any more."""
WRITES = 512


class Sloppy(Backend):
    """Answers with an object's address, which is another one in each replica, as a clock or a set's order might be."""

    name = "sloppy"

    def apply(self, command: Any, ctx: Context) -> Any:
        return Applied(id(self), ("k",))

    def query(self, query: Any) -> Any:
        return None


async def write_past_a_sample(session: zraft.LightSession, patience_s: float) -> None:
    """Enough entries for the alarm to compare states."""
    for _ in range(ALARM_ENTRIES // WRITES + 1):
        await session.write_many([("k", 1)] * WRITES, timeout=patience_s)


def test_replicas_whose_backend_is_not_deterministic_stop_and_say_so() -> None:
    """All three differ, so no majority tells: the followers stop, and the leader's status names them."""

    async def story() -> None:
        async with (
            asyncio.timeout(2 * WAIT_S),
            LocalCluster(3, backend="sloppy", backends={"sloppy": Sloppy}) as cluster,
            cluster.client.light_session(cluster.peers) as session,
        ):
            stats: list[PeerStatus] = []
            failed: list[PeerStatus] = []
            while len(failed) < 2:
                with contextlib.suppress(RequestError):  # the followers stop when the last are under way
                    await write_past_a_sample(session, PATIENCE_S)
                stats = [await cluster.client.stat(peer, timeout=WAIT_S) for peer in cluster.peers]
                failed = [stat for stat in stats if stat.role == "failed"]
            assert all("its state diverged from that of its group" in str(stat.fault) for stat in failed)
            (left,) = [stat for stat in stats if stat.role != "failed"]
            assert all(str(stat.id) in str(left.fault) for stat in failed), left.fault

    asyncio.run(story())


def test_an_alarm_that_is_switched_off_stops_nobody() -> None:
    """The setting `divergence_alarm`: the same replicas go on, and differ."""

    async def story() -> None:
        cluster = LocalCluster(3, backend="sloppy", backends={"sloppy": Sloppy}, divergence_alarm=False)
        async with asyncio.timeout(WAIT_S), cluster, zraft.Client() as client:
            async with client.light_session(cluster.peers) as session:
                await write_past_a_sample(session, WAIT_S)
            last = (await client.write(cluster.peers[0], ("k", 1), timeout=WAIT_S)).index
            for peer in cluster.peers:
                await client.query_local(peer, None, min_index=last, timeout=WAIT_S)
            stats = [await client.stat(peer, timeout=WAIT_S) for peer in cluster.peers]
            assert [stat.fault for stat in stats] == [None, None, None]
            assert all(stat.last_applied > ALARM_ENTRIES for stat in stats)

    asyncio.run(story())
