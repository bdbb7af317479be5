"""A host and its replicas: the way of a write, of a query, and what is refused at the door."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.peer.machines import BACKENDS
from tests.unit.peer.world import ALONE, ELECTION_MS, Asker, World, host_settings, peer_id, read, wrote
from zraft.core.messages import AppendReply, PreVote, RequestVote, RequestVoteReply
from zraft.errors import (
    BackendError,
    NotLeader,
    Overloaded,
    Rejected,
    RequestError,
    TooLarge,
)
from zraft.types import NOT_FOUND
from zraft.wire.requests import Conf, GetConf, Write


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
