"""Snapshots (§5.1): the log's beginning replaced by a state, taken here or received from the leader.

The core moves only the seams: which entries the log still has, which configuration is in force, what may be
acknowledged. The state itself is written, carried and installed by others.
"""

from __future__ import annotations

from zraft.core import election, replication
from zraft.core.entries import SnapshotMark
from zraft.core.events import SnapshotFailed, SnapshotRestored, SnapshotTaken
from zraft.core.messages import AppendReply, InstallSnapshot, SnapshotReply
from zraft.core.replica import Replica


def on_taken(replica: Replica, event: SnapshotTaken) -> None:
    """An own snapshot is durable: the log before `keep_from` may go. An older one than the last changes nothing."""
    mark = event.mark
    if mark.index > replica.commit_index:
        replica.violated(f"a snapshot at {mark.index} covers entries that are not committed ({replica.commit_index})")
    if mark.index <= replica.snapshot.index:
        return
    replica.snapshot = mark
    keep_after = min(event.keep_from - 1, mark.index)
    if keep_after > replica.log.base_index:
        keep_after, _ = replica.log.boundary_before(keep_after, replica.current_term)
        replica.log.compact_to(keep_after)
        replica.memberships.compact_to(keep_after)
        replica.out.compact_to = keep_after


def on_install(replica: Replica, message: InstallSnapshot) -> None:
    """The leader offers a snapshot: older than what is committed here: say so; else have it fetched."""
    election.heard_leader(replica, message.sender)
    replica.time_seen = max(replica.time_seen, message.mark.time)
    mark = message.mark
    if mark.index <= replica.commit_index:
        index = replica.commit_index  # durable once everything issued so far is
        replica.send_after_save(SnapshotReply(replica.me, message.sender, replica.current_term, True, index))
    elif replica.log.has(mark.index, mark.term):
        # Same last entry: what follows is kept, and nothing needs to be fetched.
        replication.commit(replica, mark.index)
        replica.send_after_save(AppendReply(replica.me, message.sender, replica.current_term, True, mark.index))
    elif replica.restoring is None:
        # One at a time: where snapshots are taken often, following each newer offer would never finish any.
        replica.restoring = mark
        replica.out.restore = message
        replica.fact(f"fetches snapshot {mark.index} from {message.sender}")


def on_restored(replica: Replica, event: SnapshotRestored) -> None:
    """The machine is at `event.mark`, durably. The log continues from there, or keeps what follows it (BM-050).

    Where entries came in faster than the snapshot, it changes nothing; the leader is told all the same.
    """
    mark = event.mark
    if replica.restoring is not None and mark.index >= replica.restoring.index:
        replica.restoring = None
    if mark.index > replica.commit_index:
        _install(replica, mark)
    leader = replica.leader
    if leader is not None and leader != replica.me:
        index = replica.commit_index
        replica.send_after_save(SnapshotReply(replica.me, leader, replica.current_term, True, index))


def _install(replica: Replica, mark: SnapshotMark) -> None:
    if replica.log.has(mark.index, mark.term):
        replication.commit(replica, mark.index)
    else:
        replica.fact(f"installs snapshot {mark.index} term {mark.term}, discards {replica.log!r}")
        replica.log.reset(mark.index, mark.term)
        replica.memberships.reset(mark)
        replica.saves.reset_to(mark.index)
        replica.commit_index = mark.index
        replica.out.reset_to = mark
        replica.out.commit_to = mark.index
    replica.snapshot = mark
    replica.time_seen = max(replica.time_seen, mark.time)


def on_failed(replica: Replica, event: SnapshotFailed) -> None:
    """It could not be fetched: the leader offers one again."""
    if replica.restoring is None or replica.restoring.index != event.mark.index:
        return
    replica.restoring = None
    leader = replica.leader
    if leader is not None and leader != replica.me:
        replica.send_now(SnapshotReply(replica.me, leader, replica.current_term, False, event.mark.index))
