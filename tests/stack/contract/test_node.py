"""Nodes: their life, their peers, what they tell, and which backends they know."""

from __future__ import annotations

import asyncio
import importlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.contract.backends import Counter
from zraft import blocking

WAIT_S = 60.0


def config(folder: Path, listen: str = "127.0.0.1:0", **changes: Any) -> zraft.Config:
    settings: dict[str, Any] = {"election_timeout": 0.2, "max_segment_size": 1 << 16, **changes}
    return zraft.Config(listen=listen, log_dir=folder / "log", snapshot_dir=folder / "snapshots", **settings)


@asynccontextmanager
async def three(folder: Path, **changes: Any) -> AsyncIterator[list[zraft.Node]]:
    """Nodes in this loop."""
    settings = {"election_timeout": 1, **changes}  # no other leader because the machine is busy
    nodes = [zraft.Node(config(folder / str(number), **settings), backends={"counter": Counter}) for number in range(3)]
    try:
        for node in nodes:
            await node.start()
        yield nodes
    finally:
        for node in nodes:
            await node.stop()


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3 * WAIT_S):
            await story()

    asyncio.run(bounded())


def test_the_example_of_a_node(tmp_path: Path) -> None:
    """A context manager, with backends of its own; `address` and `peers` need no await."""

    async def story() -> None:
        async with zraft.Node(config(tmp_path), backends={"counter": Counter}) as node:
            assert node.address.startswith("127.0.0.1:")
            assert node.peers() == []
            (peer,) = await zraft.create([f"c@{node.address}"], "counter")
            assert node.peers() == [peer]
            await node.wait_role("c", "leader", timeout=timedelta(seconds=WAIT_S))
            assert (await zraft.write(peer, 3)).result == 3
        await node.stop()
        await node.wait_closed()
        assert node.peers() == []

    run(story)


def test_a_node_starts_every_peer_that_it_finds(tmp_path: Path) -> None:
    """With the stored backend; one whose backend is not known any more is down and says so, and the others run."""

    async def story() -> None:
        async with zraft.Node(config(tmp_path), backends={"counter": Counter}) as node:
            address = node.address
            await zraft.create([f"c@{address}"], "counter")
            await zraft.create([f"d@{address}"])
            await zraft.write(f"c@{address}", 7)
            await zraft.write(f"d@{address}", ("k", "v"))
        async with zraft.Node(config(tmp_path, address)) as node:
            assert [str(peer) for peer in node.peers()] == [f"c@{address}", f"d@{address}"]
            status = await zraft.stat(f"c@{address}")
            assert status.role == "failed"
            assert "counter" in (status.fault or "")
            assert (await zraft.query(f"d@{address}", "k", timeout=WAIT_S)).result == "v"
            with pytest.raises(zraft.PeerUnavailable):
                await node.wait_role("c", "leader", timeout=1)
        async with zraft.Node(config(tmp_path, address), backends={"counter": Counter}):
            assert (await zraft.query(f"c@{address}", None, timeout=WAIT_S)).result == 7

    run(story)


def test_a_node_that_stops_hands_its_leadership_over(tmp_path: Path) -> None:
    """The group goes on within less than an election timeout of a minute."""

    async def story() -> None:
        async with three(tmp_path, election_timeout=60) as nodes:
            peers = await zraft.create([f"g@{node.address}" for node in nodes])
            await nodes[0].wait_role("g", "leader", timeout=WAIT_S)
            await nodes[0].stop()
            async with asyncio.timeout(40):
                result, leader = await zraft.write(peers[1], ("k", "v"), timeout=None)
            assert (result, leader in peers[1:]) == ("ok", True)

    run(story)


def test_peers_are_stopped_started_and_removed(tmp_path: Path) -> None:
    """Their data stays until they are removed, which a peer is only when no configuration names it."""

    async def story() -> None:
        async with zraft.Node(config(tmp_path)) as node:
            (peer,) = await zraft.create([f"p@{node.address}"])
            await zraft.write(peer, ("k", "v"))
            await node.stop_peer("p")
            with pytest.raises(zraft.PeerUnavailable):
                await zraft.query(peer, "k", timeout=1)
            await node.stop_peer("p")
            await node.start_peer("p")
            await node.start_peer("p")
            assert (await zraft.query(peer, "k", timeout=WAIT_S)).result == "v"
            with pytest.raises(zraft.MembershipError):
                await node.remove_peer("p")
            for call in (node.start_peer, node.stop_peer, node.remove_peer):
                with pytest.raises(zraft.PeerUnavailable):
                    await call("nobody")

    run(story)


def test_roles_are_waited_for(tmp_path: Path) -> None:
    """Also for a peer that is still to come; in vain only for so long."""

    async def story() -> None:
        async with three(tmp_path) as nodes:
            waiting = asyncio.create_task(nodes[0].wait_role("g", "leader", timeout=WAIT_S))
            await zraft.create([f"g@{node.address}" for node in nodes])
            await waiting
            await nodes[1].wait_role("g", "follower", timeout=None)
            with pytest.raises(zraft.RequestTimeout) as late:
                await nodes[1].wait_role("g", "leader", timeout=0.05)
            assert late.value.executed == "no"
            with pytest.raises(zraft.UsageError):
                await nodes[1].wait_role("g", "king", timeout=1)
            for wrong in (-1, "5", float("nan")):
                with pytest.raises(zraft.UsageError):
                    await nodes[1].wait_role("g", "leader", timeout=wrong)  # type: ignore[arg-type]  # refused

    run(story)


def test_events_tell_what_becomes_of_peers(tmp_path: Path) -> None:
    """Role, leader and configuration, in order, first as things stand; the iterator ends with the node."""

    async def story() -> None:
        async with zraft.Node(config(tmp_path)) as node:
            (peer,) = await zraft.create([f"p@{node.address}"])
            await node.wait_role("p", "leader", timeout=WAIT_S)
            (other,) = await zraft.create([f"q@{node.address}"])
            told: list[zraft.PeerEvent] = []
            events = node.events()
            await node.stop_peer("q")

            async def listen() -> None:
                async for event in events:
                    told.append(event)

            listening = asyncio.create_task(listen())
        await listening
        assert {(event.peer, event.role, event.leader, event.changed) for event in told[:2]} == {
            (peer, "leader", peer, ()),
            (other, "leader", other, ()),
        }
        assert all(isinstance(event, zraft.PeerEvent) for event in told)
        assert told[0].peers == (peer,)
        assert any(event.peer == other and "role" in event.changed for event in told[2:])

    run(story)


def test_an_application_acts_when_it_leads(tmp_path: Path) -> None:
    """Whoever listens hears of the new leader when the old one goes."""

    async def story() -> None:
        async with three(tmp_path) as nodes:
            await zraft.create([f"g@{node.address}" for node in nodes])
            leads: asyncio.Queue[str] = asyncio.Queue()

            async def listen(node: zraft.Node) -> None:
                async for event in node.events():
                    if event.role == "leader":
                        leads.put_nowait(node.address)

            tasks = [asyncio.create_task(listen(node)) for node in nodes]
            assert await leads.get() == nodes[0].address
            await nodes[0].stop()
            assert await leads.get() in {node.address for node in nodes[1:]}
            for task in tasks:
                task.cancel()

    run(story)


def test_a_node_that_cannot_run_says_why(tmp_path: Path) -> None:
    """An address that is taken, data that is in use, a life that is over."""

    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(zraft.AddressInUse):
            await zraft.Node(config(tmp_path / "a", f"127.0.0.1:{other.getsockname()[1]}")).start()
        node = zraft.Node(config(tmp_path / "b"))
        await node.stop()
        with pytest.raises(zraft.UsageError):
            await node.wait_closed()
        async with node:
            with pytest.raises(zraft.DataDirInUse):
                await zraft.Node(config(tmp_path / "b")).start()
            with pytest.raises(zraft.UsageError):
                await node.start()
        with pytest.raises((zraft.PeerUnavailable, zraft.UsageError)):
            await node.start_peer("p")
        with pytest.raises(zraft.UsageError):
            zraft.Node(config(tmp_path / "c"), backends={"bad name": Counter})
        with pytest.raises(zraft.UsageError):
            zraft.Node(config(tmp_path / "c"), backends={"x": object})  # type: ignore[dict-item]  # refused

    run(story)


INSTALLED = {
    "installed_a.py": "import zraft\nclass A(zraft.Backend):\n"
    "    def apply(self, command, ctx): return ['a', command]\n    def query(self, query): return 'a'\n",
    "installed_b.py": "raise RuntimeError('broken')\n",
    "zraft_plugins-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: zraft-plugins\nVersion: 1\n",
    "zraft_plugins-1.dist-info/entry_points.txt": "[zraft.backends]\nalpha = installed_a:A\nbeta = installed_b:B\n"
    "dict = installed_a:A\ncounter = installed_b:B\n",
}


def test_installed_packages_offer_backends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As entry points of the group `zraft.backends`. One that is broken, or takes a built-in name, is left out."""
    for name, text in INSTALLED.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()

    async def story() -> None:
        async with zraft.Node(config(tmp_path), backends={"counter": Counter}) as node:
            (alpha,) = await zraft.create([f"a@{node.address}"], "alpha")
            assert (await zraft.write(alpha, 1)).result == ["a", 1]
            (plain,) = await zraft.create([f"d@{node.address}"], "dict")
            assert (await zraft.write(plain, ("k", 1))).result == "ok"
            (counter,) = await zraft.create([f"c@{node.address}"], "counter")
            assert (await zraft.write(counter, 1)).result == 1
            with pytest.raises(zraft.CreateError) as refused:
                await zraft.create([f"b@{node.address}"], "beta")
            assert list(refused.value.errors.values()) == ["unknown_backend"]

    with caplog.at_level(logging.WARNING, "zraft"):
        run(story)
    left_out = [line for line in caplog.messages if "left out" in line]
    assert len(left_out) == 2
    assert any("beta" in line and "RuntimeError: broken" in line for line in left_out)


def test_a_node_in_a_thread_of_its_own(tmp_path: Path) -> None:
    """`blocking.Node` has the same methods without `async`."""
    with blocking.Node(config(tmp_path), backends={"counter": Counter}) as node:
        (peer,) = blocking.create([f"p@{node.address}"], "counter")
        node.wait_role("p", "leader", timeout=WAIT_S)
        assert node.peers() == [peer]
        assert blocking.write(peer, 2).result == 2
        event = next(iter(node.events()))
        assert (event.peer, event.role) == (peer, "leader")
        node.stop_peer("p")
        node.start_peer("p")
        node.wait_role("p", "leader", timeout=WAIT_S)
        with pytest.raises(zraft.MembershipError):
            node.remove_peer("p")
    node.stop()
    node.wait_closed()
