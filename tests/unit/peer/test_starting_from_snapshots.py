"""Which snapshot a replica starts from, and when it must not start at all."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.peer.test_taking_snapshots import fill
from tests.unit.peer.world import ALONE, World, read, snapshots_every, wrote
from zraft.errors import PeerUnavailable, StorageError
from zraft.peer.vault import Drop, Forget
from zraft.wire.requests import RemovePeer

N1 = "n1:1"


def grown(to: int, *, count: int = 10) -> World:
    """One node, whose log ends at `to`."""
    world = World(ALONE, snapshots_every(count))
    world.found()
    wrote(world, N1, "first", 1)
    fill(world, to)
    return world


def restarted(world: World) -> World:
    world[N1].crash()
    world[N1].start()
    return world


def leads(world: World) -> bool:
    return world.leader() is not None


def fault(world: World) -> str:
    world.settle()
    status = world[N1].it.status("p")
    assert status is not None
    assert status.role == "failed"
    return status.fault or ""


def keep_from_the_journal(world: World) -> None:
    """The next snapshots are published, and the journal never hears of them."""
    world[N1].it.store.compact = lambda name, mark, keep_from: None  # type: ignore[method-assign]


def test_a_replica_starts_from_its_snapshot() -> None:
    """The log begins after it; state, configuration and what is known to be committed are there at once."""
    world = restarted(grown(25))
    peer = world[N1].peer()
    assert (peer.machine.last_applied, peer.raft.commit_index, peer.raft.log.base_index) == (20, 20, 20)
    assert peer.raft.membership is not None
    world.until(lambda: leads(world))
    assert read(world, N1, "first") == 1


def test_a_snapshot_that_the_journal_did_not_hear_of_is_used() -> None:
    """Published, then the process died: the log leads to it."""
    world = grown(15)
    keep_from_the_journal(world)
    fill(world, 25)
    assert world[N1].vault.indexes() == [20]
    world = restarted(world)
    peer = world[N1].peer()
    assert (peer.machine.last_applied, peer.raft.snapshot.index, peer.raft.commit_index) == (20, 20, 20)
    assert peer.raft.log.base_index == 10
    world.until(lambda: leads(world))
    fill(world, 45)
    assert peer.raft.log.base_index == 40


def test_a_corrupt_snapshot_falls_back_on_an_older_one_that_the_log_leads_on_from() -> None:
    """And says so."""
    world = grown(15)
    keep_from_the_journal(world)
    world[N1].vault.fail = lambda job: StorageError("busy") if isinstance(job, Drop) else None
    fill(world, 25)
    vault = world[N1].vault
    vault.corrupt.add(max(vault.published))
    world = restarted(world)
    assert world[N1].peer().machine.last_applied == 10
    world.until(lambda: leads(world))
    assert read(world, N1, "first") == 1
    notes = [note.text for note in world[N1].notes if note.is_alarm]
    assert any("the snapshot at 20 cannot be used" in text and "checksum" in text for text in notes)


def test_a_replica_whose_snapshot_is_gone_has_failed() -> None:
    """A folder that somebody emptied is no empty state."""
    world = grown(15)
    world[N1].vault.published.clear()
    assert fault(restarted(world)) == "the log begins after 10, and no snapshot leads to it"


def test_a_replica_that_never_had_a_snapshot_starts_from_its_log() -> None:
    """Also where one is there that nobody can read: the log has everything."""
    world = grown(9)
    keep_from_the_journal(world)
    fill(world, 12)
    world[N1].vault.corrupt.update(world[N1].vault.published)
    world = restarted(world)
    assert world[N1].peer().machine.last_applied == 0
    world.until(lambda: leads(world))
    assert read(world, N1, "first") == 1


def test_an_unreadable_snapshot_gives_way_to_one_at_the_same_index() -> None:
    """Taken again from the log."""
    world = grown(9)
    keep_from_the_journal(world)
    fill(world, 10)
    world[N1].vault.corrupt.update(world[N1].vault.published)
    world = restarted(world)
    world.until(lambda: leads(world))
    fill(world, 40)
    assert not world[N1].vault.corrupt
    assert world[N1].vault.indexes() == [world[N1].peer().raft.snapshot.index]


@pytest.mark.parametrize("change", ["mark", "owner"])
def test_a_snapshot_of_something_else_is_not_used(change: str) -> None:
    """At the right index, and not the one that the log continues; or somebody else's."""
    world = grown(15)
    vault = world[N1].vault
    key, (meta, mark, folder) = next(iter(vault.published.items()))
    if change == "mark":
        mark = msgspec.structs.replace(mark, membership=None)
    else:
        meta = msgspec.structs.replace(meta, backend="table")
    vault.published[key] = (meta, mark, folder)
    assert "cannot be used" in fault(restarted(world))


def test_a_snapshot_that_the_journal_does_not_reach_resets_it() -> None:
    """It was fetched, and the process died before the journal heard of it: the log is what it replaces (BM-053)."""
    world = World(settings=snapshots_every(10))
    leader = world.found()
    behind = world.followers()[0]
    world.cut(behind)
    fill(world, 35, leader)
    world.heal()
    world.until(lambda: bool(world[behind].vault.indexes()))
    index = world[behind].vault.indexes()[-1]
    assert index >= 30


def test_the_reset_is_the_first_thing_saved() -> None:
    """A fetched snapshot ahead of the log: the log is discarded, in the journal too, before anything is promised."""
    world = World(settings=snapshots_every(10))
    leader = world.found()
    behind = world.followers()[0]
    world.cut(behind)
    fill(world, 35, leader)
    world.heal()
    node = world[behind]
    node.is_stalled = True
    world.until(lambda: bool(node.vault.indexes()) and not node.vault.jobs, 5000)
    index = node.vault.indexes()[-1]
    node.crash("lose")
    world.cut(behind)
    node.start()
    raft = node.peer().raft
    assert (raft.log.base_index, raft.log.last_index, raft.commit_index) == (index, index, index)
    assert node.peer().machine.last_applied == index
    assert node.peer().awaited_save == 1
    world.settle()
    node.crash("lose")
    node.start()
    assert node.peer().raft.log.base_index == index
    assert node.peer().awaited_save == 0


def test_snapshots_that_cannot_be_listed_stop_the_node() -> None:
    """Nobody knows then what its replicas are."""
    world = grown(15)
    world[N1].crash()
    world[N1].vault.unreadable = True
    with pytest.raises(StorageError, match="the snapshots cannot be read"):
        world[N1].start()


def test_a_removed_replica_leaves_no_snapshot() -> None:
    """Not before its removal is durable, and at the next start where a crash came between."""
    world = grown(15)
    world.cut(N1)
    node = world[N1]
    group = node.peer().meta.group

    def remove() -> int:
        return world.ask(N1, lambda number: RemovePeer(number, "p", group, conf_index=99))

    number = remove()
    assert not node.vault.jobs
    node.turn()
    node.sync()
    assert [type(job) for job in node.vault.jobs] == [Forget]
    node.crash()
    node.start()
    assert node.it.peers == {}
    world.settle()
    assert node.vault.indexes() == []
    assert number


def test_a_replica_that_was_stopped_goes_on_from_its_newest_snapshot() -> None:
    """Also from one that was being written when it was stopped: the vault finishes what it began."""
    world = grown(9)
    node = world[N1]
    node.is_vault_stalled = True
    fill(world, 12)
    node.it.stop_peer("p")
    world.settle()
    node.is_vault_stalled = False
    world.settle()
    assert node.vault.indexes() == [10]
    assert node.it.start_peer("p", world.now)
    assert node.peer().machine.last_applied == 10
    world.until(lambda: leads(world))
    assert read(world, N1, "first") == 1


def test_a_stopped_replica_whose_snapshot_is_unreadable_does_not_start() -> None:
    """Its reason is its status."""
    world = grown(15)
    node = world[N1]
    node.it.stop_peer("p")
    world.settle()
    node.vault.corrupt.update(node.vault.published)
    with pytest.raises(PeerUnavailable, match="has failed"):
        node.it.start_peer("p", world.now)
    assert "no snapshot leads to it" in fault(world)


def test_what_an_earlier_life_had_asked_of_the_vault_says_nothing() -> None:
    """A completion of a job that nobody knows."""
    world = grown(9)
    node = world[N1]
    node.is_vault_stalled = True
    fill(world, 10)
    job = node.vault.jobs[0]
    node.crash()
    node.start()
    node.vault.submit(job)
    node.sync_vault()
    world.settle()
    assert node.it.failed == {}
