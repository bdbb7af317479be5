"""Replicas are born, found a group, change it, hand it over, stop, and are removed: every race of it."""

from __future__ import annotations

import errno

import msgspec
import pytest

from tests.unit.peer.machines import BACKENDS
from tests.unit.peer.world import ELECTION_MS, GROUP, World, host_settings, peer_id
from zraft.core.entries import Membership
from zraft.core.memberships import MembershipHistory
from zraft.core.recovered import Recovered
from zraft.errors import (
    ChangeInProgress,
    CreateError,
    InvariantViolation,
    MembershipError,
    NotLeader,
    NotStable,
    OutcomeUnknown,
    PeersChanged,
    PeerUnavailable,
    RequestTimeout,
)
from zraft.peer.down import last_named_at
from zraft.storage.disk import Operation, SyncFile
from zraft.storage.replica import Save
from zraft.types import GroupId, Member
from zraft.wire.requests import (
    Bootstrap,
    ChangeMembership,
    GetConf,
    ListPeers,
    PeerEntry,
    Peers,
    RemovePeer,
    Started,
    StartPeer,
    Stat,
    Status,
    Transfer,
    Write,
)

ALONE = ("n1:1",)
OTHER = GroupId(b"another group!!!")


def start(world: World, name: str = "p", backend: str = "dict", group: GroupId = GROUP) -> int:
    return world.ask("n1:1", lambda number: StartPeer(number, name, group, backend))


def remove(world: World, name: str = "p", *, node: str = "n1:1", conf_index: int = 0, group: GroupId = GROUP) -> int:
    return world.ask(node, lambda number: RemovePeer(number, name, group, conf_index))


def bootstrap(world: World, members: list[Member], node: str = "n1:1", name: str = "p") -> int:
    return world.ask(node, lambda number: Bootstrap(number, name, members))


def change(world: World, node: str, members: list[Member], old: list[str]) -> int:
    peers = [peer_id(one) for one in old]
    return world.ask(node, lambda number: ChangeMembership(number, "p", members, peers))


def transfer(world: World, node: str, to: str) -> int:
    return world.ask(node, lambda number: Transfer(number, "p", peer_id(to)))


def entries(world: World, node: str = "n1:1") -> list[PeerEntry]:
    number = world.ask(node, ListPeers)
    world.settle()
    reply = world.asker.reply(number)
    assert isinstance(reply, Peers)
    return list(reply.peers)


def problem(world: World, number: int) -> str:
    error = world.asker.error(number)
    assert isinstance(error, CreateError)
    return next(iter(error.errors.values()))


def member_of(world: World, number: int) -> Member:
    reply = world.asker.reply(number)
    assert isinstance(reply, Started)
    return reply.member


def members_of(world: World, node: str) -> list[Member]:
    membership = world[node].peer().raft.membership
    assert membership is not None
    return list(membership.voters)


# -- birth


def test_nobody_hears_an_incarnation_that_is_not_durable() -> None:
    """BM-043: until the birth is on disk the replica neither runs nor has a name."""
    world = World(ALONE)
    node = world["n1:1"]
    first, second = start(world), start(world)
    node.turn()
    assert node.it.peers == {}
    assert world.asker.replies == {}
    node.sync()
    node.turn()
    assert member_of(world, first) == member_of(world, second)
    again = start(world)
    node.turn()
    assert member_of(world, again) == member_of(world, first)
    assert [entry.role for entry in entries(world)] == ["blank"]


def test_a_name_is_given_once() -> None:
    """While it is being born, and afterwards: another group or backend is told that the name is taken."""
    world = World(ALONE)
    start(world)
    during = start(world, group=OTHER)
    world.settle()
    after = start(world, group=OTHER)
    world.settle()
    assert [problem(world, number) for number in (during, after)] == ["already_present"] * 2


def test_a_replica_with_a_past_is_not_blank() -> None:
    """Once it founded a group, its start answers "already_present": it may have promised something."""
    world = World(ALONE)
    world.found()
    number = start(world)
    world.settle()
    assert problem(world, number) == "already_present"


@pytest.mark.parametrize(("backend", "alarms"), [("nobody knows it", 0), ("unmakeable", 1)])
def test_what_cannot_run_is_not_born(backend: str, alarms: int) -> None:
    """A backend that is unknown or whose constructor raises: refused, nothing is left behind, the name is free."""
    world = World(ALONE, backends=BACKENDS)
    number = start(world, backend=backend)
    world.settle()
    assert problem(world, number) == "unknown_backend"
    assert len([note for note in world["n1:1"].notes if note.is_alarm]) == alarms
    assert entries(world) == []
    again = start(world)
    world.settle()
    assert member_of(world, again).incarnation


def test_a_replica_whose_backend_is_gone_stays_down_and_can_be_removed() -> None:
    """The node starts without it; blank as it is, it may be deleted, and the name given anew."""
    world = World(ALONE, backends=BACKENDS)
    start(world, "p", "broken")
    start(world, "q", "dict", OTHER)
    world.settle()
    world["n1:1"].crash("lose")
    world.backends = type(world.backends)()
    world["n1:1"].start()
    assert [(entry.member.peer.name, entry.role) for entry in entries(world)] == [("p", "failed"), ("q", "blank")]
    taken, stat = start(world), world.ask("n1:1", lambda number: Stat(number, "p"))
    world.settle()
    assert problem(world, taken) == "already_present"
    status = world.asker.reply(stat)
    assert isinstance(status, Status)
    assert "unknown backend 'broken'" in (status.status.fault or "")
    number = remove(world)
    world.settle()
    world.asker.result(number)
    again = start(world)
    world.settle()
    assert member_of(world, again).incarnation


def test_a_removal_during_the_birth_is_not_forgotten() -> None:
    """Who gave up waiting wants nothing left behind: it is removed as soon as it is born."""
    world = World(ALONE)
    node = world["n1:1"]
    number = start(world)
    node.turn()
    gone, gone_again = remove(world), remove(world)
    late = start(world)
    other_group = remove(world, group=OTHER)
    world.settle()
    assert member_of(world, number).incarnation
    world.asker.result(gone)
    world.asker.result(gone_again)
    assert problem(world, late) == "already_present"
    assert isinstance(world.asker.error(other_group), PeerUnavailable)
    assert node.it.peers == {}
    node.crash("lose")
    node.start()
    assert entries(world) == []


def test_a_name_is_free_again_as_soon_as_its_replica_was_removed() -> None:
    """Removed and born anew in one save: another incarnation, and the old one does not come back."""
    world = World(ALONE)
    node = world["n1:1"]
    first = start(world)
    world.settle()
    gone = remove(world)
    second = start(world)
    gone_again = remove(world, group=OTHER)
    world.settle()
    world.asker.result(gone)
    world.asker.result(gone_again)
    assert member_of(world, second).incarnation != member_of(world, first).incarnation
    node.crash("lose")
    node.start()
    assert [entry.member for entry in entries(world)] == [member_of(world, second)]


def test_a_replica_born_under_an_old_name_has_its_own_deadlines() -> None:
    """The one before had a timer, which ran out meanwhile: the new one campaigns all the same."""
    world = World(ALONE)
    start(world)
    world.settle()
    remove(world)
    world.advance(10 * ELECTION_MS)
    number = start(world)
    world.settle()
    node = world["n1:1"]
    assert node.duties.wake_at_ms is not None
    founded = bootstrap(world, [member_of(world, number)])
    world.until(lambda: world.leader() is not None)
    world.asker.result(founded)


def test_what_the_former_replica_had_asked_the_journal_for_is_not_the_new_ones() -> None:
    """Loads carry numbers that no other replica of the node uses."""
    world = World(ALONE, host_settings(cache_bytes=1))
    world.found()
    node = world["n1:1"]
    peer = node.peer()
    peer._loads[node.it.outbox.next_token()] = (peer.raft.me, 1)
    (old_token,) = peer._loads
    node.it.store.load("p", old_token, 1, 1, 100)
    gone = remove(world, conf_index=99)
    number = start(world)
    world.settle()
    world.asker.result(gone)
    assert member_of(world, number).incarnation
    assert list(node.it.peers) == ["p"]


def test_a_store_that_fails_during_a_birth_answers() -> None:
    """Nobody knows what the next start will find."""
    world = World(ALONE)
    node = world["n1:1"]
    node.disk.fail = lambda operation: errno.EIO if isinstance(operation, SyncFile) else 0
    born, gone = start(world), remove(world)
    node.turn()
    node.sync()
    refused = start(world, "q")
    node.turn()
    for number in (born, gone):
        assert isinstance(world.asker.error(number), OutcomeUnknown)
    assert isinstance(world.asker.error(refused), PeerUnavailable)


# -- bootstrap


def test_a_group_is_founded_when_its_first_entry_is_durable() -> None:
    """I13: the founder's answer waits for the save, also when it is asked again meanwhile."""
    world = World(ALONE)
    number = start(world)
    world.settle()
    members = [member_of(world, number)]
    node = world["n1:1"]
    first, again = bootstrap(world, members), bootstrap(world, members)
    node.turn()
    assert not {first, again} & set(world.asker.replies)
    node.sync()
    node.turn()
    assert [world.asker.reply(number).index for number in (first, again)] == [1, 1]  # type: ignore[union-attr]
    later = bootstrap(world, members)
    node.turn()
    world.asker.result(later)


def test_a_founder_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store refuses the first save: no group, no answer that there is one."""
    world = World(ALONE)
    number = start(world)
    world.settle()

    def refuse(save: Save) -> None:
        raise InvariantViolation("no")

    monkeypatch.setattr(world["n1:1"].it.store, "save", refuse)
    founded = bootstrap(world, [member_of(world, number)])
    again = bootstrap(world, [member_of(world, number)])
    world["n1:1"].turn()
    for one in (founded, again):
        assert isinstance(world.asker.error(one), PeerUnavailable)


def test_a_group_that_could_not_decide_is_not_founded() -> None:
    """A peer listed twice, numbers that are none, a founder outside: refused; the replica stays blank."""
    world = World(ALONE)
    number = start(world)
    world.settle()
    me = member_of(world, number)
    twice = bootstrap(world, [me, me])
    two_lives = bootstrap(world, [me, Member(me.peer, 5)])
    negative = bootstrap(world, [me, Member(peer_id("n2:1"), -1)])
    without = bootstrap(world, [Member(peer_id("n2:1"), 7)])
    nobody = bootstrap(world, [me], name="ghost")
    world.settle()
    for one in (twice, two_lives, negative, without):
        assert isinstance(world.asker.error(one), MembershipError)
    assert isinstance(world.asker.error(nobody), PeerUnavailable)
    assert [entry.role for entry in entries(world)] == ["blank"]


def test_another_founding_of_a_founded_group_is_refused() -> None:
    """Only its own founder is told again that it was founded."""
    world = World(ALONE)
    world.found()
    number = bootstrap(world, [Member(peer_id("n1:1"), 5)])
    world.settle()
    assert problem(world, number) == "already_present"


# -- changes of the configuration


def test_a_group_grows_and_shrinks_by_request() -> None:
    """One, then three, then without its first leader, who is then removed; the answers come when it is done."""
    world = World()
    members = [world.start_peer(node) for node in world.nodes]
    founded = bootstrap(world, members[:1])
    world.until(lambda: world.leader() is not None)
    world.asker.result(founded)
    grown = change(world, "n1:1", members, ["n1:1"])
    world.until(lambda: grown in world.asker.replies)
    world.asker.result(grown)
    assert members_of(world, "n1:1") == members
    again = change(world, "n1:1", members, ["n1:1"])
    world.settle()
    world.asker.result(again)
    shrunk = change(world, "n1:1", members[1:], ["n1:1", "n2:1", "n3:1"])
    world.until(lambda: shrunk in world.asker.replies)
    world.asker.result(shrunk)
    world.until(lambda: world.leader() not in (None, "n1:1"))
    gone = remove(world)
    world.settle()
    world.asker.result(gone)
    assert world["n1:1"].it.peers == {}


def test_a_change_must_know_what_it_changes() -> None:
    """`old_peers` are not the present ones, a new set cannot decide, or the peer does not lead: nothing is done."""
    world = World()
    leader = world.found()
    members = members_of(world, leader)
    wrong = change(world, leader, members[:2], ["n1:1"])
    twice = change(world, leader, [members[0], members[0]], ["n1:1", "n2:1", "n3:1"])
    elsewhere = change(world, world.followers()[0], members[:2], ["n1:1", "n2:1", "n3:1"])
    world.settle()
    assert isinstance(world.asker.error(wrong), PeersChanged)
    assert isinstance(world.asker.error(twice), MembershipError)
    assert isinstance(world.asker.error(elsewhere), NotLeader)
    assert members_of(world, leader) == members


def test_one_change_at_a_time_and_the_same_one_may_be_joined() -> None:
    """Another target is refused while a change is under way; the same one shares its end."""
    world = World()
    leader = world.found()
    members = members_of(world, leader)
    newcomer = world.start_peer("n1:1", "q")
    world.drops = lambda source, message: message.to.peer.name == "q"
    every = ["n1:1", "n2:1", "n3:1"]
    first = change(world, leader, [*members, newcomer], every)
    joined = change(world, leader, [*members, newcomer], ["n1:1"])
    other = change(world, leader, members[:2], every)
    world.settle()
    assert isinstance(world.asker.error(other), ChangeInProgress)
    world.heal()
    world.until(lambda: {first, joined} <= set(world.asker.replies))
    world.asker.result(first)
    world.asker.result(joined)


def test_a_leader_that_has_committed_nothing_changes_nothing() -> None:
    """BM-031: no change before an entry of the own term is committed."""
    world = World(ALONE)
    number = start(world)
    world.settle()
    me = member_of(world, number)
    blank = change(world, "n1:1", [me], ["n1:1"])
    world.settle()
    assert isinstance(world.asker.error(blank), NotLeader)
    bootstrap(world, [me])
    node = world["n1:1"]
    peer = node.peer()
    while not peer.is_leader:
        world.now += 10
        node.turn()
        node.sync(1)
    early = change(world, "n1:1", [me, Member(peer_id("n1:1", "q"), 9)], ["n1:1"])
    node.turn()
    assert isinstance(world.asker.error(early), NotStable)


# -- transfer


def test_leadership_goes_to_who_is_named() -> None:
    """The answer comes when the other leads; to oneself it is done at once."""
    world = World()
    leader = world.found()
    own = transfer(world, leader, leader)
    world.settle()
    world.asker.result(own)
    to = world.followers()[1]
    number = transfer(world, leader, to)
    world.until(lambda: number in world.asker.replies)
    world.asker.result(number)
    world.until(lambda: world.leader() is not None)
    assert world.lead() == to


def test_leadership_goes_to_voters_only_and_through_the_leader() -> None:
    """Anybody else is refused, and so is asking a follower."""
    world = World()
    leader = world.found()
    stranger = transfer(world, leader, "n9:1")
    elsewhere = transfer(world, world.followers()[0], leader)
    world.settle()
    assert type(world.asker.error(stranger)) is MembershipError
    assert isinstance(world.asker.error(elsewhere), NotLeader)


def test_nobody_knows_what_becomes_of_a_transfer_that_took_too_long() -> None:
    """The target was told and is silent: it may yet campaign, so the answer is "maybe"; the leader leads on."""
    world = World()
    leader = world.found()
    to = world.followers()[0]
    world.advance(200)
    world.drops = lambda source, message: message.to.peer.node == to
    number = transfer(world, leader, to)
    world.until(lambda: number in world.asker.replies)
    assert isinstance(world.asker.error(number), RequestTimeout)
    assert world.asker.executed(number) == "maybe"
    assert world.lead() == leader


# -- removal


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


def test_a_failed_member_can_be_removed_once_its_group_went_on_without_it() -> None:
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
    node.crash("lose")
    node.start()
    status = node.it.status("p")
    assert status is not None
    assert (status.role, status.peers) == ("failed", tuple(peer_id(one) for one in world.nodes))
    refused = remove(world, node=gone)
    world.settle()
    assert isinstance(world.asker.error(refused), MembershipError)
    done = remove(world, node=gone, conf_index=status.conf_index + 1)
    world.settle()
    world.asker.result(done)
    assert node.it.status("p") is None
    assert node.it.view("p").role == "removed"


# -- stop and start of one replica


def test_a_stopped_replica_keeps_its_data_and_runs_again() -> None:
    """It hears and answers nothing meanwhile; afterwards it has term, log and configuration, and applies from it."""
    world = World(settings=host_settings(cache_bytes=1))
    leader = world.found()
    for place in range(5):
        world.write(leader, (f"k{place}", place))
        world.settle()
    world.advance(200)
    node = world[world.followers()[0]]
    before = node.peer().raft
    node.it.stop_peer("p")
    assert node.it.start_peer("p", world.now)
    same = node.peer().raft
    assert same is not before
    assert (same.current_term, same.voted_for, same.log.last_index) == (
        before.current_term,
        before.voted_for,
        before.log.last_index,
    )
    assert same.membership == before.membership
    world.until(lambda: node.peer().machine.last_applied == world[leader].peer().machine.last_applied)
    assert node.peer().machine.query(msgspec.msgpack.encode("k4")) == 4
    assert node.it.start_peer("p", world.now), "it runs already"


def test_a_stopped_replica_is_there_and_says_so() -> None:
    """Requests are refused, its name stays taken, its status says why; it can be removed like any other."""
    world = World(ALONE)
    world.found()
    node = world["n1:1"]
    node.it.stop_peer("p")
    world.settle()
    number, taken, refused = world.write("n1:1", ("k", 1)), start(world), remove(world)
    world.settle()
    assert "is stopped" in str(world.asker.error(number))
    assert problem(world, taken) == "already_present"
    assert isinstance(world.asker.error(refused), MembershipError)
    (entry,) = entries(world)
    assert entry.role == "failed"
    status = node.it.status("p")
    assert status is not None
    assert (status.fault or "").startswith("stopped")
    assert node.it.view("p").role == "failed"
    with pytest.raises(PeerUnavailable, match="is stopped"):
        node.it.stop_peer("p")
    done = remove(world, conf_index=99)
    world.settle()
    world.asker.result(done)
    with pytest.raises(PeerUnavailable, match="no peer"):
        node.it.start_peer("p", world.now)
    with pytest.raises(PeerUnavailable, match="no peer"):
        node.it.stop_peer("p")


def test_a_stopped_replica_runs_again_only_when_its_saves_are_durable() -> None:
    """It starts from what it takes for durable: that must be true first."""
    world = World(ALONE)
    world.found()
    node = world["n1:1"]
    node.is_stalled = True
    number = world.write("n1:1", ("k", 1))
    node.turn()
    node.it.stop_peer("p")
    assert not node.it.start_peer("p", world.now)
    node.turn()
    assert isinstance(world.asker.error(number), OutcomeUnknown)
    node.is_stalled = False
    world.settle()
    assert node.it.start_peer("p", world.now)
    world.until(lambda: world.leader() is not None)
    answer = world.query("n1:1", "k")
    world.settle()
    assert world.asker.result(answer) == 1
    node.it.stop_peer("p")
    node.it.stop()
    with pytest.raises(PeerUnavailable, match="stopping"):
        node.it.start_peer("p", world.now)


def test_a_stopped_replica_whose_machine_cannot_be_made_again_fails() -> None:
    """It stays down with the reason."""
    world = World(ALONE, backends=BACKENDS)
    world.found(backend="broken")
    node = world["n1:1"]
    node.it.stop_peer("p")
    node.it.backends = type(node.it.backends)()
    with pytest.raises(PeerUnavailable, match="has failed"):
        node.it.start_peer("p", world.now)
    assert "unknown backend" in node.it.failed["p"].fault
    with pytest.raises(PeerUnavailable, match="has failed"):
        node.it.start_peer("p", world.now)


def test_a_failed_replica_is_not_started() -> None:
    """Its state is not what its data says: only a start of the node reads that anew."""
    world = World(ALONE, backends=BACKENDS)
    world.found(backend="broken")
    world.write("n1:1", "die")
    world.settle()
    with pytest.raises(PeerUnavailable, match="has failed"):
        world["n1:1"].it.start_peer("p", world.now)


def test_views_follow_what_happens() -> None:
    """Birth, role, configuration, failure and removal each say that something is different."""
    world = World(ALONE)
    node = world["n1:1"]
    number = start(world)
    world.settle()
    assert node.altered == ["p"]
    node.altered.clear()
    bootstrap(world, [member_of(world, number)])
    world.until(lambda: world.leader() is not None)
    view = node.it.view("p")
    assert (view.role, view.leader, view.conf_index, view.peers) == (
        "leader",
        peer_id("n1:1"),
        1,
        (peer_id("n1:1"),),
    )
    assert set(node.altered) == {"p"}
    node.altered.clear()
    world.advance(5000)
    assert node.altered == []
    remove(world, conf_index=99)
    world.settle()
    assert node.altered == ["p"]
    assert node.it.view("p").role == "removed"


def test_a_transfer_of_a_blank_replica_goes_nowhere() -> None:
    """Blank replicas lead nobody: every request for a leader is refused, and a write has its own door."""
    world = World(ALONE)
    start(world)
    world.settle()
    numbers = [
        transfer(world, "n1:1", "n1:1"),
        world.ask("n1:1", lambda number: GetConf(number, "p")),
        world.write("n1:1", ("k", 1)),
    ]
    world.settle()
    for number in numbers:
        assert isinstance(world.asker.error(number), NotLeader)
    with pytest.raises(ValueError, match="their own door"):
        world["n1:1"].it.admin.handle(world.now, world.asker, Write(1, "p", msgspec.Raw(b"\x01")))


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
