"""Disks that lose what they had: the replica keeps what it promised, or nobody is served; nothing is lost unnoticed."""

from __future__ import annotations

import pytest

from tests.unit.peer.test_taking_snapshots import fill
from tests.unit.peer.world import Node, World, read, snapshots_every, wrote
from zraft.core.messages import AppendEntries, PreVoteReply, RequestVote, RequestVoteReply
from zraft.wire.requests import PeerStatus

FIVE = tuple(f"n{number}:1" for number in range(1, 6))


def rot(node: Node, what: bytes, *, at: int = 0) -> None:
    """A bit of the record that holds `what` flips: of its payload, or, with `at` negative, before that."""
    for name in node.disk.names():
        found = node.disk.read(name, 0, node.disk.size(name)).find(what)
        if name.startswith("journal") and found >= 0:
            node.disk.flip(name, found + at)
            return
    raise AssertionError(f"{node.name} has no {what!r}")


def down(world: World, *names: str) -> None:
    for name in names:
        world[name].crash()


def up(world: World, *names: str) -> None:
    for name in names:
        world[name].start()


def status(world: World, name: str) -> PeerStatus:
    found = world[name].it.status("p")
    assert found is not None
    return found


def commits(world: World, among: tuple[str, ...], key: bytes) -> str:
    """An entry that only `among` hold is committed and answered; the leader is one of them."""
    leader = world.lead()
    assert leader in among
    world.drops = lambda source, message: message.to.peer.node not in among
    assert wrote(world, leader, key.decode(), "value") == "ok"
    world.advance(50)
    return leader


def votes(world: World, name: str) -> list[object]:
    """What `name` said that an election could count."""
    kinds = (RequestVote, PreVoteReply, RequestVoteReply)
    said = [message for message in world.sent if isinstance(message, kinds) and message.sender.peer.node == name]
    return [message for message in said if isinstance(message, RequestVote) or message.granted]


@pytest.mark.parametrize("at", [0, -90], ids=["payload", "header"])
def test_bm_095_a_shortened_log_neither_votes_nor_leads(at: int) -> None:
    """A rotten record of B, A down: B and C could elect C, which lacks it. They wait for A, and then B has it again."""
    world = World()
    first = world.found()
    second, third = world.followers()
    commits(world, (first, second), b"k" * 40)
    wrote(world, first, "later", 1)
    world.advance(2000)
    down(world, first, second)
    rot(world[second], b"k" * 40, at=at)
    world.heal()
    world.sent.clear()
    up(world, second)
    assert status(world, second).role == "loading"
    world.advance(20_000)
    assert votes(world, second) == []
    assert world.leader() is None
    up(world, first)
    world.until(lambda: world.leader() is not None)
    assert world.lead() == first
    world.until(lambda: status(world, second).role == "follower")
    assert status(world, second).fault is None
    down(world, first)
    world.until(lambda: world.leader() is not None)
    assert read(world, world.lead(), "k" * 40) == "value"
    assert world.lead() in (second, third)


def test_bm_096_whoever_lost_an_entry_does_not_help_those_that_never_had_it() -> None:
    """Five nodes, S1, S2 and S3 have an entry; it rots on S1, S2 and S3 go down: nobody is served until one is back."""
    world = World(FIVE)
    first = world.found()
    others = world.followers()
    holders, laggards = (first, *others[:2]), tuple(others[2:])
    commits(world, holders, b"e" * 40)
    rotten, *gone = others[0], first, others[1]
    world.advance(2000)
    down(world, *holders)
    rot(world[rotten], b"e" * 40)
    up(world, rotten)
    world.heal()
    world.advance(20_000)
    assert world.leader() is None
    assert {status(world, name).role for name in laggards} <= {"follower", "candidate"}
    up(world, gone[0])
    world.until(lambda: world.leader() is not None)
    assert read(world, world.lead(), "e" * 40) == "value"
    world.until(lambda: status(world, rotten).role == "follower")


def test_bm_096_to_have_caught_up_with_an_old_leader_is_not_enough() -> None:
    """The leader of the term in which it acknowledged counts that for ever; so it has to step down first.

    Five nodes: the leader and S2 have an entry, S2 loses it. S3 acknowledges it to the old leader: committed by the
    leader, S2 and S3, and only two of them have it. If S2 voted again with less, S2, S4 and S5 would decide anew.
    """
    world = World(FIVE)
    first = world.found()
    second, third, *rest = world.followers()
    world.drops = lambda source, message: type(message) is AppendEntries and message.to.peer.node != second
    number = world.write(first, ("x" * 40, "value"))
    world.advance(2000)
    committed = world[first].peer().raft.commit_index
    assert world[first].peer().raft.log.last_index == committed + 1
    down(world, second)
    rot(world[second], b"x" * 40)
    up(world, second)
    world.drops = lambda source, message: not {source, message.to.peer.node} <= {first, third}
    world.advance(150)
    assert world.asker.result(number) == "ok"  # acknowledged, because the leader counts what S2 had
    world.drops = lambda source, message: not {source, message.to.peer.node} <= {second, *rest}
    world.advance(20_000)
    assert status(world, second).role == "loading"
    assert status(world, second).last_index == committed
    assert not any(world[name].peer().is_leader for name in (second, *rest))
    world.heal()
    world.until(lambda: world.leader() is not None)
    assert read(world, world.lead(), "x" * 40) == "value"


def test_bm_095_the_promise_outlives_every_restart() -> None:
    """Killed at any moment of its start, or later: it abstains until it has its log, and what was left of it stays."""
    world = World()
    first = world.found()
    second, _ = world.followers()
    wrote(world, first, "early", 1)
    commits(world, (first, second), b"k" * 40)
    world.advance(2000)
    down(world, first, second)
    rot(world[second], b"k" * 40)
    world.heal()
    for mode in ("lose", "killed", "lose"):
        up(world, second)
        found = status(world, second)
        assert (found.role, found.last_index) == ("loading", 3)
        assert "does not vote" in str(found.fault)
        world.advance(3000)
        world[second].crash(mode)
    assert sum("lost part of its data" in note.text for note in world[second].notes) == 1
    up(world, second, first)
    world.until(lambda: status(world, second).role == "follower")
    world[second].crash()
    up(world, second)
    assert status(world, second).role == "follower"


def test_bm_097_a_member_whose_snapshot_rots_fetches_another_and_does_not_lead_before() -> None:
    """Nothing is derived from a state that cannot be read."""
    world = World(settings=snapshots_every(10))
    first = world.found()
    wrote(world, first, "first", 1)
    fill(world, 25, first)
    world.advance(2000)
    second, third = world.followers()
    world[second].vault.corrupt.update(world[second].vault.published)
    down(world, second)
    down(world, third)
    world.sent.clear()
    up(world, second)
    found = status(world, second)
    assert (found.role, found.last_index) == ("loading", 0)
    assert any("the log begins after" in note.text for note in world[second].it.outbox.duties.notes if note.is_alarm)
    world.advance(5000)
    assert votes(world, second) == []
    up(world, third)
    world.until(lambda: status(world, second).role == "follower")
    assert world[second].vault.corrupt == set()
    down(world, first)
    world.until(lambda: world.leader() is not None)
    assert read(world, world.lead(), "first") == 1


def test_bm_097_a_snapshot_folder_that_is_not_there_takes_nothing_from_anybody() -> None:
    """It may be the wrong folder: the log is kept until somebody has looked."""
    world = World(settings=snapshots_every(10))
    first = world.found()
    fill(world, 25, first)
    world.advance(2000)
    second = world.followers()[0]
    kept = dict(world[second].vault.published)
    world[second].vault.published.clear()
    down(world, second)
    up(world, second)
    assert status(world, second).role == "failed"
    world[second].vault.published.update(kept)
    down(world, second)
    up(world, second)
    assert status(world, second).role == "follower"
    world.until(lambda: world[second].peer().machine.last_applied >= 25)
