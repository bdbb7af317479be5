"""Streams of changes: what others got wrong, played by whole hosts."""

from __future__ import annotations

from tests.unit.peer.session_world import Owner
from tests.unit.peer.world import ELECTION_MS, World, host_settings, snapshots_every, wrote
from zraft.errors import Lagged
from zraft.machine.backend import Change, Prefix
from zraft.peer.keeper import PING_WAIT_MS
from zraft.session.history import HistorySettings
from zraft.types import PeerId
from zraft.wire.changes import entries_of
from zraft.wire.failures import Failed, failed_to_error
from zraft.wire.requests import Transfer

FOREVER_MS = 600_000


def lagged(owner: Owner, number: int) -> int:
    """Up to where history is gone, by the answer."""
    owner.world.settle()
    reply = owner.reply(number)
    assert isinstance(reply, Failed), reply
    error = failed_to_error(reply)
    assert isinstance(error, Lagged), error
    return error.index


def other_leader(world: World, old: str) -> str:
    """Another one leads, and serves sessions."""

    def leads(node: str) -> bool:
        peer = world[node].peer()
        return peer.is_leader and peer.keeper.is_serving

    others = [node for node in world.nodes if node != old]
    world.until(lambda: any(leads(node) for node in others))
    return next(node for node in others if leads(node))


def started(world: World, node: str) -> Owner:
    owner = Owner(world, timeout_ms=FOREVER_MS)
    owner.start(node)
    return owner


def test_bm_082_a_stream_never_goes_back_in_time() -> None:
    """Its leader is cut off, another goes on, the old one catches up, a third one follows: no index comes twice."""
    world = World()
    old = world.found()
    owner = started(world, old)
    first, _ = owner.piece(old, "k", 90)
    wrote(world, old, "k", 1)
    (pushed,) = owner.streamed
    upto = pushed.chunk.index
    assert [index for index, _ in entries_of(pushed.chunk)] == [upto]
    assert owner.piece(old, "k", 90, upto) == (upto, [])
    world.cut(old)
    new = other_leader(world, old)
    wrote(world, new, "k", 2)
    last, entries = owner.piece(new, "k", 90, upto)
    assert [changes for _, changes in entries] == [[Change("k", 2)]]
    assert first < upto < entries[0][0] <= last
    world.heal()
    world.advance(3 * ELECTION_MS)
    world.cut(new)
    again, nothing = owner.piece(other_leader(world, new), "k", 90, last)
    assert (again >= last, nothing) == (True, [])


def test_bm_082_a_replica_that_has_a_snapshot_says_that_earlier_changes_are_gone() -> None:
    """It never had them as changes: no old one is told again, and none is passed over in silence."""
    world = World(settings=snapshots_every(5))
    old = world.found()
    owner = started(world, old)
    since, _ = owner.piece(old, "k", 90)
    left = world.followers()[0]
    world.cut(left)
    for value in range(20):
        wrote(world, old, "k", value)
    world.heal()
    world.until(lambda: world[left].peer().machine.last_applied == world[old].peer().machine.last_applied)
    history = world[left].peer().machine.history
    assert since < history.floor <= world[left].peer().machine.last_applied
    number = world.ask(old, lambda n: Transfer(n, "p", PeerId("p", left)))
    world.until(lambda: world[left].peer().is_leader and world[left].peer().keeper.is_serving)
    world.asker.result(number)
    gone = lagged(owner, owner.watch(left, "k", 91, since))
    assert gone == history.floor
    wrote(world, left, "k", "later")
    _, entries = owner.piece(left, "k", 91, gone)
    assert entries[-1][1] == [Change("k", "later")]
    assert all(index > gone for index, _ in entries)


def test_bm_083_a_slow_reader_gets_everything_in_order_or_is_told_that_it_lags() -> None:
    """A burst beyond what is kept, while nobody asks: what is left has no gap, what is not is named."""
    world = World(settings=host_settings(history=HistorySettings(changes=160)))
    node = world.found()
    owner = started(world, node)
    since, _ = owner.piece(node, "k", 90)
    for value in range(100):
        wrote(world, node, "k", value)
    first = owner.streamed[0].chunk
    got = [change.value for _, changes in entries_of(first) for change in changes]
    _, entries = owner.piece(node, "k", 90, first.index)
    got += [change.value for _, changes in entries for change in changes]
    assert got == list(range(100))
    for value in range(300):
        wrote(world, node, "k", value)
    gone = lagged(owner, owner.watch(node, "k", 90, since))
    last, entries = owner.piece(node, "k", 90, gone)
    assert last == world[node].peer().machine.last_applied
    assert [index for index, _ in entries] == list(range(gone + 1, last + 1))
    assert [change.value for _, (change,) in entries] == list(range(300))[-len(entries) :]
    assert len(owner.streamed) == 1


def test_bm_084_a_removal_where_history_begins_is_told_or_named_as_gone() -> None:
    """By a command, by the end of a session, by time: as what follows the floor, and below it as Lagged."""
    world = World(settings=host_settings(history=HistorySettings(changes=16)))
    node = world.found(backend="table")
    owner, other = started(world, node), Owner(world, b"o" * 16)
    other.start(node)
    world.write(node, ["put", "a", 1])
    world.write(node, ["put", "b", 1, 1])
    other.write(node, ["put", "c", 1], temporary=True)
    world.settle()
    since = world[node].peer().machine.last_applied
    world.write(node, ["delete", "a"])
    world.settle()
    world.advance(2000)
    other.stop(node)
    world.settle()
    _, entries = owner.piece(node, Prefix(""), 90, since)
    kinds = [(change.key, change.value, change.kind) for _, (change,) in entries]
    assert kinds == [("a", None, "delete"), ("b", None, "expire"), ("c", None, "session")]
    deleted = entries[0][0]
    while world[node].peer().machine.history.floor < deleted:
        assert owner.piece(node, "a", 90, deleted - 1)[1] == [(deleted, [Change("a", None, "delete")])]
        world.write(node, ["put", "x", 1])
        world.settle()
    assert lagged(owner, owner.watch(node, "a", 90, deleted - 1)) >= deleted


def test_bm_086_a_piece_that_says_up_to_where_is_followed_by_later_indexes_only() -> None:
    """Also where it says that nothing happened, and where the answer to a ping says it of a stream that is set."""
    world = World()
    node = world.found()
    owner = started(world, node)
    upto, _ = owner.piece(node, "k", 90)
    for value in range(3):
        wrote(world, node, "other", value)
        ping = owner.ping(node)
        world.advance(PING_WAIT_MS)
        marked = owner.reply(ping).index  # type: ignore[union-attr]  # a Result
        assert marked > upto
        assert not owner.streamed
        upto = marked
    world.write(node, ("k", 1))
    world.advance(PING_WAIT_MS)
    ping = owner.ping(node)
    world.settle()
    (pushed,) = owner.streamed
    ((index, _),) = entries_of(pushed.chunk)
    assert upto < index <= pushed.chunk.index
    assert owner.piece(node, "k", 90, pushed.chunk.index)[1] == []


def test_bm_087_a_transaction_that_touches_a_key_twice_is_one_change() -> None:
    """What it left there; and all keys of an entry are told together."""
    world = World()
    node = world.found(backend="table")
    owner = started(world, node)
    owner.piece(node, Prefix("k"), 90)
    world.write(node, ["txn", [], [["put", "k1", 1], ["put", "k2", 1], ["put", "k1", 2]], []])
    world.settle()
    (pushed,) = owner.streamed
    ((_, changes),) = entries_of(pushed.chunk)
    assert changes == [Change("k2", 1), Change("k1", 2)]


def test_bm_089_a_stream_that_cannot_be_told_any_more_is_sent_to_ask() -> None:
    """Its leader is deposed while the key changes elsewhere; the next one tells what was missed."""
    world = World()
    old = world.found()
    owner = started(world, old)
    upto, _ = owner.piece(old, "vip", 90)
    world.cut(old)
    new = other_leader(world, old)
    wrote(world, new, "vip", "other")
    world.advance(4 * ELECTION_MS)
    (pushed,) = owner.streamed
    assert (pushed.chunk.after, pushed.chunk.index, pushed.chunk.entries) == (upto, upto, [])
    assert world[old].peer().status().watchers == 0
    _, entries = owner.piece(new, "vip", 90, upto)
    assert [change.value for _, (change,) in entries] == ["other"]
