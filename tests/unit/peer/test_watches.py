"""Watches at a leader: one shot, none missed, none too many, none silent at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.unit.peer.session_world import Owner
from tests.unit.peer.world import ELECTION_MS, World, wrote
from zraft import limits
from zraft.errors import Overloaded
from zraft.machine.backend import Change, Prefix
from zraft.peer.watches import KEYS_AT_MOST, Watches
from zraft.types import NOT_FOUND
from zraft.wire.session_requests import Triggered, TriggerReason


class Shelf:
    """Watches, and what they pushed."""

    def __init__(self) -> None:
        self.pushed: list[tuple[Any, Triggered]] = []
        self.watches = Watches(lambda client, fired: self.pushed.append((client, fired)))

    def add(self, number: int, *keys: Any, client: str = "c", session: int = 1) -> None:
        self.watches.add(client, number, session, keys)

    def fired(self, index: int, *keys: Any) -> list[int]:
        """The numbers that fire for these changes."""
        before = len(self.pushed)
        self.watches.fire([(index, keys)])
        assert all(fired.index == index for _, fired in self.pushed[before:])
        return [fired.id for _, fired in self.pushed[before:]]

    @property
    def is_clean(self) -> bool:
        tables = (self.watches._by_place, self.watches._by_client, self.watches._by_session, self.watches._lengths)
        return not any(tables) and self.watches.count == 0


def test_a_watch_fires_once_and_is_gone() -> None:
    """For its key, and for nothing else."""
    shelf = Shelf()
    shelf.add(1, "a", "b")
    assert shelf.fired(5, "c") == []
    assert shelf.fired(6, "b", "a") == [1]
    assert shelf.fired(7, "a") == []
    assert shelf.is_clean


@pytest.mark.parametrize(
    ("prefix", "inside", "outside"),
    [
        ("ab", ["ab", "abc", "ab\0"], ["a", "b", b"ab", ("ab",), 1]),
        (b"ab", [b"ab", b"abc"], [b"a", "abc"]),
        ((1, "x"), [(1, "x"), (1, "x", 2), [1, "x", 3]], [(1,), (1, "y")]),
        ("", ["", "a"], [b"", ()]),
    ],
)
def test_a_prefix_watches_every_key_that_begins_with_it(prefix: Any, inside: list[Any], outside: list[Any]) -> None:
    """Texts, bytes and tuples, each for their own kind."""
    for key in outside:
        shelf = Shelf()
        shelf.add(1, Prefix(prefix))
        assert shelf.fired(1, key) == []
    for key in inside:
        shelf = Shelf()
        shelf.add(1, Prefix(prefix), prefix)
        assert shelf.fired(1, Change(key, None)) == [1]
        assert shelf.is_clean


def test_many_watch_one_key() -> None:
    """Each is told on its own connection; a number of one connection is another one's too."""
    shelf = Shelf()
    shelf.add(1, "a", client="c")
    shelf.add(1, "a", client="d")
    shelf.add(2, Prefix("a"), client="d")
    assert shelf.fired(3, "a") == [1, 1, 2]
    assert [client for client, _ in shelf.pushed] == ["c", "d", "d"]


def test_a_number_that_is_used_again_replaces_its_watch() -> None:
    """The earlier one does not fire."""
    shelf = Shelf()
    shelf.add(1, "a")
    shelf.add(1, "b")
    assert shelf.fired(3, "a") == []
    assert shelf.fired(4, "b") == [1]


@pytest.mark.parametrize("gone", ["client", "session"])
def test_watches_go_with_their_connection_and_their_session(gone: str) -> None:
    """Silently: there is nobody to tell, or nothing more to tell him."""
    shelf = Shelf()
    shelf.add(1, "a", Prefix("p"), client="c", session=1)
    shelf.add(1, "a", client="d", session=2)
    shelf.watches.forget_client("c") if gone == "client" else shelf.watches.forget_session(1)
    assert shelf.fired(3, "a", "pp") == [1]
    assert [client for client, _ in shelf.pushed] == ["d"]
    assert shelf.is_clean


def test_the_end_of_a_leadership_fires_all() -> None:
    """With the reason that says so."""
    shelf = Shelf()
    shelf.add(1, "a")
    shelf.add(2, Prefix("b"))
    shelf.watches.close()
    assert shelf.pushed == [("c", Triggered(number, 0, TriggerReason.CHANGE_LEADER)) for number in (1, 2)]
    assert shelf.is_clean


def test_watches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In number, here and on a connection, and in keys; what is refused leaves nothing behind."""
    shelf = Shelf()
    with pytest.raises(Overloaded, match="1025 keys"):
        shelf.add(1, *range(KEYS_AT_MOST + 1))
    monkeypatch.setattr(limits, "WATCHES_PER_CLIENT", 1)
    shelf.add(1, "a")
    with pytest.raises(Overloaded) as refusal:
        shelf.add(2, "a")
    assert refusal.value.reason == "watches"
    monkeypatch.setattr(limits, "WATCHES", 1)
    with pytest.raises(Overloaded):
        shelf.add(1, "a", client="d")
    shelf.add(1, "b")
    assert shelf.fired(1, "a", "b") == [1]
    assert shelf.is_clean


def test_a_key_that_is_no_key_harms_nobody() -> None:
    """A backend of one's own may name anything."""
    shelf = Shelf()
    shelf.add(1, {"a": 1}, Prefix(5))
    assert shelf.fired(2, {"b": 1}) == []
    assert shelf.fired(3, {"a": 1}) == [1]


# -- with a group around it


def test_a_change_after_the_query_fires_and_a_change_before_it_does_not() -> None:
    """There is no moment in between: what the query saw is what the watch begins with."""
    world = World()
    node, owner = world.found(), Owner(world)
    owner.start(node)
    wrote(world, node, "k", 1)
    assert owner.now(owner.query(node, "k", 50)) == 1
    assert owner.fired == []
    assert world[node].peer().status().watchers == 1
    world.write(node, ("k", 2))
    world.write(node, ("k", 3))
    world.settle()
    (fired,) = owner.fired
    assert (fired.id, fired.reason) == (50, TriggerReason.CHANGE)
    assert world[node].peer().status().watchers == 0
    assert not world[node].peer().machine.collect_changes


def test_the_end_of_a_session_fires_watches_on_its_temporary_data() -> None:
    """With the index of the entry that ended it (S3)."""
    world = World()
    node, owner, other = world.found(), Owner(world), Owner(world, b"o" * 16)
    owner.start(node)
    other.start(node)
    owner.write(node, ("t", 1), temporary=True)
    world.settle()
    assert other.now(other.query(node, "t", 7)) == 1
    owner.query(node, "t", 8)
    world.settle()
    owner.stop(node)
    world.settle()
    assert [(fired.id, fired.reason) for fired in other.fired] == [(7, TriggerReason.CHANGE)]
    assert [fired.index for fired in other.fired] == [world[node].peer().machine.last_applied]
    assert other.now(other.query(node, "t")) is NOT_FOUND


def test_a_lost_leadership_fires_what_is_open() -> None:
    """Nobody takes a dead watch for a living one (BM-089)."""
    world = World()
    node, owner = world.found(), Owner(world)
    owner.start(node)
    owner.query(node, "k", 50)
    world.settle()
    world.cut(node)
    world.advance(3 * ELECTION_MS)
    assert [(fired.id, fired.index, fired.reason) for fired in owner.fired] == [(50, 0, TriggerReason.CHANGE_LEADER)]


def test_a_lost_connection_takes_its_watches() -> None:
    """The replica keeps nothing of it, and goes on with the others."""
    world = World()
    node, owner, other = world.found(), Owner(world), Owner(world, b"o" * 16)
    for each in (owner, other):
        each.start(node)
        each.query(node, "k", 50)
    world.settle()
    world[node].it.forget(owner)
    assert world[node].peer().status().watchers == 1
    wrote(world, node, "k", 1)
    assert (len(owner.fired), len(other.fired)) == (0, 1)
    world[node].it.forget(other)
    assert world[node].it._with_local == {}


def test_what_nobody_wants_any_more_is_not_watched() -> None:
    """Of that connection and that session alone; also where its query or piece was asked for and runs later."""
    world = World()
    node, owner, other = world.found(), Owner(world), Owner(world, b"o" * 16)
    for each in (owner, other):
        each.start(node)
        each.query(node, "k", 50)
    owner.query(node, "k", 51)
    owner.watch(node, "k", 52)
    world.settle()

    def watchers() -> int:
        return world[node].peer().status().watchers

    assert watchers() == 4
    assert owner.now(owner.unwatch(node, 50, 52, 99)) is None
    assert watchers() == 2
    mine, other.session, other.token = (other.session, other.token), owner.session, owner.token
    assert other.now(other.unwatch(node, 50)) is None, "the connection is right, the session is another one"
    other.session, other.token = mine
    assert watchers() == 2
    owner.query(node, "k", 53)
    owner.watch(node, "k", 54)
    owner.unwatch(node, 53, 54)
    world.settle()
    assert watchers() == 2
    wrote(world, node, "k", 1)
    assert (numbers(owner.fired), numbers(other.fired)) == ([51], [50])


def test_changes_from_before_a_watch_do_not_fire_it() -> None:
    """Also where another watch was there meanwhile, and went unfired."""
    world = World()
    node, owner, other = world.found(), Owner(world), Owner(world, b"o" * 16)
    for each in (owner, other):
        each.start(node)
    owner.query(node, "x", 50)
    world.settle()
    world[node].it.forget(owner)
    wrote(world, node, "k", 1)
    assert other.now(other.query(node, "k", 51)) == 1
    wrote(world, node, "x", 1)
    assert other.fired == []
    wrote(world, node, "k", 2)
    assert numbers(other.fired) == [51]


def numbers(fired: Iterable[Triggered]) -> list[int]:
    return [each.id for each in fired]


def test_a_failed_watch_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The query is refused as a whole, and can be asked again without a watch."""
    world = World()
    node, owner = world.found(), Owner(world)
    owner.start(node)
    monkeypatch.setattr(limits, "WATCHES", 0)
    assert owner.now(owner.query(node, "k", 50)) == (Overloaded, "no")
    assert owner.now(owner.query(node, "k")) is NOT_FOUND
    assert numbers(owner.fired) == []
