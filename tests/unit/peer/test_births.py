"""Replicas are born durable before anybody hears of them, and found their groups: every race of it."""

from __future__ import annotations

import errno

import pytest

from tests.unit.peer.asking import (
    OTHER,
    bootstrap,
    entries,
    member_of,
    problem,
    remove,
    start,
)
from tests.unit.peer.machines import BACKENDS
from tests.unit.peer.world import ALONE, ELECTION_MS, World, host_settings, peer_id
from zraft.errors import (
    InvariantViolation,
    MembershipError,
    OutcomeUnknown,
    PeerUnavailable,
)
from zraft.storage.disk import SyncFile
from zraft.storage.replica import Save
from zraft.types import Member
from zraft.wire.requests import (
    Stat,
    Status,
)


def test_nobody_hears_an_incarnation_that_is_not_durable() -> None:
    """BM-043: until the birth is on disk the replica neither runs nor has a name."""
    world = World(ALONE)
    node = world["n1:1"]
    first, second = start(world), start(world)
    node.turn()
    assert node.it.peers == {}
    assert world.asker.replies == {}
    node.sync()
    node.turn()
    assert member_of(world, first) == member_of(world, second)
    again = start(world)
    node.turn()
    assert member_of(world, again) == member_of(world, first)
    assert [entry.role for entry in entries(world)] == ["blank"]


def test_a_name_is_given_once() -> None:
    """While it is being born, and afterwards: another group or backend is told that the name is taken."""
    world = World(ALONE)
    start(world)
    during = start(world, group=OTHER)
    world.settle()
    after = start(world, group=OTHER)
    world.settle()
    assert [problem(world, number) for number in (during, after)] == ["already_present"] * 2


def test_a_replica_with_a_past_is_not_blank() -> None:
    """Once it founded a group, its start answers "already_present": it may have promised something."""
    world = World(ALONE)
    world.found()
    number = start(world)
    world.settle()
    assert problem(world, number) == "already_present"


@pytest.mark.parametrize(("backend", "alarms"), [("nobody knows it", 0), ("unmakeable", 1)])
def test_what_cannot_run_is_not_born(backend: str, alarms: int) -> None:
    """A backend that is unknown or whose constructor raises: refused, nothing is left behind, the name is free."""
    world = World(ALONE, backends=BACKENDS)
    number = start(world, backend=backend)
    world.settle()
    assert problem(world, number) == "unknown_backend"
    assert len([note for note in world["n1:1"].notes if note.is_alarm]) == alarms
    assert entries(world) == []
    again = start(world)
    world.settle()
    assert member_of(world, again).incarnation


def test_a_replica_whose_backend_is_gone_stays_down_and_can_be_removed() -> None:
    """The node starts without it; blank as it is, it may be deleted, and the name given anew."""
    world = World(ALONE, backends=BACKENDS)
    start(world, "p", "broken")
    start(world, "q", "dict", OTHER)
    world.settle()
    world["n1:1"].crash("lose")
    world.backends = type(world.backends)()
    world["n1:1"].start()
    assert [(entry.member.peer.name, entry.role) for entry in entries(world)] == [("p", "failed"), ("q", "blank")]
    taken, stat = start(world), world.ask("n1:1", lambda number: Stat(number, "p"))
    world.settle()
    assert problem(world, taken) == "already_present"
    status = world.asker.reply(stat)
    assert isinstance(status, Status)
    assert "unknown backend 'broken'" in (status.status.fault or "")
    number = remove(world)
    world.settle()
    world.asker.result(number)
    again = start(world)
    world.settle()
    assert member_of(world, again).incarnation


def test_a_removal_during_the_birth_is_not_forgotten() -> None:
    """Who gave up waiting wants nothing left behind: it is removed as soon as it is born."""
    world = World(ALONE)
    node = world["n1:1"]
    number = start(world)
    node.turn()
    gone, gone_again = remove(world), remove(world)
    late = start(world)
    other_group = remove(world, group=OTHER)
    world.settle()
    assert member_of(world, number).incarnation
    world.asker.result(gone)
    world.asker.result(gone_again)
    assert problem(world, late) == "already_present"
    assert isinstance(world.asker.error(other_group), PeerUnavailable)
    assert node.it.peers == {}
    node.crash("lose")
    node.start()
    assert entries(world) == []


def test_a_name_is_free_again_as_soon_as_its_replica_was_removed() -> None:
    """Removed and born anew in one save: another incarnation, and the old one does not come back."""
    world = World(ALONE)
    node = world["n1:1"]
    first = start(world)
    world.settle()
    gone = remove(world)
    second = start(world)
    gone_again = remove(world, group=OTHER)
    world.settle()
    world.asker.result(gone)
    world.asker.result(gone_again)
    assert member_of(world, second).incarnation != member_of(world, first).incarnation
    node.crash("lose")
    node.start()
    assert [entry.member for entry in entries(world)] == [member_of(world, second)]


def test_a_replica_born_under_an_old_name_has_its_own_deadlines() -> None:
    """The one before had a timer, which ran out meanwhile: the new one campaigns all the same."""
    world = World(ALONE)
    start(world)
    world.settle()
    remove(world)
    world.advance(10 * ELECTION_MS)
    number = start(world)
    world.settle()
    node = world["n1:1"]
    assert node.duties.wake_at_ms is not None
    founded = bootstrap(world, [member_of(world, number)])
    world.until(lambda: world.leader() is not None)
    world.asker.result(founded)


def test_what_the_former_replica_had_asked_the_journal_for_is_not_the_new_ones() -> None:
    """Loads carry numbers that no other replica of the node uses."""
    world = World(ALONE, host_settings(cache_bytes=1))
    world.found()
    node = world["n1:1"]
    peer = node.peer()
    peer._loads[node.it.outbox.next_token()] = (peer.raft.me, 1)
    (old_token,) = peer._loads
    node.it.store.load("p", old_token, 1, 1, 100)
    gone = remove(world, conf_index=99)
    number = start(world)
    world.settle()
    world.asker.result(gone)
    assert member_of(world, number).incarnation
    assert list(node.it.peers) == ["p"]


def test_a_store_that_fails_during_a_birth_answers() -> None:
    """Nobody knows what the next start will find."""
    world = World(ALONE)
    node = world["n1:1"]
    node.disk.fail = lambda operation: errno.EIO if isinstance(operation, SyncFile) else 0
    born, gone = start(world), remove(world)
    node.turn()
    node.sync()
    refused = start(world, "q")
    node.turn()
    for number in (born, gone):
        assert isinstance(world.asker.error(number), OutcomeUnknown)
    assert isinstance(world.asker.error(refused), PeerUnavailable)


def test_a_group_is_founded_when_its_first_entry_is_durable() -> None:
    """I13: the founder's answer waits for the save, also when it is asked again meanwhile."""
    world = World(ALONE)
    number = start(world)
    world.settle()
    members = [member_of(world, number)]
    node = world["n1:1"]
    first, again = bootstrap(world, members), bootstrap(world, members)
    node.turn()
    assert not {first, again} & set(world.asker.replies)
    node.sync()
    node.turn()
    assert [world.asker.reply(number).index for number in (first, again)] == [1, 1]  # type: ignore[union-attr]
    later = bootstrap(world, members)
    node.turn()
    world.asker.result(later)


def test_a_founder_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store refuses the first save: no group, no answer that there is one."""
    world = World(ALONE)
    number = start(world)
    world.settle()

    def refuse(save: Save) -> None:
        raise InvariantViolation("no")

    monkeypatch.setattr(world["n1:1"].it.store, "save", refuse)
    founded = bootstrap(world, [member_of(world, number)])
    again = bootstrap(world, [member_of(world, number)])
    world["n1:1"].turn()
    for one in (founded, again):
        assert isinstance(world.asker.error(one), PeerUnavailable)


def test_a_group_that_could_not_decide_is_not_founded() -> None:
    """A peer listed twice, numbers that are none, a founder outside: refused; the replica stays blank."""
    world = World(ALONE)
    number = start(world)
    world.settle()
    me = member_of(world, number)
    twice = bootstrap(world, [me, me])
    two_lives = bootstrap(world, [me, Member(me.peer, 5)])
    negative = bootstrap(world, [me, Member(peer_id("n2:1"), -1)])
    without = bootstrap(world, [Member(peer_id("n2:1"), 7)])
    nobody = bootstrap(world, [me], name="ghost")
    world.settle()
    for one in (twice, two_lives, negative, without):
        assert isinstance(world.asker.error(one), MembershipError)
    assert isinstance(world.asker.error(nobody), PeerUnavailable)
    assert [entry.role for entry in entries(world)] == ["blank"]


def test_another_founding_of_a_founded_group_is_refused() -> None:
    """Only its own founder is told again that it was founded."""
    world = World(ALONE)
    world.found()
    number = bootstrap(world, [Member(peer_id("n1:1"), 5)])
    world.settle()
    assert problem(world, number) == "already_present"
