"""What a replica wants done after one step. The fields stand in the order in which they are carried out.

    1  hard_state, truncate_from, reset_to, append    one save, numbered `save`; reported by `Saved` when durable
    2  send_now          once every hard state issued so far is durable; never waits for entries (§10.2.1)
    3  send_after_save   once every save issued so far, this one included, is durable (§3.8)
    4  load              read older batches, answer with `Loaded`
    5  accepted, commit_to, reads_ready, changed, transferred, refused     for the machine and the clients
    6  send_snapshot, restore                                              for the snapshot rooms
    7  left                                                                this replica is needed no longer
    8  role_change, facts                                                  for logs, goldens and watchers
    9  wake_at_ms        the next moment at which time alone matters

Nothing of a later output may overtake a save of an earlier one. Everything may happen while a save runs, except what is
listed as waiting for it.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from zraft.core.entries import Batch, HardState, SnapshotMark
from zraft.core.messages import InstallSnapshot, Message
from zraft.types import Index, Member, Millis, Term


class Refusal(Enum):
    """Why a proposal, read, change or transfer was not taken. Refused means: it had and will have no effect.

    The exception is `LOST`.
    """

    NOT_LEADER = "not_leader"
    """Somebody else leads; `Refused.leader` says who, None where nobody is known."""
    TRANSFERRING = "transferring"
    """Leadership is being handed over; ask again in a moment."""
    UNCOMMITTED_LIMIT = "queue"
    """Too many bytes wait for a majority (BM-111)."""
    DISK_STALLED = "disk_stalled"
    """The own disk has not finished a save for twice the election timeout, and nobody else can lead (BM-099)."""
    NOT_STABLE = "not_stable"
    """No entry of the own term is committed yet (§4.1, BM-031), or the replica is blank."""
    CHANGE_IN_PROGRESS = "change_in_progress"
    NO_MAJORITY = "no_majority"
    """So many of the target are silent that the group could not decide any more (BM-048)."""
    CATCH_UP_TIMEOUT = "catch_up_timeout"
    NOT_A_VOTER = "not_a_voter"
    """Leadership goes to voters only; a configuration has 1 to `limits.PEERS_PER_GROUP` of them."""
    TIMED_OUT = "timed_out"
    """The transfer's target did not take over within an election timeout (§3.10)."""
    LOST = "lost"
    """Leadership went before the change was committed, or before the transfer's target was told."""


class Refused(msgspec.Struct, frozen=True):
    """`ref` was not taken, and why."""

    ref: int
    why: Refusal
    leader: Member | None = None


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """Proposal `ref` was appended at `index`, its first entry, in `term`.

    It is decided when that index is committed: with an entry of `term` there it runs, with another it never ran.
    """

    ref: int
    index: Index
    term: Term


class ReadReady(msgspec.Struct, frozen=True, gc=False):
    """Read `ref` may run once the machine has applied `index`."""

    ref: int
    index: Index


class LoadBatches(msgspec.Struct, frozen=True, gc=False):
    """Read batches from `first` (the first index of one) up to `last`, about `limit_bytes` of them, at least one."""

    to: Member
    first: Index
    last: Index
    limit_bytes: int


class RoleName(Enum):
    """A replica's role as users see it; `learner` is a follower that its own configuration does not let vote.

    `loading` is one that lost part of its log and does not vote before it has that again (`abstention`).
    """

    LOADING = "loading"
    BLANK = "blank"
    FOLLOWER = "follower"
    LEARNER = "learner"
    PRE_CANDIDATE = "pre_candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class RoleChange(msgspec.Struct, frozen=True):
    """Role, term or leader are now these. `leader` is None while none is known."""

    role: RoleName
    term: Term
    leader: Member | None


class Output(msgspec.Struct, gc=False):
    """One step's wishes, built by the core in place and handed over; nobody changes it afterwards."""

    save: int = 0
    """Number of this output's save; 0: nothing to save. Numbers rise by one."""
    hard_state: HardState | None = None
    truncate_from: Index = 0
    """0, or: forget every entry from here on, before `append`. Always the first index of a batch, above commit."""
    reset_to: SnapshotMark | None = None
    """A durable snapshot is ahead of the log: forget the whole log, which now begins after the mark (§5.1)."""
    append: list[Batch] = msgspec.field(default_factory=list)
    send_now: list[Message] = msgspec.field(default_factory=list)
    send_after_save: list[Message] = msgspec.field(default_factory=list)
    load: list[LoadBatches] = msgspec.field(default_factory=list)
    accepted: list[Accepted] = msgspec.field(default_factory=list)
    commit_to: Index = 0
    """0, or: entries up to here are committed. May be applied before the own disk has them (§10.2.1)."""
    reads_ready: list[ReadReady] = msgspec.field(default_factory=list)
    changed: list[int] = msgspec.field(default_factory=list)
    """Refs of membership changes whose final configuration is committed."""
    transferred: list[int] = msgspec.field(default_factory=list)
    refused: list[Refused] = msgspec.field(default_factory=list)
    send_snapshot: list[InstallSnapshot] = msgspec.field(default_factory=list)
    """To be completed with `transfer` and sent; the leader waits for a SnapshotReply."""
    restore: InstallSnapshot | None = None
    """Fetch and install this; answer with SnapshotRestored or SnapshotFailed."""
    compact_to: Index = 0
    """0, or: the log now begins after this index; the journal may forget what is before."""
    left: Index = 0
    """0, or: as of this committed entry this replica belongs to no configuration, and never will: it should stop."""
    role_change: RoleChange | None = None
    facts: list[str] = msgspec.field(default_factory=list)
    wake_at_ms: Millis = 0
    """Local monotonic time at which TimePassed is due. Always set."""
