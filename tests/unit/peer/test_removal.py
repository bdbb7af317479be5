"""Replicas are deleted when no configuration names them that is or could come into force."""

from __future__ import annotations

import pytest

from tests.unit.peer.asking import (
    OTHER,
    change,
    entries,
    members_of,
    remove,
    start,
)
from tests.unit.peer.world import ALONE, ELECTION_MS, World, peer_id
from zraft.core.entries import Membership
from zraft.core.memberships import MembershipHistory
from zraft.core.recovered import Recovered
from zraft.errors import (
    MembershipError,
    PeerUnavailable,
)
from zraft.peer.down import last_named_at
from zraft.storage.disk import Operation
from zraft.types import Member


def test_a_member_is_not_removed() -> None:
    """Its group's configuration names it: change that first. Other groups and names are not here."""
    world = World()
    world.found()
    refused = remove(world)
    wrong_group, nobody = remove(world, group=OTHER), remove(world, "ghost")
    world.settle()
    assert type(world.asker.error(refused)) is MembershipError
    assert isinstance(world.asker.error(wrong_group), PeerUnavailable)
    assert isinstance(world.asker.error(nobody), PeerUnavailable)
    assert "p" in world["n1:1"].it.peers


def test_a_removed_member_that_was_not_told_goes_when_others_have_seen_it() -> None:
    """A committed configuration above the one it knows, without it, settles it; requests that wait are told."""
    world = World()
    leader = world.found()
    gone = world.followers()[0]
    world.cut(gone)
    members = [member for member in members_of(world, leader) if member.peer.node != gone]
    number = change(world, leader, members, list(world.nodes))
    world.until(lambda: number in world.asker.replies)
    index = world[leader].peer().raft.memberships.current_index
    waiting = world.query_local(gone, "k", 1 << 30)
    refused = remove(world, node=gone)
    same_index = remove(world, node=gone, conf_index=1)
    world.settle()
    assert isinstance(world.asker.error(refused), MembershipError)
    assert isinstance(world.asker.error(same_index), MembershipError)
    done = remove(world, node=gone, conf_index=index)
    world.settle()
    world.asker.result(done)
    assert isinstance(world.asker.error(waiting), PeerUnavailable)
    world[gone].crash("lose")
    world[gone].start()
    assert entries(world, gone) == []


def test_a_removed_replica_does_nothing_in_the_turn_of_its_removal() -> None:
    """It was active: a write was left with it, and a message came. Neither happens after the removal."""
    world = World(ALONE)
    world.found()
    node = world["n1:1"]
    number = world.write("n1:1", ("k", 1))
    gone = remove(world, conf_index=99)
    after = world.write("n1:1", ("k", 2))
    world.settle()
    assert isinstance(world.asker.error(number), PeerUnavailable)
    assert isinstance(world.asker.error(after), PeerUnavailable)
    world.asker.result(gone)
    assert node.duties.wake_at_ms is None or node.it.peers == {}
    world.advance(10 * ELECTION_MS)


def configurations(*names: tuple[int, tuple[int, ...]]) -> MembershipHistory:
    """(index, incarnations of the voters)."""
    return MembershipHistory(
        Recovered(
            memberships=[
                (index, Membership(tuple(Member(peer_id("n1:1", f"m{number}"), number) for number in numbers)))
                for index, numbers in names
            ]
        )
    )


ME = Member(peer_id("n1:1", "m1"), 1)


@pytest.mark.parametrize(
    ("known", "commit_index", "named_at"),
    [
        (configurations(), 0, 0),
        (configurations((1, (1, 2))), 0, 1),
        (configurations((1, (1, 2)), (5, (2,))), 5, 0),
        (configurations((1, (1, 2)), (5, (2,))), 4, 1),
        (configurations((1, (1, 2)), (5, (2,)), (9, (1, 2))), 5, 9),
        (configurations((1, (1, 2)), (5, (2,)), (9, (2, 3))), 5, 0),
    ],
)
def test_a_configuration_that_may_come_back_counts(known: MembershipHistory, commit_index: int, named_at: int) -> None:
    """An uncommitted configuration without the replica may be truncated: the committed one before it still counts."""
    assert last_named_at(known, commit_index, ME) == named_at


@pytest.mark.parametrize("role", ["failed", "loading"])
def test_a_member_without_its_data_can_be_removed_once_its_group_went_on_without_it(role: str) -> None:
    """Its status names the others, so that they can be asked; what it forgot it may not know, so they must be."""
    world = World()
    leader = world.found()
    gone = world.followers()[0]
    node = world[gone]
    world.advance(200)
    name = next(name for name in node.disk.names() if name.startswith("journal"))
    world.settle()
    number = world.write(leader, ("k", "z" * 60))
    world.settle()
    world.asker.result(number)
    world.advance(3000)
    node.disk.flip(name, node.disk.read(name, 0, node.disk.size(name)).index(b"z" * 60))
    if role == "loading":
        node.crash("lose")
        node.start()
    else:
        node.peer().fail("an invariant broke")
        node.it.touch(node.peer())
        world.settle()
    status = node.it.status("p")
    assert status is not None
    assert (status.role, status.peers) == (role, tuple(peer_id(one) for one in world.nodes))
    refused = remove(world, node=gone)
    world.settle()
    assert isinstance(world.asker.error(refused), MembershipError)
    done = remove(world, node=gone, conf_index=status.conf_index + 1)
    world.settle()
    world.asker.result(done)
    assert node.it.status("p") is None
    assert node.it.view("p").role == "removed"


def test_operations_of_a_removed_replica_are_not_repeated() -> None:
    """A removal asked twice is one removal, answered twice."""
    world = World(ALONE)
    start(world)
    world.settle()
    performed: list[Operation] = []
    first, second = remove(world), remove(world)
    world.settle()
    performed += world["n1:1"].disk.performed
    world.asker.result(first)
    world.asker.result(second)
    third = remove(world)
    world.settle()
    assert isinstance(world.asker.error(third), PeerUnavailable)
    assert world["n1:1"].disk.performed == performed
