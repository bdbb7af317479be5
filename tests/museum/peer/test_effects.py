"""Promises that left before what they promised was durable, and answers that were not true: scenes of whole hosts."""

from __future__ import annotations

import errno

import msgspec
import pytest

from tests.unit.peer.machines import BACKENDS
from tests.unit.peer.world import ELECTION_MS, GROUP, World, peer_id
from zraft.core.messages import AppendReply, Heartbeat, RequestVote, RequestVoteReply
from zraft.errors import NotLeader, OutcomeUnknown, PeerUnavailable, Rejected
from zraft.storage.disk import Operation, SyncFile
from zraft.types import GroupId, Member
from zraft.wire.failures import Failed
from zraft.wire.requests import RemovePeer, StartPeer

NAMES = ("n1:1", "n2:1", "n3:1")


def write(world: World, node: str, key: str, value: object) -> int:
    number = world.write(node, (key, value))
    world.settle()
    return number


def value_of(world: World, key: str) -> object:
    world.until(lambda: world.leader() is not None)
    number = world.query(world.lead(), key)
    world.until(lambda: number in world.asker.replies)
    return world.asker.result(number)


def test_bm_001_a_vote_that_was_granted_is_remembered_after_a_crash() -> None:
    """A grants B in a term and loses power at once: the grant had waited for the disk, so C gets none in that term."""
    world = World()
    leader = world.found()
    granter, other = world.followers()
    node = world[granter]
    raft = node.peer().raft
    term = raft.current_term + 1
    world.now += 2 * ELECTION_MS
    asked = RequestVote(world[leader].peer().raft.me, raft.me, term, raft.log.last_index, raft.log.last_term)
    node.it.receive(world.now, node.peer().meta.group, asked)
    node.turn()
    assert not [message for _, _, message in world.wire if isinstance(message, RequestVoteReply)]
    node.sync()
    node.turn()
    (granted,) = [message for _, _, message in world.wire if isinstance(message, RequestVoteReply)]
    assert granted.granted
    world.wire.clear()
    node.crash("lose")
    node.start()
    again = msgspec.structs.replace(asked, sender=world[other].peer().raft.me)
    node.it.receive(world.now, GROUP, again)
    node.turn()
    node.sync()
    node.turn()
    (refused,) = [message for _, _, message in world.wire if isinstance(message, RequestVoteReply)]
    assert not refused.granted


@pytest.mark.parametrize("survivors", [("n1:1",), ("n2:1",), ("n3:1",), ()])
def test_bm_090_an_acknowledged_write_survives_any_crash(survivors: tuple[str, ...]) -> None:
    """Everybody but one, or everybody, loses power right after the answer: the write is there."""
    world = World()
    leader = world.found()
    number = world.write(leader, ("k", "kept"))
    while number not in world.asker.replies:
        world.deliver()
        for node in world.nodes.values():
            node.sync(1)
            node.turn()
    assert world.asker.result(number) == "ok"
    world.wire.clear()
    for name in NAMES:
        if name not in survivors:
            world[name].crash("lose")
            world[name].start()
    assert value_of(world, "k") == "kept"


def test_bm_090_a_leader_does_not_count_its_own_disk_before_it_is_done() -> None:
    """One follower has the entry, the leader's own disk does not: two of three memories are one disk of three."""
    world = World()
    leader = world.found()
    follower, other = world.followers()
    world.drops = lambda source, message: other in (source, message.to.peer.node)
    world[leader].is_stalled = True
    number = write(world, leader, "k", 1)
    assert world[follower].peer().raft.log.last_index == world[leader].peer().raft.log.last_index
    assert number not in world.asker.replies
    world[leader].is_stalled = False
    world.settle()
    assert world.asker.result(number) == "ok"


def test_bm_092_a_member_alone_acknowledges_after_its_disk() -> None:
    """A crash between apply and sync would lose it: so nothing is applied or answered before the sync."""
    world = World(("n1:1",))
    world.found()
    node = world["n1:1"]
    number = world.write("n1:1", ("k", 1))
    applied = node.peer().machine.last_applied
    node.turn()
    node.turn()
    assert number not in world.asker.replies
    assert node.peer().machine.last_applied == applied
    node.sync()
    node.turn()
    assert world.asker.result(number) == "ok"


def test_bm_092_a_member_alone_acknowledges_what_its_disk_has_and_nothing_behind_that() -> None:
    """Two writes, a sync each: the end of the first says nothing of the second."""
    world = World(("n1:1",))
    world.found()
    node = world["n1:1"]
    first = world.write("n1:1", ("k", 1))
    node.turn()
    second = world.write("n1:1", ("k", 2))
    node.turn()
    node.sync(1)
    node.turn()
    assert world.asker.result(first) == "ok"
    assert second not in world.asker.replies
    node.sync()
    node.turn()
    assert world.asker.result(second) == "ok"


def test_bm_091_what_was_acknowledged_outlives_the_power_of_all_that_have_it() -> None:
    """Those who slept meanwhile are of no help: the disks of the others have it, though they had no time since."""
    world = World(("n1:1", "n2:1", "n3:1", "n4:1", "n5:1"))
    leader = world.found()
    awake = [leader, *world.followers()[:2]]
    asleep = [name for name in world.nodes if name not in awake]
    world.cut(*asleep)
    number = world.write(leader, ("k", "kept"))
    while number not in world.asker.replies:
        world.deliver()
        for name in awake:
            world[name].sync(1)
            world[name].turn()
    index = world[leader].peer().raft.commit_index
    holding = [name for name in awake if world[name].peer().raft.log.last_index >= index]
    for name in awake:
        world[name].crash("lose")
        world[name].start()
    kept = [name for name in holding if world[name].peer().raft.log.last_index >= index]
    assert 2 * len(kept) > len(world.nodes)


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_bm_093_after_a_failed_sync_nothing_is_acknowledged_whatever_later_syncs_say(who: str) -> None:
    """The error comes once, later syncs would succeed: no answer, no acknowledgement, and the host wants to stop."""
    world = World()
    leader = world.found()
    follower, other = world.followers()
    broken = world[leader if who == "leader" else follower]
    left = [1]

    def once(operation: Operation) -> int:
        return errno.EIO if isinstance(operation, SyncFile) and left and left.pop() else 0

    broken.disk.fail = once
    world.drops = lambda source, message: other in (source, message.to.peer.node)
    number = world.write(leader, ("k", "lost?"))
    world.settle()
    world.settle()
    assert left == []
    assert broken.duties.fatal is not None
    assert broken.it.peers == {}
    sent = len(world.wire)
    late = world.write(broken.name, ("k", 2))
    broken.turn()
    assert isinstance(world.asker.error(late), PeerUnavailable)
    assert len(world.wire) == sent
    if who == "leader":
        assert isinstance(world.asker.error(number), OutcomeUnknown)
    else:
        assert number not in world.asker.replies
    world.wire.clear()
    broken.crash("lose")
    broken.disk.fail = lambda operation: 0
    broken.start()
    world.heal()
    world.until(lambda: number in world.asker.replies)
    world.until(lambda: world.leader() is not None)
    world.advance(1000)
    applied = {node.peer().machine.last_applied for node in world.nodes.values()}
    assert len(applied) == 1


def test_bm_062_what_became_of_a_write_is_never_guessed() -> None:
    """Two writes of a leader that is cut off: one had reached another node, one had not. Neither answer is false."""
    world = World()
    leader = world.found()
    follower, other = world.followers()
    world.drops = lambda source, message: isinstance(message, AppendReply) or other in (source, message.to.peer.node)
    reached = write(world, leader, "reached", 1)
    world.cut(leader)
    alone = write(world, leader, "alone", 1)
    world.until(lambda: world[follower].peer().is_leader)
    world.heal()
    world.until(lambda: {reached, alone} <= set(world.asker.replies))
    for number, key in ((reached, "reached"), (alone, "alone")):
        is_there = value_of(world, key) == 1
        ran = world.asker.executed(number) if isinstance(world.asker.reply(number), Failed) else "yes"
        assert ran in ("maybe", "yes" if is_there else "no")


def test_bm_043_a_replica_that_lost_its_disk_is_not_the_one_that_had_it() -> None:
    """B is wiped and started anew under its name: another incarnation, whose acknowledgements count nowhere."""
    world = World()
    leader = world.found()
    wiped, other = world.followers()
    old = world[wiped].peer().raft.me
    write(world, leader, "k", 1)
    world[wiped].disk = type(world[wiped].disk)()
    world[wiped].start()
    new = world.start_peer(wiped)
    assert new.incarnation != old.incarnation
    world.cut(other)
    number = write(world, leader, "k", 2)
    world.advance(4 * ELECTION_MS)
    assert world[wiped].peer().raft.log.last_index == 0
    assert world[wiped].peer().raft.current_term == 0
    assert world.asker.executed(number) == "maybe", "its leader stood alone"
    world.heal()
    assert value_of(world, "k") in (1, 2)


def test_bm_114_messages_of_another_group_or_life_change_nothing() -> None:
    """Wrong group, wrong incarnation, a name that is not here: no state changes, nobody stops."""
    world = World()
    leader = world.found()
    node = world[world.followers()[0]]
    raft = node.peer().raft
    sender = world[leader].peer().raft.me
    message = Heartbeat(sender, raft.me, raft.current_term + 7, 1, 0, 0)
    strangers = [
        (GroupId(b"?" * 16), message),
        (GROUP, msgspec.structs.replace(message, to=Member(raft.me.peer, raft.me.incarnation + 1))),
        (GROUP, msgspec.structs.replace(message, to=Member(peer_id(node.name, "ghost"), 5))),
    ]
    before = (raft.current_term, raft.commit_index, raft.log.last_index)
    for group, one in strangers:
        node.it.receive(world.now, group, one)
    node.turn()
    assert (raft.current_term, raft.commit_index, raft.log.last_index) == before
    assert node.it.failed == {}


def test_bm_116_a_replica_may_go_while_everything_is_under_way_for_it() -> None:
    """Removed with a save, a load and requests under way, and born anew at once: nothing breaks, all is answered."""
    world = World()
    leader = world.found()
    node = world[leader]
    numbers = [world.write(leader, ("k", place)) for place in range(10)]
    node.turn()
    peer = node.peer()
    node.it.store.load("p", node.it.outbox.next_token(), 1, 99, 1 << 20)
    numbers.append(world.write(leader, ("k", 10)))
    gone = world.ask(leader, lambda number: RemovePeer(number, "p", GROUP, 99))
    born = world.ask(leader, lambda number: StartPeer(number, "p", GROUP, "dict"))
    world.settle()
    world.asker.result(gone)
    assert born in world.asker.replies
    for number in numbers:
        assert world.asker.executed(number) in ("no", "maybe")
    assert node.peer() is not peer
    world.until(lambda: world.leader() not in (None, leader))
    assert node.it.failed == {}


def test_bm_118_a_command_that_the_backend_refuses_stops_nobody() -> None:
    """What a backend cannot decode or raises for is that entry's result; the group serves on, restarts included."""
    world = World(backends=BACKENDS)
    leader = world.found()
    number = write(world, leader, "k", 1)
    world.asker.result(number)
    poison = world.write(leader, {"no": "tuple"})
    world.settle()
    assert isinstance(world.asker.error(poison), Rejected)
    for node in world.nodes.values():
        node.crash("lose")
        node.start()
    world.wire.clear()
    assert value_of(world, "k") == 1
    assert all(node.it.failed == {} for node in world.nodes.values())


def test_bm_099_a_leader_whose_disk_stands_still_gives_way() -> None:
    """Its saves never end: others take over within a bound, and its clients hear that it does not lead."""
    world = World()
    leader = world.found()
    world[leader].is_stalled = True
    number = write(world, leader, "k", 1)
    began = world.now
    world.until(lambda: world.leader() not in (None, leader))
    assert world.now - began < 8 * ELECTION_MS
    after = world.write(leader, ("k", 2))
    world.settle()
    assert isinstance(world.asker.error(after), NotLeader)
    world[leader].is_stalled = False
    world.until(lambda: number in world.asker.replies)
