"""What is told of a replica's configuration, and of a change of the peers that is under way."""

from __future__ import annotations

from zraft.core.entries import Membership
from zraft.core.raft import Raft
from zraft.core.roles import Leader
from zraft.storage.replica import ReplicaMeta
from zraft.types import Index, PeerId
from zraft.wire.requests import Conf


def conf_of(number: int, meta: ReplicaMeta, leader: PeerId, index: Index, membership: Membership) -> Conf:
    """The answer to request `number` for the configuration that was appended at `index`."""
    return Conf(
        number,
        meta.group,
        meta.backend,
        leader,
        index,
        membership.voters,
        membership.learners,
        membership.outgoing,
        membership.target,
    )


def target_of(membership: Membership | None) -> tuple[PeerId, ...]:
    """Whom the change under way is to make the peers; empty: none is."""
    if membership is None or membership.is_stable:
        return ()
    return tuple(member.peer for member in membership.target or membership.voters)


def joining_of(raft: Raft) -> tuple[tuple[PeerId, Index], ...]:
    """The learners, each with the index up to which it is known to have the log; only a leader knows."""
    membership, role = raft.membership, raft.role
    if membership is None or type(role) is not Leader:
        return ()
    known = ((member.peer, role.progress.get(member)) for member in membership.learners)
    return tuple((peer, progress.match_index if progress is not None else 0) for peer, progress in known)
