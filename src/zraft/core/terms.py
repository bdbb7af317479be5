"""The rule of terms (§3.3), before any message reaches its topic, and who a message is for.

A larger term is adopted, a request of a smaller one is answered with the own term, a reply of a smaller one is dropped.
Two exceptions keep a server that cannot win from disturbing the others: a pre-vote changes nobody's term (§9.6), and a
RequestVote is ignored while a leader is heard (§4.2.3).
"""

from __future__ import annotations

from zraft.core import election
from zraft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    NotMember,
    PreVote,
    PreVoteReply,
    Quiesce,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    RequestVoteReply,
)
from zraft.core.replica import Replica


def admit(replica: Replica, message: Message) -> bool:
    """Apply the rule of terms. True where the message is of the current term now and shall be handled."""
    if message.to != replica.me:
        replica.fact(f"drops a message for {message.to}")  # another life of this peer (BM-043, BM-114)
        return False
    if isinstance(message, PreVote | NotMember):
        return True
    if message.term > replica.current_term:
        return _admit_newer(replica, message)
    if message.term < replica.current_term:
        _answer_older(replica, message)
        return False
    return True


def _admit_newer(replica: Replica, message: Message) -> bool:
    if isinstance(message, PreVoteReply) and message.granted:
        return True  # it names the term that was asked about, not the sender's
    if isinstance(message, RequestVote) and not message.transfer and election.is_led(replica):
        replica.fact(f"ignores a vote request of {message.sender} for term {message.term}: a leader is heard")
        return False
    replica.set_term(message.term)
    replica.become_follower(None)
    return not isinstance(message, PreVoteReply)


def _answer_older(replica: Replica, message: Message) -> None:
    """Tell the sender of an old request that its term is over; nothing else changes.

    By the time the reply arrives the sender may act in the newer term. So the reply says nothing that could be taken
    for an answer in that: no round, no index, and no refusal where this replica voted for the sender.
    """
    me, to, term = replica.me, message.sender, replica.current_term
    match message:
        case RequestVote():
            if replica.voted_for != to:
                replica.send_now(RequestVoteReply(me, to, term, False))
        case AppendEntries() | InstallSnapshot():
            replica.send_now(AppendReply(me, to, term, False, 0))
        case Heartbeat() | Quiesce():
            replica.send_now(HeartbeatReply(me, to, term, 0))
        case ReadIndexRequest():
            replica.send_now(ReadIndexReply(me, to, term, message.read, 0))
        case _:
            return
