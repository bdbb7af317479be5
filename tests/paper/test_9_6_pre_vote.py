"""Thesis §9.6: before it disturbs others with a larger term, a server asks whether it could win."""

from __future__ import annotations

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.messages import PreVote, PreVoteReply
from zraft.core.output import RoleName


def _answer(cluster: Cluster, message: PreVote) -> PreVoteReply:
    cluster.receive(message)
    reply = cluster.network.pop()
    assert isinstance(reply, PreVoteReply)
    return reply


def test_pre_vote_changes_nobodys_term() -> None:
    """§9.6: neither the asker's nor the asked one's, and nothing is saved."""
    cluster = Cluster()
    for name in "abc":
        cluster.add(name, [1], "a b c")
    cluster.timeout("a")
    cluster.deliver()
    assert [cluster[name].current_term for name in "abc"] == [1, 1, 1]
    assert not any(host.disk.pending for host in cluster.hosts.values())


def test_pre_vote_needs_an_up_to_date_log() -> None:
    """§9.6: as a vote would (§3.6.1)."""
    cluster = Cluster()
    cluster.add("a", [1, 2], "a b c")
    assert not _answer(cluster, PreVote(member("b"), member("a"), 5, 9, 1)).granted
    assert _answer(cluster, PreVote(member("b"), member("a"), 5, 2, 2)).granted


def test_pre_vote_is_refused_while_a_leader_is_heard() -> None:
    """§9.6: by followers within an election timeout, by the leader always; the refusal carries the term (BM-109)."""
    cluster = led_cluster()
    for name in "ab":
        reply = _answer(cluster, PreVote(member("c"), member(name), 3, 9, 9))
        assert (reply.granted, reply.term) == (False, 2)
    cluster.hosts["b"].now += 500
    assert _answer(cluster, PreVote(member("c"), member("b"), 3, 9, 9)).granted


def test_server_that_was_cut_off_does_not_raise_its_term() -> None:
    """§9.6: when it comes back it follows the leader, in the same term."""
    cluster = led_cluster()
    cluster.isolate("c")
    cluster.run(20_000)
    assert (cluster.role("c"), cluster["c"].current_term) == (RoleName.PRE_CANDIDATE, 2)
    cluster.heal()
    cluster.run(1500)
    assert (cluster.leaders(), cluster["c"].leader, cluster["c"].current_term) == (["a"], member("a"), 2)


def test_majority_of_pre_votes_starts_the_election() -> None:
    """§9.6: then the term rises; refusals of a majority end it."""
    cluster = Cluster()
    for name in "abc":
        cluster.add(name, [1], "a b c")
    cluster.timeout("a")
    cluster.receive(PreVoteReply(member("b"), member("a"), 2, True))
    assert (cluster.role("a"), cluster["a"].current_term) == (RoleName.CANDIDATE, 2)
    cluster.timeout("b")
    for other in "ac":
        cluster.receive(PreVoteReply(member(other), member("b"), 1, False))
    assert (cluster.role("b"), cluster["b"].current_term) == (RoleName.FOLLOWER, 1)


def test_refusal_with_a_larger_term_is_adopted() -> None:
    """§9.6, BM-109: otherwise a server with the longer log and the smaller term would be refused for ever."""
    cluster = Cluster()
    cluster.add("a", [1, 2], "a b c")
    cluster.timeout("a")
    cluster.receive(PreVoteReply(member("b"), member("a"), 8, False))
    assert (cluster.role("a"), cluster["a"].current_term) == (RoleName.FOLLOWER, 8)
