"""Who handles what: one total table (role × event), one (role × message). A test proves that no cell is missing.

The protocol's diagram in docs/ARCHITECTURE.md is this table. `_ignore` cells are decisions too: a late reply for a role
that is gone means nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from zraft.core import (
    abstention,
    bootstrap,
    departure,
    election,
    following,
    leading,
    membership,
    quiet,
    reads,
    replication,
    snapshots,
    transfer,
)
from zraft.core import events as e
from zraft.core import messages as m
from zraft.core.output import Refusal
from zraft.core.replica import Replica
from zraft.core.roles import Candidate, Follower, Leader, PreCandidate

Handler: TypeAlias = Callable[[Replica, Any, Any], None]
"""Called with the replica, its role, and the event or message; Any because every cell has its own pair of types."""

ROLES: Final = (Follower, PreCandidate, Candidate, Leader)


def _ignore(replica: Replica, role: Any, event: Any) -> None:
    """Nothing to do in this role."""


def _roleless(handler: Callable[[Replica, Any], None]) -> Handler:
    return lambda replica, role, event: handler(replica, event)


def _refuse_proposals(replica: Replica, role: Any, event: e.Propose) -> None:
    for proposal in event.proposals:
        replica.refuse(proposal.ref, Refusal.NOT_LEADER)


def _refuse(replica: Replica, role: Any, event: e.Read | e.ChangeMembership | e.TransferLeadership) -> None:
    replica.refuse(event.ref, Refusal.NOT_LEADER)


def _saved_without_role(replica: Replica, role: Any, event: e.Saved) -> None:
    replica.saves.complete(event.number)
    if replica.abstains_below:
        abstention.look(replica)


def _saved_as_candidate(replica: Replica, role: Candidate, event: e.Saved) -> None:
    replica.saves.complete(event.number)
    election.on_saved(replica)


def _saved_as_leader(replica: Replica, role: Leader, event: e.Saved) -> None:
    replica.saves.complete(event.number)
    leading.on_saved(replica, role)


def _election_time(replica: Replica, role: Follower | PreCandidate | Candidate, event: e.TimePassed) -> None:
    if replica.now >= role.election_due_ms:
        election.on_election_timeout(replica)


def _heartbeat_time(replica: Replica, role: Leader, event: e.TimePassed) -> None:
    if replica.now >= role.heartbeat_due_ms:
        leading.on_heartbeat_due(replica, role)


def _propose_time(replica: Replica, role: Leader, event: e.ProposeTime) -> None:
    replication.propose_time(replica, role)


def _row(*, follower: Handler, pre_candidate: Handler, candidate: Handler, leader: Handler) -> dict[type, Handler]:
    return {Follower: follower, PreCandidate: pre_candidate, Candidate: candidate, Leader: leader}


def _every(handler: Handler) -> dict[type, Handler]:
    return _row(follower=handler, pre_candidate=handler, candidate=handler, leader=handler)


def _only(role: type, handler: Handler, *, otherwise: Handler = _ignore) -> dict[type, Handler]:
    return {each: handler if each is role else otherwise for each in ROLES}


# Before any of these, `quiet.disturb` wakes a quiet replica that cannot sleep through the event: for a quiet leader
# NodeSilent, NodeRestarted and Rouse do no more than that.
EVENTS: Final[dict[type, dict[type, Handler]]] = {
    e.Propose: _only(Leader, replication.propose, otherwise=_refuse_proposals),
    e.ProposeTime: _only(Leader, _propose_time),
    e.Read: _row(
        follower=reads.read_on_follower, pre_candidate=_refuse, candidate=_refuse, leader=reads.read_on_leader
    ),
    e.ChangeMembership: _only(Leader, membership.change, otherwise=_refuse),
    e.TransferLeadership: _only(Leader, transfer.begin, otherwise=_refuse),
    e.Bootstrap: _every(_roleless(bootstrap.on_bootstrap)),
    e.Saved: _row(
        follower=_saved_without_role,
        pre_candidate=_saved_without_role,
        candidate=_saved_as_candidate,
        leader=_saved_as_leader,
    ),
    e.Loaded: _only(Leader, leading.on_loaded),
    e.NodeLost: _only(Leader, leading.on_node_lost),
    e.NodeBack: _only(Leader, leading.on_node_back),
    e.NodeSilent: _only(Follower, quiet.on_node_silent),
    e.NodeRestarted: _only(Follower, quiet.on_node_restarted),
    e.Rouse: _only(Follower, quiet.on_rouse),
    e.TimePassed: _only(Leader, _heartbeat_time, otherwise=_election_time),
    e.SnapshotTaken: _every(_roleless(snapshots.on_taken)),
    e.SnapshotRestored: _every(_roleless(snapshots.on_restored)),
    e.SnapshotFailed: _every(_roleless(snapshots.on_failed)),
}
"""Everything but messages."""

MESSAGES: Final[dict[type, dict[type, Handler]]] = {
    m.PreVote: _every(_roleless(election.on_pre_vote)),
    m.PreVoteReply: _only(PreCandidate, _roleless(election.on_pre_vote_reply)),
    m.RequestVote: _every(_roleless(election.on_request_vote)),
    m.RequestVoteReply: _only(Candidate, _roleless(election.on_request_vote_reply)),
    m.AppendEntries: _every(_roleless(following.on_append_entries)),
    m.AppendReply: _only(Leader, leading.on_append_reply),
    m.Heartbeat: _every(_roleless(following.on_heartbeat)),
    m.HeartbeatReply: _only(Leader, leading.on_heartbeat_reply),
    m.InstallSnapshot: _every(_roleless(snapshots.on_install)),
    m.SnapshotReply: _only(Leader, leading.on_snapshot_reply),
    m.TimeoutNow: _only(Follower, transfer.on_timeout_now),
    m.ReadIndexRequest: _only(Leader, reads.on_request, otherwise=_roleless(reads.refuse_request)),
    m.ReadIndexReply: _only(Follower, reads.on_reply),
    m.NotMember: _every(_roleless(departure.on_not_member)),
    m.Quiesce: _every(_roleless(quiet.on_quiesce)),
    m.QuiesceReply: _only(Leader, quiet.on_quiesce_reply),
}
"""Messages that the rule of terms has admitted."""
