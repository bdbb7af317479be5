"""Linearizable reads by ReadIndex (§6.4), on the leader and through it on followers.

A read may run once three things hold: the leader committed an entry of its own term (BM-063), a majority answered a
heartbeat round that began after the read arrived (BM-064, BM-067), and the machine applied what was committed when that
round began. Reads that arrive while a round is under way share the next one.
"""

from __future__ import annotations

from collections.abc import Iterable

from zraft.core import quorum, replication
from zraft.core.events import Read
from zraft.core.messages import ReadIndexReply, ReadIndexRequest
from zraft.core.output import ReadReady, Refusal
from zraft.core.replica import Replica
from zraft.core.roles import Follower, Leader, PendingRead
from zraft.types import Member


def read_on_leader(replica: Replica, role: Leader, event: Read) -> None:
    """Queue the read for the next round, and begin it where none is under way."""
    role.next_reads.append(PendingRead(event.ref))
    _begin_round(replica, role)


def read_on_follower(replica: Replica, role: Follower, event: Read) -> None:
    """Ask the leader for a read index; refused where none is known."""
    if role.leader is None:
        replica.refuse(event.ref, Refusal.NOT_LEADER)
        return
    replica.next_read += 1
    role.reads[replica.next_read] = (event.ref, replica.now)
    replica.send_now(ReadIndexRequest(replica.me, role.leader, replica.current_term, replica.next_read))


def give_up_old(replica: Replica, role: Follower) -> None:
    """Refuse the reads that the leader did not answer in time: request or reply was lost."""
    since = replica.now - replica.settings.request_timeout_ms
    for number in [number for number, (_, asked_ms) in role.reads.items() if asked_ms < since]:
        replica.refuse(role.reads.pop(number)[0], Refusal.NOT_LEADER)


def on_request(replica: Replica, role: Leader, message: ReadIndexRequest) -> None:
    """A follower asks for a read index."""
    role.next_reads.append(PendingRead(message.read, asker=message.sender))
    _begin_round(replica, role)


def refuse_request(replica: Replica, message: ReadIndexRequest) -> None:
    """Not the leader: the asker's caller shall look elsewhere."""
    replica.send_now(ReadIndexReply(replica.me, message.sender, replica.current_term, message.read, 0))


def on_reply(replica: Replica, role: Follower, message: ReadIndexReply) -> None:
    """The leader named a read index, or refused. Numbers of another life are unknown here."""
    asked = role.reads.pop(message.read, None)
    if asked is None:
        return
    if message.index:
        replica.out.reads_ready.append(ReadReady(asked[0], message.index))
    else:
        replica.refuse(asked[0], Refusal.NOT_LEADER)


def on_commit(replica: Replica, role: Leader) -> None:
    """The first commit of the term opens the door for reads that waited for it."""
    _begin_round(replica, role)


def check_round(replica: Replica, role: Leader) -> None:
    """Release the reads whose round a majority has answered; those that came meanwhile begin the next."""
    if role.reads and _is_confirmed(replica, role):
        _release(replica, role.reads, role.read_index)
        role.reads = []
        _begin_round(replica, role)


def _begin_round(replica: Replica, role: Leader) -> None:
    if role.reads or not role.next_reads or replica.commit_index < role.term_start:
        return
    role.reads = list(role.next_reads)
    role.next_reads.clear()
    role.read_index = replica.commit_index
    replication.broadcast_heartbeat(replica, role)
    role.read_round = role.round
    if _is_confirmed(replica, role):  # a single voter is its own majority
        _release(replica, role.reads, role.read_index)
        role.reads = []


def _is_confirmed(replica: Replica, role: Leader) -> bool:
    if replica.membership is None:
        return False

    def answered(member: Member) -> bool:
        if member == replica.me:
            return True
        progress = role.progress.get(member)
        return progress is not None and progress.round >= role.read_round

    return quorum.has_quorum(replica.membership, answered)


def _release(replica: Replica, pending: Iterable[PendingRead], index: int) -> None:
    for read in pending:
        if read.asker is None:
            replica.out.reads_ready.append(ReadReady(read.ref, index))
        else:
            replica.send_now(ReadIndexReply(replica.me, read.asker, replica.current_term, read.ref, index))
