"""Watches: what others got wrong, played by whole hosts."""

from __future__ import annotations

from tests.unit.peer.session_world import Owner
from tests.unit.peer.world import ELECTION_MS, World, wrote
from zraft.types import NOT_FOUND
from zraft.wire.requests import Result
from zraft.wire.session_requests import TriggerReason


def watching(world: World, node: str, owner: Owner, key: object, number: int) -> int:
    """The index from which the watch is set."""
    asked = owner.query(node, key, number)
    world.settle()
    reply = owner.reply(asked)
    assert isinstance(reply, Result), reply
    return reply.index


def test_bm_082_a_watch_never_goes_back_in_time() -> None:
    """A leader is cut off, catches up as a follower and leads again: an old watch does not fire for what came since."""
    world = World()
    old, owner = world.found(), Owner(world, timeout_ms=600_000)
    owner.start(old)
    since = watching(world, old, owner, "k", 90)
    world.cut(old)
    others = [node for node in world.nodes if node != old]
    world.until(lambda: any(world[node].peer().is_leader for node in others))
    new = next(node for node in others if world[node].peer().is_leader)
    world.until(lambda: world[new].peer().keeper.is_serving)
    wrote(world, new, "k", 1)
    world.heal()
    world.advance(3 * ELECTION_MS)
    assert [(fired.id, fired.reason) for fired in owner.fired] == [(90, TriggerReason.CHANGE_LEADER)]
    assert watching(world, world.lead(), owner, "k", 91) > since
    wrote(world, world.lead(), "k", 2)
    assert [fired.id for fired in owner.fired] == [90, 91]
    assert owner.fired[1].index > since


def test_bm_083_a_burst_of_changes_loses_no_watch() -> None:
    """A thousand watches, all of whose keys change in one turn: each fires, once."""
    world = World()
    node, owner = world.found(), Owner(world)
    owner.start(node)
    count = 1000
    for number in range(count):
        owner.query(node, f"k{number}", 5000 + number)
    world.settle()
    for number in range(count):
        world.write(node, (f"k{number}", 1))
    world.settle()
    assert sorted(fired.id for fired in owner.fired) == list(range(5000, 5000 + count))
    indexes = [fired.index for fired in owner.fired]
    assert indexes == sorted(indexes)


def test_bm_084_a_removal_fires_like_any_change() -> None:
    """By a command, and by the end of the session that the key belonged to."""
    world = World()
    node, owner, other = world.found(), Owner(world), Owner(world, b"o" * 16)
    owner.start(node)
    other.start(node)
    wrote(world, node, "a", 1)
    other.write(node, ("t", 1), temporary=True)
    world.settle()
    watching(world, node, owner, "a", 90)
    watching(world, node, owner, "t", 91)
    world.write(node, ("a",))
    world.settle()
    assert [fired.id for fired in owner.fired] == [90]
    other.stop(node)
    world.settle()
    assert [fired.id for fired in owner.fired] == [90, 91]
    assert owner.now(owner.query(node, "t")) is NOT_FOUND


def test_bm_086_an_answer_that_claims_an_index_comes_after_what_fired_up_to_it() -> None:
    """Triggers and answers share one stream: none for an earlier index follows a later query's answer."""
    world = World()
    node, owner = world.found(), Owner(world)
    owner.start(node)
    order: list[tuple[str, int]] = []
    take = owner.take

    def noted(reply: object) -> None:
        order.append((type(reply).__name__, getattr(reply, "index", 0)))
        take(reply)  # type: ignore[arg-type]  # whatever comes is passed on

    owner.take = noted  # type: ignore[method-assign]  # sees the stream as it comes
    watching(world, node, owner, "k", 90)
    for value in range(3):
        world.write(node, ("k", value))
        owner.query(node, "k")
    world.settle()
    owner.query(node, "k")
    world.settle()
    (fired,) = [place for place, (kind, _) in enumerate(order) if kind == "Triggered"]
    index = order[fired][1]
    claims = [place for place, (kind, claimed) in enumerate(order) if kind == "Result" and claimed >= index]
    assert claims
    assert min(claims) > fired


def test_bm_087_a_transaction_that_touches_a_key_twice_fires_once() -> None:
    """One entry is one change, whatever it did to the key."""
    world = World()
    node, owner = world.found(backend="table"), Owner(world)
    owner.start(node)
    watching(world, node, owner, ["get", "k"], 90)
    watching(world, node, owner, ["prefix", "k"], 91)
    world.write(node, ["txn", [], [["put", "k", 1], ["put", "k", 2], ["delete", "k"]], []])
    world.settle()
    assert sorted(fired.id for fired in owner.fired) == [90, 91]
    assert owner.fired[0].index == owner.fired[1].index


def test_bm_089_a_watch_that_cannot_fire_any_more_says_so() -> None:
    """Its leader is deposed while the key changes elsewhere: whoever watches is told to look again."""
    world = World()
    old, owner = world.found(), Owner(world, timeout_ms=600_000)
    owner.start(old)
    watching(world, old, owner, "vip", 90)
    world.cut(old)
    world.advance(4 * ELECTION_MS)
    assert [(fired.id, fired.reason) for fired in owner.fired] == [(90, TriggerReason.CHANGE_LEADER)]
    assert world[old].peer().status().watchers == 0
