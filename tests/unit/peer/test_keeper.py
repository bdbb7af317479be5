"""Sessions at their leader: proven by their token, kept alive by whatever their client asks, ended by silence."""

from __future__ import annotations

import pytest

from tests.unit.peer.machines import BACKENDS
from tests.unit.peer.session_world import TIMEOUT_MS, Owner, lives
from tests.unit.peer.world import ALONE, ELECTION_MS, Asker, World, host_settings, read
from zraft import limits
from zraft.core.messages import AppendEntries, Heartbeat
from zraft.errors import (
    NotLeader,
    Overloaded,
    PeerUnavailable,
    Rejected,
    RequestError,
    SessionExpired,
    TooLarge,
    WatchNotSupported,
)
from zraft.peer.keeper import PING_WAIT_MS
from zraft.types import NOT_FOUND
from zraft.wire.failures import Failed
from zraft.wire.requests import Result
from zraft.wire.session_requests import StartSession


@pytest.fixture
def world() -> World:
    world = World()
    world.found()
    return world


def elected_without_its_entry(world: World, old: str) -> str:
    """Another leads, and cannot replicate the entry of its own term."""
    world.drops = lambda source, m: old in (source, m.to.peer.node) or isinstance(m, AppendEntries)
    others = [node for node in world.nodes if node != old]
    world.until(lambda: any(world[node].peer().is_leader for node in others))
    return next(node for node in others if world[node].peer().is_leader)


def test_a_session_is_opened_once_however_often_it_is_asked_for(world: World) -> None:
    """Its id is the index of the first entry, also at the next leader."""
    owner = Owner(world)
    first = owner.start(world.lead())
    assert owner.start(world.lead()) == first
    assert all(lives(world, node, first) for node in world.nodes)
    assert world[world.lead()].peer().status().sessions == 1


def test_a_silent_client_s_session_ends_on_every_replica_though_nobody_writes(world: World) -> None:
    """Within its period and two election timeouts (S5), by an entry."""
    owner = Owner(world)
    owner.start(world.lead())
    world.advance(TIMEOUT_MS - 1)
    assert lives(world, world.lead(), owner.session)
    world.advance(2 * ELECTION_MS)
    assert not any(lives(world, node, owner.session) for node in world.nodes)
    assert owner.now(owner.ping(world.lead())) == (SessionExpired, "no")


@pytest.mark.parametrize("kind", ["ping", "query", "write"])
def test_whatever_a_client_asks_keeps_its_session(world: World, kind: str) -> None:
    """A period counts from the last thing that arrived."""
    owner = Owner(world)
    owner.start(world.lead())
    for _ in range(5):
        world.advance(TIMEOUT_MS - 200)
        node = world.lead()
        asked = {
            "ping": lambda node=node: owner.ping(node),
            "query": lambda node=node: owner.query(node, "k"),
            "write": lambda node=node: owner.write(node, ("k", 1)),
        }
        assert owner.now(asked[kind]()) in (None, NOT_FOUND, "ok")


@pytest.mark.parametrize("is_new", [True, False])
def test_who_opens_or_resumes_a_session_again_keeps_it_from_when_that_came(world: World, is_new: bool) -> None:
    """Not only from when it is applied: an end that was proposed in between would stand behind it in the log."""
    owner, node = Owner(world), world.lead()
    owner.start(node)
    world.advance(TIMEOUT_MS - 10)
    followers = world.followers()
    for each in followers:
        world[each].is_stalled = True
    if is_new:
        number = world.ask(node, lambda n: StartSession(n, "p", owner.token, TIMEOUT_MS), owner)
    else:
        number = owner.resume(node)
    world.advance(50)
    for each in followers:
        world[each].is_stalled = False
    world.settle()
    assert owner.opened(number)[0] == owner.session
    assert lives(world, node, owner.session)


def test_pings_write_nothing(world: World) -> None:
    """The log is as long as before; one round of the majority answers all that wait in a turn."""
    owners = [Owner(world, bytes([n]) * 16) for n in range(1, 30)]
    node = world.lead()
    for owner in owners:
        owner.start(node)
    before = world[node].peer().raft.log.last_index
    sent = len(world.sent)
    numbers = [owner.ping(node) for owner in owners]
    world.settle()
    assert [owner.outcome(number) for owner, number in zip(owners, numbers, strict=True)] == [None] * len(owners)
    assert world[node].peer().raft.log.last_index == before
    assert sum(isinstance(message, Heartbeat) for message in world.sent[sent:]) == len(world.nodes) - 1


def test_pings_that_come_soon_after_a_round_share_the_next_one(world: World) -> None:
    """Each waits PING_WAIT_MS at most, and a query takes those along that wait."""
    owners = [Owner(world, bytes([n]) * 16) for n in range(1, 6)]
    first, second, third, fourth, fifth = owners
    node = world.lead()
    for owner in owners:
        owner.start(node)
    world.advance(PING_WAIT_MS)
    heartbeats = len(world.nodes) - 1

    def rounds(since: int) -> float:
        return sum(isinstance(message, Heartbeat) and message.round > 0 for message in world.sent[since:]) / heartbeats

    since = len(world.sent)
    assert first.now(first.ping(node)) is None
    asked = second.ping(node)
    world.advance(PING_WAIT_MS - 1)
    late = third.ping(node)
    world.settle()
    assert (asked in second.replies, late in third.replies) == (False, False)
    world.advance(1)
    assert (second.outcome(asked), third.outcome(late)) == (None, None)
    assert rounds(since) == 2
    waits = fourth.ping(node)
    world.settle()
    assert waits not in fourth.replies
    assert fifth.now(fifth.query(node, "k")) is NOT_FOUND
    assert fourth.outcome(waits) is None
    assert rounds(since) == 3


def test_a_ping_is_not_answered_without_a_majority(world: World) -> None:
    """Whoever leads nobody any more tells nobody that he lives (BM-067); he says so when he knows."""
    owner = Owner(world)
    node = world.lead()
    owner.start(node)
    world.cut(node)
    number = owner.ping(node)
    world.settle()
    assert number not in owner.replies
    world.advance(3 * ELECTION_MS)
    assert owner.outcome(number) == (NotLeader, "no")


def test_a_session_write_runs_once_and_is_answered_again(world: World) -> None:
    """Value and index are those of the first copy, whatever the second one carries."""
    owner, node = Owner(world), world.lead()
    owner.start(node)
    first = owner.write(node, ("k", 1), 1)
    world.settle()
    again = owner.write(node, ("k", 2), 1)
    world.settle()
    one, other = owner.reply(first), owner.reply(again)
    assert isinstance(one, Result)
    assert isinstance(other, Result)
    assert (one.index, one.value) == (other.index, other.value)
    assert read(world, node, "k") == 1


def test_a_wrong_token_opens_no_door(world: World) -> None:
    """Whatever it asks: as if there were no such session, and nothing has changed."""
    owner, thief, node = Owner(world), Owner(world, b"x" * 16), world.lead()
    thief.session = owner.start(node)
    length = world[node].peer().raft.log.last_index
    asked = [thief.ping(node), thief.write(node, ("k", 1)), thief.query(node, "k", 5), thief.stop(node)]
    world.settle()
    assert [thief.outcome(number) for number in asked] == [(SessionExpired, "no")] * 4
    assert thief.now(thief.resume(node)) == (SessionExpired, "no")
    assert world[node].peer().raft.log.last_index == length + 1  # the resumption alone asked the log
    assert owner.now(owner.ping(node)) is None


def test_an_unknown_session_is_told_so_only_by_a_confirmed_leader(world: World) -> None:
    """A leader that was overtaken may not have heard of the session; it says nothing until it knows."""
    owner, node = Owner(world), world.lead()
    owner.session = 4711
    world.cut(node)
    asked = [owner.ping(node), owner.write(node, ("k", 1)), owner.query(node, "k"), owner.stop(node)]
    world.settle()
    assert not owner.replies
    world.heal()
    world.advance(150)
    assert [owner.outcome(number) for number in asked] == [(SessionExpired, "no")] * 4


def test_bad_input_changes_nothing(world: World) -> None:
    """Typed, and its sequence is free for another command."""
    world = World(settings=host_settings(max_command_bytes=100))
    node, owner = world.found(), Owner(world)
    owner.start(node)
    assert owner.now(owner.write(node, ("k", "x" * 200), 1)) == (TooLarge, "no")
    assert owner.now(owner.write(node, ("k", 1), 1, 1)) == (RequestError, "no")
    assert owner.now(owner.write(node, ("k", 1), 5000, 1)) == (Overloaded, "no")
    assert owner.now(owner.write(node, ("k", 1), 2)) == (Overloaded, "no")
    assert owner.now(owner.write(node, ["a", "b", "c"], 1)) == (Rejected, "no")
    assert owner.now(owner.write(node, ("k", 7), 2)) == "ok"
    assert owner.now(owner.write(node, ("k", 8), 1)) == (RequestError, "maybe")
    assert read(world, node, "k") == 7
    assert lives(world, node, owner.session)


def test_temporary_data_goes_when_its_client_stops(world: World) -> None:
    """At once, on every replica; a second stop is told that it came too late."""
    owner, node = Owner(world), world.lead()
    owner.start(node)
    owner.write(node, ("t", 1), temporary=True)
    owner.write(node, ("k", 1))
    world.settle()
    assert world[node].peer().status().ephemerals == 1
    both = owner.stop(node), owner.stop(node)
    world.settle()
    assert [owner.outcome(number) for number in both] == [None, None]
    assert owner.now(owner.stop(node)) == (SessionExpired, "no")
    assert (read(world, node, "t"), read(world, node, "k")) == (NOT_FOUND, 1)
    world.advance(200)
    assert all(world[each].peer().status().ephemerals == 0 for each in world.nodes)


def test_what_is_asked_while_the_end_is_appended_waits_for_its_outcome(world: World) -> None:
    """Nobody is told that the session lives once its end is in a log; a write behind it is refused by the log."""
    owner, node = Owner(world), world.lead()
    owner.start(node)
    for each in world.nodes.values():
        each.is_stalled = True
    stop = owner.stop(node)
    world.settle()
    ping, query, write = owner.ping(node), owner.query(node, "k"), owner.write(node, ("k", 1))
    world.settle()
    assert not {stop, ping, query, write} & set(owner.replies)
    for each in world.nodes.values():
        each.is_stalled = False
    world.settle()
    assert owner.outcome(stop) is None
    assert [owner.outcome(number) for number in (ping, query, write)] == [(SessionExpired, "no")] * 3


def test_what_waits_for_an_end_is_told_when_leadership_goes(world: World) -> None:
    """It was not decided here: the next leader knows."""
    owner, node = Owner(world), world.lead()
    owner.start(node)
    world.cut(node)
    stop = owner.stop(node)
    world.settle()
    ping = owner.ping(node)
    world.advance(3 * ELECTION_MS)
    assert owner.outcome(ping) == (NotLeader, "no")
    world.heal()
    world.advance(2 * ELECTION_MS)
    assert owner.outcome(stop) == (NotLeader, "no")
    assert lives(world, world.lead(), owner.session)
    assert owner.now(owner.ping(world.lead())) is None


def test_an_end_that_cannot_be_appended_is_tried_again(world: World) -> None:
    """The log takes nothing for a while: the session lives on, and so does whoever asks meanwhile."""
    world = World(settings=host_settings(uncommitted_bytes=200))
    node, owner, other = world.found(), Owner(world), Asker("other")
    owner.start(node)
    world.advance(TIMEOUT_MS - 10)
    followers = world.followers()
    for each in followers:
        world[each].is_stalled = True
    world.write(node, ("big", "x" * 300), asker=other)
    world.advance(50)
    assert owner.now(owner.stop(node)) == (Overloaded, "no")
    assert owner.now(owner.ping(node)) is None
    for each in followers:
        world[each].is_stalled = False
    world.advance(TIMEOUT_MS + 2 * ELECTION_MS)
    assert not lives(world, node, owner.session)


def test_a_new_leader_holds_what_is_asked_until_it_knows_all_sessions(world: World) -> None:
    """Nothing is answered before an entry of its own term is applied; then everything is, in order."""
    owner, old = Owner(world), world.lead()
    owner.start(old)
    new = elected_without_its_entry(world, old)
    asked = [owner.write(new, ("k", 1)), owner.write(new, ("k", 2)), owner.ping(new), owner.query(new, "k")]
    world.settle()
    assert not world[new].peer().keeper.is_serving
    assert not {*asked} & set(owner.replies)
    world.heal()
    world.until(lambda: world[new].peer().keeper.is_serving)
    world.settle()
    assert [owner.outcome(number) for number in asked[:3]] == ["ok", "ok", None]
    assert owner.outcome(asked[3]) in (NOT_FOUND, 1, 2)
    assert read(world, new, "k") == 2


def test_what_a_new_leader_holds_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused before it had any effect."""
    owner, old = Owner(world), world.lead()
    owner.start(old)
    new = elected_without_its_entry(world, old)
    monkeypatch.setattr(limits, "UNANSWERED_REQUESTS", 2)
    asked = [owner.ping(new) for _ in range(3)]
    world.settle()
    assert owner.outcome(asked[2]) == (Overloaded, "no")
    assert asked[0] not in owner.replies


def test_a_replica_that_goes_answers_who_waits_at_its_keeper(world: World) -> None:
    """Stopped with its node while an end is under way: nobody is left without an answer, and watches say so."""
    owner, node = Owner(world), world.lead()
    owner.start(node)
    owner.query(node, "k", 99)
    world.settle()
    world.cut(node)
    stop = owner.stop(node)
    world.settle()
    ping = owner.ping(node)
    world[node].it.stop()
    world.settle()
    assert owner.outcome(ping) == (PeerUnavailable, "no")
    assert isinstance(owner.reply(stop), Failed)
    assert [fired.id for fired in owner.fired] == [99]


def test_followers_and_strangers_serve_no_session(world: World) -> None:
    """They say who leads, or that there is no such peer."""
    owner, node = Owner(world), world.lead()
    owner.start(node)
    follower = world.followers()[0]
    number = owner.ping(follower)
    world.settle()
    found = owner.error(number)
    assert isinstance(found, NotLeader)
    assert found.leader is not None
    assert found.leader.node == node


def test_a_resumed_session_goes_on_from_its_last_write(world: World) -> None:
    """The client has lost its numbers; the session, its data and its period are as they were."""
    owner, node = Owner(world), world.lead()
    owner.start(node)
    owner.write(node, ("k", 1), temporary=True)
    world.settle()
    number = owner.resume(node)
    world.settle()
    session, timeout_ms, last = owner.opened(number)
    assert (session, timeout_ms) == (owner.session, TIMEOUT_MS)
    assert owner.now(owner.write(node, ("k", 2), last + 1, last)) == "ok"
    assert owner.now(owner.write(node, ("k", 9), 2, 1)) == (RequestError, "maybe")
    assert read(world, node, "k") == 2


def test_who_resumes_with_another_s_number_harms_nobody(world: World) -> None:
    """The token is right and the number is not: its client writes on."""
    owner, node = Owner(world), world.lead()
    owner.start(node)
    assert owner.now(owner.write(node, ("k", 1))) == "ok"
    assert owner.now(owner.resume(node, 1, owner.session + 1)) == (SessionExpired, "no")
    assert owner.now(owner.write(node, ("k", 2))) == "ok"
    number = owner.resume(node, 2, owner.session)
    world.settle()
    assert owner.opened(number)[0] == owner.session
    assert owner.now(owner.write(node, ("k", 3))) == (RequestError, "maybe")


def test_a_late_loop_costs_nobody_its_session() -> None:
    """The process stood still for longer than a period: whoever waits in its sockets is served first."""
    world = World(ALONE)
    node, owner, idle = world.found(), Owner(world), Owner(world, b"i" * 16, 60_000)
    owner.start(node)
    idle.start(node)
    world.now += 2 * TIMEOUT_MS
    world[node].turn()
    assert lives(world, node, owner.session)
    assert owner.now(owner.ping(node)) is None
    world.advance(TIMEOUT_MS + 2 * ELECTION_MS)
    assert not lives(world, node, owner.session)
    assert lives(world, node, idle.session)


def test_ten_thousand_idle_sessions_are_cheap(world: World) -> None:
    """The heap holds one place for each, however often they ping."""
    node = world.lead()
    keeper = world[node].peer().keeper
    owners = [Owner(world, n.to_bytes(16, "big"), 60_000) for n in range(200)]
    for owner in owners:
        owner.start(node)
    for _ in range(20):
        for owner in owners:
            owner.ping(node)
        world.advance(50)
    assert len(keeper._heap) == len(owners)
    assert keeper.due_ms is not None
    assert keeper.due_ms > world.now + 50_000 - ELECTION_MS


def test_many_sessions_that_end_at_once_end_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, a bounded number a turn."""
    monkeypatch.setattr("zraft.peer.keeper.ENDS_A_TURN", 3)
    world = World(ALONE)
    node = world.found()
    for n in range(10):
        Owner(world, bytes([n]) * 16).start(node)
    world.advance(TIMEOUT_MS + 2 * ELECTION_MS)
    assert world[node].peer().status().sessions == 0


def test_too_many_sessions_are_refused(world: World) -> None:
    """By the same rule on every replica."""
    for node in world.nodes:
        world[node].peer().machine.sessions.most = 1
    first, second = Owner(world), Owner(world, b"2" * 16)
    first.start(world.lead())
    number = second.resume(world.lead())
    assert second.now(number) == (SessionExpired, "no")
    with pytest.raises(AssertionError, match="OVERLOADED"):
        second.start(world.lead())


def test_a_watch_needs_a_backend_that_offers_it() -> None:
    """And a query that it can watch; otherwise nothing is set."""
    world = World(backends=BACKENDS)
    node, owner = world.found(backend="clockwork"), Owner(world)
    owner.start(node)
    assert owner.now(owner.query(node, "k", 7)) == (WatchNotSupported, "no")
    assert owner.now(owner.query(node, "k")) == []
    assert world[node].peer().keeper.watches.count == 0
