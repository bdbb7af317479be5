"""The story that the system before this one told of its sessions, from the first watch to the last lost client."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import zraft
from tests.stack.clusters import WAIT_S, Cluster, run
from tests.stack.conftest import MakeCluster
from zraft.types import NOT_FOUND

LONG = 20.0
LOST_CLIENT = """
import sys, time
from zraft import blocking

with blocking.Client() as client:
    session = client.start_session(sys.argv[1].split(","), 2.0)
    session.write(("mine", 1), temporary=True)
    print("it is there", flush=True)
    time.sleep(3600)
"""


@contextmanager
def lost_client(cluster: Cluster) -> Iterator[subprocess.Popen[str]]:
    """A process with a session and temporary data, which lives by its pings."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOST_CLIENT, cluster.peers_text], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.timeout(120)
def test_the_story_of_sessions_that_the_ancestor_told(make_cluster: MakeCluster) -> None:
    """Temporary data, one-shot watches, the loss of the leader, and of a client, over real processes."""
    cluster = make_cluster(3)

    async def fires(session: zraft.Session, ref: str) -> str:
        return (await session.wait_trigger(ref, timeout=WAIT_S)).reason

    async def story(client: zraft.Client) -> None:
        await client.ensure(cluster.peers, timeout=60)
        async with client.start_session(cluster.peers[0], LONG) as one:
            other = await client.start_session(cluster.peers[1], LONG)
            assert other.id > one.id

            assert await one.query("key", watch="made", timeout=WAIT_S) is NOT_FOUND
            assert await other.write(("key", 1), temporary=True, timeout=WAIT_S) == "ok"
            assert await fires(one, "made") == "change"
            assert await one.query("key", watch="ended", timeout=WAIT_S) == 1
            await other.stop()
            assert await fires(one, "ended") == "change"
            assert await one.query("key", timeout=WAIT_S) is NOT_FOUND

            assert await one.query("key", watch="lost", timeout=WAIT_S) is NOT_FOUND
            leader = cluster.servers[(await client.get_conf(cluster.peers[0], timeout=WAIT_S)).leader]
            os.kill(leader.pid, signal.SIGSTOP)
            write = asyncio.create_task(one.write(("elsewhere", 2), timeout=WAIT_S))
            query = asyncio.create_task(one.query("elsewhere", timeout=WAIT_S))
            await asyncio.sleep(0)  # both are on their way to who will not answer
            await asyncio.to_thread(leader.kill)
            assert await fires(one, "lost") == "change_leader"
            assert await write == "ok"
            assert await query in (NOT_FOUND, 2)
            assert await one.query("elsewhere", timeout=WAIT_S) == 2

            with lost_client(cluster) as process:
                assert process.stdout is not None
                assert await asyncio.to_thread(process.stdout.readline) == "it is there\n"
                assert await one.query("mine", watch="silent", timeout=WAIT_S) == 1
                process.send_signal(signal.SIGKILL)
                assert await fires(one, "silent") == "change"
                assert await one.query("mine", timeout=WAIT_S) is NOT_FOUND
            assert one.state == "connected"

    run(story)
