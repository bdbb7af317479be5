"""A backend that does not do the same everywhere, in a cluster of real nodes: the divergence alarm (BM-119)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import zraft
from zraft.errors import RequestError
from zraft.limits import ALARM_ENTRIES
from zraft.machine.backend import Applied, Backend, Context
from zraft.testing import LocalCluster

WAIT_S = 60.0


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
        async with asyncio.timeout(WAIT_S), LocalCluster(3, backend="sloppy", backends={"sloppy": Sloppy}) as cluster:
            async with zraft.Client() as client, client.light_session(cluster.peers) as session:
                with contextlib.suppress(RequestError):  # the followers stop when the last are under way
                    for _ in range(ALARM_ENTRIES // 512 + 1):
                        await session.write_many([("k", 1)] * 512, timeout=WAIT_S)
            while True:
                stats = [await cluster.client.stat(peer, timeout=WAIT_S) for peer in cluster.peers]
                failed = [stat for stat in stats if stat.role == "failed"]
                if len(failed) == 2:
                    break
                await asyncio.sleep(0.05)
            assert all("its state diverged from that of its group" in str(stat.fault) for stat in failed)
            (left,) = [stat for stat in stats if stat.role != "failed"]
            assert all(str(stat.id) in str(left.fault) for stat in failed), left.fault

    asyncio.run(story())
