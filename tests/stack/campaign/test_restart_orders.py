"""Three nodes of which one is stopped, one is cut off and one is killed, in every order (§3.6, §3.8, §5).

Each order loses the majority twice: one node is down and one unheard, first the one, then the other.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from tests.stack.campaign.doors import house
from tests.stack.campaign.verdict import check_run
from tests.stack.campaign.workload import Recorder, clients
from tests.stack.clusters import run
from zraft.client.client import Client

pytestmark = pytest.mark.uncounted


@pytest.mark.timeout(150)
def test_nodes_stopped_cut_off_and_restarted_in_every_order_hold_equal_states(tmp_path: Path) -> None:
    """Each has been each of the three, and written on in every company that makes a majority."""

    async def story(client: Client) -> int:
        async with house(tmp_path, 3) as home:
            recorder = Recorder()
            await client.ensure(home.peers, timeout=60)
            async with clients(client, home.peers, recorder):
                for number, (stopped, cut_off, killed) in enumerate(itertools.permutations(home.peers)):
                    await recorder.wait_writes(20)
                    assert await asyncio.to_thread(home.servers[stopped].stop) == 0
                    await recorder.wait_writes(20)
                    home.weather.isolate(cut_off, home.peers)
                    await asyncio.to_thread(home.servers[stopped].start)
                    await recorder.wait_writes(20)
                    await asyncio.to_thread(home.servers[killed].kill)
                    home.weather.clear(lose=bool(number % 2))
                    await recorder.wait_writes(20)
                    await asyncio.to_thread(home.servers[killed].start)
            await check_run(client, home.servers, recorder)
            return recorder.acknowledged

    assert run(story) >= 6 * 80
