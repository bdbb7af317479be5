"""What a leader does when something happens: a reply, a save, a heartbeat that is due. Puts the topics together.

accepted reply ─┐
own save ───────┴> commit ─> reads that waited, the next step of a membership change, the transfer's last step
"""

from __future__ import annotations

from zraft.core import election, membership, quiet, reads, replication, transfer
from zraft.core.events import Loaded, NodeBack, NodeLost
from zraft.core.messages import AppendReply, HeartbeatReply, SnapshotReply
from zraft.core.progress import ProgressState
from zraft.core.replica import Replica
from zraft.core.roles import Leader
from zraft.types import Member


def on_append_reply(replica: Replica, role: Leader, message: AppendReply) -> None:
    """A follower stored something, or its log does not meet ours where we thought."""
    progress = role.progress.get(message.sender)
    if progress is None:
        return
    progress.contact_ms = replica.now
    if not message.accepted:
        replication.meet_below(replica, progress, message)
    elif message.index > replica.log.last_index:
        replica.violated(f"{message.sender} acknowledges {message.index}, {replica.log!r}")
    elif progress.acknowledged(message.index):
        membership.learner_progressed(replica, role, message.sender)
        _commit(replica, role)
    _go_on(replica, role, message.sender)


def _commit(replica: Replica, role: Leader) -> None:
    if replication.advance_commit(replica, role):
        reads.on_commit(replica, role)
    membership.drive(replica, role)


def on_saved(replica: Replica, role: Leader) -> None:
    """The own disk proved more of the log: the leader counts itself up to there (§10.2.1)."""
    _commit(replica, role)


def on_heartbeat_due(replica: Replica, role: Leader) -> None:
    """A heartbeat to everybody, and a look at everything that may have waited too long."""
    was_held_up = replica.now - role.heartbeat_due_ms >= replica.settings.election_timeout_ms
    role.heartbeat_due_ms = replica.now + replica.settings.heartbeat_ms
    if was_held_up:
        # This process, not the others: they could not answer what was not sent, nor the disk be heard.
        role.quorum_due_ms = replica.now + replica.settings.election_timeout_ms
    else:
        election.check_quorum(replica, role)
        if replica.role is role:
            election.check_disk(replica, role)
    if replica.role is role:
        transfer.check_deadline(replica, role)
        membership.drive(replica, role)
    if replica.role is role and not quiet.settle(replica, role):
        replication.broadcast_heartbeat(replica, role)
        for member, progress in role.progress.items():
            replication.recover_lost(replica, progress)
            replication.send_append(replica, role, member, progress)


def on_heartbeat_reply(replica: Replica, role: Leader, message: HeartbeatReply) -> None:
    """The follower still followed this leader after round `message.round` began."""
    progress = role.progress.get(message.sender)
    if progress is None:
        return
    if message.round > role.round:
        replica.violated(f"{message.sender} answers round {message.round} of {role.round}")
    progress.contact_ms = replica.now
    progress.round = max(progress.round, message.round)
    replication.repeat_probe(replica, role, message.sender, progress)
    reads.check_round(replica, role)


def on_snapshot_reply(replica: Replica, role: Leader, message: SnapshotReply) -> None:
    """The follower installed the snapshot, or could not: then it is offered one again after a timeout."""
    progress = role.progress.get(message.sender)
    if progress is None:
        return
    progress.contact_ms = replica.now
    if message.installed and message.index <= replica.log.last_index:
        progress.acknowledged(message.index)
        if progress.state is ProgressState.SNAPSHOT:
            progress.become_replicate()  # an older one than the last that was offered
        membership.learner_progressed(replica, role, message.sender)
        _commit(replica, role)
    elif progress.state is ProgressState.SNAPSHOT:
        progress.become_probe(progress.next_index)
        progress.waiting_since_ms = replica.now
    _go_on(replica, role, message.sender)


def _go_on(replica: Replica, role: Leader, member: Member) -> None:
    if replica.role is role:
        transfer.continue_transfer(replica, role)
        progress = role.progress.get(member)
        if progress is not None:
            replication.send_append(replica, role, member, progress)


def on_loaded(replica: Replica, role: Leader, event: Loaded) -> None:
    """Older batches for one follower were read. What does not fit any more is dropped and asked for again."""
    progress = role.progress.get(event.to)
    if progress is None or not progress.loading:
        return
    progress.loading = False
    batches = [batch for batch in event.batches if replica.log.has(batch.last, batch.term)]
    if batches and event.first == progress.next_index == batches[0].first:
        replication.send_loaded(replica, role, event.to, progress, batches)
    elif not batches:
        progress.waiting_since_ms = replica.now  # the journal lost a race with compaction: a timeout looks again
        return
    replication.send_append(replica, role, event.to, progress)


def on_node_lost(replica: Replica, role: Leader, event: NodeLost) -> None:
    """Messages under way to the node are gone: where the logs meet is open again."""
    for member, progress in role.progress.items():
        if member.peer.node == event.node and progress.state is not ProgressState.SNAPSHOT:
            progress.lose_flights()
            progress.waiting_since_ms = replica.now  # probed when the node is back, or by the next timeout


def on_node_back(replica: Replica, role: Leader, event: NodeBack) -> None:
    """The node can be reached again: probe its members now; who was offered a snapshot is offered one again."""
    for member, progress in role.progress.items():
        if member.peer.node == event.node and progress.state is not ProgressState.REPLICATE:
            progress.lose_flights()
            replication.send_append(replica, role, member, progress)
