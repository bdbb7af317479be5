"""A host that has nothing to do, one that comes to its end, and what it knows of its neighbours."""

from __future__ import annotations

import msgspec

from tests.unit.peer.world import ALONE, ELECTION_MS, World, peer_id, read, wrote
from zraft import limits
from zraft.errors import (
    NotStable,
    OutcomeUnknown,
    PeerUnavailable,
)
from zraft.peer.host import Host
from zraft.storage.disk import Operation, SyncFile, WriteAt
from zraft.wire.requests import Bootstrap, ChangeMembership, GetConf, Query, Stat


def test_an_idle_node_marks_its_journal_once() -> None:
    """A second after the last save the journal is told what is durable; then nothing happens, however long."""
    world = World(ALONE)
    world.found()
    world.settle()
    written: list[Operation] = []
    node = world["n1:1"]

    def note(operation: Operation) -> int:
        written.append(operation)
        return 0

    node.disk.fail = note
    world.advance(limits.JOURNAL_IDLE_MS - 10)
    assert written == []
    world.advance(20)
    assert [type(operation) for operation in written] == [WriteAt, SyncFile]
    world.advance(20 * limits.JOURNAL_IDLE_MS)
    assert len(written) == 2


def test_a_busy_node_marks_nothing() -> None:
    """Each save puts it off; a save that is under way at the moment does too."""
    world = World(ALONE)
    world.found()
    node = world["n1:1"]
    for place in range(6):
        wrote(world, "n1:1", "k", place)
        world.advance(limits.JOURNAL_IDLE_MS // 2)
    writes = [operation for operation in node.disk.performed if isinstance(operation, WriteAt)]
    node.is_stalled = True
    world.write("n1:1", ("k", 7))
    world.advance(3 * limits.JOURNAL_IDLE_MS)
    node.is_stalled = False
    world.settle()
    journal = [operation for operation in node.disk.performed if isinstance(operation, WriteAt)][len(writes) :]
    assert len([operation for operation in journal if operation.name.startswith("journal")]) == 1


def test_a_host_that_stops_answers_everybody_and_leaves_its_disk_settled() -> None:
    """A save is under way: it and the mark after it are durable before the host is settled."""
    world = World(ALONE)
    world.found()
    node = world["n1:1"]
    node.is_stalled = True
    number = world.write("n1:1", ("k", 1))
    local = world.query_local("n1:1", "k", 1 << 40)
    node.turn()
    assert node.it.has_unanswered
    host = node.it
    host.stop()
    late = world.write("n1:1", ("k", 2))
    made = world.ask("n1:1", lambda number: Stat(number, "p"))
    node.turn()
    assert isinstance(world.asker.error(number), OutcomeUnknown)
    assert isinstance(world.asker.error(local), PeerUnavailable)
    assert isinstance(world.asker.error(late), PeerUnavailable)
    assert isinstance(world.asker.error(made), PeerUnavailable)
    assert [host.is_settled] == [False]
    assert node.altered[-1:] != ["removed"]
    while not host.is_settled:
        assert node.sync(1), "nothing under way, and not settled"
        node.turn()
    node.crash("lose")
    node.start()
    world.until(lambda: world.leader() is not None)
    assert read(world, "n1:1", "k") == 1, "it was durable when the host was settled"


def test_the_last_record_of_a_clean_stop_vouches_for_those_before_it() -> None:
    """A batch that rots after a clean stop is corruption, not a torn write: the mark says that it was durable."""
    world = World(ALONE)
    world.found()
    wrote(world, "n1:1", "k", "y" * 50)
    node = world["n1:1"]
    node.it.stop()
    while not node.it.is_settled:
        node.turn()
        node.sync()
    name = next(name for name in node.disk.names() if name.startswith("journal"))
    node.disk.flip(name, node.disk.read(name, 0, node.disk.size(name)).index(b"y" * 50))
    node.start()
    assert "p" in node.it.failed


def test_leadership_is_handed_over_where_somebody_can_take_it() -> None:
    """§3.10, by the host itself: done is who knows the next leader, for its vote is wanted until then."""
    world = World()
    leader = world.found()
    host = world[leader].it
    assert host.leading() == ["p"]
    assert host.hand_over(world.now, ["q"]) == []
    assert host.hand_over(world.now, ["p"]) == ["p"]
    assert host.hand_over(world.now, ["p"]) == ["p"]
    world[leader].turn()
    world.deliver()
    for node in world.nodes.values():
        node.turn()
    while host.hand_over(world.now, ["p"]):
        world.deliver()
        for node in world.nodes.values():
            node.sync(1)
            node.turn()
    assert world[leader].peer().raft.leader is not None
    assert host.leading() == []
    assert world.lead() != leader


def test_leadership_stays_where_nobody_answers() -> None:
    """There is nobody to wait for; a group of one has nobody at all."""
    world = World()
    leader = world.found()
    raft = world[leader].peer().raft
    world.now += 2 * ELECTION_MS
    assert world[leader].it.hand_over(world.now, ["p"]) == [], "everybody has been silent for too long"
    assert raft.leader == raft.me
    alone = World(ALONE)
    alone.found()
    assert alone["n1:1"].it.leading() == []
    assert alone["n1:1"].it.hand_over(alone.now, ["p"]) == []


def test_a_host_knows_whom_it_may_have_to_talk_to() -> None:
    """Every member of every group here, without itself."""
    world = World()
    assert world["n1:1"].it.neighbours() == {}
    world.found()
    assert list(world["n2:1"].it.neighbours()) == ["n1:1", "n3:1"]
    assert list(world["n2:1"].it.neighbours("p")) == ["n1:1", "n3:1"]
    assert world["n2:1"].it.neighbours("q") == {}


def test_connections_that_come_and_go_are_told_to_leaders() -> None:
    """Messages under way to a lost node are sent again as soon as it is back."""
    world = World()
    leader = world.found()
    lost = world.followers()[0]
    world.cut(lost)
    wrote(world, leader, "k", 1)
    world[leader].it.node_lost(world.now, lost)
    world.heal()
    world[leader].it.node_back(world.now, lost)
    world.settle()
    assert world[lost].peer().raft.log.last_index == world[leader].peer().raft.log.last_index


def test_two_replicas_of_one_node_talk_without_a_network() -> None:
    """A group may have two peers on one node; their messages do not travel."""
    world = World(ALONE)
    members = [world.start_peer("n1:1", name) for name in ("a", "b")]
    number = world.ask("n1:1", lambda number: Bootstrap(number, "a", members))
    world.settle()
    world.asker.result(number)
    world.until(lambda: world.leader("a") is not None or world.leader("b") is not None)
    leader = "a" if world["n1:1"].peer("a").is_leader else "b"
    number = world.write("n1:1", ("k", 1), peer=leader)
    world.settle()
    assert world.asker.result(number) == "ok"
    assert world.lost == []


def test_a_stopped_group_goes_on_where_it_was() -> None:
    """All nodes lose power after the answer: what was answered is there, whoever leads then (BM-090)."""
    world = World()
    leader = world.found()
    for place in range(10):
        wrote(world, leader, f"k{place}", place)
    for node in world.nodes.values():
        node.crash("lose")
    world.wire.clear()
    for node in world.nodes.values():
        node.start()
    world.until(lambda: world.leader() is not None)
    assert [read(world, world.lead(), f"k{place}") for place in range(10)] == list(range(10))


def test_a_node_under_another_name_is_told_so() -> None:
    """Its group knows its replica under the address of before: nobody counts it, and only an operator can mend that."""
    world = World(ALONE)
    world.found()
    world["n1:1"].crash("lose")
    renamed = Host("n7:1", world["n1:1"].disk, world.backends, world.settings, seed=5, now=world.now)
    (note,) = [note.text for note in renamed.turn(world.now, 0).notes if note.is_alarm]
    assert note == "its group knows it as p@n1:1: start this node, n7:1, under that name"


def test_a_query_about_a_replica_that_is_not_here_says_so() -> None:
    """PeerUnavailable with the name, "no"."""
    world = World(ALONE)
    numbers = [
        world.write("n1:1", ("k", 1), peer="ghost"),
        world.query("n1:1", "k", peer="ghost"),
        world.ask("n1:1", lambda number: Stat(number, "ghost")),
        world.ask("n1:1", lambda number: Query(number, "ghost", msgspec.Raw(b"\x01"), True)),
    ]
    world.settle()
    for number in numbers:
        assert str(world.asker.error(number)) == "no peer ghost on n1:1"
        assert world.asker.executed(number) == "no"


def test_a_change_under_way_is_not_told_as_stable() -> None:
    """The configuration of a leader that knows of an uncommitted one is not stable: ask again."""
    world = World()
    leader = world.found()
    follower = world.followers()[0]
    newcomer = world.start_peer(follower, "q")
    old = sorted(peer_id(node) for node in world.nodes)
    members = list(world[leader].peer().raft.membership.voters)  # type: ignore[union-attr]  # it has one
    world.drops = lambda source, message: message.to.peer.name == "q"
    world.ask(leader, lambda number: ChangeMembership(number, "p", [*members, newcomer], old))
    world.settle()
    number = world.ask(leader, lambda number: GetConf(number, "p"))
    world.settle()
    assert isinstance(world.asker.error(number), NotStable)
