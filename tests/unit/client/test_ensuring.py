"""A group that is to exist: waited for, founded once, left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.unit.client.test_groups import OLD, A, B, C, FakeNode, node_of
from tests.unit.client.world import World
from zraft.client.client import Client
from zraft.errors import BackendMismatch, CreateError, PeerUnavailable, RequestTimeout
from zraft.types import GroupId, PeerId
from zraft.wire.requests import Bootstrap, ChangeMembership, Started, StartPeer

GROUP = [C, A, B]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Three nodes that hold nothing."""
    made = World(monkeypatch)
    made.nodes = {peer.node: FakeNode(peer.node) for peer in GROUP}
    return made


def ensure(world: World, peers: list[PeerId] = GROUP, backend: str = "dict", seconds: float = 30.0) -> list[PeerId]:
    """The group is to exist."""
    return world.run(lambda client: client.ensure(peers, backend, timeout=seconds))


def started_again(node: FakeNode) -> Callable[[Any], Any]:
    """A node that answers as before when it is asked again to start what it has."""

    def answer(request: Any) -> Any:
        if isinstance(request, StartPeer) and request.name in node.entries:
            return Started(request.id, node.entries[request.name].member)
        return node(request)

    return answer


def test_a_group_is_founded_by_the_first_in_the_order_of_names(world: World) -> None:
    """Whatever order the caller has; the answer is in the caller's."""
    assert ensure(world) == GROUP
    (bootstrap,) = world.requests(Bootstrap)
    assert [member.peer for member in bootstrap.members] == [A]
    (change,) = world.requests(ChangeMembership)
    assert [member.peer for member in change.new_members] == [A, B, C]


def test_nodes_are_waited_for(world: World) -> None:
    """Nothing is started before the last of them answers."""
    late = world.nodes.pop(C.node)

    def come() -> None:
        assert world.requests(StartPeer) == []
        world.nodes[C.node] = late

    async def story(client: Client) -> Any:
        asyncio.get_running_loop().call_later(7, come)
        return await client.ensure(GROUP)

    assert world.run(story) == GROUP


def test_nodes_that_never_come_are_named(world: World) -> None:
    """And nothing was made."""
    del world.nodes[C.node]
    with pytest.raises(RequestTimeout, match="missing c@"):
        ensure(world, seconds=3)
    assert world.requests(StartPeer) == []


def test_a_group_that_is_there_is_left_alone(world: World) -> None:
    """Also where one of its nodes has lost its data, or it has other members by now."""
    node_of(world, B).hold("b", "follower")
    assert ensure(world) == GROUP
    assert world.requests(StartPeer) == []
    assert world.requests(ChangeMembership) == []


def test_what_another_caller_began_is_completed(world: World) -> None:
    """A blank first peer gives its group to the others."""
    group = GroupId(b"the first caller")
    node_of(world, A).hold("a", "blank", 3, group)
    node_of(world, B).hold("b", "blank", 4, group)

    for peer in (A, B, C):
        world.nodes[peer.node] = started_again(node_of(world, peer))
    assert ensure(world) == GROUP
    assert {request.group for request in world.requests(StartPeer)} == {group}
    (bootstrap,) = world.requests(Bootstrap)
    assert bootstrap.members[0].incarnation == 3


def test_a_founder_whose_others_wait_is_joined_by_them(world: World) -> None:
    """The caller died between founding and joining."""
    group = GroupId(b"the first caller")
    node_of(world, A).hold("a", "leader", 3, group)
    for peer in (B, C):
        node_of(world, peer).hold(peer.name, "blank", 4, group)

    for peer in (B, C):
        world.nodes[peer.node] = started_again(node_of(world, peer))
    assert ensure(world) == GROUP
    assert world.requests(Bootstrap) == []
    assert len(world.requests(ChangeMembership)) == 1


def test_the_founder_need_not_be_the_first_in_the_order_of_names(world: World) -> None:
    """A `create` with another order was killed between founding and joining."""
    group = GroupId(b"the first caller")
    node_of(world, B).hold("b", "leader", 3, group)
    for peer in (A, C):
        node_of(world, peer).hold(peer.name, "blank", 4, group)
        world.nodes[peer.node] = started_again(node_of(world, peer))
    assert ensure(world) == GROUP
    assert world.requests(Bootstrap) == []
    (change,) = world.requests(ChangeMembership)
    assert [member.peer for member in change.new_members] == [B, A, C]
    assert change.old_peers == [B]


def test_a_blank_peer_of_another_backend_founds_nothing(world: World) -> None:
    """It is replaced: all replicas of a group have one backend."""
    node_of(world, A).hold("a", "blank")
    entry = node_of(world, A).entries["a"]
    node_of(world, A).entries["a"] = msgspec.structs.replace(entry, backend="another")
    assert ensure(world) == GROUP
    assert node_of(world, A).entries["a"].backend == "dict"
    assert len({request.group for request in world.requests(StartPeer)} - {OLD}) >= 1
    (bootstrap,) = world.requests(Bootstrap)
    assert bootstrap.members[0].incarnation == 7


def test_what_can_never_be_leaves_nothing_behind(world: World) -> None:
    """One of the nodes lacks the backend."""
    node_of(world, C).refusals[StartPeer] = CreateError({C: "unknown_backend"})
    with pytest.raises(CreateError) as caught:
        ensure(world)
    assert caught.value.errors == {C: "unknown_backend"}
    assert [node_of(world, peer).entries for peer in GROUP] == [{}, {}, {}]


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_it_is_given_up_when_the_time_is_up_and_not_before(world: World, seconds: float) -> None:
    """Nothing was begun, so nothing ran; and only who is missing is called so."""
    del world.nodes[C.node]

    async def story(client: Client) -> float:
        with pytest.raises(RequestTimeout) as caught:
            await client.ensure(GROUP, timeout=seconds)
        assert caught.value.executed == "no"
        assert str(caught.value) == f"the group is not there after {seconds:g} s: missing {C}"
        return asyncio.get_running_loop().time()

    assert world.run(story) == pytest.approx(seconds)


def test_a_look_that_the_time_cuts_short_calls_nobody_missing(world: World) -> None:
    """What an earlier, complete look said stands; the first one tells who had no time to answer."""
    del world.nodes[C.node]
    quick = node_of(world, A)

    def falls_silent(request: Any) -> Any:
        return quick(request) if asyncio.get_running_loop().time() < 0.5 else None

    world.nodes[A.node] = falls_silent
    with pytest.raises(RequestTimeout, match=f": missing {C}$"):
        ensure(world, seconds=1)
    world.nodes[A.node] = lambda _: None
    with pytest.raises(RequestTimeout, match=f": missing {C}, no answer yet from {A}$"):
        ensure(world, seconds=1)
    with pytest.raises(RequestTimeout, match=f": missing {C}, {A}$"):
        ensure(world, seconds=6)


def test_a_step_that_fails_is_tried_again(world: World) -> None:
    """A node that goes in the middle comes back."""
    node_of(world, A).refusals[Bootstrap] = PeerUnavailable("the node is stopping")

    async def story(client: Client) -> Any:
        asyncio.get_running_loop().call_later(3, node_of(world, A).refusals.clear)
        return await client.ensure([A])

    assert world.run(story) == [A]


def test_what_can_never_be_is_told_at_once(world: World) -> None:
    """An unknown backend, a group with another backend, members of two groups."""
    with pytest.raises(CreateError) as caught:
        ensure(world, [A], "nope")
    assert caught.value.errors == {A: "unknown_backend"}
    node_of(world, A).hold("a", "follower")
    with pytest.raises(BackendMismatch, match="'dict', not 'table'"):
        ensure(world, [A], "table")
    node_of(world, B).hold("b", "follower", group=GroupId(b"quite another...."[:16]))
    with pytest.raises(CreateError):
        ensure(world, [A, B])
