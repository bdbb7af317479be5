"""The invariants see what breaks them, and the core's own guards stop what must never happen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.raftkit.cluster import Cluster, led_cluster, member
from zraft.core import election, invariants, replication
from zraft.core.entries import Membership
from zraft.core.events import SnapshotTaken
from zraft.core.messages import AppendEntries, AppendReply
from zraft.core.progress import Progress
from zraft.core.recovered import RaftSettings
from zraft.core.replica import Replica
from zraft.errors import InvariantViolation

A, B, C = member("a"), member("b"), member("c")


def _leader() -> tuple[Cluster, Replica]:
    cluster = led_cluster()
    return cluster, cluster["a"].replica


def test_healthy_replica_has_nothing_to_say() -> None:
    """Leader, follower and blank replica pass every check."""
    cluster, _ = _leader()
    cluster.add("d")
    for name in "abd":
        replica = cluster[name].replica
        assert invariants.watermarks(replica) == (
            replica.current_term,
            replica.voted_for,
            replica.commit_index,
        )
        invariants.check_all(replica)
        invariants.check_step(replica, invariants.watermarks(replica))


@pytest.mark.parametrize(
    ("before", "says"),
    [
        (invariants.Watermarks(3, None, 2), "I9: term fell from 3"),
        (invariants.Watermarks(2, A, 5), "I9: commit index fell from 5 to 2"),
        (invariants.Watermarks(2, B, 2), "I10: vote changed"),
    ],
)
def test_what_only_grows_did_not_fall(before: invariants.Watermarks, says: str) -> None:
    """I9, I10."""
    _, replica = _leader()
    with pytest.raises(InvariantViolation, match=says):
        invariants.check_step(replica, before)


def test_commit_index_is_within_the_log() -> None:
    """Production looks at that after every step."""
    _, replica = _leader()
    replica.commit_index = 9
    with pytest.raises(InvariantViolation, match="beyond"):
        invariants.check_step(replica, invariants.Watermarks(2, A, 2))


def _split_parts(replica: Replica) -> None:
    replica.log.parts()[1].append(3)


def _fall_back(replica: Replica) -> None:
    replica.log.parts()[0][1] = 1


def _term_ahead(replica: Replica) -> None:
    replica.log.parts()[1][1] = 9


def _durable_ahead(replica: Replica) -> None:
    replica.saves.durable_index = 9


@pytest.mark.parametrize("break_it", [_split_parts, _fall_back, _term_ahead, _durable_ahead])
def test_broken_log_is_seen(break_it: Callable[[Replica], None]) -> None:
    """Its four statements, its term, and what is called durable."""
    _, replica = _leader()
    break_it(replica)
    with pytest.raises(InvariantViolation):
        invariants.check_log(replica)


def test_broken_progress_is_seen() -> None:
    """I11: match below next, next at most one beyond the end, on a boundary; the no-op is in the log."""
    cluster, replica = _leader()
    cluster.propose("a", 1, count=5)
    role = cluster.as_leader("a")
    for next_index in (2, 20, 5):
        progress = Progress(next_index, 0)
        progress.match_index = 2
        role.progress[B] = progress
        with pytest.raises(InvariantViolation):
            invariants.check_progress(replica, role)
    del role.progress[B]
    role.term_start = 99
    with pytest.raises(InvariantViolation, match="leads from 99"):
        invariants.check_progress(replica, role)


def test_two_uncommitted_configurations_of_one_leader_are_seen() -> None:
    """M2; those that it inherited may look uncommitted to it."""
    cluster, replica = _leader()
    cluster.propose("a", 1, 2)
    replica.memberships.append(3, Membership((A, B)))
    replica.memberships.append(4, Membership((A,)))
    with pytest.raises(InvariantViolation, match="M2"):
        invariants.check_membership(replica)
    cluster.as_leader("a").term_start = 4
    invariants.check_membership(replica)


def test_guards_of_term_vote_and_commit() -> None:
    """Whoever calls wrongly from inside is stopped before anything changes."""
    _, replica = _leader()
    acts: list[Callable[[], None]] = [
        lambda: replica.set_term(2),
        lambda: replica.vote_for(B),
        lambda: replication.commit(replica, 1),
        lambda: replication.commit(replica, 9),
        lambda: election.become_leader(replica),
    ]
    for act in acts:
        with pytest.raises(InvariantViolation):
            act()
    assert (replica.current_term, replica.voted_for, replica.commit_index) == (2, A, 2)


def test_log_without_the_snapshot_before_it_is_seen() -> None:
    """A log that begins after a snapshot which this replica does not have could serve nobody."""
    cluster, replica = _leader()
    cluster.isolate("c")
    cluster.propose("a", 1)
    cluster.stabilise()
    replica.log.compact_to(3)
    with pytest.raises(InvariantViolation, match="the log begins after 3"):
        replication.send_append(replica, cluster.as_leader("a"), C, Progress(2, 0))


def test_acknowledgement_beyond_the_log_stops_the_leader() -> None:
    """Nobody can have what was never sent."""
    cluster, _ = _leader()
    cluster.receive(AppendReply(B, A, 2, True, 9))
    assert "acknowledges 9" in str(cluster.hosts["a"].fault)


def test_refused_entry_that_is_committed_stops_the_follower() -> None:
    """A leader whose entry before differs from a committed one here cannot be a leader."""
    cluster, _ = _leader()
    cluster.run(200)
    cluster.receive(AppendEntries(A, B, 2, 2, 1, 2, 0, []))
    assert "committed entry 2 has term 2 here" in str(cluster.hosts["b"].fault)


def test_older_snapshot_taken_late_changes_nothing() -> None:
    """Snapshots may be reported in any order."""
    cluster, replica = _leader()
    cluster.propose("a", 1)
    cluster.run(200)
    newest = cluster.snapshot("a")
    cluster.step("a", SnapshotTaken(newest, 1), "snapshot again")
    assert (replica.snapshot, replica.log.base_index) == (newest, 3)


def test_only_voter_of_one_serves_at_once_after_a_restart() -> None:
    """Nobody to wait for: no election timeout passes."""
    cluster = Cluster("a", RaftSettings(election_timeout_ms=10_000))
    cluster.bootstrap("a", "a")
    cluster.run(10)
    cluster.restart("a")
    cluster.run(10)
    assert cluster.leaders() == ["a"]
