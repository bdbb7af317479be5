"""A host and its replicas: writes, reads, slices, older batches, failures, one fault at a time."""

from __future__ import annotations

import errno
from typing import Any

import msgspec
import pytest

from tests.unit.peer.machines import BACKENDS, Broken, Clockwork
from tests.unit.peer.world import ELECTION_MS, Asker, World, host_settings, peer_id
from zraft import limits
from zraft.core.entries import Batch, Kind
from zraft.core.messages import AppendEntries, AppendReply, Heartbeat, PreVote, RequestVote, RequestVoteReply
from zraft.errors import (
    BackendError,
    InvariantViolation,
    NotLeader,
    NotStable,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    Rejected,
    RequestError,
    StorageError,
    TooLarge,
)
from zraft.peer.host import Host
from zraft.storage.disk import Operation, SyncFile, WriteAt
from zraft.storage.replica import Save
from zraft.types import NOT_FOUND, GroupId
from zraft.wire.requests import Bootstrap, ChangeMembership, Conf, GetConf, Query, Stat, Status, Write

ALONE = ("n1:1",)


def wrote(world: World, node: str, key: str, value: Any) -> Any:
    number = world.write(node, (key, value))
    world.settle()
    return world.asker.result(number)


def read(world: World, node: str, key: str) -> Any:
    number = world.query(node, key)
    world.settle()
    return world.asker.result(number)


def sync_fails(operation: Operation) -> int:
    return errno.EIO if isinstance(operation, SyncFile) else 0


# -- the way of a write


def test_a_group_of_three_writes_and_reads() -> None:
    """A write is on a majority and applied when it is answered; a query sees it."""
    world = World()
    leader = world.found()
    assert wrote(world, leader, "k", 1) == "ok"
    assert read(world, leader, "k") == 1
    assert read(world, leader, "other") is NOT_FOUND
    world.advance(200)
    applied = {world[node].peer().machine.last_applied for node in world.nodes}
    assert applied == {world[leader].peer().raft.commit_index}


def test_one_replica_alone_answers_when_its_disk_has_it() -> None:
    """BM-092's rule in small: the only voter commits by its own disk, not before."""
    world = World(ALONE)
    world.found()
    world["n1:1"].is_stalled = True
    number = world.write("n1:1", ("k", 1))
    world.settle()
    assert number not in world.asker.replies
    world["n1:1"].is_stalled = False
    world.settle()
    assert world.asker.result(number) == "ok"


def test_a_turn_of_writes_is_one_batch_and_one_save() -> None:
    """Work is done per turn: a hundred writes are one record."""
    world = World(ALONE)
    world.found()
    raft = world["n1:1"].peer().raft
    before = (raft.log.batch_count, raft.saves.issued)
    numbers = [world.write("n1:1", ("k", place)) for place in range(100)]
    world.settle()
    assert (raft.log.batch_count, raft.saves.issued) == (before[0] + 1, before[1] + 1)
    indexes = [world.asker.reply(number).index for number in numbers]  # type: ignore[union-attr]  # Results
    assert indexes == list(range(indexes[0], indexes[0] + 100))


def test_a_follower_acknowledges_when_its_disk_has_it() -> None:
    """I13: the reply waits for the save; without it nothing is committed."""
    world = World()
    leader = world.found()
    for node in world.followers():
        world[node].is_stalled = True
    number = world.write(leader, ("k", 1))
    world.settle()
    assert number not in world.asker.replies
    assert not any(isinstance(message, AppendReply) and message.accepted for _, _, message in world.wire)
    world[world.followers()[0]].is_stalled = False
    world.settle()
    assert world.asker.result(number) == "ok"


def test_a_vote_waits_for_its_disk() -> None:
    """§3.8: neither the request of a candidate nor a grant leaves before term and vote are durable."""
    world = World()
    leader = world.found()
    world.cut(leader)
    others = world.followers()
    for node in others:
        world[node].is_stalled = True
    world.sent.clear()
    world.advance(4 * ELECTION_MS)
    assert any(isinstance(message, PreVote) for message in world.sent), "a pre-vote promises nothing"
    assert not any(isinstance(message, RequestVote | RequestVoteReply) for message in world.sent)
    assert all(world[node].peer().raft.leader != world[node].peer().raft.me for node in others)
    for node in others:
        world[node].is_stalled = False
    world.until(lambda: any(world[node].peer().is_leader for node in others))


def test_a_follower_sends_its_clients_to_the_leader() -> None:
    """Servers redirect; they never forward."""
    world = World()
    leader = world.found()
    follower = world.followers()[0]
    for number in (world.write(follower, ("k", 1)), world.query(follower, "k")):
        world.settle()
        error = world.asker.error(number)
        assert isinstance(error, NotLeader)
        assert (error.leader, error.executed) == (peer_id(leader), "no")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x91" * 80 + b"\x01", TooLarge),
        (b"\xc4\xff" + bytes(300), RequestError),
        (b"\xd4\x05\x00", RequestError),
        (b"\x81\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x01", RequestError),
        (b"\xda\x10\x00" + b"x" * 4096, TooLarge),
    ],
)
def test_a_command_that_no_replica_could_decode_is_refused_at_the_door(data: bytes, error: type[Exception]) -> None:
    """Its own caller hears of it, as of something that did not run; the log never sees it."""
    world = World(ALONE, host_settings(max_command_bytes=2000))
    world.found()
    before = world["n1:1"].peer().raft.log.last_index
    number = world.ask("n1:1", lambda number: Write(number, "p", msgspec.Raw(data)))
    world.settle()
    assert type(world.asker.error(number)) is error
    assert world.asker.executed(number) == "no"
    assert world["n1:1"].peer().raft.log.last_index == before


def test_a_leader_without_followers_refuses_more_than_it_may_hold() -> None:
    """BM-111: what waits for a majority is bounded, and the caller hears that it did not run."""
    world = World(settings=host_settings(uncommitted_bytes=500))
    leader = world.found()
    world.cut(leader)
    waiting = world.write(leader, ("k", "x" * 600))
    world.settle()
    refused = world.write(leader, ("k", 2))
    world.settle()
    assert waiting not in world.asker.replies
    assert isinstance(world.asker.error(refused), Overloaded)


# -- outcomes where leadership goes


def led_alone(world: World) -> tuple[str, int]:
    """A leader that is cut off, with a write that only it has."""
    leader = world.found()
    world.cut(leader)
    number = world.write(leader, ("k", "mine"))
    world.settle()
    assert number not in world.asker.replies
    return leader, number


def test_a_write_that_another_leader_overwrites_did_not_run() -> None:
    """The old leader follows again: at the index of its write stands another entry, so "no" is the truth."""
    world = World()
    leader, number = led_alone(world)
    others = world.followers()
    world.until(lambda: any(world[node].peer().is_leader for node in others))
    world.heal()
    world.until(lambda: number in world.asker.replies)
    assert isinstance(world.asker.error(number), NotLeader)
    assert world.asker.executed(number) == "no"
    assert read(world, world.lead(), "k") is NOT_FOUND
    assert leader != world.lead()


def test_a_write_that_the_next_leader_commits_is_answered_with_its_result() -> None:
    """It was on the other node when leadership went: the caller gets its result from the leader of then."""
    world = World()
    leader = world.found()
    follower, other = world.followers()
    world.drops = lambda source, message: (
        isinstance(message, AppendReply)
        or other
        in (
            source,
            message.to.peer.node,
        )
    )
    number = world.write(leader, ("k", "kept"))
    world.settle()
    # The leader is gone for the others; the follower that has the entry takes over.
    world.cut(leader)
    world.until(lambda: world[follower].peer().is_leader)
    assert number not in world.asker.replies
    world.heal()
    world.until(lambda: number in world.asker.replies)
    assert world.asker.result(number) == "ok"
    assert read(world, follower, "k") == "kept"


def test_a_write_that_nobody_decides_is_unknown_after_a_while() -> None:
    """BM-062: leadership lost and nobody to tell: "maybe" within a bound, once."""
    world = World()
    leader, number = led_alone(world)
    world.until(lambda: not world[leader].peer().is_leader)
    lost_at = world.now
    world.until(lambda: number in world.asker.replies)
    assert isinstance(world.asker.error(number), OutcomeUnknown)
    assert world.now - lost_at <= 2 * ELECTION_MS + 20
    world.heal()
    world.advance(4 * ELECTION_MS)


def test_queries_of_a_leader_that_is_cut_off_fail_rather_than_lie() -> None:
    """BM-067: without a majority no query is answered; when it steps down they are told to look elsewhere."""
    world = World()
    leader = world.found()
    wrote(world, leader, "k", 1)
    world.cut(leader)
    number = world.query(leader, "k")
    world.settle()
    assert number not in world.asker.replies
    world.until(lambda: number in world.asker.replies)
    assert isinstance(world.asker.error(number), NotLeader)


def test_queries_left_with_a_leader_that_steps_down_in_the_same_turn_are_answered() -> None:
    """Admitted as leader, asked as follower: a read index of the new leader, or a refusal, but an answer."""
    world = World()
    leader = world.found()
    number = world.query(leader, "k")
    conf = world.ask(leader, lambda number: GetConf(number, "p"))
    peer = world[leader].peer()
    follower = world[world.followers()[0]].peer()
    heartbeat = Heartbeat(follower.raft.me, peer.raft.me, peer.raft.current_term + 1, 1, 0, 0)
    world[leader].it.receive(world.now, peer.meta.group, heartbeat)
    world.advance(4 * ELECTION_MS)
    assert number in world.asker.replies
    assert conf in world.asker.replies


# -- reads of one's own state


def test_a_local_query_waits_for_the_state_that_it_wants() -> None:
    """`min_index`: not older than that; a replica that has it answers at once, leader or not."""
    world = World()
    leader = world.found()
    follower = world.followers()[0]
    wrote(world, leader, "k", 1)
    world.advance(200)
    index = world[follower].peer().machine.last_applied
    now = world.query_local(follower, "k", index)
    later = world.query_local(follower, "k", index + 1)
    world.settle()
    assert world.asker.result(now) == 1
    assert later not in world.asker.replies
    wrote(world, leader, "k", 2)
    world.advance(200)
    assert world.asker.result(later) == 2


def test_a_client_that_is_gone_is_forgotten() -> None:
    """What it waited for may never come: nothing is kept for it."""
    world = World(ALONE)
    world.found()
    gone = Asker("gone")
    world.query_local("n1:1", "k", 1 << 40, asker=gone)
    world.settle()
    host = world["n1:1"].it
    assert world["n1:1"].peer().desk.has_local
    host.forget(gone)
    assert not world["n1:1"].peer().desk.has_local
    host.forget(gone)


def test_a_backend_that_cannot_answer_harms_nobody() -> None:
    """A query that raises is the caller's error; the replica and its state go on."""
    world = World(ALONE, backends=BACKENDS)
    world.found(backend="broken")
    number = world.query("n1:1", "raise")
    refused = world.query("n1:1", "refuse")
    world.settle()
    error = world.asker.error(number)
    assert isinstance(error, BackendError)
    assert (error.type, error.executed) == ("ValueError", "no")
    assert isinstance(world.asker.error(refused), Rejected)
    assert world["n1:1"].it.failed == {}


def test_a_configuration_is_told_when_it_is_stable() -> None:
    """`GetConf` names leader, index and members."""
    world = World()
    leader = world.found()
    number = world.ask(leader, lambda number: GetConf(number, "p"))
    world.settle()
    conf = world.asker.reply(number)
    assert isinstance(conf, Conf)
    assert (conf.leader, conf.index, len(conf.members)) == (peer_id(leader), 1, 3)


# -- apply


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


# -- failures


def test_a_store_that_fails_ends_everything_and_acknowledges_nothing() -> None:
    """BM-093: no answer says "done" after the error, nothing is sent, and the host says why it must stop."""
    world = World()
    leader = world.found()
    node = world[leader]
    node.disk.fail = sync_fails
    number = world.write(leader, ("k", 1))
    node.turn()
    node.disk.fail = sync_fails
    node.sync()
    after = world.write(leader, ("k", 2))
    made = world.ask(leader, lambda number: Stat(number, "p"))
    sent = len(world.wire)
    duties = node.turn()
    assert isinstance(duties.fatal, StorageError)
    assert len(world.wire) == sent
    assert isinstance(world.asker.error(number), OutcomeUnknown)
    assert isinstance(world.asker.error(after), PeerUnavailable)
    assert isinstance(world.asker.reply(made), Status)
    assert node.it.is_settled
    node.disk.fail = lambda operation: 0
    world.until(lambda: world.leader() not in (None, leader))


def test_corruption_found_while_loading_stops_only_that_replica() -> None:
    """D5: what does not match its checksum is given to nobody; the node's other replicas go on."""
    world = World(ALONE, host_settings(cache_bytes=1, segment_bytes=1 << 16))
    world.found()
    wrote(world, "n1:1", "k", "x" * 100)
    world.found("other", group=GroupId(b"another group!!!"))
    node = world["n1:1"]
    name = next(name for name in node.disk.names() if name.startswith("journal"))
    data = node.disk.read(name, 0, node.disk.size(name))
    peer = node.peer()
    peer.machine.last_applied = 0
    node.disk.flip(name, data.index(b"x" * 100))
    first = peer.raft.log.last_index
    peer._apply_token = 77
    node.it.store.load("p", 77, first, first, 1 << 20)
    node.turn()
    node.sync()
    node.turn()
    assert "corrupt data" in node.it.failed["p"].fault
    assert list(node.it.peers) == ["other"]


def test_a_save_that_the_store_refuses_stops_the_replica_before_anything_gets_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of that step leaves: neither entries nor acknowledgements; its requests did not run."""
    world = World()
    leader = world.found()
    node = world[leader]

    def refuse(save: Save) -> None:
        raise InvariantViolation("a hole in the log")

    monkeypatch.setattr(node.it.store, "save", refuse)
    number = world.write(leader, ("k", 1))
    sent = len(world.wire)
    node.turn()
    assert len(world.wire) == sent
    assert "a hole in the log" in node.it.failed["p"].fault
    assert isinstance(world.asker.error(number), PeerUnavailable)
    assert world.asker.executed(number) == "no"


def test_a_broken_invariant_stops_the_replica_and_tells_everybody() -> None:
    """BM-011: two leaders in one term. Requests that come in the same turn are answered too."""
    world = World()
    leader = world.found()
    node, other = world[leader], world[world.followers()[0]].peer()
    before = world.write(leader, ("k", 1))
    raft = node.peer().raft
    message = AppendEntries(other.raft.me, raft.me, raft.current_term, 0, 0, 0, 0, [])
    node.it.receive(world.now, node.peer().meta.group, message)
    after, question = world.write(leader, ("k", 2)), world.query(leader, "k")
    node.it.receive(world.now, node.peer().meta.group, message)
    node.turn()
    assert "two leaders" in node.it.failed["p"].fault
    for number in (before, after, question):
        assert isinstance(world.asker.error(number), PeerUnavailable)
    assert node.it.view("p").role == "failed"


def test_an_unknown_kind_of_entry_stops_the_replica() -> None:
    """BM-117: what this version does not know is never skipped."""
    world = World()
    leader = world.found()
    node = world[world.followers()[0]]
    raft = node.peer().raft
    last = raft.log.last_index
    strange = Batch(last + 1, 1, raft.current_term, 0, 0, max(Kind) + 1, b"")
    message = AppendEntries(
        world[leader].peer().raft.me, raft.me, raft.current_term, last, raft.log.last_term, 0, 0, [strange]
    )
    node.it.receive(world.now, node.peer().meta.group, message)
    node.turn()
    assert "upgrade it" in node.it.failed["p"].fault


def test_messages_for_nobody_here_change_nothing() -> None:
    """BM-114: another group, another name, another life."""
    world = World()
    leader = world.found()
    node = world[world.followers()[0]]
    raft = node.peer().raft
    sender = world[leader].peer().raft.me
    term = raft.current_term
    message = Heartbeat(sender, raft.me, term + 5, 1, 0, 0)
    node.it.receive(world.now, GroupId(b"another group!!!"), message)
    elsewhere = msgspec.structs.replace(raft.me, peer=peer_id(node.name, "q"))
    node.it.receive(world.now, node.peer().meta.group, msgspec.structs.replace(message, to=elsewhere))
    former = msgspec.structs.replace(raft.me, incarnation=raft.me.incarnation + 1)
    node.it.receive(world.now, node.peer().meta.group, msgspec.structs.replace(message, to=former))
    assert raft.current_term == term


# -- time, idleness and the end


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
