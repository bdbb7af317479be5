"""Thesis §5.1: snapshots replace the beginning of the log."""

from __future__ import annotations

import pytest

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.entries import SnapshotMark
from zraft.core.events import SnapshotTaken
from zraft.core.messages import AppendReply, InstallSnapshot, SnapshotReply
from zraft.core.output import RoleName
from zraft.errors import InvariantViolation


def _left_behind() -> Cluster:
    """c lacks what a has compacted away, and the offer is under way."""
    cluster = led_cluster()
    cluster.isolate("c")
    cluster.propose("a", 1, 2)
    cluster.stabilise()
    cluster.snapshot("a")
    cluster.heal()
    cluster.connection_lost("a", "c")
    cluster.connection_back("a", "c")
    return cluster


def test_snapshot_replaces_the_prefix_and_keeps_index_term_and_configuration() -> None:
    """§5.1: the log begins after it, and the configuration outlives a restart (BM-038)."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.run(200)
    cluster.snapshot("b")
    assert (cluster["b"].log.base_index, cluster["b"].log.base_term, cluster["b"].log.batch_count) == (3, 2, 0)
    cluster.restart("b")
    assert cluster["b"].membership == cluster["a"].membership
    assert (cluster["b"].commit_index, cluster["b"].log.last_index, cluster["b"].log.last_term) == (3, 3, 2)


def test_snapshot_never_covers_uncommitted_entries() -> None:
    """§5.1: that would be a fault of whoever took it, and stops the replica."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    with pytest.raises(InvariantViolation):
        cluster["a"].step(0, SnapshotTaken(SnapshotMark(3, 2), 4))


def test_follower_that_lacks_compacted_entries_gets_the_snapshot() -> None:
    """§5.1: instead of entries that are gone; then entries again."""
    cluster = _left_behind()
    assert [message.mark.index for message in cluster.network if isinstance(message, InstallSnapshot)] == [4]
    cluster.propose("a", 3)
    cluster.stabilise()
    assert cluster["c"].log.base_index == 4
    assert cluster["c"].log.last_index == 5


def test_snapshot_with_the_same_last_entry_keeps_what_follows() -> None:
    """§5.1: nothing is fetched, nothing discarded."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.deliver("a", "b")
    cluster.receive(InstallSnapshot(member("a"), member("b"), 2, SnapshotMark(2, 2)))
    assert cluster.hosts["b"].restoring is None
    assert cluster.terms("b") == [1, 2, 2]
    assert cluster["b"].commit_index == 2


def test_snapshot_that_conflicts_discards_the_log() -> None:
    """§5.1, BM-050: also the entry at its very end."""
    cluster = Cluster()
    cluster.add("b", [1, 3, 3, 3], "a b c")
    mark = SnapshotMark(3, 4, 9, 1, cluster["b"].membership)
    cluster.receive(InstallSnapshot(member("a"), member("b"), 5, mark))
    cluster.finish_restore("b")
    assert (cluster["b"].log.base_index, cluster["b"].log.base_term, cluster.terms("b")) == (3, 4, [])
    assert cluster.hosts["b"].last.reset_to == mark


def test_older_snapshot_than_what_is_committed_is_ignored() -> None:
    """§5.1: the leader is told how far this replica is, once that is durable."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.run(200)
    cluster.receive(InstallSnapshot(member("a"), member("b"), 2, SnapshotMark(2, 2)))
    assert cluster.hosts["b"].restoring is None
    assert cluster["b"].log.base_index == 0
    (reply,) = cluster.under_way("b", "a")
    assert reply == SnapshotReply(member("b"), member("a"), 2, True, 3)


def test_serving_goes_on_while_a_snapshot_is_fetched() -> None:
    """§5.1: the follower hears its leader, does not campaign, and the group commits without it."""
    cluster = _left_behind()
    cluster.deliver("a", "c")
    assert cluster.hosts["c"].restoring is not None
    cluster.propose("a", 3)
    cluster.deliver("a", "b")
    cluster.save("b")
    cluster.save("a")
    cluster.deliver("b", "a")
    assert cluster["a"].commit_index == 5
    for _ in range(3):
        cluster.timeout("c")
    assert cluster.role("c") is RoleName.FOLLOWER


def test_snapshot_is_acknowledged_when_it_is_durable() -> None:
    """§5.1, §3.8: the reply waits for the save that resets the log (BM-056)."""
    cluster = _left_behind()
    cluster.deliver("a", "c")
    cluster.finish_restore("c")
    assert cluster.under_way("c", "a") == []
    cluster.save("c")
    assert [reply.index for reply in cluster.network if isinstance(reply, SnapshotReply)] == [4]


def test_entries_before_the_snapshot_are_skipped() -> None:
    """§5.1, BM-052: a late message that begins before it is taken from its end on."""
    cluster = led_cluster()
    cluster.propose("a", 1)
    cluster.propose("a", 2)
    late = [message for message in cluster.network if message.to == member("b")]
    cluster.stabilise()
    cluster.run(200)
    cluster.snapshot("b", 3)
    for message in late:
        cluster.receive(message)
    cluster.save("b")
    assert cluster.terms("b") == [2]
    assert [reply.index for reply in cluster.under_way("b", "a") if isinstance(reply, AppendReply)] == [3, 4]
