"""Thesis §3.5: the leader's log becomes everybody's log."""

from __future__ import annotations

from tests.raftkit.cluster import Cluster, led_cluster, log_of, member
from zraft.core.entries import Membership
from zraft.core.messages import AppendEntries, AppendReply, Heartbeat

A, B = member("a"), member("b")
LOG = log_of([1, 1, 2, 3, 3], Membership((A, B, member("c"))))


def _follower(*terms: int) -> Cluster:
    cluster = Cluster()
    cluster.add("a", list(terms), "a b c", term=3)
    return cluster


def _append(prev_index: int, prev_term: int, count: int, commit_index: int = 0) -> AppendEntries:
    return AppendEntries(B, A, 3, prev_index, prev_term, commit_index, 0, LOG[prev_index : prev_index + count])


def _reply(cluster: Cluster) -> AppendReply:
    cluster.save("a")
    reply = cluster.network.pop()
    assert isinstance(reply, AppendReply)
    return reply


def test_leader_appends_proposals_and_replicates() -> None:
    """§3.5: a proposal goes into the leader's log and to every follower."""
    cluster = led_cluster()
    output = cluster.propose("a", 1, 2)
    assert [accepted.index for accepted in output.accepted] == [3, 4]
    assert {message.to.peer.name for message in cluster.under_way("a", kind="AppendEntries")} == {"b", "c"}
    cluster.stabilise()
    assert cluster.terms("b") == cluster.terms("c") == [1, 2, 2, 2]


def test_entry_is_committed_when_a_majority_stores_it() -> None:
    """§3.5: not before, and without waiting for more."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.save("a")
    assert cluster["a"].commit_index == 2
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.deliver("b", "a")
    assert cluster["a"].commit_index == 3


def test_follower_refuses_where_it_lacks_the_entry_before() -> None:
    """§3.5: the consistency check, by index and by term."""
    cluster = _follower(1, 1)
    cluster.receive(_append(3, 2, 2))
    assert (_reply(cluster).accepted, cluster.terms("a")) == (False, [1, 1])
    other = _follower(1, 1, 1)
    other.receive(_append(3, 2, 2))
    assert (_reply(other).accepted, other.terms("a")) == (False, [1, 1, 1])


def test_conflicting_suffix_is_deleted_and_missing_entries_appended() -> None:
    """§3.5: where terms differ, the leader's entries replace the follower's."""
    cluster = _follower(1, 1, 1, 1, 1, 1)
    cluster.receive(_append(2, 1, 3))
    assert (_reply(cluster).index, cluster.terms("a")) == (5, [1, 1, 2, 3, 3])
    assert [batch.term for batch in cluster.hosts["a"].disk.batches] == [1, 1, 2, 3, 3]


def test_matching_entries_are_never_deleted() -> None:
    """§3.5: a message that is old or repeated deletes nothing (BM-014), and vouches only for what it had (BM-016)."""
    cluster = _follower(1, 1, 2, 3, 3)
    cluster.receive(_append(1, 1, 2))
    assert (_reply(cluster).index, cluster.terms("a")) == (3, [1, 1, 2, 3, 3])
    cluster.receive(_append(2, 1, 0))
    assert (_reply(cluster).index, cluster.terms("a")) == (2, [1, 1, 2, 3, 3])


def test_commit_index_is_the_lesser_of_leaders_and_last_new_entry() -> None:
    """§3.5: what lies beyond this message is not known to match (BM-018)."""
    cluster = _follower(1, 1, 1, 1, 1, 1)
    cluster.receive(_append(2, 1, 0, commit_index=5))
    assert cluster["a"].commit_index == 2
    cluster.receive(_append(2, 1, 1, commit_index=9))
    assert cluster["a"].commit_index == 3
    cluster.receive(_append(3, 2, 2, commit_index=4))
    assert cluster["a"].commit_index == 4


def test_commit_index_never_falls() -> None:
    """§3.5: a new leader that knows less takes nothing back (BM-019)."""
    cluster = _follower(1, 1, 2)
    cluster.receive(_append(3, 2, 2, commit_index=5))
    cluster.receive(_append(3, 2, 2, commit_index=4))
    cluster.receive(Heartbeat(B, A, 3, 1, 1, 0))
    assert cluster["a"].commit_index == 5


def test_leader_never_deletes_its_own_entries() -> None:
    """§3.5: whatever arrives, a leader's log only grows."""
    cluster = led_cluster()
    cluster.propose("a", 1, 2)
    before = cluster.terms("a")
    cluster.receive(AppendReply(B, A, 2, False, 2, 0, 0))
    cluster.receive(AppendEntries(B, A, 1, 1, 1, 1, 0, []))
    assert cluster.terms("a") == before


def test_leader_falls_back_to_where_the_logs_meet() -> None:
    """§3.5: next index goes back, a term at a time, until the follower accepts; never to or below what it has."""
    cluster = Cluster()
    cluster.add("a", [1, 2, 2, 2, 5, 5, 5], "a b c", term=5)
    cluster.add("b", [1, 2, 3, 3, 3, 4, 4, 4], "a b c", term=5)
    cluster.add("c", [1, 2, 2, 2, 5, 5], "a b c", term=5)
    cluster.elect("a")
    assert cluster.terms("b") == [1, 2, 2, 2, 5, 5, 5, 6]
    probes = [line for line in cluster.trace if "a->b AppendEntries" in line]
    assert len(probes) == 3
    progress = cluster.as_leader("a").progress[B]
    assert (progress.match_index, progress.next_index) == (8, 9)


def test_same_index_and_term_means_same_prefix() -> None:
    """§3.5, I3: whatever was lost on the way, logs that agree at an entry agree before it."""
    cluster = led_cluster()
    for ref in range(1, 6):
        cluster.propose("a", ref)
        cluster.drop("a", "b" if ref % 2 else "c")
        cluster.deliver()
        cluster.save("b")
        cluster.save("c")
    cluster.stabilise()
    cluster.run(1500)
    logs = [cluster.hosts[name].disk.batches for name in "abc"]
    assert logs[0] == logs[1] == logs[2]
