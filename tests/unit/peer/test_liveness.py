"""What two nodes tell each other about who is quiet, with tokens in the place of replicas."""

from __future__ import annotations

import pytest

from tests.unit.peer.test_quiet import is_quiet, quiet, quiet_world
from tests.unit.peer.world import NAMES
from zraft.peer import liveness
from zraft.peer.liveness import token_of
from zraft.types import GroupId, Member, PeerId
from zraft.wire.peering import NO_GROUP, NodeBeat

GROUP = GroupId(b"g" * 16)
B = Member(PeerId("b", "n2:1"), 7)


def test_a_token_names_group_term_and_follower() -> None:
    """The same on both nodes; fixed by the wire format."""
    token = token_of(GROUP, 3, B)
    assert token == 3078140194586751254
    others = [
        token_of(GroupId(b"h" * 16), 3, B),
        token_of(GROUP, 4, B),
        token_of(GROUP, 3, Member(B.peer, 8)),
        token_of(GROUP, 3, Member(PeerId("c", "n2:1"), 7)),
        token_of(GROUP, 3, Member(PeerId("b", "n3:1"), 7)),
    ]
    assert len({token, *others}) == 6
    assert all(0 <= each < 2**63 for each in others)


def test_more_claims_than_a_beat_holds_come_one_part_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left out for ever, and a part is not taken for all."""
    world = quiet_world(groups=3)
    leader = world.lead()
    node = next(name for name in NAMES if name != leader)
    led = [name for name in "pqr" if world.lead(name) == leader]
    assert len(led) == 3
    monkeypatch.setattr(liveness, "QUIET_CLAIMS", 1)
    world.advance(300)
    epoch = next(beat.epoch for beat in world.beats if beat.sender == leader)
    world.beats.clear()
    world.cut_beats |= {(node, leader), (leader, node)}
    for _ in range(3):
        world[node].it.receive(world.now, NO_GROUP, NodeBeat(leader, node, epoch, 12345))
        world.advance(100)
    claims = [beat for beat in world.beats if beat.claims]
    assert all(beat.sender == node and not beat.claims_all for beat in claims)
    assert sorted(len(beat.claims or ()) for beat in claims) == [1, 1, 1]
    assert len({beat.claims[0] for beat in claims if beat.claims}) == 3


def test_a_beat_of_a_node_with_which_nothing_is_shared_is_answered_once() -> None:
    """It believes that somebody here is quiet: it is told that nobody is, and then nothing more."""
    world = quiet_world(("n1:1",))
    host = world["n1:1"].it
    host.receive(world.now, NO_GROUP, NodeBeat("n9:1", "n1:1", 1, 99))
    world.advance(1_000)
    assert [(beat.to, beat.leads, beat.claims) for beat in world.beats] == [("n9:1", 0, [])]
    host.receive(world.now, NO_GROUP, NodeBeat("n9:1", "n1:1", 1, 0))
    world.advance(1_000)
    assert len(world.beats) == 1
    host.receive(world.now, NO_GROUP, NodeBeat("n9:1", "n1:1", 1, 0, [5, 6]))
    world.advance(1_000)
    assert world.beats[-1].denials == [5, 6]
    assert len(world.beats) == 2


def test_denials_and_claims_wake_only_whom_they_concern() -> None:
    """One of three groups is denied, another one is not claimed."""
    world = quiet_world(groups=3)
    leader = world.lead()
    follower = next(name for name in NAMES if name != leader)
    group = world[leader].peer("p")
    token = token_of(group.meta.group, group.raft.current_term, world[follower].peer("p").raft.me)
    world.advance(300)
    epoch = next(beat.epoch for beat in reversed(world.beats) if beat.sender == leader)
    leads = next(beat.leads for beat in reversed(world.beats) if (beat.sender, beat.to) == (leader, follower))
    world[follower].it.receive(world.now, NO_GROUP, NodeBeat(leader, follower, epoch, leads, None, True, [token, 1]))
    world[follower].turn()
    assert [name for name in "pqr" if not is_quiet(world, follower, name)] == ["p"]
    assert [name for name in "pqr" if not is_quiet(world, leader, name)] == []
    world.until(lambda: not is_quiet(world, leader, "p"), 500)
    assert [name for name in "qr" if len(quiet(world, name)) < 3] == []
