"""Configurations change and leadership moves by request; what cannot be is refused and says so."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from tests.unit.peer.asking import (
    bootstrap,
    change,
    member_of,
    members_of,
    remove,
    start,
    transfer,
)
from tests.unit.peer.world import ALONE, World, peer_id
from zraft.errors import (
    ChangeInProgress,
    MembershipError,
    NewerExists,
    NotLeader,
    NotStable,
    PeersChanged,
    RequestTimeout,
)
from zraft.types import Member, PeerId
from zraft.wire.requests import (
    ChangeMembership,
    Conf,
    GetConf,
    Write,
)


def test_a_group_grows_and_shrinks_by_request() -> None:
    """One, then three, then without its first leader, who is then removed; the answers come when it is done."""
    world = World()
    members = [world.start_peer(node) for node in world.nodes]
    founded = bootstrap(world, members[:1])
    world.until(lambda: world.leader() is not None)
    world.asker.result(founded)
    grown = change(world, "n1:1", members, ["n1:1"])
    world.until(lambda: grown in world.asker.replies)
    world.asker.result(grown)
    assert members_of(world, "n1:1") == members
    again = change(world, "n1:1", members, ["n1:1"])
    world.settle()
    world.asker.result(again)
    shrunk = change(world, "n1:1", members[1:], ["n1:1", "n2:1", "n3:1"])
    world.until(lambda: shrunk in world.asker.replies)
    world.asker.result(shrunk)
    world.until(lambda: world.leader() not in (None, "n1:1"))
    assert world["n1:1"].it.peers == {}
    gone = remove(world)
    world.settle()
    world.asker.result(gone)
    assert world["n1:1"].it.aside == {}


def test_a_change_must_know_what_it_changes() -> None:
    """`old_peers` are not the present ones, a new set cannot decide, or the peer does not lead: nothing is done."""
    world = World()
    leader = world.found()
    members = members_of(world, leader)
    wrong = change(world, leader, members[:2], ["n1:1"])
    twice = change(world, leader, [members[0], members[0]], ["n1:1", "n2:1", "n3:1"])
    elsewhere = change(world, world.followers()[0], members[:2], ["n1:1", "n2:1", "n3:1"])
    world.settle()
    changed = world.asker.error(wrong)
    assert isinstance(changed, PeersChanged)
    assert changed.peers == tuple(map(peer_id, ("n1:1", "n2:1", "n3:1")))
    assert isinstance(world.asker.error(twice), MembershipError)
    assert isinstance(world.asker.error(elsewhere), NotLeader)
    assert members_of(world, leader) == members


def test_one_change_at_a_time_and_the_same_one_may_be_joined() -> None:
    """Another target is refused while a change is under way; the same one shares its end."""
    world = World()
    leader = world.found()
    members = members_of(world, leader)
    newcomer = world.start_peer("n1:1", "q")
    world.drops = lambda source, message: message.to.peer.name == "q"
    every = ["n1:1", "n2:1", "n3:1"]
    first = change(world, leader, [*members, newcomer], every)
    joined = change(world, leader, [*members, newcomer], ["n1:1"])
    other = change(world, leader, members[:2], every)
    world.settle()
    assert isinstance(world.asker.error(other), ChangeInProgress)
    world.heal()
    world.until(lambda: {first, joined} <= set(world.asker.replies))
    world.asker.result(first)
    world.asker.result(joined)


def test_a_change_that_was_made_for_an_older_configuration_is_refused() -> None:
    """The peers are the same again, the members are not: whoever asks has to look first."""
    world = World()
    leader = world.found()
    members = members_of(world, leader)
    every = ["n1:1", "n2:1", "n3:1"]
    index = world[leader].peer().raft.memberships.current_index
    newcomer = world.start_peer(world.followers()[0], "q")
    old = [peer_id(one) for one in every]
    grown = world.ask(leader, partial(ask_change, target=[*members, newcomer], old=old, conf_index=index))
    world.until(lambda: grown in world.asker.replies)
    world.asker.result(grown)
    late = world.ask(leader, partial(ask_change, target=members, old=[*old, newcomer.peer], conf_index=index))
    world.settle()
    assert isinstance(world.asker.error(late), NewerExists)
    assert world.asker.executed(late) == "no"


def test_a_change_under_way_is_seen_at_the_leader() -> None:
    """Who learns, how far it is, and what the peers shall be; the configuration in force names the members."""
    world = World()
    leader = world.found()
    members = members_of(world, leader)
    newcomer = world.start_peer(world.followers()[0], "q")
    world.drops = lambda source, message: message.to.peer.name == "q"
    change(world, leader, [*members, newcomer], ["n1:1", "n2:1", "n3:1"])
    seen = world.ask(leader, lambda number: GetConf(number, "p", in_force=True))
    world.settle()
    conf = world.asker.reply(seen)
    assert isinstance(conf, Conf)
    assert (conf.members, conf.learners, conf.target) == (tuple(members), (newcomer,), (*members, newcomer))
    assert (conf.is_changing, conf.outgoing) == (True, ())
    status = world[leader].it.status("p")
    follower = world[world.followers()[0]].it.status("p")
    assert status is not None
    assert follower is not None
    assert status.joining == ((newcomer.peer, 0),)
    assert follower.joining == ()
    assert status.target == follower.target == (*(member.peer for member in members), newcomer.peer)
    world.heal()
    world.until(lambda: not world[leader].peer().status().target)
    assert world[leader].peer().status().joining == ()


def ask_change(number: int, *, target: list[Member], old: list[PeerId], conf_index: int) -> ChangeMembership:
    return ChangeMembership(number, "p", target, old, conf_index)


def test_a_leader_that_has_committed_nothing_changes_nothing() -> None:
    """BM-031: no change before an entry of the own term is committed."""
    world = World(ALONE)
    number = start(world)
    world.settle()
    me = member_of(world, number)
    blank = change(world, "n1:1", [me], ["n1:1"])
    world.settle()
    assert isinstance(world.asker.error(blank), NotLeader)
    bootstrap(world, [me])
    node = world["n1:1"]
    peer = node.peer()
    while not peer.is_leader:
        world.now += 10
        node.turn()
        node.sync(1)
    early = change(world, "n1:1", [me, Member(peer_id("n1:1", "q"), 9)], ["n1:1"])
    node.turn()
    assert isinstance(world.asker.error(early), NotStable)


def test_leadership_goes_to_who_is_named() -> None:
    """The answer comes when the other leads; to oneself it is done at once."""
    world = World()
    leader = world.found()
    own = transfer(world, leader, leader)
    world.settle()
    world.asker.result(own)
    to = world.followers()[1]
    number = transfer(world, leader, to)
    world.until(lambda: number in world.asker.replies)
    world.asker.result(number)
    world.until(lambda: world.leader() is not None)
    assert world.lead() == to


def test_leadership_goes_to_voters_only_and_through_the_leader() -> None:
    """Anybody else is refused, and so is asking a follower."""
    world = World()
    leader = world.found()
    stranger = transfer(world, leader, "n9:1")
    elsewhere = transfer(world, world.followers()[0], leader)
    world.settle()
    assert type(world.asker.error(stranger)) is MembershipError
    assert isinstance(world.asker.error(elsewhere), NotLeader)


def test_nobody_knows_what_becomes_of_a_transfer_that_took_too_long() -> None:
    """The target was told and is silent: it may yet campaign, so the answer is "maybe"; the leader leads on."""
    world = World()
    leader = world.found()
    to = world.followers()[0]
    world.advance(200)
    world.drops = lambda source, message: message.to.peer.node == to
    number = transfer(world, leader, to)
    world.until(lambda: number in world.asker.replies)
    assert isinstance(world.asker.error(number), RequestTimeout)
    assert world.asker.executed(number) == "maybe"
    assert world.lead() == leader


def test_a_transfer_of_a_blank_replica_goes_nowhere() -> None:
    """Blank replicas lead nobody: every request for a leader is refused, and a write has its own door."""
    world = World(ALONE)
    start(world)
    world.settle()
    numbers = [
        transfer(world, "n1:1", "n1:1"),
        world.ask("n1:1", lambda number: GetConf(number, "p")),
        world.write("n1:1", ("k", 1)),
    ]
    world.settle()
    for number in numbers:
        assert isinstance(world.asker.error(number), NotLeader)
    with pytest.raises(ValueError, match="their own door"):
        world["n1:1"].it.admin.handle(world.now, world.asker, Write(1, "p", msgspec.Raw(b"\x01")))
