"""The messages between replicas, named as in the thesis. Every one names the member that speaks and the one addressed.

A request carries the sender's term; a reply the replier's. A receiver whose life is not `to` drops the message, and
answers of another incarnation than the one asked are never counted. What is validated about remote bytes is validated
by `wire`, before a message exists.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from zraft.core.entries import Batch, SnapshotMark
from zraft.types import Index, Member, Millis, Term


class PreVote(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """§9.6: would you vote for me in `term` (the sender's term + 1)? Nobody's term changes by this."""

    sender: Member
    to: Member
    term: Term
    last_index: Index
    last_term: Term


class PreVoteReply(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Granted: `term` is the proposed one. Refused: `term` is the refuser's own, to be adopted if larger (BM-109)."""

    sender: Member
    to: Member
    term: Term
    granted: bool


class RequestVote(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """§3.4: vote for me in `term`. `transfer`: a leader asked for this election: stickiness does not apply (§4.2.3)."""

    sender: Member
    to: Member
    term: Term
    last_index: Index
    last_term: Term
    transfer: bool = False


class RequestVoteReply(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A grant is sent only once term and vote are durable (§3.8)."""

    sender: Member
    to: Member
    term: Term
    granted: bool


class AppendEntries(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """§3.5: store `batches` after the entry (`prev_index`, `prev_term`). They are contiguous; none: a probe."""

    sender: Member
    to: Member
    term: Term
    prev_index: Index
    prev_term: Term
    commit_index: Index
    time: Millis
    batches: list[Batch]

    @property
    def last_index(self) -> Index:
        """The last index that an acknowledgement of this message may name: prev + entries (BM-016)."""
        return self.batches[-1].last if self.batches else self.prev_index


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Accepted: `index` is prev + entries, durable on the sender. Refused: `index` is the refused `prev_index`.

    A refusal hints at (`hint_index`, `hint_term`): the last batch of the follower's log that ends at or before the
    refused index and has no larger term than the refused one; everything after it cannot match. A reply with a larger
    term than the leader's says only that.
    """

    sender: Member
    to: Member
    term: Term
    accepted: bool
    index: Index
    hint_index: Index = 0
    hint_term: Term = 0


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The leader lives. Never waits behind entries. `commit_index` is at most what the receiver acknowledged.

    `round` numbers the leader's heartbeat rounds and is never reused within a term (BM-064): a reply confirms that the
    receiver still followed this leader after the round began (§6.4).
    """

    sender: Member
    to: Member
    term: Term
    round: int
    commit_index: Index
    time: Millis


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Echoes `round`. With a larger term than the leader's: step down."""

    sender: Member
    to: Member
    term: Term
    round: int


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """§5.1: the entries that you need are gone; take the snapshot at `mark`. `transfer` says how to fetch its bytes.

    The core never looks into `transfer`; whoever carries out the sending fills it.
    """

    sender: Member
    to: Member
    term: Term
    mark: SnapshotMark
    transfer: bytes = b""


class SnapshotReply(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Installed: the snapshot at `index` is durable and in force. Otherwise it failed and may be offered again."""

    sender: Member
    to: Member
    term: Term
    installed: bool
    index: Index


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """§3.10: start an election at once, without a pre-vote."""

    sender: Member
    to: Member
    term: Term


class ReadIndexRequest(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """A follower asks its leader for a read index (§6.4). `read` is the asker's own number for it."""

    sender: Member
    to: Member
    term: Term
    read: int


class ReadIndexReply(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """`index` 0: refused, ask again or elsewhere."""

    sender: Member
    to: Member
    term: Term
    read: int
    index: Index


class NotMember(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """As of the committed entry (`index`, `index_term`), and in all that I have, no configuration names you.

    Not in the thesis (see `departure`). Nobody's term changes by this.
    """

    sender: Member
    to: Member
    term: Term
    index: Index
    index_term: Term


class Quiesce(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """A heartbeat that asks to do without the next ones: the whole log, up to `index` of this term, is committed.

    `round` is one of the leader's heartbeat rounds; `time` is replicated time.
    """

    sender: Member
    to: Member
    term: Term
    round: int
    index: Index
    time: Millis


class QuiesceReply(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Echoes `round`. Agreed: the sender has the same log and waits for no election any more."""

    sender: Member
    to: Member
    term: Term
    round: int
    agreed: bool


Message: TypeAlias = (
    PreVote
    | PreVoteReply
    | RequestVote
    | RequestVoteReply
    | AppendEntries
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | InstallSnapshot
    | SnapshotReply
    | TimeoutNow
    | ReadIndexRequest
    | ReadIndexReply
    | NotMember
    | Quiesce
    | QuiesceReply
)
