"""One fault at a time: who stops, who serves on, and what is never said afterwards."""

from __future__ import annotations

import errno

import msgspec
import pytest

from tests.unit.peer.world import ALONE, World, host_settings, peer_id, wrote
from zraft.core.entries import Batch, Kind
from zraft.core.messages import AppendEntries, Heartbeat
from zraft.errors import (
    InvariantViolation,
    OutcomeUnknown,
    PeerUnavailable,
    StorageError,
)
from zraft.storage.disk import Operation, SyncFile
from zraft.storage.replica import Save
from zraft.types import GroupId
from zraft.wire.requests import Stat, Status


def sync_fails(operation: Operation) -> int:
    return errno.EIO if isinstance(operation, SyncFile) else 0


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
