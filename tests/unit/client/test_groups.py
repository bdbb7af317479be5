"""Groups made, changed and deleted: the steps, and what is left when one fails."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from tests.unit.client.world import World, peers
from zraft.client.client import Client
from zraft.errors import (
    CreateError,
    CreateProblem,
    MembershipError,
    NotLeader,
    NotStable,
    OutcomeUnknown,
    PeersChanged,
    PeerUnavailable,
    UsageError,
)
from zraft.types import GroupId, Member, PeerId
from zraft.wire.requests import (
    REMOVED,
    Bootstrap,
    ChangeMembership,
    Conf,
    GetConf,
    ListPeers,
    PeerEntry,
    Peers,
    PeerStatus,
    RemovePeer,
    Result,
    Started,
    StartPeer,
    Stat,
    Status,
    Transfer,
    kept_name,
)

A, B, C = GROUP = peers("a", "b", "c")
OLD = GroupId(bytes(16))


class FakeNode:
    """A node that makes, founds, changes and removes, and remembers what it holds."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.entries: dict[str, PeerEntry] = {}
        self.conf_index = 5
        self.members: tuple[Member, ...] = ()
        """Of its group's configuration, as its leader knows it."""
        self.learners: tuple[Member, ...] = ()
        self.outgoing: tuple[Member, ...] = ()
        self.target: tuple[Member, ...] = ()
        self.refusals: dict[type, Any] = {}
        """Errors that take the place of answers, by the kind of the request."""

    def hold(self, name: str, role: str, incarnation: int = 1, group: GroupId = OLD) -> Member:
        """There is such a replica."""
        member = Member(PeerId(name, self.node), incarnation)
        self.entries[name] = PeerEntry(member, group, "dict", role)
        return member

    def __call__(self, request: Any) -> Any:
        if type(request) in self.refusals:
            return self.refusals[type(request)]
        match request:
            case StartPeer():
                return self._start(request)
            case ListPeers():
                return Peers(request.id, tuple(self.entries.values()))
            case RemovePeer():
                return self._remove(request)
            case GetConf():
                leader = PeerId(request.peer, self.node)
                under_way = (self.learners, self.outgoing, self.target)
                return Conf(request.id, OLD, "dict", leader, self.conf_index, self.members, *under_way)
            case Stat():
                told = tuple(member.peer for member in self.members)
                return Status(request.id, PeerStatus(PeerId(request.peer, self.node), "leader", peers=told))
        return Result(request.id, 1)

    def _start(self, request: StartPeer) -> Any:
        if request.backend != "dict":
            return self._problem(request.name, "unknown_backend")
        if request.name in self.entries:
            return self._problem(request.name, "already_present")
        return Started(request.id, self.hold(request.name, "blank", 7, request.group))

    def _problem(self, name: str, problem: CreateProblem) -> CreateError:
        return CreateError({PeerId(name, self.node): problem})

    def _remove(self, request: RemovePeer) -> Any:
        entry = self.entries.get(request.name)
        if entry is None:
            return PeerUnavailable("no such peer")
        if entry.role == "follower" and request.conf_index <= self.conf_index:
            return MembershipError("it belongs to its group's configuration")
        del self.entries[request.name]
        return Result(request.id, 0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Three nodes that hold nothing."""
    made = World(monkeypatch)
    made.nodes = {peer.node: FakeNode(peer.node) for peer in GROUP}
    return made


def node_of(world: World, peer: PeerId) -> FakeNode:
    """The node of this peer."""
    node = world.nodes[peer.node]
    assert isinstance(node, FakeNode)
    return node


def test_a_group_is_made_in_three_steps(world: World) -> None:
    """Peers on every node, the first one founds the group, then all belong to it."""
    assert world.run(lambda client: client.create(map(str, GROUP))) == GROUP
    started = world.requests(StartPeer)
    assert [request.name for request in started] == ["a", "b", "c"]
    assert len({request.group for request in started}) == 1
    (bootstrap,) = world.requests(Bootstrap)
    assert bootstrap.members == [Member(A, 7)]
    (change,) = world.requests(ChangeMembership)
    assert (change.new_members, change.old_peers) == ([Member(peer, 7) for peer in GROUP], [A])


def test_a_group_of_one_needs_no_change(world: World) -> None:
    """It is ready when it leads itself."""
    assert world.run(lambda client: client.create([B])) == [B]
    assert world.requests(ChangeMembership) == []
    assert len(world.requests(GetConf)) == 1


def test_two_groups_have_different_ids(world: World) -> None:
    """128 random bits each."""
    for peer in (A, B):
        world.run(partial(Client.create, peers=[peer]))
    assert len({request.group for request in world.requests(StartPeer)}) == 2


@pytest.mark.parametrize("wrong", [[], [A, A]])
def test_a_list_that_is_no_group_is_refused(world: World, wrong: list[PeerId]) -> None:
    """Nobody, or somebody twice: before anything is asked."""
    with pytest.raises(UsageError):
        world.run(lambda client: client.create(wrong))
    assert world.asked == []


def test_every_peer_in_the_way_is_named_and_the_others_removed(world: World) -> None:
    """`errors` says for each why; blank ones go again."""
    node_of(world, A).hold("a", "follower")
    del world.nodes[C.node]
    with pytest.raises(CreateError) as caught:
        world.run(lambda client: client.create(GROUP))
    assert caught.value.errors == {A: "already_present", C: "node_down"}
    assert node_of(world, B).entries == {}
    assert "a" in node_of(world, A).entries


def test_an_unknown_backend_is_named(world: World) -> None:
    """By every node that lacks it."""
    with pytest.raises(CreateError) as caught:
        world.run(lambda client: client.create(GROUP, "nope"))
    assert set(caught.value.errors.values()) == {"unknown_backend"}


def test_a_blank_peer_that_was_left_behind_is_replaced(world: World) -> None:
    """It holds nothing, belongs to nobody and stays so."""
    node_of(world, B).hold("b", "blank")
    assert world.run(lambda client: client.create(GROUP)) == GROUP
    assert node_of(world, B).entries["b"].group != OLD


def test_a_blank_peer_that_somebody_is_at_work_with_stays(world: World) -> None:
    """It is looked at twice: by then it founds or follows."""
    node_of(world, B).hold("b", "blank")

    async def story(client: Client) -> None:
        asyncio.get_running_loop().call_later(0.1, lambda: node_of(world, B).hold("b", "follower"))
        await client.create(GROUP)

    with pytest.raises(CreateError) as caught:
        world.run(story)
    assert caught.value.errors == {B: "already_present"}


def test_a_peer_that_goes_meanwhile_is_not_in_the_way(world: World) -> None:
    """Whoever failed to make it has removed it."""
    node = node_of(world, B)
    node.hold("b", "blank")

    def once(request: Any) -> Any:
        reply = node(request)
        if isinstance(request, StartPeer):
            node.entries.clear()
            world.nodes[B.node] = node
        return reply

    world.nodes[B.node] = once
    assert world.run(lambda client: client.create(GROUP)) == GROUP


def test_a_group_whose_founder_was_left_alone_is_completed(world: World) -> None:
    """The caller was killed between founding and joining: the same call again does what was left to do."""
    node_of(world, A).hold("a", "leader", 3)
    for peer in (B, C):
        node_of(world, peer).hold(peer.name, "blank", 4)
    assert world.run(lambda client: client.create(GROUP)) == GROUP
    assert (world.requests(StartPeer), world.requests(Bootstrap)) == ([], [])
    (change,) = world.requests(ChangeMembership)
    assert list(change.new_members) == [Member(A, 3), Member(B, 4), Member(C, 4)]
    assert change.old_peers == [A]


@pytest.mark.parametrize("other", ["follower", "blank", None])
def test_a_group_that_somebody_completes_is_not_taken_over(world: World, other: str | None) -> None:
    """It is looked at twice; and a founder whose others are of another group, or not there, is simply in the way."""
    node_of(world, A).hold("a", "leader", 3)
    for peer in (B, C) if other else ():
        node_of(world, peer).hold(peer.name, "blank", 4, GroupId(b"quite another...") if other == "blank" else OLD)

    async def story(client: Client) -> None:
        if other == "follower":
            for peer in (B, C):
                asyncio.get_running_loop().call_later(0.1, node_of(world, peer).hold, peer.name, "follower")
        await client.create(GROUP)

    with pytest.raises(CreateError) as caught:
        world.run(story)
    assert caught.value.errors == dict.fromkeys(GROUP if other == "follower" else [A], "already_present")
    assert world.requests(ChangeMembership) == []


def test_a_configuration_that_was_not_applied_is_a_membership_error(world: World) -> None:
    """Blank peers are removed where the change certainly was not made, and stay where it may have been."""
    node_of(world, A).refusals[ChangeMembership] = PeersChanged("somebody was faster")
    with pytest.raises(PeersChanged):
        world.run(lambda client: client.create(GROUP))
    assert node_of(world, B).entries == {}
    node_of(world, A).entries.clear()
    node_of(world, A).refusals[ChangeMembership] = OutcomeUnknown("lost")
    with pytest.raises(MembershipError, match="was not applied") as caught:
        world.run(lambda client: client.create(GROUP))
    assert caught.value.executed == "maybe"
    assert set(node_of(world, B).entries) == {"b"}


def test_a_founder_that_fails_leaves_nothing_behind(world: World) -> None:
    """Nobody belongs to a configuration yet."""
    node_of(world, A).refusals[Bootstrap] = PeerUnavailable("the node is stopping")
    with pytest.raises(MembershipError):
        world.run(lambda client: client.create(GROUP))
    assert [node_of(world, peer).entries for peer in GROUP] == [{}, {}, {}]


def test_a_founder_is_given_time_to_lead(world: World) -> None:
    """It campaigns first."""
    node_of(world, A).refusals[GetConf] = NotLeader()

    async def story(client: Client) -> list[PeerId]:
        asyncio.get_running_loop().call_later(1.5, node_of(world, A).refusals.clear)
        return await client.create(GROUP)

    assert world.run(story) == GROUP


def test_a_node_of_another_name_is_refused(world: World) -> None:
    """Its peers would not be found under the address that was used."""
    world.nodes["localhost:1"] = FakeNode(A.node)
    with pytest.raises(UsageError, match="is known to others as"):
        world.run(lambda client: client.create(["a@localhost:1"]))
    entries = world.nodes["localhost:1"]
    assert isinstance(entries, FakeNode)
    assert entries.entries == {}


def test_a_configuration_is_what_the_leader_says(world: World) -> None:
    """It is waited for while a change is under way."""
    node_of(world, A).members = (Member(A, 1), Member(B, 2))
    node_of(world, A).refusals[GetConf] = NotStable()

    async def story(client: Client) -> Any:
        asyncio.get_running_loop().call_later(1, node_of(world, A).refusals.clear)
        return await client.get_conf(A)

    conf = world.run(story)
    assert (conf.leader, conf.index, conf.peers, conf.learners) == (A, 5, (A, B), ())


def test_leadership_is_handed_to_the_peer_named(world: World) -> None:
    """The answer comes when it leads."""
    assert world.run(lambda client: client.transfer_leadership(str(A), str(B))) == B
    (transfer,) = world.requests(Transfer)
    assert (transfer.peer, transfer.to) == ("a", B)


def test_blank_peers_are_removed(world: World) -> None:
    """Of the group that they are of."""
    node_of(world, A).hold("a", "blank")
    world.run(lambda client: client.remove([A]))
    assert node_of(world, A).entries == {}
    with pytest.raises(PeerUnavailable, match="no peer a"):
        world.run(lambda client: client.remove([A]))


def test_what_is_kept_of_removed_peers_is_deleted_by_the_name_that_they_had(world: World) -> None:
    """All of them, unless a peer of that name runs: then that one is meant."""
    node = node_of(world, A)
    for incarnation in (5, 6):
        node.hold(kept_name("a", incarnation), REMOVED, incarnation)
    node.hold(kept_name("other", 7), REMOVED, 7)
    node.hold("a", "blank", 8)
    world.run(lambda client: client.remove([A]))
    assert len(node.entries) == 3
    world.run(lambda client: client.remove([A]))
    assert list(node.entries) == [kept_name("other", 7)]
    world.run(lambda client: client.remove([PeerId(kept_name("other", 7), A.node)]))
    assert node.entries == {}


def test_a_peer_that_stops_while_it_is_removed_is_removed(world: World) -> None:
    """Between the look and the request it took another name."""
    node = node_of(world, A)
    node.hold("a", "follower", 5)

    def left(request: Any) -> Any:
        if isinstance(request, RemovePeer) and request.name == "a":
            node.entries.clear()
            node.hold(kept_name("a", 5), REMOVED, 5)
        return node(request)

    world.nodes[A.node] = left
    world.run(lambda client: client.remove([A]))
    assert node.entries == {}


def test_a_peer_that_was_not_told_that_it_left_is_removed_with_proof(world: World) -> None:
    """The group's leader has a committed configuration without it."""
    member = node_of(world, A).hold("a", "follower")
    node_of(world, A).members = (member, Member(B, 2))
    node_of(world, B).members = (Member(B, 2),)
    node_of(world, B).conf_index = 8
    world.run(lambda client: client.remove([A]))
    assert node_of(world, A).entries == {}
    assert [request.conf_index for request in world.requests(RemovePeer)] == [0, 8]


@pytest.mark.parametrize("is_reached", [True, False])
def test_a_member_is_not_removed(world: World, is_reached: bool) -> None:
    """Whether the group says so, or nobody can be asked."""
    member = node_of(world, A).hold("a", "follower")
    node_of(world, A).members = node_of(world, B).members = (member, Member(B, 2))
    if not is_reached:
        del world.nodes[B.node]
    with pytest.raises(MembershipError, match="belongs to"):
        world.run(lambda client: client.remove([A]))
    assert "a" in node_of(world, A).entries
