"""What a leader does when something happens: a reply, a save, a heartbeat that is due. Puts the topics together.

accepted reply ─┐
own save ───────┴> commit ─> reads that waited, the next step of a membership change, the transfer's last step
"""

from __future__ import annotations

from zraft.core import election, membership, reads, replication, transfer
from zraft.core.events import Loaded, NodeBack, NodeLost
from zraft.core.messages import AppendReply, HeartbeatReply, SnapshotReply
from zraft.core.progress import ProgressState
from zraft.core.replica import Replica
from zraft.core.roles import Leader


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
    if replica.role is role:
        transfer.continue_transfer(replica, role)
        if message.sender in role.progress:
            replication.send_append(replica, role, message.sender, progress)


def _commit(replica: Replica, role: Leader) -> None:
    if replication.advance_commit(replica, role):
        reads.on_commit(replica, role)
    membership.drive(replica, role)


def on_saved(replica: Replica, role: Leader) -> None:
    """The own disk proved more of the log: the leader counts itself up to there (§10.2.1)."""
    _commit(replica, role)


def on_heartbeat_due(replica: Replica, role: Leader) -> None:
    """A heartbeat to everybody, and a look at everything that may have waited too long."""
    election.check_quorum(replica, role)
    if replica.role is role:
        election.check_disk(replica, role)
    if replica.role is role:
        transfer.check_deadline(replica, role)
        membership.drive(replica, role)
    if replica.role is role:
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
    reads.check_round(replica, role)


def on_snapshot_reply(replica: Replica, role: Leader, message: SnapshotReply) -> None:
    """The follower installed the snapshot, or could not: then it is offered one again after a timeout."""
    progress = role.progress.get(message.sender)
    if progress is None:
        return
    progress.contact_ms = replica.now
    if message.installed and message.index <= replica.log.last_index:
        progress.acknowledged(message.index)
        membership.learner_progressed(replica, role, message.sender)
        _commit(replica, role)
    elif progress.state is ProgressState.SNAPSHOT:
        progress.become_probe(progress.next_index)
        progress.waiting_since_ms = replica.now
    if replica.role is role and message.sender in role.progress:
        replication.send_append(replica, role, message.sender, progress)


def on_loaded(replica: Replica, role: Leader, event: Loaded) -> None:
    """Older batches for one follower were read. What does not fit any more is dropped and asked for again."""
    progress = role.progress.get(event.to)
    if progress is None or not progress.loading:
        return
    progress.loading = False
    batches = [batch for batch in event.batches if replica.log.has(batch.last, batch.term)]
    can_send = progress.can_send(replica.settings.window_messages, replica.settings.window_bytes)
    if can_send and batches and event.first == progress.next_index == batches[0].first:
        replication.send_batches(replica, role, event.to, progress, batches)
    elif not batches:
        progress.waiting_since_ms = replica.now  # the journal lost a race with compaction: a timeout looks again
        return
    replication.send_append(replica, role, event.to, progress)


def on_node_lost(replica: Replica, role: Leader, event: NodeLost) -> None:
    """Messages under way to the node are gone: where the logs meet is open again."""
    for member, progress in role.progress.items():
        if member.peer.node == event.node and progress.state is not ProgressState.SNAPSHOT:
            progress.become_probe(progress.match_index + 1)
            progress.waiting_since_ms = replica.now  # probed when the node is back, or by the next timeout


def on_node_back(replica: Replica, role: Leader, event: NodeBack) -> None:
    """The node can be reached again: probe its members now."""
    for member, progress in role.progress.items():
        if member.peer.node == event.node and progress.state is ProgressState.PROBE:
            progress.waiting_since_ms = None
            replication.send_append(replica, role, member, progress)
