"""Thesis §3.7 and §3.8: messages are lost and repeated, servers crash; promises are durable before they are made."""

from __future__ import annotations

from tests.raftkit.cluster import led_cluster


def test_requests_are_retried_for_ever() -> None:
    """§3.7: a follower that is away however long gets everything when it is back."""
    cluster = led_cluster()
    cluster.isolate("c")
    cluster.propose("a", 1)
    cluster.run(30_000)
    cluster.heal()
    cluster.run(2500)
    assert cluster.commits() == {"a": 3, "b": 3, "c": 3}
    assert cluster["a"].current_term == 2


def test_requests_are_idempotent() -> None:
    """§3.7: every message delivered three times, the outcome is the same."""
    cluster = led_cluster()
    cluster.propose("a", 1, 2)
    for _ in range(6):
        for name in "abc":
            cluster.deliver(to=name, copy=True)
            cluster.deliver(to=name, copy=True)
            cluster.deliver(to=name)
            cluster.save(name)
    cluster.stabilise()
    assert cluster.terms("a") == cluster.terms("b") == cluster.terms("c") == [1, 2, 2, 2]
    assert cluster["a"].commit_index == 4


def test_append_is_answered_when_it_is_durable() -> None:
    """§3.8: the acknowledgement leaves after the save, not before (BM-090)."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.deliver("a", "b")
    assert cluster.under_way("b", "a") == []
    cluster.save("b")
    assert len(cluster.under_way("b", "a", "AppendReply")) == 1


def test_vote_is_answered_when_it_is_durable() -> None:
    """§3.8: a crash before that leaves no trace of the vote, because nobody heard of it (BM-001)."""
    cluster = led_cluster()
    cluster.crash("a")
    for host in cluster.hosts.values():
        host.now += 1000
    cluster.timeout("b")
    cluster.deliver("b", "c")
    cluster.deliver("c", "b")
    cluster.save("b")
    cluster.deliver("b", "c", "RequestVote")
    assert cluster["c"].voted_for == cluster["b"].me
    assert cluster.under_way("c", "b", "RequestVoteReply") == []
    cluster.restart("c")
    assert (cluster["c"].current_term, cluster["c"].voted_for) == (2, cluster.hosts["a"].me)


def test_commit_index_is_volatile() -> None:
    """§3.8: a restarted replica begins at its snapshot and learns the commit index again."""
    cluster = led_cluster()
    cluster.restart("b")
    assert cluster["b"].commit_index == 0
    cluster.run(200)
    assert cluster["b"].commit_index == 2


def test_everything_acknowledged_survives_a_crash_of_all() -> None:
    """§3.8: committed entries are on a majority of disks, whatever was in memory."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.save("a")
    cluster.deliver("b", "a")
    assert cluster["a"].commit_index == 3
    cluster.network.clear()
    for name in "abc":
        cluster.restart(name)
    cluster.run(4000)
    leader = cluster.leader()
    assert leader != "c" or cluster["c"].log.last_index >= 4
    assert cluster.terms(leader)[:3] == [1, 2, 2]
