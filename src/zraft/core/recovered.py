"""What a replica starts from: what storage found to be durable, and the settings of the protocol."""

from __future__ import annotations

import msgspec

from zraft import limits
from zraft.core.entries import Batch, HardState, Membership, SnapshotMark
from zraft.types import Index, Millis, Term


class Recovered(msgspec.Struct, frozen=True):
    """The durable state of one replica. Fresh and blank: everything at its default."""

    hard_state: HardState = HardState()
    mark: SnapshotMark = SnapshotMark()
    """The snapshot that the log continues."""
    lasts: list[Index] = msgspec.field(default_factory=list)
    """Last index of every batch after the mark, ascending; contiguous with it."""
    terms: list[Term] = msgspec.field(default_factory=list)
    """Term of every batch, parallel to `lasts`; never decreasing."""
    tail: list[Batch] = msgspec.field(default_factory=list)
    """The last batches of the log, for memory; may be any suffix of it, also none."""
    memberships: list[tuple[Index, Membership]] = msgspec.field(default_factory=list)
    """Every configuration entry after the mark, ascending. The last one is in force (M4)."""
    time: Millis = 0
    """Replicated time of the last batch, else of the mark."""


class RaftSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times are milliseconds."""

    election_timeout_ms: Millis = 500
    """A follower waits a random 1 to 2 times this before it campaigns."""
    heartbeat_ms: Millis = 100
    request_timeout_ms: Millis = 1000
    """Without a reply for so long an AppendEntries counts as lost and the follower is probed."""
    catch_up_ms: Millis = 5000
    """A learner without progress for so long fails the membership change (§4.2.1)."""
    quiet_beats: int = 0
    """A leader lets its group go quiet after so many heartbeats in which nothing happened; 0: never."""
    counts_unsaved: bool = False
    """A leader counts itself for what it has not saved yet: weaker than Raft (§10.2.1), for who chose that."""
    append_bytes: int = limits.APPEND_BYTES
    window_messages: int = limits.WINDOW_MESSAGES
    window_bytes: int = limits.WINDOW_BYTES
    uncommitted_bytes: int = limits.UNCOMMITTED_BYTES
    cache_bytes: int = limits.LOG_CACHE_BYTES
    load_bytes: int = limits.LOAD_BYTES
