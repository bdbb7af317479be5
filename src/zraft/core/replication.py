"""The leader's side of the log: proposals, batched and pipelined AppendEntries, commit (§3.5, §3.6.2, §10.2).

A turn's proposals become batches, at most one AppendEntries per follower and window place, and one save that runs in
parallel with them (§10.2.1). The leader counts itself only up to what its own disk has proved, unless its settings say
`counts_unsaved`. What follows from a reply or a commit is put together in `leading`.
"""

from __future__ import annotations

from zraft.core import quorum
from zraft.core.entries import Batch, Kind
from zraft.core.events import Propose
from zraft.core.messages import AppendEntries, AppendReply, Heartbeat, InstallSnapshot
from zraft.core.output import Accepted, LoadBatches, Refusal
from zraft.core.progress import Progress, ProgressState
from zraft.core.replica import Replica
from zraft.core.roles import Leader
from zraft.types import Index, Member, Millis


def leader_time(replica: Replica, role: Leader) -> Millis:
    """Replicated time now: goes on with the leader's clock from the largest time that was seen, never back."""
    replica.time_seen = max(replica.time_seen, replica.now + role.time_offset)
    return replica.time_seen


def propose(replica: Replica, role: Leader, event: Propose) -> None:
    """Append the proposals, or refuse them with the reason; nothing is half done."""
    stalled = replica.saves.stalled_for(replica.now) > 2 * replica.settings.election_timeout_ms
    time = leader_time(replica, role)
    hands_over = role.transfer is not None or not replica.is_voter
    for proposal in event.proposals:
        if hands_over:
            replica.refuse(proposal.ref, Refusal.TRANSFERRING)
        elif stalled:
            replica.refuse(proposal.ref, Refusal.DISK_STALLED)
        elif replica.uncommitted_bytes >= replica.settings.uncommitted_bytes:
            replica.refuse(proposal.ref, Refusal.UNCOMMITTED_LIMIT)
        else:
            first = replica.log.last_index + 1
            replica.uncommitted_bytes += len(proposal.payload)
            replica.append(
                Batch(first, proposal.count, replica.current_term, time, event.wall, Kind.COMMANDS, proposal.payload)
            )
            replica.out.accepted.append(Accepted(proposal.ref, first, replica.current_term))
    if replica.out.append:
        broadcast_append(replica, role)


def propose_time(replica: Replica, role: Leader) -> None:
    """Append a time entry, unless one or anything newer is already on its way."""
    if role.transfer is None and replica.is_voter and replica.commit_index == replica.log.last_index:
        time = leader_time(replica, role)
        replica.append(Batch(replica.log.last_index + 1, 1, replica.current_term, time, 0, Kind.TIME, b""))
        broadcast_append(replica, role)


def broadcast_append(replica: Replica, role: Leader) -> None:
    """Send everybody what it lacks, as far as its window allows."""
    for member, progress in role.progress.items():
        send_append(replica, role, member, progress)


def send_append(replica: Replica, role: Leader, member: Member, progress: Progress) -> None:
    """Fill the follower's window: entries from `next_index` on, or, in PROBE, one message even if it is empty."""
    settings, log = replica.settings, replica.log
    while progress.can_send(settings.window_messages, settings.window_bytes):
        if progress.next_index > log.last_index and progress.state is ProgressState.REPLICATE:
            return
        if progress.next_index <= log.base_index:
            _offer_snapshot(replica, member, progress)
            return
        batches = log.take(progress.next_index, settings.append_bytes)
        if batches is None:
            progress.loading = True
            last = log.last_before_memory(progress.next_index)
            replica.out.load.append(LoadBatches(member, progress.next_index, last, settings.load_bytes))
            return
        send_batches(replica, role, member, progress, batches)


def _offer_snapshot(replica: Replica, member: Member, progress: Progress) -> None:
    """What the follower needs is compacted away: it gets the newest snapshot instead (§5.1)."""
    mark = replica.snapshot
    if mark.index < replica.log.base_index:
        replica.violated(f"the log begins after {replica.log.base_index} and the snapshot ends at {mark.index}")
    progress.become_snapshot(mark.index, replica.now)
    replica.fact(f"offers snapshot {mark.index} to {member}")
    replica.out.send_snapshot.append(InstallSnapshot(replica.me, member, replica.current_term, mark))


def send_batches(replica: Replica, role: Leader, member: Member, progress: Progress, batches: list[Batch]) -> None:
    """Send exactly these, which begin at the follower's `next_index`; none: a probe."""
    prev_index = progress.next_index - 1
    prev_term = replica.log.term_at(prev_index)
    if prev_term is None or (batches and batches[0].first != prev_index + 1):
        replica.violated(f"entries after {prev_index} for {member} from {replica.log!r}")
    time = leader_time(replica, role)
    message = AppendEntries(
        replica.me, member, replica.current_term, prev_index, prev_term, replica.commit_index, time, batches
    )
    replica.send_now(message)
    progress.sent(message.last_index, sum([len(batch.payload) for batch in batches]), replica.now)


def send_loaded(replica: Replica, role: Leader, member: Member, progress: Progress, batches: list[Batch]) -> None:
    """Send what was read from the journal, a message's worth at a time, as far as the window allows (BM-112)."""
    settings = replica.settings
    start = 0
    while start < len(batches) and progress.can_send(settings.window_messages, settings.window_bytes):
        end, size_bytes = start + 1, len(batches[start].payload)
        while end < len(batches) and size_bytes + len(batches[end].payload) <= settings.append_bytes:
            size_bytes += len(batches[end].payload)
            end += 1
        send_batches(replica, role, member, progress, batches[start:end])
        start = end


def meet_below(replica: Replica, progress: Progress, message: AppendReply) -> None:
    """The follower lacks the entry before our message: go on where the logs may meet, a term at a time (§3.5).

    Refusals are believed only for the message that they answer, and never below what it acknowledged (BM-015, BM-017).
    """
    if progress.state is ProgressState.SNAPSHOT or message.index <= progress.match_index:
        return
    if progress.state is ProgressState.PROBE and message.index != progress.next_index - 1:
        return
    upper = min(message.hint_index, message.index - 1)
    meeting, _ = replica.log.boundary_before(upper, message.hint_term)
    base = replica.log.base_index
    if meeting > base or upper >= base:
        progress.become_probe(meeting + 1)
    else:
        progress.become_probe(max(upper, 1))  # at or below the base: only a snapshot helps


def advance_commit(replica: Replica, role: Leader) -> bool:
    """Commit what a majority stores, counting only entries of the own term (§3.6.2, BM-020). True if that is news."""
    if replica.membership is None:
        return False

    def match_of(member: Member) -> Index:
        if member == replica.me:
            return replica.log.last_index if replica.settings.counts_unsaved else replica.saves.durable_index
        progress = role.progress.get(member)
        return progress.match_index if progress is not None else 0

    index = quorum.committed_index(replica.membership, match_of)
    if index <= replica.commit_index or replica.log.term_at(index) != replica.current_term:
        return False
    commit(replica, index)
    replica.uncommitted_bytes = replica.log.payload_bytes_after(index)
    return True


def commit(replica: Replica, index: Index) -> None:
    """Entries up to `index` are committed: the machine may apply them."""
    if index < replica.commit_index or index > replica.log.last_index:
        replica.violated(f"commit would go from {replica.commit_index} to {index}, {replica.log!r}")
    replica.commit_index = index
    replica.out.commit_to = index


def repeat_probe(replica: Replica, role: Leader, member: Member, progress: Progress) -> None:
    """The follower lives, and left a probe unanswered for two heartbeats: it may be lost, and costs little.

    Not sooner: the answer waits for the follower's disk, and heartbeats of reads come by the hundred.
    """
    sent = progress.waiting_since_ms
    if sent is None or progress.state is not ProgressState.PROBE or progress.next_index <= replica.log.base_index:
        return
    if replica.now - sent >= 2 * replica.settings.heartbeat_ms:
        progress.lose_flights()
        send_append(replica, role, member, progress)


def recover_lost(replica: Replica, progress: Progress) -> None:
    """Without a reply for too long, what was sent counts as lost (§3.7)."""
    sent = progress.oldest_sent_ms()
    if sent is None or replica.now - sent < replica.settings.request_timeout_ms:
        return
    if progress.state is ProgressState.SNAPSHOT and replica.now - sent < 10 * replica.settings.request_timeout_ms:
        return
    progress.lose_flights()


def broadcast_heartbeat(replica: Replica, role: Leader) -> None:
    """Begin a new round: its replies prove that this replica led after this moment (§6.4).

    Does not put off `heartbeat_due_ms`: under a stream of reads nothing that is looked at there would ever happen.
    """
    role.round += 1
    time = leader_time(replica, role)
    for member, progress in role.progress.items():
        commit_index = min(replica.commit_index, progress.match_index)
        replica.send_now(Heartbeat(replica.me, member, replica.current_term, role.round, commit_index, time))
