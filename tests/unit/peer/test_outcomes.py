"""What clients hear where leadership goes: their result, "no" where it is true, else "maybe", and in time."""

from __future__ import annotations

from tests.unit.peer.world import ELECTION_MS, World, read, wrote
from zraft.core.messages import AppendReply, Heartbeat
from zraft.errors import (
    NotLeader,
    OutcomeUnknown,
)
from zraft.types import NOT_FOUND
from zraft.wire.requests import GetConf


def led_alone(world: World) -> tuple[str, int]:
    """A leader that is cut off, with a write that only it has."""
    leader = world.found()
    world.cut(leader)
    number = world.write(leader, ("k", "mine"))
    world.settle()
    assert number not in world.asker.replies
    return leader, number


def test_a_write_that_another_leader_overwrites_did_not_run() -> None:
    """The old leader follows again: at the index of its write stands another entry, so "no" is the truth."""
    world = World()
    leader, number = led_alone(world)
    others = world.followers()
    world.until(lambda: any(world[node].peer().is_leader for node in others))
    world.heal()
    world.until(lambda: number in world.asker.replies)
    assert isinstance(world.asker.error(number), NotLeader)
    assert world.asker.executed(number) == "no"
    assert read(world, world.lead(), "k") is NOT_FOUND
    assert leader != world.lead()


def test_a_write_that_the_next_leader_commits_is_answered_with_its_result() -> None:
    """It was on the other node when leadership went: the caller gets its result from the leader of then."""
    world = World()
    leader = world.found()
    follower, other = world.followers()
    world.drops = lambda source, message: (
        isinstance(message, AppendReply)
        or other
        in (
            source,
            message.to.peer.node,
        )
    )
    number = world.write(leader, ("k", "kept"))
    world.settle()
    # The leader is gone for the others; the follower that has the entry takes over.
    world.cut(leader)
    world.until(lambda: world[follower].peer().is_leader)
    assert number not in world.asker.replies
    world.heal()
    world.until(lambda: number in world.asker.replies)
    assert world.asker.result(number) == "ok"
    assert read(world, follower, "k") == "kept"


def test_a_write_that_nobody_decides_is_unknown_after_a_while() -> None:
    """BM-062: leadership lost and nobody to tell: "maybe" within a bound, once."""
    world = World()
    leader, number = led_alone(world)
    world.until(lambda: not world[leader].peer().is_leader)
    lost_at = world.now
    world.until(lambda: number in world.asker.replies)
    assert isinstance(world.asker.error(number), OutcomeUnknown)
    assert world.now - lost_at <= 2 * ELECTION_MS + 20
    world.heal()
    world.advance(4 * ELECTION_MS)


def test_queries_of_a_leader_that_is_cut_off_fail_rather_than_lie() -> None:
    """BM-067: without a majority no query is answered; when it steps down they are told to look elsewhere."""
    world = World()
    leader = world.found()
    wrote(world, leader, "k", 1)
    world.cut(leader)
    number = world.query(leader, "k")
    world.settle()
    assert number not in world.asker.replies
    world.until(lambda: number in world.asker.replies)
    assert isinstance(world.asker.error(number), NotLeader)


def test_queries_left_with_a_leader_that_steps_down_in_the_same_turn_are_answered() -> None:
    """Admitted as leader, asked as follower: a read index of the new leader, or a refusal, but an answer."""
    world = World()
    leader = world.found()
    number = world.query(leader, "k")
    conf = world.ask(leader, lambda number: GetConf(number, "p"))
    peer = world[leader].peer()
    follower = world[world.followers()[0]].peer()
    heartbeat = Heartbeat(follower.raft.me, peer.raft.me, peer.raft.current_term + 1, 1, 0, 0)
    world[leader].it.receive(world.now, peer.meta.group, heartbeat)
    world.advance(4 * ELECTION_MS)
    assert number in world.asker.replies
    assert conf in world.asker.replies
