"""Quiet groups of a few hosts: who beats whom, and what wakes a replica that trusts another node."""

from __future__ import annotations

import pytest

from tests.unit.peer.world import ALONE, ELECTION_MS, NAMES, World, host_settings, read, wrote
from zraft.core.events import Read
from zraft.core.messages import Message, Quiesce, QuiesceReply, ReadIndexRequest
from zraft.types import GroupId
from zraft.wire.requests import Bootstrap

GROUPS = {"p": GroupId(b"group of a test!"), "q": GroupId(b"another group p!"), "r": GroupId(b"a third group !!")}


def quiet_world(names: tuple[str, ...] = NAMES, groups: int = 1) -> World:
    """Groups on all nodes, the first node leads them, and all have gone quiet."""
    world = World(names, host_settings(quiet_beats=2))
    for name in list(GROUPS)[:groups]:
        world.found(name, group=GROUPS[name])
    world.until(lambda: all(is_quiet(world, node, name) for node in names for name in list(GROUPS)[:groups]))
    world.sent.clear()
    world.beats.clear()
    return world


def is_quiet(world: World, node: str, name: str = "p") -> bool:
    host = world[node].host
    return host is not None and name in host.peers and host.peers[name].raft.role.is_quiet


def quiet(world: World, name: str = "p") -> list[str]:
    return [node for node in world.nodes if is_quiet(world, node, name)]


def kinds(messages: list[Message]) -> set[str]:
    return {type(message).__name__ for message in messages}


def test_a_quiet_group_sends_nothing_and_its_nodes_one_beat_per_pair_and_interval() -> None:
    """Three groups cost what one costs: followers do not beat each other."""
    world = quiet_world(groups=3)
    world.advance(300)  # until everybody knows that everybody is quiet
    world.beats.clear()
    world.advance(10_000)
    assert world.sent == []
    leads = {world.lead(name) for name in GROUPS}
    pairs = {(beat.sender, beat.to) for beat in world.beats}
    assert pairs == {(a, b) for a in NAMES for b in NAMES if a != b and (a in leads or b in leads)}
    for pair in pairs:
        assert 98 <= sum((beat.sender, beat.to) == pair for beat in world.beats) <= 101
    assert all(beat.claims is None and not beat.denials for beat in world.beats)


def test_a_single_replica_that_is_idle_wakes_for_nothing() -> None:
    """No neighbours, no beats, no deadline but that of the journal."""
    world = quiet_world(ALONE)
    world.advance(5_000)
    before = world["n1:1"].duties.wake_at_ms
    assert wrote(world, "n1:1", "k", 1) == "ok"
    after = world["n1:1"].duties.wake_at_ms
    assert (before, after is None) == (None, False)
    world.until(lambda: is_quiet(world, "n1:1"))


def test_a_write_wakes_the_group_and_it_goes_quiet_again() -> None:
    """The write is answered at once, as in a group that is awake."""
    world = quiet_world()
    leader = world.lead()
    assert wrote(world, leader, "k", 1) == "ok"
    assert quiet(world) == []
    world.until(lambda: quiet(world) == list(NAMES))
    assert world.lead() == leader


def test_a_read_at_a_quiet_leader_needs_a_majority() -> None:
    """§6.4: nothing is read on the strength of being quiet."""
    world = quiet_world()
    leader = world.lead()
    assert read(world, leader, "k") is not None
    world.until(lambda: quiet(world) == list(NAMES))
    world.cut(leader)
    number = world.query(leader, "k")
    world.settle()
    assert number not in world.asker.replies


def test_another_leader_is_elected_when_the_quiet_leaders_node_dies() -> None:
    """Within two election timeouts of its last beat, and the time of an election."""
    world = quiet_world(groups=3)
    leader = world.lead()
    groups = [name for name in GROUPS if world.lead(name) == leader]
    world[leader].crash("killed")
    died = world.now
    world.until(lambda: all(world.leader(name) not in (None, leader) for name in groups))
    assert world.now - died <= 3 * ELECTION_MS
    assert world.now - died >= ELECTION_MS - 100, "a node that was just heard is not silent"


def test_groups_of_a_dead_node_do_not_campaign_at_the_same_moment() -> None:
    """Each draws its own moment, over an election timeout."""
    world = quiet_world(groups=3)
    leader = world.lead()
    world[leader].crash("killed")
    world.advance(ELECTION_MS)
    dues = [
        world[node].peer(name).due_ms
        for node in NAMES
        if node != leader
        for name in GROUPS
        if world[node].peer(name).raft.role_name.value == "follower"
    ]
    assert len(set(dues)) >= len(dues) - 1 > 1


def test_followers_wake_at_once_when_the_leaders_node_was_started_anew() -> None:
    """Its first beat has another epoch, or none comes and it is silent."""
    world = quiet_world()
    leader = world.lead()
    world[leader].crash("killed")
    world[leader].start()
    world.until(lambda: quiet(world) == [])
    began = world.now
    world.until(lambda: world.leader() is not None)
    assert world.now - began <= 3 * ELECTION_MS
    world.until(lambda: quiet(world) == list(NAMES))


def test_a_leader_wakes_when_a_followers_node_was_started_anew() -> None:
    """The follower finds its leader again before it campaigns."""
    world = quiet_world()
    leader = world.lead()
    follower = world.followers()[0]
    term = world[leader].peer().raft.current_term
    world[follower].crash("killed")
    world[follower].start()
    world.until(lambda: quiet(world) == list(NAMES))
    assert (world.lead(), world[leader].peer().raft.current_term) == (leader, term)


def test_a_quiet_leader_whose_node_is_cut_off_steps_down() -> None:
    """§6.2 by nodes: silence wakes it, and then nobody answers."""
    world = quiet_world()
    leader = world.lead()
    world.cut(leader)
    world.until(lambda: not world[leader].peer().is_leader, 4 * ELECTION_MS)
    world.until(lambda: world.leader() is not None)
    world.heal()
    world.until(lambda: quiet(world) == list(NAMES))
    assert len({world[node].peer().raft.current_term for node in NAMES}) == 1


@pytest.mark.parametrize("voice", [True, False], ids=["is not heard", "does not hear"])
def test_a_quiet_follower_cut_off_in_one_direction_deposes_nobody(voice: bool) -> None:
    """The leader wakes and stays; when the link is whole again all go quiet."""
    world = quiet_world()
    leader, follower = world.lead(), world.followers()[0]
    term = world[leader].peer().raft.current_term
    link = (follower, leader) if voice else (leader, follower)
    world.drops = lambda source, message: (source, message.to.peer.node) == link
    world.cut_beats.add(link)
    world.until(lambda: leader not in quiet(world))
    world.advance(10 * ELECTION_MS)
    assert (world.lead(), world[leader].peer().raft.current_term) == (leader, term)
    world.heal()
    world.until(lambda: quiet(world) == list(NAMES))
    assert world[leader].peer().raft.current_term == term


def test_a_node_that_stood_still_comes_back_to_a_leader_that_others_elected() -> None:
    """SIGSTOP: its clock went on, and it believed to lead."""
    world = quiet_world()
    leader = world.lead()
    host, world[leader].host = world[leader].host, None
    world.until(lambda: world.leader() is not None)
    world.advance(3 * ELECTION_MS)
    world[leader].host = host
    assert world[leader].peer().is_leader
    world.until(lambda: quiet(world) == list(NAMES))
    assert world.lead() != leader


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_replica_that_is_stopped_alone_is_missed(who: str) -> None:
    """Its node goes on beating, and no epoch changes: only the sums tell."""
    world = quiet_world(groups=2)
    leader = world.lead()
    node = leader if who == "leader" else world.followers()[0]
    world[node].it.stop_peer("p")
    world.until(lambda: quiet(world) == [], 3 * ELECTION_MS)
    assert len(quiet(world, "q")) == 3, "the other group is left alone"
    world.until(lambda: world.leader() is not None)
    assert (world.lead() == leader) == (who == "follower")
    world.settle()
    assert world[node].it.start_peer("p", world.now)
    world.until(lambda: quiet(world) == list(NAMES))


def test_a_follower_that_woke_unseen_is_missed() -> None:
    """It was asked to read, and its question was lost: the leader learns by the sums that it is awake."""
    world = quiet_world()
    leader, follower = world.lead(), world.followers()[0]
    world.drops = lambda source, message: isinstance(message, ReadIndexRequest)
    peer = world[follower].peer()
    peer.step(world.now, Read(peer.desk.next_ref()))
    world[follower].it.touch(peer)
    world.settle()
    assert follower not in quiet(world)
    world.until(lambda: leader not in quiet(world), ELECTION_MS)
    assert "PreVote" not in kinds(world.sent)
    world.until(lambda: quiet(world) == list(NAMES))


def test_a_lost_question_or_answer_is_asked_again() -> None:
    """Going quiet survives loss: followers that agreed stay so meanwhile."""
    world = World(NAMES, host_settings(quiet_beats=2))
    world.found()
    lost: list[Message] = []

    def drops(source: str, message: Message) -> bool:
        if type(message) in (Quiesce, QuiesceReply) and len(lost) < 2:
            lost.append(message)
            return True
        return False

    world.drops = drops
    world.until(lambda: quiet(world) == list(NAMES))
    assert len(lost) == 2
    assert kinds(world.sent) >= {"Quiesce", "QuiesceReply", "Heartbeat"}


def test_a_group_with_a_silent_member_stays_awake() -> None:
    """Who does not answer heartbeats is not asked whether it agrees."""
    world = World(NAMES, host_settings(quiet_beats=2))
    leader = world.found()
    world[world.followers()[0]].crash("killed")
    world.advance(2_000)
    world.sent.clear()
    world.advance(10_000)
    assert quiet(world) == []
    assert "Quiesce" not in kinds(world.sent)
    assert world.lead() == leader


def test_two_members_on_one_node_keep_their_group_awake() -> None:
    """A node is no neighbour of its own."""
    world = World(("n1:1", "n2:1"), host_settings(quiet_beats=1))
    members = [world.start_peer(node, name) for node, name in (("n1:1", "p"), ("n1:1", "q"), ("n2:1", "p"))]
    number = world.ask("n1:1", lambda number: Bootstrap(number, "p", members))
    world.settle()
    world.asker.result(number)
    world.advance(5_000)
    assert [node for node in world.nodes for name in "pq" if is_quiet(world, node, name)] == []
