"""Members that change what they are by accident, and removed ones that come back."""

from __future__ import annotations

from tests.unit.peer.asking import change, entries, members_of
from tests.unit.peer.world import ELECTION_MS, World
from zraft.wire.requests import REMOVED

EVERY = ["n1:1", "n2:1", "n3:1"]


def test_bm_041_a_learner_that_is_named_again_stays_a_learner() -> None:
    """Joining the change under way, as often as one likes, gives nobody a vote; catching up does."""
    world = World()
    leader = world.found()
    members = members_of(world, leader)
    newcomer = world.start_peer(world.followers()[0], "q")
    world.drops = lambda source, message: message.to == newcomer
    asked = [change(world, leader, [*members, newcomer], EVERY) for _ in range(3)]
    world.advance(ELECTION_MS)
    asked.append(change(world, leader, [newcomer, *members], EVERY))
    world.settle()
    membership = world[leader].peer().raft.membership
    assert membership is not None
    assert (membership.voters, membership.learners) == (tuple(members), (newcomer,))
    world.heal()
    world.until(lambda: all(number in world.asker.replies for number in asked))
    for number in asked:
        world.asker.result(number)
    assert newcomer in members_of(world, leader)


def test_bm_046_who_belongs_to_a_group_is_in_its_log_and_nowhere_else() -> None:
    """Every node starts again: the members are those of the last configuration, not of the first."""
    world = World()
    leader = world.found()
    gone = world.followers()[0]
    members = [member for member in members_of(world, leader) if member.peer.node != gone]
    number = change(world, leader, members, EVERY)
    world.until(lambda: number in world.asker.replies)
    for node in world.nodes.values():
        node.crash("lose")
        node.start()
    world.until(lambda: world.leader() is not None)
    assert members_of(world, world.lead()) == members
    world.until(lambda: not world[gone].it.peers)


def test_bm_047_a_removed_replica_never_comes_back() -> None:
    """Not after a restart, and not when its group is changed again: another replica takes its place."""
    world = World()
    leader = world.found()
    gone = world.followers()[0]
    old = next(member for member in members_of(world, leader) if member.peer.node == gone)
    rest = [member for member in members_of(world, leader) if member != old]
    number = change(world, leader, rest, EVERY)
    world.until(lambda: number in world.asker.replies and not world[gone].it.peers)
    world[gone].crash("killed")
    world[gone].start()
    world.advance(5 * ELECTION_MS)
    assert world[gone].it.peers == {}
    group = world[leader].peer().meta.group
    new = world.start_peer(gone, group=group)
    assert new.incarnation != old.incarnation
    back = change(world, leader, [*rest, new], [member.peer.node for member in rest])
    world.until(lambda: back in world.asker.replies)
    world.asker.result(back)
    kept = [entry for entry in entries(world, gone) if entry.role == REMOVED]
    assert [entry.member.incarnation for entry in kept] == [old.incarnation]
    assert members_of(world, leader) == [*rest, new]
