"""Sessions, leases, exactly-once: what others got wrong, played by whole hosts."""

from __future__ import annotations

import pytest

from tests.unit.machine.directory import MemoryDirectory
from tests.unit.peer.machines import BACKENDS
from tests.unit.peer.session_world import TIMEOUT_MS, Owner, lives
from tests.unit.peer.world import ELECTION_MS, World, read, wrote
from tests.unit.session.backends import PEER, machine
from zraft.errors import NotLeader, SessionExpired
from zraft.machine.dict_backend import DictBackend
from zraft.types import NOT_FOUND
from zraft.wire.failures import Failed, failed_to_error
from zraft.wire.requests import Result

COUNTER = ["increment", "n"]


@pytest.fixture
def world() -> World:
    """A group of the backend "table", with a leader."""
    world = World()
    world.found(backend="table")
    return world


def count(world: World) -> int:
    """The counter, by a linearizable query."""
    node = world.lead()
    number = world.query(node, ["get", "n"])
    world.settle()
    found = world.asker.result(number)
    return 0 if found is NOT_FOUND else int(found["value"])


def another_leads(world: World, old: str) -> str:
    """Away from `old`, which is cut off."""
    others = [node for node in world.nodes if node != old]
    world.until(lambda: any(world[node].peer().is_leader for node in others))
    new = next(node for node in others if world[node].peer().is_leader)
    world.until(lambda: world[new].peer().keeper.is_serving)
    return new


def test_bm_068_a_leader_that_wakes_up_ends_no_session_that_lives_elsewhere(world: World) -> None:
    """It is cut off with a stalled disk for longer than every period, while clients live on at the next leader."""
    old = world.lead()
    owners = [Owner(world, bytes([n]) * 16) for n in range(3)]
    for owner in owners:
        owner.start(old)
    world[old].is_stalled = True
    world.cut(old)
    new = another_leads(world, old)
    for _ in range(12):
        asked = [owner.ping(new) for owner in owners]
        world.settle()
        assert [owner.outcome(number) for owner, number in zip(owners, asked, strict=True)] == [None] * 3
        world.advance(TIMEOUT_MS // 4)
    world[old].is_stalled = False
    world.heal()
    world.advance(2 * ELECTION_MS)
    leader = world.lead()
    assert all(lives(world, leader, owner.session) for owner in owners)
    asked = [owner.ping(leader) for owner in owners]
    world.settle()
    assert [owner.outcome(number) for owner, number in zip(owners, asked, strict=True)] == [None] * 3


def test_bm_068_an_end_that_another_leader_had_appended_is_decided_before_anybody_is_served(world: World) -> None:
    """Nobody is told "alive" by the next leader and then ended by the entry of the one before."""
    old, owner = world.lead(), Owner(world)
    owner.start(old)
    follower = world.followers()[0]
    world.drops = lambda source, message: message.to.peer.node not in (old, follower)
    stop = owner.stop(old)
    world[old].turn()
    world[old].sync()
    world.deliver()
    world[follower].turn()
    world[follower].sync()
    world.cut(old)
    world.wire.clear()
    new = another_leads(world, old)
    assert owner.now(owner.ping(new)) == (SessionExpired, "no")
    world.heal()
    world.advance(2 * ELECTION_MS)
    assert owner.outcome(stop) is None


def test_bm_070_nothing_expires_because_of_an_election(world: World) -> None:
    """All nodes are away for longer than a period: whoever leads then gives everybody a full one."""
    old, owner = world.lead(), Owner(world)
    owner.start(old)
    world.advance(TIMEOUT_MS // 2)
    for node in world.nodes.values():
        node.crash("lose")
    world.now += 10 * TIMEOUT_MS
    world.wire.clear()
    for node in world.nodes.values():
        node.start()
    world.until(lambda: world.leader() is not None)
    new = world.lead()
    world.advance(TIMEOUT_MS - 2 * ELECTION_MS)
    assert lives(world, new, owner.session)
    assert owner.now(owner.ping(new)) is None
    world.advance(TIMEOUT_MS - 1)
    assert lives(world, new, owner.session)
    world.advance(2 * ELECTION_MS)
    assert not lives(world, new, owner.session)


@pytest.mark.parametrize("jump", [3_600_000, -3_600_000])
def test_bm_071_no_jump_of_the_wall_clock_ends_or_keeps_a_session(world: World, jump: int) -> None:
    """Only the leader's monotonic clock counts."""
    node, owner = world.lead(), Owner(world)
    owner.start(node)
    world.wall_jump = jump
    world.advance(TIMEOUT_MS - 1)
    assert lives(world, node, owner.session)
    world.advance(2 * ELECTION_MS)
    assert not lives(world, node, owner.session)


def test_bm_073_deadlines_go_on_after_the_leader_that_kept_them_is_gone(world: World) -> None:
    """It dies at any moment, again and again: the session of a silent client ends all the same."""
    owner = Owner(world)
    owner.start(world.lead())
    for _ in range(3):
        world.advance(TIMEOUT_MS - 3 * ELECTION_MS)
        node = world[world.lead()]
        node.crash("lose")
        node.start()
        world.until(lambda: world.leader() is not None)
    assert lives(world, world.lead(), owner.session)
    world.advance(TIMEOUT_MS + 2 * ELECTION_MS)
    assert not any(lives(world, node, owner.session) for node in world.nodes)


def test_bm_074_whoever_lost_its_session_acquires_nothing_and_ids_grow(world: World) -> None:
    """The command was on its way when the session ended: it is refused, and the next holder has a larger token."""
    node, owner, other = world.lead(), Owner(world), Owner(world, b"o" * 16)
    owner.start(node)
    stop, lock = owner.stop(node), owner.write(node, ["put", "lock", "mine"], temporary=True)
    world.settle()
    assert owner.outcome(stop) is None
    assert owner.outcome(lock) == (SessionExpired, "no")
    assert read(world, node, ["get", "lock"]) is NOT_FOUND  # type: ignore[arg-type]  # a query of the table
    assert other.start(node) > owner.session
    before = other.session
    other.now(other.stop(node))
    assert other.start(node) > before


def test_bm_075_a_question_during_a_change_of_leader_has_a_true_answer_or_none(world: World) -> None:
    """An opening that is repeated, and the counts of a status: true values, or an error that says to ask again."""
    old, owner = world.lead(), Owner(world, timeout_ms=60_000)
    owner.start(old)
    world.cut(old)
    resumed, ping = owner.resume(old), owner.ping(old)
    new = another_leads(world, old)
    assert world[new].peer().status().sessions == 1
    world.heal()
    world.advance(3 * ELECTION_MS)
    assert owner.outcome(ping) == (NotLeader, "no")
    found = owner.reply(resumed)
    assert isinstance(found, Failed)
    assert isinstance(failed_to_error(found), NotLeader)
    assert world[old].peer().status().sessions == world[new].peer().status().sessions == 1
    again = owner.resume(new)
    world.settle()
    assert owner.opened(again)[1] == 60_000


def test_bm_076_a_write_that_is_repeated_at_the_next_leader_counts_once(world: World) -> None:
    """The answer was lost; also after a restart of everybody, and from a snapshot."""
    old, owner = world.lead(), Owner(world)
    owner.start(old)
    first = owner.write(old, COUNTER, 1)
    world.settle()
    answered = owner.reply(first)
    world.cut(old)
    new = another_leads(world, old)
    again = owner.write(new, COUNTER, 1)
    world.settle()
    repeated = owner.reply(again)
    assert isinstance(answered, Result)
    assert isinstance(repeated, Result)
    assert (repeated.index, repeated.value) == (answered.index, answered.value)
    world.heal()
    for node in world.nodes.values():
        node.crash("lose")
    world.wire.clear()
    for node in world.nodes.values():
        node.start()
    world.until(lambda: world.leader() is not None)
    assert owner.now(owner.write(world.lead(), COUNTER, 1)) == 1
    assert count(world) == 1
    source = world[world.lead()].peer().machine
    directory = MemoryDirectory()
    source.capture().write(directory)
    copy = machine(type(source.backend)(PEER))
    copy.install_snapshot(directory, source.last_applied)
    assert copy.sessions.saved() == source.sessions.saved()


def test_bm_079_a_replica_that_restarts_knows_what_ran(world: World) -> None:
    """Three times: each entry of a session is applied once, and a repetition answered from what is kept."""
    owner = Owner(world, timeout_ms=600_000)
    owner.start(world.lead())
    owner.now(owner.write(world.lead(), COUNTER, 1))
    for _ in range(3):
        for node in world.nodes.values():
            node.crash("killed")
        world.wire.clear()
        for node in world.nodes.values():
            node.start()
        world.until(lambda: world.leader() is not None)
        assert owner.now(owner.write(world.lead(), COUNTER, 1)) == 1
    assert count(world) == 1


def test_bm_079_one_that_is_alone_has_applied_everything_before_it_serves() -> None:
    """What was committed before the restart is there for the first query."""
    world = World(("n1:1",))
    node = world.found()
    for number in range(20):
        wrote(world, node, f"k{number}", number)
    for _ in range(3):
        world[node].crash("lose")
        world[node].start()
        world.until(lambda: world.leader() is not None)
        assert [read(world, node, f"k{number}") for number in (0, 19)] == [0, 19]


def test_bm_080_a_temporary_key_whose_answer_was_lost_is_the_same_key() -> None:
    """The repetition creates no second one: it answers the index of the first."""
    world = World()
    node, owner = world.found(), Owner(world)
    owner.start(node)
    create = [owner.write(node, ("leader", "me"), 1, temporary=True) for _ in range(2)]
    world.settle()
    one, other = (owner.reply(number) for number in create)
    assert isinstance(one, Result)
    assert isinstance(other, Result)
    assert one.index == other.index
    backend = world[node].peer().machine.backend
    assert isinstance(backend, DictBackend)
    assert backend.temporary_count() == backend.size == 1


def test_bm_073_time_entries_and_sessions_do_not_wait_for_each_other() -> None:
    """A backend whose clock is due for ever does not keep a silent client's session alive."""
    world = World(backends=BACKENDS)
    node, owner = world.found(backend="clockwork"), Owner(world)
    owner.start(node)
    world.write(node, 10 * TIMEOUT_MS)
    world.advance(TIMEOUT_MS + 2 * ELECTION_MS)
    assert not lives(world, node, owner.session)
