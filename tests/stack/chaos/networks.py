"""Faults of the network: who is not heard, heard late, in drops, or only until the middle of a frame."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tests.stack.chaos.kinds import NotNow, kind
from tests.stack.chaos.nodes import Node
from tests.stack.chaos.scene import Scene


async def _victim(scene: Scene) -> Node:
    node = await scene.pick("leader", "leader", "follower")
    if node is None:
        raise NotNow
    return node


def _links(scene: Scene, node: Node) -> list[Node]:
    return [other for other in scene.nodes if other is not node]


async def _until_heard(scene: Scene) -> AsyncIterator[None]:
    try:
        await scene.hold(0.5, 3)
        yield
    finally:
        lose = scene.chance.random() < 0.5
        scene.weather.clear(lose=lose)
        scene.say(f"everybody is heard again, what was kept back {'is lost' if lose else 'arrives'}")


@kind("cut one off", weight=4)
async def cut_off(scene: Scene) -> AsyncIterator[None]:
    node = await _victim(scene)
    scene.say(f"{node.peer.node} is cut off")
    scene.weather.isolate(node.peer, scene.peers)
    async for _ in _until_heard(scene):
        yield


@kind("cut one direction", weight=3)
async def cut_one_way(scene: Scene) -> AsyncIterator[None]:
    node = await _victim(scene)
    is_voice = scene.chance.random() < 0.5
    scene.say(f"{node.peer.node} {'is not heard' if is_voice else 'does not hear'}")
    for other in _links(scene, node):
        ends = (node.peer, other.peer) if is_voice else (other.peer, node.peer)
        scene.weather.cut(*ends)
    async for _ in _until_heard(scene):
        yield


@kind("cut random links")
async def cut_some(scene: Scene) -> AsyncIterator[None]:
    links = [(one.peer, other.peer) for one in scene.nodes for other in _links(scene, one)]
    for ends in scene.chance.sample(links, scene.chance.randint(1, len(links))):
        scene.say(f"{ends[1].node} does not hear {ends[0].node}")
        scene.weather.cut(*ends)
    async for _ in _until_heard(scene):
        yield


@kind("delay")
async def delay(scene: Scene) -> AsyncIterator[None]:
    node, seconds = await _victim(scene), scene.chance.choice([0.05, 0.2, 0.6])
    scene.say(f"from and to {node.peer.node} it takes {seconds:g} s")
    for other in _links(scene, node):
        scene.weather.delay(node.peer, other.peer, seconds)
        scene.weather.delay(other.peer, node.peer, seconds)
    async for _ in _until_heard(scene):
        yield


@kind("byte by byte")
async def trickle(scene: Scene) -> AsyncIterator[None]:
    node = await _victim(scene)
    other = scene.chance.choice(_links(scene, node))
    scene.say(f"{other.peer.node} hears {node.peer.node} byte by byte")
    scene.weather.trickle(node.peer, other.peer)
    async for _ in _until_heard(scene):
        yield


@kind("reset connections in the middle of frames", weight=3)
async def reset(scene: Scene) -> AsyncIterator[None]:
    node, longest = await _victim(scene), scene.chance.choice([40, 500, 20_000])
    scene.say(f"connections of {node.peer.node} are reset, each after at most {longest} bytes")
    for other in _links(scene, node):
        for ends in ((node.peer, other.peer), (other.peer, node.peer)):
            scene.weather.break_off(*ends, lambda: scene.chance.randint(1, longest))
    async for _ in _until_heard(scene):
        yield


@kind("leave connections half open")
async def half_open(scene: Scene) -> AsyncIterator[None]:
    """The node dies while nobody hears it, and comes back: the others hold connections to nobody."""
    node = await _victim(scene)
    scene.say(f"{node.peer.node} is cut off, killed and started: its connections stay half open")
    scene.weather.isolate(node.peer, scene.peers)
    await scene.hold(0.2, 1)
    await node.kill()
    await scene.revive(node)
    async for _ in _until_heard(scene):
        yield
