"""Elections, votes and terms: what others got wrong, played here."""

from __future__ import annotations

import pytest

from tests.raftkit.cluster import Cluster, led_cluster, log_of, member
from zraft.core.entries import HardState, Membership, SnapshotMark
from zraft.core.messages import (
    AppendEntries,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
)
from zraft.core.output import RoleName
from zraft.core.raft import Raft
from zraft.core.recovered import RaftSettings, Recovered
from zraft.errors import InvariantViolation

A, B, C = member("a"), member("b"), member("c")


def three(*terms: int, names: str = "a b c") -> Cluster:
    """Replicas with the same log, and nobody leads."""
    cluster = Cluster()
    for name in names.split():
        cluster.add(name, terms or (1,), names)
    return cluster


def _candidate(cluster: Cluster, name: str) -> None:
    cluster.timeout(name)
    term = cluster[name].current_term + 1
    for other in cluster.hosts.values():
        if other.me != cluster[name].me:
            cluster.receive(PreVoteReply(other.me, cluster[name].me, term, True))
    cluster.network.clear()
    cluster.save(name)
    assert cluster.role(name) is RoleName.CANDIDATE


def _grants(cluster: Cluster) -> list[bool]:
    replies = [message for message in cluster.network if isinstance(message, RequestVoteReply)]
    cluster.network.clear()
    return [reply.granted for reply in replies]


def test_bm_001_vote_is_durable_before_it_is_sent() -> None:
    """A grants B in term 2, replies, and loses power: C gets no second vote of that term (§3.8)."""
    cluster = three()
    cluster.receive(RequestVote(B, A, 2, 1, 1))
    assert cluster.network == []
    cluster.save("a")
    assert _grants(cluster) == [True]
    cluster.restart("a")
    cluster.receive(RequestVote(C, A, 2, 9, 9))
    cluster.save("a")
    assert _grants(cluster) == [False]


def test_bm_002_terms_survive_a_restart_of_all() -> None:
    """After a restart of everybody a late replica does not overwrite what was committed since."""
    cluster = led_cluster()
    for _ in range(4):
        cluster.elect("b")
        cluster.elect("a")
    cluster.propose("a", *range(42))
    cluster.stabilise()
    term = cluster["a"].current_term
    for name in "abc":
        cluster.crash(name)
    cluster.start("a")
    cluster.start("c")
    cluster.run(3000)
    leader = cluster.leader()
    assert cluster[leader].current_term > term
    cluster.propose(leader, 100, 101)
    cluster.stabilise()
    committed = cluster[leader].commit_index
    cluster.start("b")
    cluster.elect("b")
    cluster.run(3000)
    assert min(cluster.commits().values()) >= committed
    assert cluster.ghost.committed[committed].payload.startswith(b"#101")


def test_bm_002_log_ahead_of_the_hard_state_is_refused() -> None:
    """A term that went back would promise things twice: such a disk is not served."""
    batches = log_of([1, 5], Membership((A,)))
    recovered = Recovered(hard_state=HardState(4), lasts=[1, 2], terms=[1, 5], tail=batches)
    with pytest.raises(InvariantViolation, match="hard state has term 4"):
        Raft(A, RaftSettings(), recovered, seed=1, now=0)


def test_bm_003_candidate_that_yields_keeps_its_vote() -> None:
    """A voted for itself in term 2 and follows B in it: C's request of term 2 is refused."""
    cluster = three()
    _candidate(cluster, "a")
    cluster.network.clear()
    cluster.receive(AppendEntries(B, A, 2, 1, 1, 0, 0, []))
    assert (cluster.role("a"), cluster["a"].voted_for) == (RoleName.FOLLOWER, A)
    cluster.save("a")
    cluster.network.clear()
    cluster.receive(RequestVote(C, A, 2, 9, 9))
    cluster.save("a")
    assert _grants(cluster) == [False]


def test_bm_004_late_pre_votes_are_not_votes() -> None:
    """Grants of the pre-vote that led to the election do not decide it."""
    cluster = three(1, names="a b c d e")
    _candidate(cluster, "a")
    for name in "bcde":
        cluster.receive(PreVoteReply(member(name), A, 2, True))
    assert cluster.role("a") is RoleName.CANDIDATE
    for name in "bc":
        cluster.receive(RequestVoteReply(member(name), A, 2, True))
    assert cluster.role("a") is RoleName.LEADER


def test_bm_005_vote_of_an_earlier_term_is_not_counted() -> None:
    """B's grant of term 2 arrives when A campaigns in term 3."""
    cluster = three()
    _candidate(cluster, "a")
    cluster.timeout("a")
    cluster.receive(PreVoteReply(B, A, 3, True))
    cluster.save("a")
    assert (cluster.role("a"), cluster["a"].current_term) == (RoleName.CANDIDATE, 3)
    cluster.receive(RequestVoteReply(B, A, 2, True))
    assert cluster.role("a") is RoleName.CANDIDATE


def test_bm_006_repeated_vote_is_one_vote() -> None:
    """Three copies of B's grant are no majority of five."""
    cluster = three(1, names="a b c d e")
    _candidate(cluster, "a")
    for _ in range(3):
        cluster.receive(RequestVoteReply(B, A, 2, True))
    assert cluster.role("a") is RoleName.CANDIDATE


def test_bm_007_message_of_an_old_leader_takes_no_vote_back() -> None:
    """A voted for B in term 6; an AppendEntries of term 4 arrives; C's request of term 6 is refused."""
    cluster = three()
    cluster.receive(RequestVote(B, A, 6, 1, 1))
    cluster.save("a")
    cluster.receive(AppendEntries(C, A, 4, 1, 1, 0, 0, []))
    cluster.network.clear()
    cluster.receive(RequestVote(C, A, 6, 9, 5))
    cluster.save("a")
    assert (_grants(cluster), cluster["a"].current_term, cluster["a"].voted_for) == ([False], 6, B)


def test_bm_008_two_requests_while_the_disk_is_busy() -> None:
    """Both arrive before the first save is done: one grant leaves, when it is durable."""
    cluster = three()
    cluster.receive(RequestVote(B, A, 2, 1, 1))
    cluster.receive(RequestVote(C, A, 2, 1, 1))
    cluster.save("a")
    assert sorted(_grants(cluster)) == [False, True]


def test_bm_009_leader_grants_no_vote_in_its_own_term() -> None:
    """However long the other log is."""
    cluster = led_cluster()
    cluster.receive(RequestVote(B, A, 2, 99, 2))
    cluster.save("a")
    assert (_grants(cluster), cluster.role("a")) == ([False], RoleName.LEADER)


def test_bm_011_two_leaders_in_one_term_stop_the_replica() -> None:
    """It says what it saw, and does not go on."""
    cluster = three()
    cluster.receive(AppendEntries(B, A, 3, 1, 1, 0, 0, []))
    cluster.receive(AppendEntries(C, A, 3, 1, 1, 0, 0, []))
    fault = cluster.hosts["a"].fault
    assert fault is not None
    assert str(B) in fault
    assert str(C) in fault


def test_bm_012_votes_from_outside_the_configuration_do_not_count() -> None:
    """Strangers, and other lives of members, never complete a quorum."""
    cluster = three()
    _candidate(cluster, "a")
    for voter in (member("x"), member("y"), member("b", 2)):
        cluster.receive(RequestVoteReply(voter, A, 2, True))
    assert cluster.role("a") is RoleName.CANDIDATE


def test_bm_013_snapshot_does_not_take_the_term_back() -> None:
    """A starts in term 5 from a snapshot of term 3."""
    mark = SnapshotMark(9, 3, 1, 1, Membership((A, B, C)))
    raft = Raft(A, RaftSettings(), Recovered(hard_state=HardState(5, B), mark=mark), seed=1, now=0)
    assert (raft.current_term, raft.voted_for, raft.commit_index) == (5, B, 9)
