"""The follower's side of the log: AppendEntries and heartbeats (§3.5, §5.1).

Only a conflict of terms truncates, never at or below the commit index (BM-014, BM-015). An acknowledgement names
prev + entries and nothing beyond (BM-016); it leaves when all of it is durable (BM-090). The commit index follows the
leader's, but not beyond what this message has verified (BM-018), and never back (BM-019).
"""

from __future__ import annotations

import msgspec

from zraft.core import election, reads, replication
from zraft.core.entries import Batch, Kind, Membership
from zraft.core.memberships import decode_membership
from zraft.core.messages import AppendEntries, AppendReply, Heartbeat, HeartbeatReply
from zraft.core.replica import Replica

_NEWEST_KIND = max(Kind)


def on_append_entries(replica: Replica, message: AppendEntries) -> None:
    """Store what is new of the leader's entries, or say from where on the logs cannot match."""
    election.heard_leader(replica, message.sender)
    replica.time_seen = max(replica.time_seen, message.time)
    log = replica.log
    batches = message.batches
    if message.prev_index < log.base_index:
        # The beginning is covered by a snapshot: committed, so it matches (BM-052).
        batches = [batch for batch in batches if batch.last > log.base_index]
        if batches and batches[0].first != log.base_index + 1:
            replica.violated(f"a batch from {batches[0].first} on lies across the beginning of {log!r}")
    elif not log.has(message.prev_index, message.prev_term):
        _refuse(replica, message)
        return
    _store(replica, batches)
    index = message.last_index
    commit_index = min(message.commit_index, index)
    if commit_index > replica.commit_index:
        replication.commit(replica, commit_index)
    replica.send_after_save(AppendReply(replica.me, message.sender, replica.current_term, True, index))


def _refuse(replica: Replica, message: AppendEntries) -> None:
    log = replica.log
    hint_index, hint_term = log.boundary_before(min(message.prev_index, log.last_index), message.prev_term)
    if message.prev_index <= replica.commit_index and log.term_at(message.prev_index) is not None:
        replica.violated(
            f"committed entry {message.prev_index} has term {log.term_at(message.prev_index)} here "
            f"and {message.prev_term} at leader {message.sender}"
        )
    replica.send_now(
        AppendReply(replica.me, message.sender, replica.current_term, False, message.prev_index, hint_index, hint_term)
    )


def _store(replica: Replica, batches: list[Batch]) -> None:
    log = replica.log
    for position, batch in enumerate(batches):
        if log.has(batch.last, batch.term):
            continue
        if batch.first <= log.last_index:
            truncate_from(replica, batch.first)
        for new in batches[position:]:
            if not 0 <= new.kind <= _NEWEST_KIND:
                replica.violated(
                    f"entry {new.first} is of kind {new.kind}, which this version does not know: upgrade it"
                )
            if new.term > replica.current_term:
                replica.violated(f"entry {new.first} is of term {new.term}")
            replica.append(new)
            if new.kind == Kind.CONFIGURATION:
                replica.memberships.append(new.first, _membership_of(replica, new))
        return


def _membership_of(replica: Replica, batch: Batch) -> Membership:
    try:
        membership = decode_membership(batch.payload)
    except msgspec.MsgspecError as error:
        replica.violated(f"entry {batch.first} is no configuration: {error}")
    if not membership.voters or batch.count != 1:
        replica.violated(f"entry {batch.first} is a configuration without voters, or has {batch.count} entries")
    return membership


def truncate_from(replica: Replica, index: int) -> None:
    """Delete a suffix that conflicts with the leader's log, with the configurations in it (BM-034)."""
    if index <= replica.commit_index:
        replica.violated(f"would truncate from {index}, committed is {replica.commit_index}")
    replica.fact(f"truncates from {index}, {replica.log!r}")
    replica.log.truncate_from(index)
    replica.saves.truncated_from(index)
    replica.memberships.truncate_from(index)
    replica.out.truncate_from = index


def on_heartbeat(replica: Replica, message: Heartbeat) -> None:
    """The leader lives. Its commit index is bounded by what this replica acknowledged, so it is known to match."""
    role = election.heard_leader(replica, message.sender)
    replica.time_seen = max(replica.time_seen, message.time)
    if message.commit_index > replica.commit_index:
        replication.commit(replica, message.commit_index)
    if role.reads:
        reads.give_up_old(replica, role)
    replica.send_now(HeartbeatReply(replica.me, message.sender, replica.current_term, message.round))
