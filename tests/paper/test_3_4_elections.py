"""Thesis §3.4, §3.6.1 and §3.9: leaders are elected, one per term, and only with every committed entry."""

from __future__ import annotations

import pytest

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.messages import PreVoteReply, RequestVote, RequestVoteReply
from zraft.core.output import RoleName
from zraft.core.recovered import RaftSettings


def _candidate(voters: str = "a b c", name: str = "a") -> Cluster:
    cluster = Cluster()
    for each in voters.split():
        cluster.add(each, [1], voters)
    cluster.timeout(name)
    for other in voters.split():
        if other != name:
            cluster.receive(PreVoteReply(member(other), member(name), 2, True))
    cluster.network.clear()
    cluster.save(name)
    return cluster


def test_follower_without_leader_becomes_candidate() -> None:
    """§3.4: after its election timeout it asks all others, in the next term, having voted for itself."""
    cluster = _candidate()
    raft = cluster["a"]
    assert (raft.role_name, raft.current_term, raft.voted_for) == (RoleName.CANDIDATE, 2, member("a"))
    assert {message.to for message in cluster.under_way(kind="RequestVote")} == {member("b"), member("c")}


def test_heartbeats_put_off_the_election() -> None:
    """§3.4: whoever hears from a leader stays follower."""
    cluster = led_cluster()
    cluster.run(10_000)
    assert cluster.leaders() == ["a"]
    assert {cluster[name].current_term for name in "abc"} == {2}


def test_election_timeout_is_drawn_between_one_and_two_timeouts() -> None:
    """§3.4: random timeouts split votes seldom, and a new one is drawn each time."""
    timeouts = set()
    for _ in range(3):
        cluster = Cluster()
        for life in range(30):
            cluster.add(f"n{life}", [1], "a b c")
            timeouts.add(cluster.hosts[f"n{life}"].wake_at)
    assert all(500 <= timeout < 1000 for timeout in timeouts)
    assert len(timeouts) > 20


def test_majority_of_votes_wins() -> None:
    """§3.4: two of three are enough, one is not; the own vote counts when it is durable."""
    cluster = _candidate()
    assert cluster.role("a") is RoleName.CANDIDATE
    cluster.receive(RequestVoteReply(member("b"), member("a"), 2, True))
    assert cluster.role("a") is RoleName.LEADER


def test_candidate_yields_to_leader_of_its_term() -> None:
    """§3.4: another one won; the vote stays cast (BM-003)."""
    cluster = _candidate()
    cluster.deliver("a", "c", "RequestVote")
    other = _candidate(name="b")
    other.receive(RequestVoteReply(member("c"), member("b"), 2, True))
    cluster.receive(next(message for message in other.under_way("b", "a", "AppendEntries")))
    raft = cluster["a"]
    assert (raft.role_name, raft.leader, raft.voted_for) == (RoleName.FOLLOWER, member("b"), member("a"))


def test_candidate_that_does_not_win_tries_again() -> None:
    """§3.4: a split vote ends by a timeout, in a further term."""
    cluster = _candidate()
    for _ in range(2):
        cluster.network.clear()
        cluster.timeout("a")
    assert cluster.role("a") is RoleName.PRE_CANDIDATE
    cluster.stabilise()
    assert (cluster["a"].role_name, cluster["a"].current_term) == (RoleName.LEADER, 3)


def test_lost_election_ends_at_once() -> None:
    """§3.4: when a majority has refused there is nothing to wait for."""
    cluster = _candidate()
    for other in "bc":
        cluster.receive(RequestVoteReply(member(other), member("a"), 2, False))
    assert cluster.role("a") is RoleName.FOLLOWER


def test_one_vote_per_term_first_come() -> None:
    """§3.4: the second candidate of a term is refused, the first one may ask again."""
    cluster = _candidate()
    for sender in ("b", "d", "b"):
        cluster.receive(RequestVote(member(sender), member("c"), 2, 9, 1))
        cluster.save("c")
    granted = {reply.to.peer.name: reply.granted for reply in cluster.network if isinstance(reply, RequestVoteReply)}
    assert granted == {"b": True, "d": False}


@pytest.mark.parametrize(
    ("last_index", "last_term", "granted"),
    [(3, 2, True), (4, 2, True), (1, 3, True), (2, 2, False), (9, 1, False)],
)
def test_vote_only_for_log_that_is_up_to_date(last_index: int, last_term: int, granted: bool) -> None:
    """§3.6.1: a larger last term, or the same and a log that is not shorter."""
    cluster = Cluster()
    cluster.add("a", [1, 1, 2], "a b c")
    cluster.receive(RequestVote(member("b"), member("a"), 5, last_index, last_term))
    cluster.save("a")
    (reply,) = cluster.network
    assert isinstance(reply, RequestVoteReply)
    assert reply.granted is granted


def test_elections_need_messages_faster_than_timeouts() -> None:
    """§3.9: with a heartbeat far below the election timeout a group keeps its leader; settings say which is which."""
    settings = RaftSettings(election_timeout_ms=300, heartbeat_ms=60)
    cluster = led_cluster("a b c", settings)
    cluster.run(3000)
    assert cluster.leaders() == ["a"]
    assert cluster.hosts["b"].wake_at - cluster.hosts["b"].now >= 300 - 60
