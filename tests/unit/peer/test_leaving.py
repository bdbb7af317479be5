"""A replica that left its group stops by itself, and what it held is kept under a name of its own."""

from __future__ import annotations

from tests.unit.peer.asking import OTHER, change, entries, members_of, remove, start
from tests.unit.peer.world import ELECTION_MS, World, peer_id, wrote
from zraft.core.messages import NotMember
from zraft.errors import MembershipError, Overloaded, PeerUnavailable
from zraft.types import Member
from zraft.wire.requests import REMOVED, PeerEntry, Started, StartPeer, kept_name

EVERY = ["n1:1", "n2:1", "n3:1"]


def shrink(world: World, gone: str, leader: str) -> Member:
    """The group goes on without the replica on `gone`; the member that it was."""
    members = members_of(world, leader)
    number = change(world, leader, [member for member in members if member.peer.node != gone], EVERY)
    world.until(lambda: number in world.asker.replies)
    world.asker.result(number)
    return next(member for member in members if member.peer.node == gone)


def kept(world: World, node: str) -> list[PeerEntry]:
    return [entry for entry in entries(world, node) if entry.role == REMOVED]


def test_a_removed_replica_is_told_and_stops() -> None:
    """At once, by the leader: it runs no longer, is not listed, and its name is free for another."""
    world = World()
    leader = world.found()
    wrote(world, leader, "k", 1)
    gone = world.followers()[0]
    old = shrink(world, gone, leader)
    world.settle()
    host = world[gone].it
    assert (host.peers, host.entries()) == ({}, ())
    (entry,) = kept(world, gone)
    assert entry.member == Member(peer_id(gone, kept_name("p", old.incarnation)), old.incarnation)
    status = host.status(entry.member.peer.name)
    assert status is not None
    assert (status.role, "kept" in (status.fault or "")) == ("failed", True)
    number = world.ask(gone, lambda number: StartPeer(number, "p", entry.group, "dict"))
    world.settle()
    reply = world.asker.reply(number)
    assert isinstance(reply, Started)
    assert reply.member.incarnation != old.incarnation
    assert [one.member for one in entries(world, gone)] == [reply.member, entry.member]
    assert any(f"kept as {entry.member.peer.name}" in note.text for note in world[gone].notes)


def test_a_replica_that_was_removed_while_nobody_heard_it_asks_and_stops() -> None:
    """It hears no leader, asks for votes, and whoever knows better says so."""
    world = World()
    leader = world.found()
    gone = world.followers()[0]
    world.cut(gone)
    shrink(world, gone, leader)
    world.advance(2 * ELECTION_MS)
    assert "p" in world[gone].it.peers
    term = world[leader].peer().raft.current_term
    world.heal()
    world.until(lambda: not world[gone].it.peers)
    assert any(isinstance(message, NotMember) for message in world.sent)
    assert (world.lead(), world[leader].peer().raft.current_term) == (leader, term)


def test_what_is_kept_stays_and_never_runs_again() -> None:
    """BM-047: after a restart it is there under the other name; no replica comes of it, and no vote."""
    world = World()
    leader = world.found()
    gone = world.followers()[0]
    old = shrink(world, gone, leader)
    world.settle()
    for mode in ("killed", "lose"):
        world[gone].crash(mode)
        world[gone].start()
        world.settle()
        assert world[gone].it.peers == {}
        assert [entry.member.incarnation for entry in kept(world, gone)] == [old.incarnation]
    world.advance(5 * ELECTION_MS)
    refused = world.write(gone, ("k", 1))
    world.settle()
    error = world.asker.error(refused)
    assert isinstance(error, PeerUnavailable)
    assert "was removed from its group" in str(error)


def test_a_crash_before_the_new_name_is_durable_loses_nothing() -> None:
    """It comes back as the member that it thinks it is, is told again, and is kept."""
    world = World()
    leader = world.found()
    gone = world.followers()[0]
    node = world[gone]
    world.settle()
    members = [member for member in members_of(world, leader) if member.peer.node != gone]
    number = change(world, leader, members, EVERY)
    world.until(lambda: number in world.asker.replies or not node.it.peers)
    while node.it.peers:
        world.deliver()
        node.turn()
        world[leader].turn()
    node.crash("lose")
    node.start()
    world.until(lambda: bool(node.it.aside), 10 * ELECTION_MS)
    assert node.it.peers == {}


def test_what_is_kept_is_deleted_under_either_name() -> None:
    """By the name that it had, and by the one that it has; a wrong group deletes nothing."""
    world = World()
    leader = world.found()
    first, second = world.followers()
    name = kept_name("p", shrink(world, first, leader).incarnation)
    world.settle()
    wrong = remove(world, node=first, group=OTHER)
    world.settle()
    assert isinstance(world.asker.error(wrong), PeerUnavailable)
    done = remove(world, "p", node=first)
    twice = remove(world, name, node=first)
    world.settle()
    world.asker.result(done)
    world.asker.result(twice)
    assert kept(world, first) == []
    world[first].crash("lose")
    world[first].start()
    assert kept(world, first) == []
    member = remove(world, node=second)
    world.settle()
    assert isinstance(world.asker.error(member), MembershipError)


def test_a_learner_that_was_given_up_is_not_kept() -> None:
    """A change that failed leaves nothing behind: the newcomer never had a vote."""
    world = World()
    leader = world.found()
    members = members_of(world, leader)
    newcomer = world.start_peer("n1:1" if leader != "n1:1" else "n2:1", "q")
    node = newcomer.peer.node
    world.drops = lambda source, message: type(message).__name__ == "AppendReply" and message.sender == newcomer
    number = change(world, leader, [*members, newcomer], EVERY)
    world.until(lambda: number in world.asker.replies)
    assert "no progress" in str(world.asker.error(number))
    world.heal()
    world.until(lambda: "q" not in world[node].it.peers)
    assert world[node].it.aside == {}
    assert [entry.member.peer.name for entry in entries(world, node)] == ["p"]
    world[node].crash("lose")
    world[node].start()
    assert "q" not in world[node].it.peers


def test_a_leader_that_is_removed_answers_all_that_it_took() -> None:
    """Writes before its last configuration are acknowledged, later ones refused; nothing is unknown."""
    world = World()
    leader = world.found()
    members = [member for member in members_of(world, leader) if member.peer.node != leader]
    changed = change(world, leader, members, EVERY)
    numbers = [world.write(leader, (f"k{number}", number)) for number in range(3)]
    for _ in range(40):
        if leader in world.nodes and not world[leader].it.peers:
            break
        world.deliver()
        for node in world.up():
            node.sync()
            node.turn()
        if world[leader].it.peers:
            numbers.append(world.write(leader, ("k", len(numbers))))
    world.settle()
    world.asker.result(changed)
    answers = [world.asker.reply(number) for number in numbers]
    assert len(answers) == len(numbers)
    failed = [number for number in numbers if not _is_done(world, number)]
    assert failed, "some came too late"
    for number in failed:
        assert world.asker.executed(number) == "no"
    assert any(isinstance(world.asker.error(number), Overloaded) for number in failed)
    for number in numbers[:3]:
        world.asker.result(number)
    world.until(lambda: world.leader() is not None)


def _is_done(world: World, number: int) -> bool:
    return type(world.asker.reply(number)).__name__ == "Result"


def test_only_names_that_nobody_could_choose_are_kept_names() -> None:
    """A peer may be called like something removed; it runs as any other."""
    world = World(("n1:1",))
    number = start(world, "p.removed-0000000000000001")
    world.settle()
    assert isinstance(world.asker.reply(number), Started)
    world["n1:1"].crash("lose")
    world["n1:1"].start()
    assert list(world["n1:1"].it.peers) == ["p.removed-0000000000000001"]
    assert len(kept_name("x" * 64, 1 << 63)) == 64
