"""A replica stops and starts within its node; views follow what happens to it."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.peer.asking import (
    bootstrap,
    entries,
    member_of,
    problem,
    remove,
    start,
)
from tests.unit.peer.machines import BACKENDS
from tests.unit.peer.world import ALONE, World, host_settings, peer_id
from zraft.errors import (
    MembershipError,
    OutcomeUnknown,
    PeerUnavailable,
)


def test_a_stopped_replica_keeps_its_data_and_runs_again() -> None:
    """It hears and answers nothing meanwhile; afterwards it has term, log and configuration, and applies from it."""
    world = World(settings=host_settings(cache_bytes=1))
    leader = world.found()
    for place in range(5):
        world.write(leader, (f"k{place}", place))
        world.settle()
    world.advance(200)
    node = world[world.followers()[0]]
    before = node.peer().raft
    node.it.stop_peer("p")
    assert node.it.start_peer("p", world.now)
    same = node.peer().raft
    assert same is not before
    assert (same.current_term, same.voted_for, same.log.last_index) == (
        before.current_term,
        before.voted_for,
        before.log.last_index,
    )
    assert same.membership == before.membership
    world.until(lambda: node.peer().machine.last_applied == world[leader].peer().machine.last_applied)
    assert node.peer().machine.query(msgspec.msgpack.encode("k4")) == 4
    assert node.it.start_peer("p", world.now), "it runs already"


def test_a_stopped_replica_is_there_and_says_so() -> None:
    """Requests are refused, its name stays taken, its status says why; it can be removed like any other."""
    world = World(ALONE)
    world.found()
    node = world["n1:1"]
    node.it.stop_peer("p")
    world.settle()
    number, taken, refused = world.write("n1:1", ("k", 1)), start(world), remove(world)
    world.settle()
    assert "is stopped" in str(world.asker.error(number))
    assert problem(world, taken) == "already_present"
    assert isinstance(world.asker.error(refused), MembershipError)
    (entry,) = entries(world)
    assert entry.role == "failed"
    status = node.it.status("p")
    assert status is not None
    assert (status.fault or "").startswith("stopped")
    assert node.it.view("p").role == "failed"
    with pytest.raises(PeerUnavailable, match="is stopped"):
        node.it.stop_peer("p")
    done = remove(world, conf_index=99)
    world.settle()
    world.asker.result(done)
    with pytest.raises(PeerUnavailable, match="no peer"):
        node.it.start_peer("p", world.now)
    with pytest.raises(PeerUnavailable, match="no peer"):
        node.it.stop_peer("p")


def test_a_stopped_replica_runs_again_only_when_its_saves_are_durable() -> None:
    """It starts from what it takes for durable: that must be true first."""
    world = World(ALONE)
    world.found()
    node = world["n1:1"]
    node.is_stalled = True
    number = world.write("n1:1", ("k", 1))
    node.turn()
    node.it.stop_peer("p")
    assert not node.it.start_peer("p", world.now)
    node.turn()
    assert isinstance(world.asker.error(number), OutcomeUnknown)
    node.is_stalled = False
    world.settle()
    assert node.it.start_peer("p", world.now)
    world.until(lambda: world.leader() is not None)
    answer = world.query("n1:1", "k")
    world.settle()
    assert world.asker.result(answer) == 1
    node.it.stop_peer("p")
    node.it.stop()
    with pytest.raises(PeerUnavailable, match="stopping"):
        node.it.start_peer("p", world.now)


def test_a_stopped_replica_whose_machine_cannot_be_made_again_fails() -> None:
    """It stays down with the reason."""
    world = World(ALONE, backends=BACKENDS)
    world.found(backend="broken")
    node = world["n1:1"]
    node.it.stop_peer("p")
    node.it.backends = type(node.it.backends)()
    with pytest.raises(PeerUnavailable, match="has failed"):
        node.it.start_peer("p", world.now)
    assert "unknown backend" in node.it.failed["p"].fault
    with pytest.raises(PeerUnavailable, match="has failed"):
        node.it.start_peer("p", world.now)


def test_a_failed_replica_is_not_started() -> None:
    """Its state is not what its data says: only a start of the node reads that anew."""
    world = World(ALONE, backends=BACKENDS)
    world.found(backend="broken")
    world.write("n1:1", "die")
    world.settle()
    with pytest.raises(PeerUnavailable, match="has failed"):
        world["n1:1"].it.start_peer("p", world.now)


def test_views_follow_what_happens() -> None:
    """Birth, role, configuration, failure and removal each say that something is different."""
    world = World(ALONE)
    node = world["n1:1"]
    number = start(world)
    world.settle()
    assert node.altered == ["p"]
    node.altered.clear()
    bootstrap(world, [member_of(world, number)])
    world.until(lambda: world.leader() is not None)
    view = node.it.view("p")
    assert (view.role, view.leader, view.conf_index, view.peers) == (
        "leader",
        peer_id("n1:1"),
        1,
        (peer_id("n1:1"),),
    )
    assert set(node.altered) == {"p"}
    node.altered.clear()
    world.advance(5000)
    assert node.altered == []
    remove(world, conf_index=99)
    world.settle()
    assert node.altered == ["p"]
    assert node.it.view("p").role == "removed"
