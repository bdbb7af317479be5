"""Snapshots between hosts, vaults and journals: what others got wrong, played here."""

from __future__ import annotations

from tests.unit.peer.test_receiving_snapshots import Scene
from tests.unit.peer.test_starting_from_snapshots import fault, grown, restarted
from tests.unit.peer.test_taking_snapshots import N1, alone, fill
from tests.unit.peer.world import World, snapshots_every, wrote
from zraft.core.messages import AppendReply, SnapshotReply
from zraft.errors import DiskFull
from zraft.peer.vault import Fetch, Install, VaultJob
from zraft.storage.disk import Operation, WriteAt
from zraft.wire.requests import ChangeMembership


def turn_all(world: World) -> None:
    """A moment passes: everything happens once, and nobody is waited for."""
    world.now += 20
    world.deliver()
    for node in world.up():
        node.sync()
        node.sync_vault()
        node.turn()


def test_bm_013_a_snapshot_of_a_later_term_than_the_hard_state_is_refused() -> None:
    """Whoever lost its term may have lost its vote: it must not run."""
    world = grown(15)
    world[N1].vault.remark(10, term=99)
    assert "the hard state only of term" in fault(restarted(world))


def test_bm_051_a_snapshot_takes_the_place_of_a_half_applied_batch() -> None:
    """Half a batch is applied and its rest waits when the snapshot arrives: nothing of it touches the new state."""
    world = World(settings=snapshots_every(10))
    leader = world.found()
    behind = world[world.followers()[0]]
    for place in range(600):
        world.write(leader, (f"k{place}", place))
    behind.it.apply_entries = 7
    while behind.peer().machine.is_between_batches:
        turn_all(world)
    frozen, behind.host = behind.host, None
    fill(world, 630, leader)
    behind.host = frozen
    behind.it.apply_entries = 1
    peer = behind.peer()
    before = peer.machine
    while peer.machine is before:
        assert not before.is_between_batches
        turn_all(world)
    assert peer.machine.last_applied >= 600
    behind.it.apply_entries = 4096
    world.until(lambda: peer.machine.last_applied == world[leader].peer().machine.last_applied)
    assert peer.machine.digest() == world[leader].peer().machine.digest()


def test_bm_056_the_snapshot_is_acknowledged_when_the_journal_has_it() -> None:
    """Installed in memory, the reset not yet durable: neither the snapshot nor anything after it is acknowledged."""
    scene = Scene()
    scene.until_job(Install)
    scene.node.is_stalled = True
    scene.node.sync_vault()
    scene.world.settle()
    scene.world.advance(300)
    assert scene.peer.machine.last_applied == 30
    sender = scene.peer.raft.me
    claims = [
        message
        for message in scene.world.sent
        if message.sender == sender and isinstance(message, SnapshotReply | AppendReply)
    ]
    assert not any(getattr(message, "accepted", False) and message.index >= 30 for message in claims)
    assert scene.answers() == []
    scene.caught_up()
    assert scene.answers() == [True]


def test_bm_057_whatever_follows_a_snapshot_is_acknowledged_after_it() -> None:
    """All followers lose power right after their first acknowledgement past the snapshot: nothing of it is gone."""
    scene = Scene()
    scene.world.heal()
    me = scene.peer.raft.me

    def claims() -> list[int]:
        replies = [message for message in scene.world.sent if message.sender == me]
        appended = [reply.index for reply in replies if isinstance(reply, AppendReply) and reply.accepted]
        return appended + [reply.index for reply in replies if isinstance(reply, SnapshotReply) and reply.installed]

    scene.world.until(lambda: max(claims(), default=0) > 30)
    claimed = max(claims())
    scene.node.crash("lose")
    scene.node.start()
    raft = scene.peer.raft
    assert raft.log.last_index >= claimed
    assert scene.peer.machine.last_applied >= 30


def test_bm_057_entries_behind_a_snapshot_are_acknowledged_when_the_disk_has_them() -> None:
    """The disk stands still once the snapshot is in force: nothing that comes after it is acknowledged meanwhile."""
    scene = Scene()
    scene.until_job(Install)
    scene.node.sync_vault()
    while not scene.answers():
        scene.node.sync()
        scene.node.turn()
    scene.node.is_stalled, scene.node.is_vault_stalled = True, False
    scene.world.settle()
    sender = scene.peer.raft.me
    replies = [message for message in scene.world.sent if isinstance(message, AppendReply) and message.sender == sender]
    assert scene.peer.raft.log.last_index > scene.peer.raft.snapshot.index == 30
    assert not [reply for reply in replies if reply.accepted and reply.index > 30]
    scene.caught_up()


def test_bm_057_a_snapshot_is_fetched_after_the_term_that_offers_it_is_durable() -> None:
    """Otherwise a crash could leave a snapshot of a term that the hard state never heard of."""
    scene = Scene()
    scene.peer._hard_issued = 1 << 40
    scene.world.heal()
    scene.world.advance(3000)
    assert scene.peer.raft.replica.restoring is not None
    assert not scene.node.vault.jobs
    assert not scene.node.vault.performed
    scene.peer.snapshots._restoring.after_save = 0
    scene.peer._hard_issued = 0
    scene.caught_up()


def test_bm_062_a_write_that_a_snapshot_covers_is_unknown() -> None:
    """An old leader cannot see what became of its entry: its asker hears exactly that."""
    world = World(settings=snapshots_every(10, election_timeout_ms=500))
    old = world.found()
    world.cut(old)
    number = world.write(old, ("mine", 1))
    world.settle()
    world.until(lambda: any(world[name].peer().is_leader for name in world.nodes if name != old))
    leader = next(name for name in world.nodes if name != old and world[name].peer().is_leader)
    fill(world, 35, leader)
    world.heal()
    world.until(lambda: world[old].peer().machine.last_applied >= 30)
    assert world.asker.executed(number) == "maybe"


def test_bm_097_a_replica_whose_snapshot_cannot_be_read_has_failed() -> None:
    """Never an empty state: the reason is told, with the file."""
    world = grown(15)
    world[N1].vault.corrupt.update(world[N1].vault.published)
    assert "the log begins after 10" in (reason := fault(restarted(world)))
    assert "snapshots/10" in reason


def test_bm_106_the_log_is_cut_by_its_weight_too() -> None:
    """Few and large entries are cut as well, and do not stay for slow followers beyond half of the bound."""
    world = alone(count=1000, trailing=500, max_log_bytes=20_000)
    for place in range(30):
        wrote(world, N1, f"k{place}", b"x" * 3000)
    peer = world[N1].peer()
    assert peer.raft.snapshot.index > 20
    assert peer.raft.log.last_index - peer.raft.log.base_index < 14


def test_bm_038_the_configuration_survives_in_the_snapshot() -> None:
    """It was changed, then compacted away: after a restart of everybody it is the same."""
    world = World(settings=snapshots_every(10))
    leader = world.found()
    raft = world[leader].peer().raft
    assert raft.membership is not None
    out = world.followers()[1]
    kept = [member for member in raft.membership.voters if member.peer.node != out]
    old = [member.peer for member in raft.membership.voters]
    number = world.ask(leader, lambda number: ChangeMembership(number, "p", kept, old))
    world.until(lambda: number in world.asker.replies)
    world.asker.result(number)
    fill(world, 35, leader)
    for node in world.nodes.values():
        node.crash("lose")
        node.start()
    for name in (member.peer.node for member in kept):
        replica = world[name].peer().raft
        assert replica.log.base_index >= 30
        assert replica.membership is not None
        assert sorted(replica.membership.voters) == sorted(kept)


def test_bm_098_a_full_disk_costs_a_snapshot_and_nothing_else() -> None:
    """No space at any step of it: the log stays, the group serves, and the next attempt succeeds when space is back."""
    scene = Scene()

    def full(job: VaultJob) -> DiskFull | None:
        return DiskFull("no space left") if isinstance(job, Fetch | Install) else None

    scene.node.vault.fail = full
    scene.world.heal()
    scene.world.advance(20_000)
    wrote(scene.world, scene.leader, "meanwhile", 1)
    assert scene.peer.raft.snapshot.index == 0
    assert not any(scene.answers())
    scene.node.vault.fail = lambda job: None
    scene.caught_up()


def test_bm_060_a_crash_while_the_journal_is_cut_leaves_what_is_needed() -> None:
    """The write that says where the log begins is torn off: the snapshot is there, and so is the log."""
    for survivors in range(1, 12):
        world = grown(19)
        node = world[N1]
        written: list[Operation] = []

        def power(operation: Operation, written: list[Operation] = written, most: int = survivors) -> int:
            written.append(operation)
            return 5 if isinstance(operation, WriteAt) and len(written) > most else 0

        node.disk.fail = power
        world.write(N1, ("k", 20))
        world.settle()
        node.crash("lose")
        node.disk.fail = lambda operation: 0
        node.start()
        assert not node.it.failed
        assert node.peer().raft.log.last_index >= 19
        assert node.peer().machine.last_applied >= 10
