"""What a change of members asks of the nodes and of the group, and what it leaves behind when it fails."""

from __future__ import annotations

import pytest

from tests.unit.client.test_groups import OLD, A, B, C, FakeNode, node_of, world
from tests.unit.client.world import World
from zraft.client.client import Client
from zraft.errors import (
    CatchUpTimeout,
    ChangeInProgress,
    CreateError,
    LeaderChanged,
    NewerExists,
    PeersChanged,
    PeerUnavailable,
    RequestError,
    UsageError,
)
from zraft.types import GroupId, Member, PeerId
from zraft.wire.requests import ChangeMembership, GetConf, RemovePeer, StartPeer

__all__ = ["world"]


async def to_three(client: Client) -> list[PeerId]:
    return await client.set_new_conf(A, [A, B, C], [A])


@pytest.fixture
def alone(world: World) -> World:
    """The group consists of A."""
    node_of(world, A).members = (node_of(world, A).hold("a", "leader", 3),)
    return world


def test_a_change_starts_new_peers_and_keeps_the_others(world: World) -> None:
    """New ones with the group and backend of the old; members with the incarnation that they have now."""
    node_of(world, A).hold("a", "leader", 3)
    node_of(world, B).hold("b", "follower", 4)
    node_of(world, A).members = (Member(A, 3), Member(B, 4))
    assert world.run(lambda client: client.set_new_conf(A, [B, C], [A, B])) == [B, C]
    (started,) = world.requests(StartPeer)
    assert (started.name, started.group, started.backend) == ("c", OLD, "dict")
    (change,) = world.requests(ChangeMembership)
    assert (change.new_members, change.old_peers) == ([Member(B, 4), Member(C, 7)], [A, B])


def test_a_member_that_lost_its_data_is_admitted_with_its_new_incarnation(world: World) -> None:
    """The unchanged set names the peer anew (BM-043)."""
    node_of(world, A).hold("a", "leader", 3)
    node_of(world, A).members = (Member(A, 3), Member(B, 4))
    world.run(lambda client: client.set_new_conf(A, [A, B], [A, B]))
    (change,) = world.requests(ChangeMembership)
    assert change.new_members == [Member(A, 3), Member(B, 7)]


def test_a_member_whose_node_is_down_keeps_its_incarnation(world: World) -> None:
    """As the configuration knows it; a new peer on such a node is refused."""
    node_of(world, A).hold("a", "leader", 3)
    node_of(world, A).members = (Member(A, 3), Member(B, 9))
    del world.nodes[B.node], world.nodes[C.node]
    world.run(lambda client: client.set_new_conf(A, [A, B], [A, B]))
    (change,) = world.requests(ChangeMembership)
    assert change.new_members == [Member(A, 3), Member(B, 9)]
    with pytest.raises(PeerUnavailable, match="is new"):
        world.run(lambda client: client.set_new_conf(A, [A, C], [A, B]))


def test_a_change_is_not_made_over_another_group(world: World) -> None:
    """The name is taken on that node."""
    node_of(world, A).members = (node_of(world, A).hold("a", "leader"),)
    node_of(world, B).hold("b", "follower", group=GroupId(b"another group..."))
    with pytest.raises(CreateError) as caught:
        world.run(lambda client: client.set_new_conf(A, [A, B], [A]))
    assert caught.value.errors == {B: "already_present"}
    assert world.requests(ChangeMembership) == []


def test_a_change_of_a_peer_that_is_not_there_is_refused(world: World) -> None:
    """There is no group to change."""
    node_of(world, A).refusals[GetConf] = PeerUnavailable("no peer a")
    with pytest.raises(PeerUnavailable, match="no peer a"):
        world.run(lambda client: client.set_new_conf(A, [A, B], [A]))


def test_wrong_old_peers_are_answered_with_the_present_ones(alone: World) -> None:
    """Nothing is started."""
    with pytest.raises(PeersChanged) as caught:
        alone.run(lambda client: client.set_new_conf(A, [A, C], [A, B]))
    assert caught.value.peers == (A,)
    assert str(A) in str(caught.value)
    assert alone.requests(StartPeer) == []


def test_the_change_under_way_is_joined_and_another_is_refused(world: World) -> None:
    """Learners have data by now; they are the very members that the group knows of."""
    node = node_of(world, A)
    node.members = (node.hold("a", "leader", 3),)
    node_of(world, B).hold("b", "learner", 8)
    node.learners, node.target = (Member(B, 8),), (Member(A, 3), Member(B, 8))
    assert world.run(lambda client: client.set_new_conf(A, [B, A], [A])) == [B, A]
    (joined,) = world.requests(ChangeMembership)
    assert (joined.new_members, joined.conf_index) == ([Member(B, 8), Member(A, 3)], 0)
    with pytest.raises(ChangeInProgress, match=str(B)):
        world.run(lambda client: client.set_new_conf(A, [A, C], [A]))
    node.learners, node.target = (), ()
    node.members, node.outgoing = (Member(A, 3), Member(B, 8)), (Member(A, 3),)
    world.run(lambda client: client.set_new_conf(A, [A, B], [A]))
    assert len(world.requests(ChangeMembership)) == 2
    assert world.requests(StartPeer) == []


def test_a_change_that_is_done_by_now_is_not_begun_again(world: World) -> None:
    """Somebody repeats the call after it timed out: the peers are as wanted."""
    node = node_of(world, A)
    node.members = (node.hold("a", "leader", 3), Member(B, 8))
    assert world.run(lambda client: client.set_new_conf(A, [A, B], [A])) == [A, B]
    (change,) = world.requests(ChangeMembership)
    assert change.new_members == [Member(A, 3), Member(B, 8)]


def test_a_replica_that_the_group_left_out_makes_room_for_a_new_one(alone: World) -> None:
    """It holds old data and does not know that it was dropped; its incarnation never comes back."""
    node_of(alone, B).hold("b", "learner", 4)
    alone.run(lambda client: client.set_new_conf(A, [A, B], [A]))
    (removed,) = alone.requests(RemovePeer)
    assert (removed.name, removed.conf_index) == ("b", 5)
    (change,) = alone.requests(ChangeMembership)
    assert change.new_members == [Member(A, 3), Member(B, 7)]
    node_of(alone, B).conf_index = 9
    node_of(alone, B).hold("b", "follower", 4)
    with pytest.raises(ChangeInProgress, match="meanwhile"):
        alone.run(lambda client: client.set_new_conf(A, [A, B], [A]))


def test_a_blank_replica_of_the_group_is_used(alone: World) -> None:
    """An earlier attempt made it."""
    node_of(alone, B).hold("b", "blank", 4)
    alone.run(lambda client: client.set_new_conf(A, [A, B], [A]))
    (change,) = alone.requests(ChangeMembership)
    assert change.new_members == [Member(A, 3), Member(B, 4)]


@pytest.mark.parametrize(
    ("error", "is_left"),
    [
        (CatchUpTimeout("no progress", executed="maybe"), False),
        (NewerExists("changed at 9"), False),
        (LeaderChanged("lost"), True),
    ],
)
def test_what_a_failed_change_made_is_removed_where_it_was_not_made(
    alone: World, error: RequestError, is_left: bool
) -> None:
    """Where it may go on the new peers are needed."""
    node_of(alone, A).refusals[ChangeMembership] = error
    with pytest.raises(type(error)):
        alone.run(to_three)
    assert [bool(node_of(alone, peer).entries) for peer in (B, C)] == [is_left, is_left]


def test_a_peer_that_cannot_be_made_leaves_no_other_behind(alone: World) -> None:
    """One name is taken: what was made beside it goes again."""
    node_of(alone, B).hold("b", "follower", group=GroupId(b"another group..."))
    with pytest.raises(CreateError):
        alone.run(to_three)
    assert node_of(alone, C).entries == {}
    del alone.nodes[B.node]
    with pytest.raises(PeerUnavailable, match="start that node first"):
        alone.run(to_three)
    assert node_of(alone, C).entries == {}
    alone.nodes[B.node] = FakeNode("127.0.0.1:99")
    with pytest.raises(UsageError, match="is known to others as"):
        alone.run(to_three)
    assert node_of(alone, C).entries == {}
