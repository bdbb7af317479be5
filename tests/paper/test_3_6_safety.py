"""Thesis §3.6.2: what a new leader may call committed."""

from __future__ import annotations

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.messages import AppendReply


def test_entries_of_earlier_terms_are_not_committed_by_counting() -> None:
    """§3.6.2, Figure 8: stored on every replica, an older entry waits for one of the leader's own term (BM-020)."""
    cluster = Cluster()
    for name in "abc":
        cluster.add(name, [1, 2], "a b c", term=3)
    cluster.win("a", "b")
    cluster.save("a")
    assert cluster["a"].saves.durable_index == 3
    for other in "bc":
        cluster.receive(AppendReply(member(other), member("a"), 4, True, 2))
    assert {progress.match_index for progress in cluster.as_leader("a").progress.values()} == {2}
    assert cluster["a"].commit_index == 0
    cluster.receive(AppendReply(member("b"), member("a"), 4, True, 3))
    assert cluster["a"].commit_index == 3


def test_older_entries_are_committed_with_one_of_the_own_term() -> None:
    """§3.6.2: the log matching property takes them along."""
    cluster = Cluster()
    for name in "abc":
        cluster.add(name, [1, 2, 2], "a b c", term=3)
    cluster.elect("a")
    assert cluster.terms("a") == [1, 2, 2, 4]
    assert cluster["a"].commit_index == 4


def test_new_leader_appends_a_noop_at_once() -> None:
    """§3.6.2: so that what it inherited is committed without waiting for a client (BM-021)."""
    cluster = led_cluster()
    cluster.elect("b")
    assert cluster["b"].log.last_term == cluster["b"].current_term == 3
    assert cluster["b"].commit_index == cluster["b"].log.last_index == 3


def test_later_leaders_have_every_committed_entry() -> None:
    """§3.6.3, I4: leaders come and go, acknowledged entries stay; the ghost checks it at each election."""
    cluster = led_cluster("a b c d e")
    for turn, name in enumerate("bcdea"):
        cluster.elect(name)
        cluster.propose(name, turn)
        cluster.stabilise()
    assert len(cluster.ghost.committed) >= 12
    assert cluster["a"].voted_for == member("a")
