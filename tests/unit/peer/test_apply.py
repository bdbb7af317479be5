"""Committed entries run: in slices, from the journal where memory has them no more, and when something is due."""

from __future__ import annotations

import msgspec

from tests.unit.peer.machines import BACKENDS, Broken, Clockwork
from tests.unit.peer.world import ALONE, ELECTION_MS, World, host_settings, peer_id, read, wrote
from zraft.core.messages import Heartbeat
from zraft.errors import (
    OutcomeUnknown,
    PeerUnavailable,
)
from zraft.types import GroupId
from zraft.wire.requests import Stat, Status


def test_apply_goes_in_slices_and_says_that_there_is_more() -> None:
    """Other work gets its turn between slices; each write is answered once."""
    world = World(ALONE)
    world.found()
    node = world["n1:1"]
    node.it.apply_entries = 16
    numbers = [world.write("n1:1", ("k", place)) for place in range(50)]
    node.turn()
    node.sync()
    answered = []
    for _ in range(4):
        duties = node.turn()
        answered.append(len([number for number in numbers if number in world.asker.replies]))
        if not duties.has_more:
            break
    assert answered == [16, 32, 48, 50]
    assert not node.turn().has_more


def test_a_restarted_replica_applies_from_the_journal() -> None:
    """What memory does not hold is read, a slice at a time."""
    world = World(ALONE, host_settings(cache_bytes=1))
    world.found()
    for place in range(20):
        wrote(world, "n1:1", f"k{place}", place)
    world["n1:1"].crash("lose")
    world["n1:1"].start()
    world.until(lambda: world.leader() is not None)
    assert [read(world, "n1:1", f"k{place}") for place in range(20)] == list(range(20))


def test_a_follower_that_fell_behind_is_served_from_the_journal() -> None:
    """The leader holds hardly anything in memory: it loads what the follower lacks."""
    world = World(settings=host_settings(cache_bytes=1, load_bytes=300, append_bytes=200))
    leader = world.found()
    behind = world.followers()[0]
    world.cut(behind)
    for place in range(30):
        wrote(world, leader, f"k{place}", place)
    leader = world.lead()
    world.heal()
    world.until(lambda: world[behind].peer().machine.last_applied == world[leader].peer().machine.last_applied)
    assert world[behind].peer().machine.query(msgspec.msgpack.encode("k29")) == 29


def test_a_host_that_waits_for_the_journal_has_nothing_to_do() -> None:
    """Committed entries wait, and are not at hand: another turn would be a busy one."""
    world = World(ALONE, host_settings(cache_bytes=1))
    world.found()
    wrote(world, "n1:1", "k", 1)
    node = world["n1:1"]
    node.crash("lose")
    node.start()
    peer = node.peer()
    while not peer._apply_token:
        node.sync()
        world.now += 10
        node.turn()
    assert peer.machine.last_applied < peer.raft.commit_index
    assert not node.turn().has_more
    world.settle()
    assert peer.machine.last_applied == peer.raft.commit_index


def test_a_load_that_brings_nothing_to_apply_stops_the_replica() -> None:
    """A committed batch that the journal has not is a broken promise: it stops rather than ask for ever."""
    world = World(ALONE, host_settings(cache_bytes=1))
    world.found()
    node = world["n1:1"]
    wrote(world, "n1:1", "k", 1)
    node.crash("lose")
    node.start()
    world.now += 10
    node.turn()
    peer = node.peer()
    while not peer._apply_token:
        node.sync()
        world.now += 10
        node.turn()
    peer.loaded(world.now, peer._apply_token, ())
    world.settle()
    assert "the journal has no batch at 1" in node.it.failed["p"].fault
    peer.loaded(world.now, 12345, ())
    peer.saved(world.now, 99)


def test_a_commit_index_within_a_batch_stops_the_replica() -> None:
    """It can come from nobody honest; without this it would wait for ever, at full speed."""
    world = World()
    leader = world.found()
    follower = world[world.followers()[0]]
    world.drops = lambda source, message: source == follower.name
    for place in range(3):
        world.write(leader, ("k", place))
    world.settle()
    raft = follower.peer().raft
    first = raft.log.last_index - 2
    assert raft.commit_index < first
    message = Heartbeat(world[leader].peer().raft.me, raft.me, raft.current_term, 1 << 40, first, 0)
    follower.it.receive(world.now, follower.peer().meta.group, message)
    follower.turn()
    assert "within a batch" in follower.it.failed["p"].fault


def test_a_machine_that_cannot_go_on_stops_its_replica_and_no_other() -> None:
    """MemoryError and its like are this replica's own: it fails, with the reason, and its neighbours serve on."""
    world = World(ALONE, backends=BACKENDS)
    world.found(backend="broken")
    world.found("other", group=GroupId(b"another group!!!"))
    number = world.write("n1:1", "die")
    world.settle()
    assert isinstance(world.asker.error(number), OutcomeUnknown)
    stat = world.ask("n1:1", lambda number: Stat(number, "p"))
    after = world.write("n1:1", "more")
    fine = world.write("n1:1", ("k", 1), peer="other")
    world.settle()
    status = world.asker.reply(stat)
    assert isinstance(status, Status)
    assert status.status.role == "failed"
    assert "MemoryError" in (status.status.fault or "")
    assert status.status.peers == (peer_id("n1:1"),)
    assert isinstance(world.asker.error(after), PeerUnavailable)
    assert world.asker.result(fine) == "ok"
    assert [note.text for note in world["n1:1"].notes if note.is_alarm] == [f"failed: {status.status.fault}"]


def test_a_machine_with_something_due_gets_its_time_entry() -> None:
    """The leader proposes when replicated time reaches `due`, once, and everybody's machine advances."""
    world = World(backends=BACKENDS)
    leader = world.found(backend="clockwork")
    number = world.write(leader, 700)
    world.settle()
    assert world.asker.result(number) == "ok"
    due_at = world[leader].peer().machine.time + 700
    count = world[leader].peer().raft.log.last_index
    world.advance(600)
    assert world[leader].peer().raft.log.last_index == count
    world.advance(400)
    assert world[leader].peer().raft.log.last_index == count + 1
    world.advance(2000)
    assert world[leader].peer().raft.log.last_index == count + 1
    for node in world.nodes:
        backend = world[node].peer().machine.backend
        assert isinstance(backend, Clockwork)
        (fired,) = backend.fired
        assert due_at <= fired < due_at + 50


def test_a_leader_that_steps_down_leaves_what_is_due_to_others() -> None:
    """Its deadline goes with its leadership: a follower with one in the past would never sleep again."""
    world = World(backends=BACKENDS)
    leader = world.found(backend="clockwork")
    world.write(leader, 5 * ELECTION_MS)
    world.settle()
    world.cut(leader)
    world.until(lambda: not world[leader].peer().is_leader)
    world.heal()
    world.advance(10 * ELECTION_MS)
    for node in world.nodes.values():
        backend = node.peer().machine.backend
        assert isinstance(backend, Clockwork)
        assert len(backend.fired) == 1
        assert node.duties.wake_at_ms is not None
        assert node.duties.wake_at_ms > world.now
    assert world.lead() != leader


def test_a_machine_that_dies_when_asked_what_is_due_stops_its_replica() -> None:
    """`due` is asked on the leader alone; what it may not raise is the replica's end, not the node's."""
    world = World(ALONE, backends=BACKENDS)
    world.found(backend="broken")
    machine = world["n1:1"].peer().machine.backend
    assert isinstance(machine, Broken)
    machine.due_error = MemoryError("none left")
    world.write("n1:1", "fine")
    world.settle()
    assert "due raised MemoryError" in world["n1:1"].it.failed["p"].fault
