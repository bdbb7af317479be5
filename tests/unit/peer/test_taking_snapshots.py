"""Snapshots are taken when the log has grown, between batches, of what is durable; the log is cut behind them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.peer.machines import Broken
from tests.unit.peer.world import ALONE, World, read, snapshots_every, wrote
from zraft.errors import DiskFull, StorageError, UsageError
from zraft.machine.backend import Backend, Context, Directory, SnapshotWriter, SyncSnapshot
from zraft.peer.growth import SnapshotSettings
from zraft.peer.vault import VaultJob, Write
from zraft.types import PeerId

N1 = "n1:1"


class Noted(Backend):
    """A list that notes what it is told of its snapshots."""

    name = "noted"
    told: list[str]

    def __init__(self, peer_id: PeerId) -> None:
        super().__init__(peer_id)
        self.items: list[Any] = []
        self.told = []
        self.is_sync = False
        self.refuses: BaseException | None = None

    def apply(self, command: Any, ctx: Context) -> Any:
        if command == "sync":
            self.is_sync = True
        self.items.append(command)
        return len(self.items)

    def query(self, query: Any) -> Any:
        return list(self.items)

    def snapshot(self) -> SnapshotWriter | SyncSnapshot:
        if self.refuses is not None:
            raise self.refuses
        items = self.items if self.is_sync else list(self.items)

        def write(directory: Directory) -> None:
            with directory.create("items") as file:
                file.write(msgspec.msgpack.encode(items))

        return SyncSnapshot(write) if self.is_sync else write

    def snapshot_done(self) -> None:
        self.told.append("done")

    def snapshot_failed(self, error: Exception) -> None:
        self.told.append(type(error).__name__)

    def install_snapshot(self, directory: Directory) -> None:
        with directory.open("items") as file:
            self.items = msgspec.msgpack.decode(file.read())


def alone(*, backend: str = "dict", **settings: Any) -> World:
    """One node that leads its own group."""
    world = World(ALONE, snapshots_every(**settings), {"noted": Noted, "broken": Broken})
    world.found(backend=backend)
    return world


def fill(world: World, to: int, node: str = N1) -> None:
    """Writes one entry after the other, until the log ends at `to`."""
    while world[node].peer().raft.log.last_index < to:
        number = world.write(node, ("k", world[node].peer().raft.log.last_index))
        world.settle()
        world.asker.result(number)


def noted(world: World) -> Noted:
    backend = world[N1].peer().machine.backend
    assert isinstance(backend, Noted)
    return backend


def test_a_snapshot_is_taken_when_so_many_entries_were_applied() -> None:
    """Of every kind: the configuration and the no-op count. What a status says of it is so."""
    world = alone(count=10, trailing=3)
    fill(world, 9)
    assert world[N1].vault.indexes() == []
    fill(world, 10)
    assert world[N1].vault.indexes() == [10]
    status = world[N1].peer().status()
    assert (status.snapshot_index, status.first_index, status.last_index) == (10, 8, 10)
    assert status.snapshot_term == status.term
    fill(world, 25)
    assert world[N1].vault.indexes() == [20]
    assert world[N1].peer().status().first_index == 18


def test_a_large_state_is_written_again_when_the_log_has_outgrown_it() -> None:
    """Above a mebibyte of state, so that writing snapshots costs no more than writing the log."""
    world = alone(count=5)
    for place in range(8):
        wrote(world, N1, f"k{place}", b"x" * 300_000)
    first = world[N1].peer().raft.snapshot.index
    assert first > 5
    fill(world, first + 60)
    assert world[N1].peer().raft.snapshot.index == first
    for _ in range(9):
        wrote(world, N1, "k0", b"y" * 300_000)
    assert world[N1].peer().raft.snapshot.index > first + 60


def test_writes_go_on_while_a_snapshot_is_written() -> None:
    """What is written is the state that was captured, not what came after."""
    world = alone(count=10)
    world[N1].is_vault_stalled = True
    fill(world, 10)
    wrote(world, N1, "late", 1)
    assert world[N1].peer().machine.last_applied == 11
    assert len(world[N1].vault.jobs) == 1
    fill(world, 40)
    assert len(world[N1].vault.jobs) == 1, "one at a time"
    world[N1].is_vault_stalled = False
    world.settle()
    world[N1].crash()
    world[N1].start()
    world.until(lambda: world.leader() is not None)
    assert read(world, N1, "late") == 1


def test_a_state_that_cannot_be_held_is_written_before_anything_more_is_applied() -> None:
    """SyncSnapshot: apply waits, everything else goes on."""
    world = alone(count=10, backend="noted")
    number = world.write(N1, "sync")
    world.settle()
    world.asker.result(number)
    world[N1].is_vault_stalled = True
    last = world[N1].peer().raft.log.last_index
    for _ in range(12):
        number = world.write(N1, "more")
        world.settle()
    assert world[N1].peer().raft.commit_index == last + 12
    assert world[N1].peer().machine.last_applied == 10
    world[N1].is_vault_stalled = False
    world.settle()
    assert world[N1].peer().machine.last_applied == last + 12
    assert world.asker.result(number) == last + 12 - 2
    meta, mark, folder = next(iter(world[N1].vault.published.values()))
    assert msgspec.msgpack.decode(bytes(folder.files["items"]))[-1] == "more"
    assert mark.index == 10
    assert meta == world[N1].peer().meta


def test_a_half_applied_batch_is_finished_first() -> None:
    """The state is captured between batches only, also where slices never end with one."""
    world = alone(count=10)
    world[N1].it.apply_entries = 16
    for _ in range(50):
        world.write(N1, ("k", 1))
    world.settle()
    assert world[N1].vault.indexes() == [world[N1].peer().raft.log.last_index]


def test_nothing_is_captured_that_the_own_disk_does_not_have() -> None:
    """Others may have committed it: a snapshot of a term that the hard state may lose would be no snapshot."""
    world = World(settings=snapshots_every(10))
    leader = world.found()
    fill(world, 9, leader)
    world[leader].is_stalled = True
    world.write(leader, ("k", 9))
    world.settle()
    peer = world[leader].peer()
    assert peer.machine.last_applied == 10 > peer.raft.saves.durable_index
    assert not world[leader].vault.jobs
    world.write(leader, ("k", 10))
    world.settle()
    assert peer.machine.last_applied == 10, "apply waits for the disk"
    world[leader].is_stalled = False
    world.settle()
    assert world[leader].vault.indexes() == [10]
    assert peer.machine.last_applied == 11


@pytest.mark.parametrize("error", [StorageError("input/output error"), DiskFull("no space left")])
def test_a_snapshot_that_fails_is_noted_and_tried_again(error: StorageError) -> None:
    """Nothing is cut, the backend hears of it, and attempts come at longer and longer intervals."""
    world = alone(count=10, backend="noted", retry_ms=1000)
    world[N1].vault.fail = lambda job: error if isinstance(job, Write) else None
    fill(world, 10)
    assert noted(world).told == [type(error).__name__]
    assert world[N1].peer().raft.log.base_index == 0
    assert [note.text for note in world[N1].notes if note.is_alarm] == [
        f"no snapshot could be taken: {error}; next attempt in 1000 ms"
    ]
    fill(world, 15)
    assert len(world[N1].vault.performed) == 1
    world.advance(1000)
    assert len(world[N1].vault.performed) == 2
    world.advance(1900)
    assert len(world[N1].vault.performed) == 2
    world[N1].vault.fail = lambda job: None
    world.advance(200)
    assert noted(world).told[-1] == "done"
    assert world[N1].vault.indexes() == [15]


def test_a_backend_that_cannot_capture_is_tried_again() -> None:
    """Whatever its `snapshot` raises: the replica serves on."""
    world = alone(count=10, backend="noted", retry_ms=1000)
    for error in (ValueError("not now"), OSError(5, "no"), MemoryError()):
        noted(world).refuses = error
        fill(world, world[N1].peer().raft.log.last_index + 10)
        world.advance(60_000)
        assert not world[N1].vault.performed
    assert set(noted(world).told) == {"BackendError", "ReplicaFault"}
    noted(world).refuses = None
    world.advance(60_000)
    assert world[N1].vault.indexes() == [world[N1].peer().raft.log.last_index]


def test_a_backend_without_snapshots_is_said_so_once() -> None:
    """Its log grows for ever; asking again would not help."""
    world = alone(count=5, backend="broken")
    fill(world, 40)
    assert [note.text for note in world[N1].notes if "snapshot" in note.text] == [
        "backend 'broken' has no snapshot(): the log grows for ever"
    ]


def test_old_snapshots_are_dropped_and_archives_asked_for() -> None:
    """Only the newest stays; with `backup` each is archived."""
    world = alone(count=10, backup=True)
    fill(world, 45)
    assert world[N1].vault.indexes() == [40]
    assert [index for _, index in world[N1].vault.archived] == [10, 20, 30, 40]


def test_a_drop_that_fails_is_said_and_tried_with_the_next_snapshot() -> None:
    """It costs space, and nothing else."""
    world = alone(count=10)

    def fail(job: VaultJob) -> StorageError | None:
        return None if isinstance(job, Write) else StorageError("busy")

    world[N1].vault.fail = fail
    fill(world, 25)
    assert world[N1].vault.indexes() == [10, 20]
    assert any("old snapshots could not be deleted" in note.text for note in world[N1].notes)
    world[N1].vault.fail = lambda job: None
    fill(world, 30)
    assert world[N1].vault.indexes() == [30]


def test_settings_that_contradict_each_other_are_refused() -> None:
    """What stays for followers is at most half of what makes a snapshot due."""
    with pytest.raises(UsageError, match="at most half"):
        SnapshotSettings(max_log_count=10, trailing_log_count=6)
    with pytest.raises(UsageError, match="a snapshot every 0 entries"):
        SnapshotSettings(max_log_count=0, trailing_log_count=0)
