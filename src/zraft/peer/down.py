"""Replicas of a node that do not run, and what must be known before the data of any replica may be deleted.

    failed    its data is corrupt, its backend cannot be made, or an invariant broke: down until the node starts again
    stopped   told to stop: its data is as the core left it, and it runs again from there when told so

A replica may be deleted when no configuration names it that is or could come into force. Which one is committed it
knows only as far as it was told; so a newer committed configuration that others have seen without it settles it.
"""

from __future__ import annotations

import msgspec

from zraft.core.entries import HardState
from zraft.core.memberships import MembershipHistory
from zraft.core.raft import Raft
from zraft.core.recovered import Recovered
from zraft.storage.replica import ReplicaMeta
from zraft.types import Index, Member, PeerId
from zraft.wire.requests import PeerStatus


class FailedPeer(msgspec.Struct, frozen=True):
    """A replica that is down: its data is corrupt, its backend cannot be made, or an invariant broke."""

    meta: ReplicaMeta
    fault: str
    memberships: MembershipHistory
    """What it knows of its group's configurations; perhaps not all, if its data is corrupt."""
    is_blank: bool = False
    """It holds nothing and has promised nothing."""


class StoppedPeer(msgspec.Struct):
    """A replica that was told to stop. It may run again once save `awaited` is durable."""

    meta: ReplicaMeta
    recovered: Recovered
    memberships: MembershipHistory
    last_named_at: Index
    awaited: int
    """0: everything that it had issued is durable."""


def last_named_at(memberships: MembershipHistory, commit_index: Index, me: Member) -> Index:
    """Where the newest configuration stands that names `me` and may be in force; 0: none does.

    Those before the last committed one are over. Later ones count, the last one included, because truncation brings
    an earlier one back (§4.1).
    """
    committed, _ = memberships.as_of(commit_index)
    index, membership = memberships.as_of(memberships.current_index)
    while membership is not None:
        if me in membership.everyone():
            return index
        if index <= committed:
            return 0
        index, membership = memberships.as_of(index - 1)
    return 0


def recovered_from(raft: Raft) -> Recovered:
    """What storage would find of a replica once every save that it has issued is durable.

    Its batches are left to the journal: a replica that does not run holds no memory.
    """
    log, mark = raft.log, raft.snapshot
    all_lasts, all_terms, _ = log.parts()
    kept = [position for position, last in enumerate(all_lasts) if last > mark.index]
    history, found = raft.memberships, []
    index, membership = history.as_of(history.current_index)
    while membership is not None and index > mark.index:
        found.append((index, membership))
        index, membership = history.as_of(index - 1)
    return Recovered(
        hard_state=HardState(raft.current_term, raft.voted_for, raft.abstains_below),
        mark=mark,
        lasts=[all_lasts[position] for position in kept],
        terms=[all_terms[position] for position in kept],
        memberships=found[::-1],
        time=raft.time,
    )


def is_blank(raft: Raft) -> bool:
    """It holds nothing and has promised nothing: no configuration, no entries, no term."""
    return raft.membership is None and raft.log.last_index == 0 and raft.current_term == 0


def is_blank_on_disk(recovered: Recovered) -> bool:
    """The same of what storage found."""
    return recovered == Recovered()


def status_of(meta: ReplicaMeta, node: str, memberships: MembershipHistory, fault: str) -> PeerStatus:
    """A replica that does not run. It names the peers of its group, so that somebody who runs can be asked."""
    membership = memberships.current
    return PeerStatus(
        PeerId(meta.name, node),
        "failed",
        conf_index=memberships.current_index,
        peers=tuple(member.peer for member in membership.voters) if membership is not None else (),
        backend=meta.backend,
        fault=fault,
    )
