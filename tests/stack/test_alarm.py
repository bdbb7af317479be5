"""A backend that does not do the same everywhere, in a cluster of real nodes: the divergence alarm (BM-119)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from zraft.client.views import PeerStatus
from zraft.errors import RequestError
from zraft.limits import ALARM_ENTRIES
from zraft.machine.backend import Applied, Backend, Context
from zraft.testing import LocalCluster

WAIT_S = 60.0
PATIENCE_S = 5.0
"""For one round of writes: where followers have stopped, none is answered any more."""


class Sloppy(Backend):
    """Answers with an object's address, which is another one in each replica, as a clock or a set's order might be."""

    name = "sloppy"

    def apply(self, command: Any, ctx: Context) -> Any:
        return Applied(id(self), ("k",))

    def query(self, query: Any) -> Any:
        return None


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
                    for _ in range(ALARM_ENTRIES // 512 + 1):
                        await session.write_many([("k", 1)] * 512, timeout=PATIENCE_S)
                stats = [await cluster.client.stat(peer, timeout=WAIT_S) for peer in cluster.peers]
                failed = [stat for stat in stats if stat.role == "failed"]
            assert all("its state diverged from that of its group" in str(stat.fault) for stat in failed)
            (left,) = [stat for stat in stats if stat.role != "failed"]
            assert all(str(stat.id) in str(left.fault) for stat in failed), left.fault

    asyncio.run(story())
