"""Snapshots and the log's seams: what others got wrong, played here."""

from __future__ import annotations

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core.entries import Membership, SnapshotMark
from zraft.core.messages import AppendEntries, AppendReply, InstallSnapshot, SnapshotReply
from zraft.core.recovered import RaftSettings

A, B, C = member("a"), member("b"), member("c")


def test_bm_050_conflicting_entry_at_the_end_of_a_snapshot_is_discarded() -> None:
    """(60, term 3) here, (60, term 5) in the snapshot: one offer is enough, and the next entries fit."""
    cluster = Cluster()
    for name in "ab":
        cluster.add(name, [1, *([2] * 58), 5], "a b c", term=5)
    cluster.add("c", [1, *([2] * 58), 3, 3], "a b c", term=5)
    cluster.isolate("c")
    cluster.elect("a")
    cluster.timeout("a")
    cluster.stabilise()
    cluster.snapshot("a", 60)
    cluster.heal()
    cluster.connection_lost("a", "c")
    cluster.connection_back("a", "c")
    cluster.propose("a", 1)
    cluster.run(1500)
    assert cluster["c"].log.base_index == 60
    assert cluster.terms("c") == [6, 6]
    assert sum("offers snapshot" in line for line in cluster.trace) == 1


def test_bm_052_append_that_overlaps_the_snapshot() -> None:
    """Compacted to 10, entries 1 to 12 arrive again: 1 to 10 are skipped, 11 and 12 match, nothing twice."""
    cluster = Cluster()
    cluster.add("a", [1] * 12, "a b c")
    journal = cluster.hosts["a"].disk.journal()
    cluster.receive(AppendEntries(B, A, 1, 12, 1, 10, 0, []))
    cluster.snapshot("a", 10)
    cluster.network.clear()
    cluster.receive(AppendEntries(B, A, 1, 0, 0, 10, 0, journal))
    cluster.save("a")
    assert (cluster["a"].log.base_index, cluster.terms("a")) == (10, [1, 1])
    assert [reply.index for reply in cluster.network if isinstance(reply, AppendReply)] == [12]


def test_bm_053_log_begins_where_the_snapshot_ends() -> None:
    """A restart with a snapshot ahead of the log, and one with a log that conflicts with it, both start."""
    for term in (1, 3):
        cluster = Cluster()
        cluster.add("a", [1, 1, term], "a b c", term=3)
        disk = cluster.hosts["a"].disk
        disk.mark = SnapshotMark(3 if term == 3 else 9, 1, 0, 1, Membership((A, B, C)))
        cluster.restart("a")
        assert cluster["a"].log.last_index == cluster["a"].commit_index == disk.mark.index


def test_bm_056_snapshot_is_not_acknowledged_before_it_is_durable() -> None:
    """Nor is anything after it, from whichever leader: until then the old log counts."""
    cluster = led_cluster()
    mark = SnapshotMark(9, 2, 5, 1, Membership((A, B, C)))
    cluster.receive(InstallSnapshot(A, B, 2, mark))
    cluster.receive(AppendEntries(A, B, 2, 9, 2, 9, 0, []))
    cluster.save("b")
    assert [reply.accepted for reply in cluster.network if isinstance(reply, AppendReply)] == [False]
    cluster.network.clear()
    cluster.finish_restore("b")
    assert cluster.network == []
    cluster.save("b")
    assert [reply.index for reply in cluster.network if isinstance(reply, SnapshotReply)] == [9]


def test_bm_111_newer_offers_do_not_restart_a_fetch() -> None:
    """Where snapshots are taken often, a slow fetch would never end: it is finished, then the rest follows."""
    cluster = led_cluster("a b c", RaftSettings(request_timeout_ms=200))
    cluster.isolate("c")
    cluster.propose("a", 0)
    cluster.stabilise()
    cluster.snapshot("a")
    cluster.heal()
    cluster.is_fetching_slow = True
    for ref in range(1, 20):
        cluster.run(300)
        if cluster["a"].commit_index > cluster["a"].snapshot.index:
            cluster.snapshot("a")
        cluster.propose("a", ref)
    restoring = cluster.hosts["c"].restoring
    assert restoring is not None
    assert restoring.mark.index == 3
    cluster.is_fetching_slow = False
    cluster.run(3000)
    assert cluster["c"].commit_index == cluster["a"].commit_index
