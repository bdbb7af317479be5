"""A replica's whole state, held still, and the replica that is made of it again: steps on both give the same outputs.

For recordings (`peer.flight`), so holding must cost little: nothing of the log is copied. Its lists only ever grow at
the end, and are replaced where something is taken from them (`log`), so a list and a count are a log as it was then.

Every field of every part is named here. A test walks both replicas through the same weather, so that none is forgotten.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TypeAlias, assert_never

import msgspec

from zraft.core.entries import Membership, SnapshotMark
from zraft.core.log import HeldLog, Log
from zraft.core.output import RoleName
from zraft.core.progress import Progress, ProgressState
from zraft.core.raft import Raft
from zraft.core.recovered import RaftSettings, Recovered
from zraft.core.roles import Candidate, CatchUp, Follower, Leader, PendingRead, PreCandidate, Role, Transfer
from zraft.types import Index, Member, Millis, Term


class HeldProgress(msgspec.Struct, frozen=True, array_like=True):
    """A `progress.Progress`."""

    state: ProgressState
    match_index: Index
    next_index: Index
    round: int
    contact_ms: Millis
    loading: bool
    snapshot_index: Index
    waiting_since_ms: Millis | None
    flights: list[tuple[Index, int, Millis]]
    flight_bytes: int


class HeldFollower(msgspec.Struct, frozen=True, array_like=True, tag="follower"):
    """A `roles.Follower`."""

    election_due_ms: Millis
    leader: Member | None
    reads: list[tuple[int, int, Millis]]
    time_offset: Millis


class HeldPreCandidate(msgspec.Struct, frozen=True, array_like=True, tag="pre_candidate"):
    """A `roles.PreCandidate`."""

    election_due_ms: Millis
    votes: list[tuple[Member, bool]]


class HeldCandidate(msgspec.Struct, frozen=True, array_like=True, tag="candidate"):
    """A `roles.Candidate`."""

    election_due_ms: Millis
    own_vote_save: int
    votes: list[tuple[Member, bool]]


class HeldLeader(msgspec.Struct, frozen=True, array_like=True, tag="leader"):
    """A `roles.Leader`. Reads are (ref, asker)."""

    progress: list[tuple[Member, HeldProgress]]
    term: Term
    term_start: Index
    time_offset: Millis
    heartbeat_due_ms: Millis
    quorum_due_ms: Millis
    round: int
    reads: list[tuple[int, Member | None]]
    read_round: int
    read_index: Index
    next_reads: list[tuple[int, Member | None]]
    change_refs: list[int]
    catch_up: list[tuple[Member, CatchUp]]
    transfer: Transfer | None
    departed: tuple[Member, ...]
    idle_beats: int
    idle_mark: tuple[Index, int]
    agreed: list[Member]


HeldRole: TypeAlias = HeldFollower | HeldPreCandidate | HeldCandidate | HeldLeader


class HeldSaves(msgspec.Struct, frozen=True, array_like=True):
    """A `saves.Saves`."""

    issued: int
    completed: int
    durable_index: Index
    pending: list[tuple[int, Index, Millis]]


class Held(msgspec.Struct, frozen=True):
    """A `replica.Replica` between two steps, all but its log."""

    me: Member
    settings: RaftSettings
    chance: int
    now: Millis
    current_term: Term
    voted_for: Member | None
    abstains_below: Term
    memberships: list[tuple[Index, Membership]]
    snapshot: SnapshotMark
    restoring: SnapshotMark | None
    commit_index: Index
    saves: HeldSaves
    time_seen: Millis
    leader_seen_ms: Millis | None
    uncommitted_bytes: int
    next_read: int
    role: HeldRole
    told_role: tuple[RoleName, Term, Member | None] | None
    has_left: bool = False


def hold(raft: Raft) -> tuple[Held, HeldLog]:
    """The state as it is now, whatever steps follow: 1 to 2 µs in a group of three."""
    replica = raft.replica
    saves = replica.saves
    held = Held(
        replica.me,
        replica.settings,
        replica.chance.state,
        replica.now,
        replica.current_term,
        replica.voted_for,
        replica.abstains_below,
        replica.memberships.items(),
        replica.snapshot,
        replica.restoring,
        replica.commit_index,
        HeldSaves(saves.issued, saves.completed, saves.durable_index, list(saves.pending)),
        replica.time_seen,
        replica.leader_seen_ms,
        replica.uncommitted_bytes,
        replica.next_read,
        _held_role(replica.role),
        replica.told_role,
        replica.has_left,
    )
    return held, replica.log.hold()


def resume(held: Held, log: HeldLog) -> Raft:
    """A replica in this state. `log` may be one that was made of what a file holds."""
    raft = Raft(held.me, held.settings, Recovered(), seed=0, now=held.now)
    replica = raft.replica
    replica.chance.state = held.chance
    replica.current_term, replica.voted_for = held.current_term, held.voted_for
    replica.abstains_below = held.abstains_below
    replica.log = Log.resumed(log)
    replica.memberships.fill(held.memberships)
    replica.snapshot, replica.restoring = held.snapshot, held.restoring
    replica.commit_index = held.commit_index
    saves = replica.saves
    saves.issued, saves.completed = held.saves.issued, held.saves.completed
    saves.durable_index = held.saves.durable_index
    saves.pending = deque(held.saves.pending)
    replica.time_seen, replica.leader_seen_ms = held.time_seen, held.leader_seen_ms
    replica.uncommitted_bytes, replica.next_read = held.uncommitted_bytes, held.next_read
    replica.role = _resumed_role(held.role)
    replica.told_role, replica.told_basis = held.told_role, None
    replica.has_left = held.has_left
    return raft


def _held_role(role: Role) -> HeldRole:
    match role:
        case Follower():
            reads = [(number, ref, at) for number, (ref, at) in role.reads.items()]
            return HeldFollower(role.election_due_ms, role.leader, reads, role.time_offset)
        case PreCandidate():
            return HeldPreCandidate(role.election_due_ms, list(role.votes.items()))
        case Candidate():
            return HeldCandidate(role.election_due_ms, role.own_vote_save, list(role.votes.items()))
        case Leader():
            return _held_leader(role)
        case _:
            assert_never(role)


def _held_leader(role: Leader) -> HeldLeader:
    return HeldLeader(
        [(member, _held_progress(progress)) for member, progress in role.progress.items()],
        role.term,
        role.term_start,
        role.time_offset,
        role.heartbeat_due_ms,
        role.quorum_due_ms,
        role.round,
        [(read.ref, read.asker) for read in role.reads],
        role.read_round,
        role.read_index,
        [(read.ref, read.asker) for read in role.next_reads],
        list(role.change_refs),
        [(member, replace(catch_up)) for member, catch_up in role.catch_up.items()],
        None if role.transfer is None else replace(role.transfer),
        role.departed,
        role.idle_beats,
        role.idle_mark,
        list(role.agreed),
    )


def _held_progress(progress: Progress) -> HeldProgress:
    return HeldProgress(
        progress.state,
        progress.match_index,
        progress.next_index,
        progress.round,
        progress.contact_ms,
        progress.loading,
        progress.snapshot_index,
        progress.waiting_since_ms,
        list(progress.flights),
        progress.flight_bytes,
    )


def _resumed_role(held: HeldRole) -> Role:
    match held:
        case HeldFollower():
            reads = {number: (ref, at) for number, ref, at in held.reads}
            return Follower(held.election_due_ms, held.leader, reads, held.time_offset)
        case HeldPreCandidate():
            return PreCandidate(held.election_due_ms, dict(held.votes))
        case HeldCandidate():
            return Candidate(held.election_due_ms, held.own_vote_save, dict(held.votes))
        case HeldLeader():
            return _resumed_leader(held)
        case _:
            assert_never(held)


def _resumed_leader(held: HeldLeader) -> Leader:
    return Leader(
        progress={member: _resumed_progress(progress) for member, progress in held.progress},
        term=held.term,
        term_start=held.term_start,
        time_offset=held.time_offset,
        heartbeat_due_ms=held.heartbeat_due_ms,
        quorum_due_ms=held.quorum_due_ms,
        round=held.round,
        reads=[PendingRead(*read) for read in held.reads],
        read_round=held.read_round,
        read_index=held.read_index,
        next_reads=deque(PendingRead(*read) for read in held.next_reads),
        change_refs=list(held.change_refs),
        catch_up={member: replace(catch_up) for member, catch_up in held.catch_up},
        transfer=None if held.transfer is None else replace(held.transfer),
        departed=held.departed,
        idle_beats=held.idle_beats,
        idle_mark=held.idle_mark,
        agreed=dict.fromkeys(held.agreed),
    )


def _resumed_progress(held: HeldProgress) -> Progress:
    progress = Progress(held.next_index, held.contact_ms)
    progress.state, progress.match_index, progress.round = held.state, held.match_index, held.round
    progress.loading, progress.snapshot_index = held.loading, held.snapshot_index
    progress.waiting_since_ms = held.waiting_since_ms
    progress.flights, progress.flight_bytes = deque(held.flights), held.flight_bytes
    return progress
