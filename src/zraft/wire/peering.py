"""Messages between the replicas of two nodes: one connection carries those of all groups, many in one frame.

The payload of a PEER frame is an array of items `[group id, message]`; a message is the array of its fields behind the
number of its type, as `core.messages` numbers them. A node's own heartbeat, `NodeBeat`, is an item with a group id of
zeros.

This is the door of the core. Whoever is behind it may have proven to be a node, and may still be wrong: what the core
would otherwise have to doubt is checked here, before a message exists (terms and indexes within bounds, batches
contiguous and in order, memberships that can decide). What is wrong raises `ProtocolError`, which ends the connection.
Left to others: whether this node has that group, whether `to` is its present life, and kinds of entries that this
version does not know, which must stop the replica that meets them and not the connection (BM-117).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from zraft.core.entries import Batch, Kind, Membership
from zraft.core.memberships import decode_membership
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
    QuiesceReply,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    RequestVoteReply,
    SnapshotReply,
    TimeoutNow,
)
from zraft.errors import ProtocolError
from zraft.limits import ITEMS_PER_FRAME, MAX_TERM, PEERS_PER_GROUP, QUIET_CLAIMS
from zraft.types import GroupId, Index, Member, Term
from zraft.wire.states import Beside, State, StateReport, StateVerdict

GROUP_BYTES: Final = 16
_LAST_KIND: Final = 0xFF
_LAST_NUMBER: Final = 2**63 - 1

NO_GROUP: Final = GroupId(bytes(GROUP_BYTES))
"""The group of what a node says for itself."""

_Token = Annotated[int, msgspec.Meta(ge=0, le=_LAST_NUMBER)]
_Tokens = Annotated[list[_Token], msgspec.Meta(max_length=QUIET_CLAIMS)]


class NodeBeat(Beside, frozen=True, array_like=True, tag=64):
    """A node lives, to another one with which it shares quiet groups (`peer.liveness`).

    Each quiet follower has a token, see `peer.liveness.token_of`. `leads` sums up those of the receiver that follow a
    quiet leader of the sender, modulo 2⁶³.
    """

    sender: str
    to: str
    epoch: _Token
    """Drawn by chance when the sender was started."""
    leads: _Token
    claims: _Tokens | None = None
    """Some or all of the sender's quiet followers whose leader is at the receiver; None: the sums agreed."""
    claims_all: bool = True
    denials: _Tokens = msgspec.field(default_factory=list)
    """What the receiver had claimed and is not so."""


Item: TypeAlias = Message | NodeBeat | StateReport | StateVerdict
"""What travels between nodes."""

_Group = Annotated[bytes, msgspec.Meta(min_length=GROUP_BYTES, max_length=GROUP_BYTES)]
_Items = Annotated[list[tuple[_Group, Item]], msgspec.Meta(min_length=1, max_length=ITEMS_PER_FRAME)]

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[list[tuple[GroupId, Item]]]] = msgspec.msgpack.Decoder(_Items)


def encode_message(group: GroupId, message: Item) -> bytes:
    """One item of a PEER frame; `frames.array_of` makes the payload."""
    return _ENCODER.encode((group, message))


def decode_messages(payload: bytes, *, sender_node: str, own_node: str) -> list[tuple[GroupId, Item]]:
    """The items of a PEER frame that `sender_node` sent to `own_node`. Raises `ProtocolError`.

    Every message speaks for a member of the sending node and is addressed to one of this node (BM-114).
    """
    try:
        items = _DECODER.decode(payload)
    except RecursionError:
        raise ProtocolError("not messages of peers: nested too deep") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"not messages of peers: {error}") from error
    for group, message in items:
        if isinstance(message, NodeBeat):
            if (message.sender, message.to, group) != (sender_node, own_node, NO_GROUP):
                raise ProtocolError(
                    f"a beat from {message.sender} to {message.to} on the connection from {sender_node}"
                )
            continue
        if message.sender.peer.node != sender_node or message.to.peer.node != own_node:
            raise ProtocolError(
                f"a message from {message.sender} to {message.to} on the connection from {sender_node} to {own_node}"
            )
        check_message(message)
    return items


def check_message(message: Item) -> None:
    """What every replica may rely on about a message that it is given. Raises `ProtocolError`."""
    if isinstance(message, NodeBeat):
        return  # the types of its fields say everything
    _check_member(message.sender)
    _check_member(message.to)
    if not 0 <= message.term <= MAX_TERM:
        raise _wrong(message, f"term {message.term}")
    _CHECKS[type(message)](message)


def check_membership(membership: Membership) -> None:
    """A configuration that can decide: voters exist, nobody is listed twice, and no list is too long."""
    if not membership.voters:
        raise ProtocolError("a configuration without voters")
    for members in (membership.voters, membership.outgoing, membership.learners, membership.target):
        if len(members) > PEERS_PER_GROUP:
            raise ProtocolError(f"a configuration of {len(members)} peers, {PEERS_PER_GROUP} are allowed")
        if len({member.peer for member in members}) < len(members):
            raise ProtocolError("a configuration that lists a peer twice")
        for member in members:
            _check_member(member)
    voting = {*membership.voters, *membership.outgoing}
    if any(member in voting for member in membership.learners):
        raise ProtocolError("a configuration in which a voter is also a learner")


def _check_member(member: Member) -> None:
    if not 0 <= member.incarnation < 2**64:
        raise ProtocolError(f"incarnation {member.incarnation} of {member.peer} is not a number of 64 bits")


def _check_last(message: PreVote | RequestVote) -> None:
    if not _is_position(message.last_index, message.last_term, message.term):
        raise _wrong(message, f"last entry {message.last_index} of term {message.last_term}")


def _check_append(message: AppendEntries) -> None:
    if not _is_position(message.prev_index, message.prev_term, message.term):
        raise _wrong(message, f"previous entry {message.prev_index} of term {message.prev_term}")
    if not (0 <= message.commit_index <= MAX_TERM and 0 <= message.time <= _LAST_NUMBER):
        raise _wrong(message, f"commit index {message.commit_index}, time {message.time}")
    last, term, time = message.prev_index, message.prev_term, 0
    for batch in message.batches:
        if batch.first != last + 1 or batch.count < 1:
            raise _wrong(message, f"{batch.count} entries from {batch.first} on after {last}")
        last += batch.count
        if not (term <= batch.term <= message.term and batch.term and time <= batch.time <= _LAST_NUMBER):
            raise _wrong(message, f"batch at {batch.first} of term {batch.term}, time {batch.time}")
        term, time = batch.term, batch.time
        _check_batch(message, batch)
    if last > MAX_TERM:
        raise _wrong(message, f"entries up to {last}")


def _check_batch(message: AppendEntries, batch: Batch) -> None:
    if not (0 <= batch.kind <= _LAST_KIND and 0 <= batch.wall <= _LAST_NUMBER):
        raise _wrong(message, f"batch at {batch.first} of kind {batch.kind}, wall clock {batch.wall}")
    if batch.count > max(1, len(batch.payload)):
        raise _wrong(message, f"{batch.count} entries in {len(batch.payload)} bytes")
    if batch.kind == Kind.CONFIGURATION:
        try:
            membership = decode_membership(batch.payload)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _wrong(message, f"a configuration at {batch.first} that is none") from error
        check_membership(membership)


def _check_append_reply(message: AppendReply) -> None:
    _check_number(message, message.index, MAX_TERM)
    if not _is_position(message.hint_index, message.hint_term, MAX_TERM):
        raise _wrong(message, f"hint {message.hint_index} of term {message.hint_term}")


def _check_heartbeat(message: Heartbeat) -> None:
    _check_number(message, message.round, _LAST_NUMBER)
    _check_number(message, message.commit_index, MAX_TERM)
    _check_number(message, message.time, _LAST_NUMBER)


def _check_install(message: InstallSnapshot) -> None:
    mark = message.mark
    if not (mark.index and _is_position(mark.index, mark.term, message.term) and 0 <= mark.time <= _LAST_NUMBER):
        raise _wrong(message, f"snapshot at {mark.index} of term {mark.term}, time {mark.time}")
    if mark.membership is None or not 0 <= mark.membership_index <= mark.index:
        raise _wrong(message, f"snapshot at {mark.index} with a configuration of {mark.membership_index}")
    check_membership(mark.membership)


def _check_read_reply(message: ReadIndexReply) -> None:
    _check_number(message, message.read, _LAST_NUMBER)
    _check_number(message, message.index, MAX_TERM)


def _check_not_member(message: NotMember) -> None:
    if not (message.index and _is_position(message.index, message.index_term, message.term)):
        raise _wrong(message, f"committed entry {message.index} of term {message.index_term}")


def _check_quiesce(message: Quiesce) -> None:
    _check_number(message, message.round, _LAST_NUMBER)
    _check_number(message, message.index, MAX_TERM)
    _check_number(message, message.time, _LAST_NUMBER)


def _check_verdict(verdict: StateVerdict) -> None:
    for member in verdict.odd:
        _check_member(member)


def _check_number(message: Message, number: int, largest: int) -> None:
    if not 0 <= number <= largest:
        raise _wrong(message, f"number {number}")


def _is_position(index: Index, term: Term, newest: Term) -> bool:
    """(0, 0), or an entry of a term not above `newest`."""
    return 0 < index <= MAX_TERM and 0 < term <= newest if index else not term


def _wrong(message: Message | State, what: str) -> ProtocolError:
    return ProtocolError(f"{type(message).__name__} of {message.sender} in term {message.term}: {what}")


def _no_further_check(_message: Message | State) -> None:
    """Term and members are all that can be wrong."""


_CHECKS: Final[dict[type, Callable[[Any], None]]] = {
    PreVote: _check_last,
    PreVoteReply: _no_further_check,
    RequestVote: _check_last,
    RequestVoteReply: _no_further_check,
    AppendEntries: _check_append,
    AppendReply: _check_append_reply,
    Heartbeat: _check_heartbeat,
    HeartbeatReply: lambda message: _check_number(message, message.round, _LAST_NUMBER),
    InstallSnapshot: _check_install,
    SnapshotReply: lambda message: _check_number(message, message.index, MAX_TERM),
    TimeoutNow: _no_further_check,
    ReadIndexRequest: lambda message: _check_number(message, message.read, _LAST_NUMBER),
    ReadIndexReply: _check_read_reply,
    NotMember: _check_not_member,
    Quiesce: _check_quiesce,
    QuiesceReply: lambda message: _check_number(message, message.round, _LAST_NUMBER),
    StateReport: _no_further_check,
    StateVerdict: _check_verdict,
}
