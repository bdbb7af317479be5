"""Idle groups that go quiet: no heartbeats, no election timers, until something happens (docs/decisions/0007).

    leader    idle for some heartbeats ──Quiesce──> agreed by everybody ──> quiet: no heartbeat is due
    follower  same term, same log, nothing waits ──QuiesceReply──> quiet: no election is due

A quiet follower trusts the *node* of its leader. Whoever runs it exchanges heartbeats between nodes and says when a
node is silent (`NodeSilent`), was started anew (`NodeRestarted`), or disagrees about who is quiet (`Rouse`). A quiet
leader proves nothing by being quiet: reads begin a round as ever, entries are counted as ever.

Quiet is not a role: it is a role without a deadline. What sets a deadline ends it, so no handler can forget to. Safety
does not rest on any of this: a quiet replica has the same term, vote, log and rules as an awake one.
"""

from __future__ import annotations

from typing import Final

from zraft.core import election, reads, replication
from zraft.core.events import (
    Event,
    NodeBack,
    NodeRestarted,
    NodeSilent,
    Read,
    Received,
    Rouse,
    Saved,
    SnapshotTaken,
    TimePassed,
)
from zraft.core.messages import Quiesce, QuiesceReply
from zraft.core.progress import ProgressState
from zraft.core.replica import Replica
from zraft.core.roles import NEVER, Follower, Leader
from zraft.types import Member

ATTEMPTS: Final = 3
"""Heartbeats in which everybody must have agreed; then it is heartbeats again, and a new try later."""

_CALM: Final = frozenset({TimePassed, Saved, SnapshotTaken, NodeBack, QuiesceReply})
"""What a quiet leader sleeps through. Everything else may ask for an answer, or be news of another leader."""


def disturb(replica: Replica, event: Event) -> None:
    """Something happens to a quiet replica: it wakes, unless it can sleep through that. Before the event is handled."""
    role = replica.role
    if type(role) is Leader:
        if (type(event.message) if type(event) is Received else type(event)) not in _CALM:
            _wake_leader(replica, role)
    elif type(role) is Follower:
        # Replicated time went on while nobody carried it here: deadlines of the group must not move with its leader.
        replica.time_seen = max(replica.time_seen, replica.now + role.time_offset)
        if type(event) is Read:
            _wake_follower(replica, role)  # the request may be lost; without heartbeats nobody would notice


def _wake_leader(replica: Replica, role: Leader) -> None:
    """Heartbeats again, at once. The nodes of all followers were heard: they have an election timeout to answer."""
    role.heartbeat_due_ms = replica.now
    role.quorum_due_ms = replica.now + replica.settings.election_timeout_ms
    for progress in role.progress.values():
        progress.contact_ms = replica.now
    forget(role)


def _wake_follower(replica: Replica, role: Follower) -> None:
    """Its leader's node was heard until now, which counts as having heard the leader."""
    replica.leader_seen_ms = replica.now
    replica.reset_election_timer()


def forget(role: Leader) -> None:
    """Not idle, or not agreed: begin anew."""
    role.idle_beats = 0
    role.idle_mark = (0, 0)
    role.agreed.clear()


def settle(replica: Replica, role: Leader) -> bool:
    """A heartbeat is due. True where the group is about to go quiet, so that none is to be sent."""
    patience = replica.settings.quiet_beats
    if not patience:
        return False
    if not is_idle(replica, role) or role.idle_mark != (replica.log.last_index, role.round):
        forget(role)
    role.idle_mark = (replica.log.last_index, role.round + 1)
    if role.idle_beats < patience or (role.idle_beats == patience and not _has_answered(role)):
        role.idle_beats = min(role.idle_beats + 1, patience)
        return False
    role.idle_beats += 1
    if role.idle_beats > patience + ATTEMPTS:
        forget(role)
        return False
    role.round += 1
    time = replication.leader_time(replica, role)
    for member in role.progress:
        replica.send_now(Quiesce(replica.me, member, replica.current_term, role.round, replica.log.last_index, time))
    _go_quiet(replica, role)  # a single voter has nobody to ask
    return True


def _has_answered(role: Leader) -> bool:
    """Everybody answered the last heartbeat: a group with a silent member is not worth asking."""
    return all(progress.round == role.round for progress in role.progress.values())


def is_idle(replica: Replica, role: Leader) -> bool:
    """Everybody has everything, everything is committed and durable here, and nobody waits for anything."""
    last_index, membership = replica.log.last_index, replica.membership
    if membership is None or not membership.is_stable or replica.memberships.current_index > replica.commit_index:
        return False
    if not replica.commit_index == replica.saves.durable_index == last_index:
        return False
    if role.reads or role.next_reads or role.change_refs or role.catch_up or role.transfer is not None:
        return False
    # Two members on one node: that node would have to be its own neighbour.
    nodes = {member.peer.node for member in membership.everyone()}
    return len(nodes) == len(membership.everyone()) and all(
        progress.state is ProgressState.REPLICATE
        and progress.match_index == last_index
        and progress.oldest_sent_ms() is None
        and not progress.loading
        for progress in role.progress.values()
    )


def on_quiesce(replica: Replica, message: Quiesce) -> None:
    """The leader would be quiet. Agreed with the same log and nothing that waits; then no election is due here.

    The leader committed its whole log, whose last entry is of its own term; with the same last entry it is the same
    log (§3.5), so all of it is committed here too.
    """
    role = election.heard_leader(replica, message.sender)
    replica.time_seen = max(replica.time_seen, message.time)
    if role.reads:
        reads.give_up_old(replica, role)
    log = replica.log
    agreed = (
        log.last_index == replica.saves.durable_index == message.index
        and log.last_term == message.term
        and replica.restoring is None
        and not role.reads
    )
    if agreed:
        if message.index > replica.commit_index:
            replication.commit(replica, message.index)
        role.election_due_ms = NEVER
        role.time_offset = replica.time_seen - replica.now
    replica.send_now(QuiesceReply(replica.me, message.sender, replica.current_term, message.round, agreed))


def on_quiesce_reply(replica: Replica, role: Leader, message: QuiesceReply) -> None:
    """Once everybody agreed, and nothing has happened since that was asked, the leader is quiet."""
    progress = role.progress.get(message.sender)
    if progress is None or role.is_quiet:
        return
    progress.contact_ms = replica.now
    is_asking = role.idle_beats > replica.settings.quiet_beats
    if not is_asking or not role.round - ATTEMPTS < message.round <= role.round:
        return
    if not message.agreed:
        forget(role)
        return
    role.agreed[message.sender] = None
    _go_quiet(replica, role)


def _go_quiet(replica: Replica, role: Leader) -> None:
    is_unchanged = role.idle_mark == (replica.log.last_index, role.round) and is_idle(replica, role)
    if is_unchanged and all(member in role.agreed for member in role.progress):
        role.heartbeat_due_ms = NEVER


def on_node_silent(replica: Replica, role: Follower, event: NodeSilent) -> None:
    """The leader's node is silent: as if its last heartbeat had come when that was last heard (§3.4)."""
    if _trusts(role, event.node):
        timeout = replica.settings.election_timeout_ms
        replica.leader_seen_ms = min(event.heard_ms, replica.now)
        role.election_due_ms = max(event.heard_ms + timeout, replica.now) + replica.chance.below(timeout)


def on_node_restarted(replica: Replica, role: Follower, event: NodeRestarted) -> None:
    """Whoever led from that node leads no more, at least not in this term: there is no leader to be loyal to."""
    if _trusts(role, event.node):
        replica.leader_seen_ms = None
        replica.become_follower(None)


def on_rouse(replica: Replica, role: Follower, event: Rouse) -> None:
    """The leader's node says that it is not quiet: a leader that is one sends heartbeats."""
    if role.is_quiet:
        _wake_follower(replica, role)


def _trusts(role: Follower, node: str) -> bool:
    return role.is_quiet and role.leader is not None and role.leader.peer.node == node


def partners(replica: Replica) -> tuple[Member, ...]:
    """With whom this replica is quiet: followers that agreed, or the leader of a quiet follower. Empty: awake."""
    role = replica.role
    if type(role) is Leader:
        return tuple(role.agreed)
    if type(role) is Follower and role.is_quiet and role.leader is not None:
        return (role.leader,)
    return ()
