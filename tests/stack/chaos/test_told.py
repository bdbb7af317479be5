"""A wiped, a rotten and a full disk on a minority: the group serves, and the operator is told what to do about it.

The three have one cluster of real servers, one after the other; each leaves it well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.stack.chaos.disks import fill
from tests.stack.chaos.nodes import Node, Plan, spawned
from tests.stack.clusters import WAIT_S, run, wait_until
from tests.stack.node.scene import flip
from zraft.app.cli import main
from zraft.client.client import Client
from zraft.types import PeerId

pytestmark = pytest.mark.uncounted

VALUE = "a value " * 4
ROTS = "a value that rots " * 4


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Three, with a group; the first one's disk is small, where the system lets us have such a one."""
    folder = tmp_path_factory.mktemp("told")
    plan = Plan(3, {"ZRAFT_MAX_SEGMENT_SIZE": "64KiB"}, library=None, has_small=True)
    with ExitStack() as stack:
        made = [spawned(stack, folder, number, plan) for number in range(3)]
        for node in made:
            node.server.wait_ready()
        run(lambda client: client.create([node.peer for node in made], timeout=WAIT_S))
        yield made


async def put(client: Client, nodes: list[Node], value: str) -> int:
    """Written by whoever leads; the index."""
    async with client.light_session([node.peer for node in nodes], retry_unknown=True) as session:
        return (await client.write(session, ("k", value), timeout=WAIT_S)).index


async def holds(client: Client, peer: PeerId, value: str, index: int) -> None:
    """It has what was written while it was away, and soon nothing to complain about."""
    assert await client.query_local(peer, "k", min_index=index, timeout=WAIT_S) == value
    async with asyncio.timeout(WAIT_S):
        while (await client.stat(peer, timeout=WAIT_S)).fault is not None:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.02)


async def cli(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command line prints."""
    await asyncio.to_thread(main, words)
    out, err = capsys.readouterr()
    return out + err


def test_a_full_disk_is_said_and_how_to_go_on_and_the_others_serve(
    nodes: list[Node], capsys: pytest.CaptureFixture[str]
) -> None:
    """BM-098: a file system without space. The server says so while the present segments still serve.

    Once they do not it ends with one line: what happened, where, what to do.
    """
    node = nodes[0]
    if not node.has_small:
        pytest.skip("NO NAME SPACE WITH A FILE SYSTEM OF OUR OWN HERE: A DISK THAT IS REALLY FULL IS NOT TESTED")
    filler = node.folder.parent / "filler"

    async def story(client: Client) -> None:
        await put(client, nodes, VALUE)
        await asyncio.to_thread(fill, filler)
        for number in range(40):
            await put(client, nodes, f"{number} " * 4000)  # more than the segments that are there can take
        await wait_until("its node ends", lambda: not node.server.is_running)
        assert node.server.wait_ended() == 1
        told = node.server.last_line()
        assert "No space left" in told
        assert f"make room in {node.server.folder}, then start it again" in told
        assert "the disk is full: others shall lead, or writes are refused" in node.server.log.read_text()
        assert "Traceback" not in node.server.log.read_text()
        assert "unreachable" in await cli(capsys, "status", "--peers", str(node.peer))
        index = await put(client, nodes, VALUE)
        filler.unlink()
        await asyncio.to_thread(node.server.start)
        await holds(client, node.peer, VALUE, index)

    run(story)


def test_a_rotten_disk_is_said_while_it_is_mended_and_the_others_serve(nodes: list[Node]) -> None:
    """BM-095: the log of its node says what was lost, that it does not vote, and when it was over."""

    async def story(client: Client) -> None:
        await put(client, nodes, ROTS)
        leader = (await client.get_conf(nodes[0].peer, timeout=WAIT_S)).leader
        spoiled = next(node for node in nodes if node.peer != leader)
        await holds(client, spoiled.peer, "later", await put(client, nodes, "later"))
        await asyncio.to_thread(spoiled.server.kill)
        flip(spoiled.folder, ROTS.encode())
        index = await put(client, nodes, "newer")
        await asyncio.to_thread(spoiled.server.start)
        await holds(client, spoiled.peer, "newer", index)
        text = spoiled.server.log.read_text()
        assert "lost part of its data, does not vote" in text
        assert "has again what it lost" in text

    run(story)


def test_a_wiped_disk_is_said_and_how_to_take_it_in_again_and_the_others_serve(
    nodes: list[Node], capsys: pytest.CaptureFixture[str]
) -> None:
    """BM-043: `zraft status` says that nobody is there and what to do; that is done, and it follows again."""

    async def story(client: Client) -> None:
        leader = (await client.get_conf(nodes[1].peer, timeout=WAIT_S)).leader
        lost = next(node for node in nodes if node.peer != leader)
        await lost.wipe()
        await asyncio.to_thread(lost.server.start)
        index = await put(client, nodes, "newest")
        told = await cli(capsys, "status", "--peers", str(lost.peer))
        assert f"no peer {lost.peer.name}" in told
        assert "zraft set-conf and all members" in told
        peers = [str(node.peer) for node in nodes]
        await cli(capsys, "set-conf", *peers, "--peers", str(leader), "--timeout", f"{WAIT_S:g}")
        await holds(client, lost.peer, "newest", index)

    run(story)
