"""A follower that fell behind the log gets a snapshot: offered, fetched, installed, and answered whatever happens."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.peer.test_taking_snapshots import Noted, fill
from tests.unit.peer.world import World, peer_id, read, snapshots_every, wrote
from zraft.core.messages import InstallSnapshot, SnapshotReply
from zraft.errors import CorruptData, ReplicaFault, StorageError
from zraft.peer.vault import Drop, Fetch, Install, VaultJob, Write
from zraft.wire.requests import RemovePeer, SnapshotProgress

JobKind = type[VaultJob]


class Scene:
    """Three nodes: one leads, one is cut off and behind, so that a snapshot must be sent to it."""

    def __init__(self, to: int = 35, *, backend: str = "dict", **settings: Any) -> None:
        self.world = world = World(settings=snapshots_every(10, **settings), backends={"noted": Noted})
        self.leader = world.found(backend=backend)
        self.behind = world.followers()[0]
        wrote(world, self.leader, "first", 1)
        world.cut(self.behind)
        fill(world, to, self.leader)
        assert world[self.leader].vault.indexes() == [to // 10 * 10]
        self.node = world[self.behind]

    @property
    def peer(self) -> Any:
        return self.node.peer()

    def offers(self) -> list[InstallSnapshot]:
        return [message for message in self.world.sent if isinstance(message, InstallSnapshot)]

    def answers(self) -> list[bool]:
        return [message.installed for message in self.world.sent if isinstance(message, SnapshotReply)]

    def until_job(self, kind: JobKind) -> None:
        """The vault of the node that is behind is stalled, at a job of this kind."""
        self.node.is_vault_stalled = True
        self.world.heal()
        self.world.until(lambda: any(isinstance(job, Fetch) for job in self.node.vault.jobs))
        while not isinstance(self.node.vault.jobs[0], kind):
            self.node.sync_vault(1)
            self.world.settle()

    def caught_up(self) -> None:
        """The node that was behind has everything, and the same state as the leader."""
        world = self.world
        self.node.is_vault_stalled = self.node.is_stalled = False
        last = world[self.leader].peer().raft.log.last_index
        world.until(lambda: bool(self.peer.machine.last_applied >= last))
        ours, theirs = self.peer.machine, world[self.leader].peer().machine
        assert ours.digest() == theirs.digest()


def test_a_follower_that_lacks_what_was_cut_gets_the_snapshot() -> None:
    """One offer, one answer, and the log goes on from there; the state is the leader's."""
    scene = Scene()
    scene.world.heal()
    scene.caught_up()
    assert len(scene.offers()) == 1
    assert scene.offers()[0].mark.index == 30
    assert scene.answers() == [True]
    assert scene.peer.status().snapshot_index == 30
    assert scene.peer.status().first_index == 31
    assert scene.node.vault.indexes() == [30]
    kinds = [type(job) for job in scene.node.vault.performed]
    assert kinds[:2] == [Fetch, Install]
    wrote(scene.world, scene.leader, "after", 2)
    scene.world.advance(500)
    assert scene.peer.machine.query(msgspec.msgpack.encode("first")) == 1
    assert scene.peer.machine.query(msgspec.msgpack.encode("after")) == 2
    scene.node.crash("lose")
    scene.node.start()
    scene.caught_up()


@pytest.mark.parametrize("kind", [Fetch, Install])
@pytest.mark.parametrize("error", [StorageError("cut off"), CorruptData("x", 1, "checksum"), ReplicaFault("newer")])
def test_whatever_fails_is_answered_and_offered_again(kind: JobKind, error: StorageError | ReplicaFault) -> None:
    """The leader hears of it and tries again; nothing here has changed; an operator hears of it, too."""
    scene = Scene()
    scene.node.vault.fail = lambda job: error if isinstance(job, kind) else None
    scene.world.heal()
    scene.world.until(lambda: bool(scene.answers()))
    assert scene.answers() == [False]
    assert scene.peer.raft.snapshot.index == 0
    assert any(note.is_alarm and "could not be fetched or installed" in note.text for note in scene.node.notes)
    scene.node.vault.fail = lambda job: None
    scene.caught_up()
    assert scene.answers()[-1]


def test_a_machine_that_cannot_be_made_is_answered_too() -> None:
    """The old one goes on serving."""
    scene = Scene(backend="noted")
    scene.until_job(Fetch)
    backends = scene.world.backends
    make = backends.make

    def refuse(*_: object) -> Any:
        raise OSError(24, "too many files")

    backends.make = refuse  # type: ignore[method-assign, assignment]
    scene.node.sync_vault()
    scene.world.settle()
    backends.make = make  # type: ignore[method-assign]
    assert scene.answers() == [False]
    scene.caught_up()


def test_entries_that_came_in_faster_than_the_snapshot_count() -> None:
    """The log caught up meanwhile: the snapshot is not installed, and the leader is told all the same."""
    for kind in (Fetch, Install):
        scene = Scene(15)
        scene.until_job(kind)
        raft = scene.peer.raft
        before = scene.peer.machine
        raft.replica.commit_index = 20  # as if the entries had come from somewhere
        scene.node.sync_vault()
        raft.replica.commit_index = 1
        assert scene.peer.machine is before
        assert raft.replica.restoring is None


def test_a_waiting_write_is_told_when_the_snapshot_is_installed() -> None:
    """At once, not when some deadline has passed; of entries above the snapshot it is known that they never ran."""
    world = World(settings=snapshots_every(10))
    old = world.found()
    desk = world[old].peer().desk
    world.cut(old)
    number = world.write(old, ("mine", 1))
    world[old].turn()
    assert number not in world.asker.replies
    desk.restored(1)
    world[old].turn()
    assert number not in world.asker.replies
    desk.restored(50)
    world[old].turn()
    assert world.asker.executed(number) == "maybe"


def test_queries_of_a_later_state_run_on_the_restored_one() -> None:
    """A local query that waits for an index below the snapshot is answered by it."""
    scene = Scene()
    number = scene.world.query_local(scene.behind, "first", min_index=25)
    scene.world.settle()
    assert number not in scene.world.asker.replies
    scene.world.heal()
    scene.caught_up()
    assert scene.world.asker.result(number) == 1


def test_writes_go_on_while_a_follower_fetches() -> None:
    """And while it does, newer snapshots are taken; it finishes the first one."""
    scene = Scene(trailing=3)
    scene.until_job(Fetch)
    fill(scene.world, 75, scene.leader)
    assert scene.world[scene.leader].peer().raft.snapshot.index == 70
    assert scene.world[scene.leader].vault.indexes() == [30, 70], "what is being fetched stays"
    scene.world.advance(30_000)
    assert {offer.mark.index for offer in scene.offers()} == {30}
    assert len({offer.transfer for offer in scene.offers()}) == 1, "the same offer again"
    scene.node.is_vault_stalled = False
    scene.caught_up()
    assert [offer.mark.index for offer in scene.offers()][-1] == 70
    assert scene.world[scene.leader].vault.indexes() == [70]


def test_an_offer_does_not_stand_for_ever() -> None:
    """A follower that is gone keeps no snapshot on the leader's disk."""
    scene = Scene(offer_ms=20_000)
    scene.until_job(Fetch)
    scene.world.cut(scene.behind)
    fill(scene.world, 45, scene.leader)
    assert 30 in scene.world[scene.leader].vault.indexes()
    scene.world.advance(40_000)
    fill(scene.world, 55, scene.leader)
    assert 30 not in scene.world[scene.leader].vault.indexes()


def test_an_offer_stands_while_it_is_sent() -> None:
    """However slow the way is: a newer offer would begin again at nothing."""
    scene = Scene(offer_ms=20_000)
    scene.until_job(Fetch)
    vault = scene.world[scene.leader].vault
    (sent,) = vault.published
    vault.sending.add(sent)
    fill(scene.world, 75, scene.leader)
    scene.world.advance(90_000)
    fill(scene.world, 85, scene.leader)
    assert sent in vault.published
    vault.sending.clear()
    fill(scene.world, 125, scene.leader)
    assert sent not in vault.published


def test_a_snapshot_that_cannot_be_offered_is_taken_again() -> None:
    """The leader's own copy is unreadable: it makes another one, once, and an operator hears of it."""
    scene = Scene()
    vault = scene.world[scene.leader].vault
    vault.corrupt.update(vault.published)
    scene.world.heal()
    scene.caught_up()
    assert any("cannot be offered" in note.text for note in scene.world[scene.leader].notes)


def test_a_snapshot_that_nobody_can_take_is_taken_again() -> None:
    """What the leader offers arrives damaged, time and again: perhaps it is damaged where it comes from."""
    scene = Scene()
    leader = scene.world[scene.leader]
    written = sum(isinstance(job, Write) for job in leader.vault.performed)
    scene.node.vault.fail = lambda job: CorruptData("x", 1, "checksum") if isinstance(job, Fetch) else None
    scene.world.heal()
    scene.world.until(lambda: sum(isinstance(job, Write) for job in leader.vault.performed) > written, 60_000)
    scene.world.advance(60_000)
    assert sum(isinstance(job, Write) for job in leader.vault.performed) == written + 1, "once is enough"
    scene.node.vault.fail = lambda job: None
    scene.caught_up()


@pytest.mark.parametrize("kind", [Fetch, Install])
def test_a_replica_that_is_stopped_while_it_fetches_starts_again(kind: JobKind) -> None:
    """What the vault still does for it tells nobody, and disturbs nobody."""
    scene = Scene()
    scene.until_job(kind)
    scene.node.it.stop_peer("p")
    scene.world.settle()
    scene.node.sync_vault()
    scene.world.settle()
    assert scene.node.it.start_peer("p", scene.world.now)
    scene.caught_up()


def test_a_replica_that_is_removed_while_it_fetches_leaves_nothing() -> None:
    """Not even what arrives afterwards; who is born there next under the same name starts from nothing."""
    scene = Scene()
    scene.until_job(Fetch)
    world, behind = scene.world, scene.behind
    group = scene.peer.meta.group
    number = world.ask(behind, lambda number: RemovePeer(number, "p", group, conf_index=99))
    world.settle()
    world.asker.result(number)
    world.start_peer(behind)
    scene.node.is_vault_stalled = False
    world.settle()
    assert scene.node.vault.indexes() == []
    assert scene.peer.machine.last_applied == 0
    assert scene.peer.role == "blank"


def test_only_what_a_follower_may_fetch_is_kept() -> None:
    """A drop names what stays."""
    scene = Scene(trailing=3)
    scene.until_job(Fetch)
    fill(scene.world, 95, scene.leader)
    drops = [job for job in scene.world[scene.leader].vault.performed if isinstance(job, Drop)]
    assert drops[-1].keep == (30,)
    assert scene.world[scene.leader].vault.indexes() == [30, 90]


def test_a_node_without_a_vault_says_that_it_cannot_fetch() -> None:
    """It answers like one whose fetch failed; nothing is cut there, so nothing is lost."""
    scene = Scene()
    scene.node.it.shelf._vault = None
    scene.world.heal()
    scene.world.until(lambda: bool(scene.answers()))
    assert scene.answers() == [False]


def test_an_old_leader_comes_back_to_a_compacted_group() -> None:
    """Three peers that keep ten entries: 21 uncommitted writes of an isolated leader are replaced when it returns."""
    world = World(settings=snapshots_every(10))
    old = world.found()
    wrote(world, old, "first", 1)
    world.cut(old)
    lost = [world.write(old, (f"lost{place}", place)) for place in range(21)]
    world.settle()
    world.until(lambda: any(world[name].peer().is_leader for name in world.nodes if name != old))
    leader = next(name for name in world.nodes if name != old and world[name].peer().is_leader)
    fill(world, 32, leader)
    assert world[leader].peer().raft.snapshot.index >= 10
    world.heal()
    world.until(lambda: world[old].peer().machine.last_applied == world[leader].peer().machine.last_applied)
    assert world[old].peer().machine.digest() == world[leader].peer().machine.digest()
    assert all(world.asker.executed(number) in ("maybe", "no") for number in lost)
    assert read(world, world.lead(), "first") == 1
    number = world.query_local(old, "lost3")
    world.settle()
    assert not world.asker.result(number)
    assert peer_id(old) in {member.peer for member in world[leader].peer().raft.membership.voters}  # type: ignore[union-attr]


def test_the_status_tells_how_far_a_snapshot_is() -> None:
    """Of who fetches it, and whom it is for at who leads; nothing before and nothing after."""
    scene = Scene()
    leader = scene.world[scene.leader]
    assert (scene.peer.status().fetching, leader.peer().status().sending) == (None, ())
    scene.until_job(Fetch)
    total = leader.vault.found()[0].size
    assert scene.peer.status().fetching == SnapshotProgress(30, 0, total)
    scene.node.vault.arrived = 5
    assert scene.peer.status().fetching == SnapshotProgress(30, 5, total)
    assert leader.peer().status().sending == ((scene.peer.id, 30),)
    assert (leader.peer().status().fetching, scene.peer.status().sending) == (None, ())
    scene.until_job(Install)
    assert scene.peer.status().fetching is None
    scene.caught_up()
    scene.world.advance(500)
    assert (scene.peer.status().fetching, leader.peer().status().sending) == (None, ())


def test_a_fetch_that_failed_is_not_on_its_way() -> None:
    """Until it is offered again."""
    scene = Scene()
    scene.until_job(Fetch)
    scene.node.vault.fail = lambda job: StorageError("cut off")
    scene.node.sync_vault(1)
    scene.world.settle()
    assert scene.answers() == [False]
    assert scene.peer.status().fetching is None
