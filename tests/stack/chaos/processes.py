"""Faults of processes: killed, stopped for a while, given too little time, too few descriptors, too much nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from tests.stack.chaos.kinds import NotNow, kind
from tests.stack.chaos.nodes import Node
from tests.stack.chaos.scene import Scene, names
from zraft.transport.address import split_address
from zraft.wire.handshake import MAGIC, NEWEST_VERSION, OLDEST_VERSION

FLOOD: Final = 120
"""Connections at once."""
FEW_FILES: Final = 48


@kind("kill the leader", weight=4)
async def kill_leader(scene: Scene) -> AsyncIterator[None]:
    async for _ in _killed(scene, [await _one(scene, "leader")]):
        yield


@kind("kill a follower")
async def kill_follower(scene: Scene) -> AsyncIterator[None]:
    async for _ in _killed(scene, [await _one(scene, "follower")]):
        yield


@kind("kill a majority")
async def kill_majority(scene: Scene) -> AsyncIterator[None]:
    count = len(scene.nodes) // 2 + 1
    async for _ in _killed(scene, scene.chance.sample(scene.up, min(count, len(scene.up)))):
        yield


@kind("kill all", weight=1)
async def kill_all(scene: Scene) -> AsyncIterator[None]:
    async for _ in _killed(scene, scene.up):
        yield


async def _killed(scene: Scene, victims: Sequence[Node]) -> AsyncIterator[None]:
    if not victims:
        raise NotNow
    scene.say(f"SIGKILL {names(victims)}")
    for node in victims:
        await node.kill()
    yield
    await scene.revive(*victims)


@kind("stop the leader in its tracks", weight=3)
async def pause_leader(scene: Scene) -> AsyncIterator[None]:
    async for _ in _paused(scene, [await _one(scene, "leader")]):
        yield


@kind("stop some in their tracks")
async def pause_some(scene: Scene) -> AsyncIterator[None]:
    up = scene.up
    async for _ in _paused(scene, scene.chance.sample(up, scene.chance.randint(1, max(1, len(up))) if up else 0)):
        yield


async def _paused(scene: Scene, victims: Sequence[Node]) -> AsyncIterator[None]:
    if not victims:
        raise NotNow
    scene.say(f"SIGSTOP {names(victims)}")
    for node in victims:
        node.pause()
    try:
        await scene.hold(0.1, scene.chance.choice([0.5, 1.5, 3, 10]))
        yield
    finally:
        for node in victims:
            if node.is_paused:
                node.resume()
        scene.say(f"SIGCONT {names(victims)}")


@kind("stop the leader in its tracks, and cut it off", weight=3)
async def pause_unheard_leader(scene: Scene) -> AsyncIterator[None]:
    """When it goes on it hears clients that have waited, and from nobody that another leads."""
    node = await _one(scene, "leader")
    scene.say(f"SIGSTOP {node.peer.node}, which is cut off")
    node.pause()
    scene.weather.isolate(node.peer, scene.peers)
    try:
        await scene.hold(1, 4)
        node.resume()
        scene.say(f"SIGCONT {node.peer.node}")
        await scene.hold(0.3, 1)
        yield
    finally:
        node.resume()
        scene.weather.clear(lose=scene.chance.random() < 0.5)


@kind("starve of processor time")
async def starve(scene: Scene) -> AsyncIterator[None]:
    victims = scene.chance.sample(scene.up, scene.chance.randint(1, max(1, len(scene.up)))) if scene.up else []
    if not victims:
        raise NotNow
    off_s, on_s = scene.chance.choice([(0.05, 0.05), (0.2, 0.05), (0.02, 0.01)])
    scene.say(f"only {on_s:g} of every {on_s + off_s:g} s for {names(victims)}")

    async def cycle() -> None:
        while True:
            for node in victims:
                if node.is_up:
                    node.pause()
            await asyncio.sleep(off_s)
            for node in victims:
                if node.is_paused:
                    node.resume()
            await asyncio.sleep(on_s)

    task = asyncio.create_task(cycle())
    try:
        await scene.hold(1, 4)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for node in victims:
            if node.is_paused:
                node.resume()
    yield


@kind("few descriptors and a flood of connections")
async def flood(scene: Scene) -> AsyncIterator[None]:
    node = await _one(scene, "leader", "any")
    node.may_end = "it may have no descriptor for its journal"
    before = resource.prlimit(node.server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.server.pid, resource.RLIMIT_NOFILE, (FEW_FILES, before[1]))
    scene.say(f"{FEW_FILES} descriptors for {node.peer.node}, and {FLOOD} connections")
    pid = node.server.pid
    with contextlib.ExitStack() as stack:
        for _ in range(FLOOD):
            stack.enter_context(_connection(*split_address(node.server.address)))
        await scene.hold(0.5, 2)
    if node.server.is_running and node.server.pid == pid:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    yield


@kind("nonsense at the ports")
async def nonsense(scene: Scene) -> AsyncIterator[None]:
    node = await _one(scene, "any")
    host, port = split_address(node.server.address)
    scene.say(f"nonsense for {node.peer.node} and its port for snapshots")
    for number in range(30):
        with _connection(host, (port, node.bulk_port)[number % 2]) as connection:
            opening = MAGIC + bytes([OLDEST_VERSION, NEWEST_VERSION]) if scene.chance.random() < 0.5 else b""
            data = opening + scene.chance.randbytes(scene.chance.choice([1, 100, 5000, 100_000]))
            with contextlib.suppress(OSError):
                connection.send(data)
        await asyncio.sleep(0.01)
    yield


@contextlib.contextmanager
def _connection(host: str, port: int) -> Iterator[socket.socket]:
    """One that is opened as far as it goes at once."""
    with socket.socket() as connection:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.connect((host, port))
        yield connection


async def _one(scene: Scene, *who: str) -> Node:
    node = await scene.pick(*who)
    if node is None:
        raise NotNow
    return node
