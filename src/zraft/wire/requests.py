"""What clients ask of a node and what it answers: many in one frame, each with the number that its asker gave it.

A REQUESTS frame carries an array of requests, a REPLIES frame an array of replies, each as many as one turn brought.
A request is the array of its fields behind the number of its type. `id` is the client's own, unique among its
unanswered requests on this connection, and comes back in exactly one reply.

`peer` names a replica of the node that is asked. Whether it exists there is the node's answer (`PeerUnavailable`), not
a matter of form; only where a name is about to be given (`StartPeer`) is its form checked. Commands, queries and values
stay encoded: whoever takes a command from a stranger calls `values.check_command` on it before the log sees it.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from zraft.errors import ProtocolError
from zraft.limits import ITEMS_PER_FRAME, MAX_TERM, PEERS_PER_GROUP
from zraft.types import GroupId, Member, PeerId
from zraft.wire.failures import Failed
from zraft.wire.session_requests import (
    Ping,
    ResumeSession,
    SessionQuery,
    SessionWatch,
    SessionWrite,
    StartSession,
    StopSession,
    Streamed,
    Triggered,
    Unwatch,
)

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Index = Annotated[int, msgspec.Meta(ge=0, le=MAX_TERM)]
_Name = Annotated[str, msgspec.Meta(max_length=64)]
_NewName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")]
_Group = Annotated[GroupId, msgspec.Meta(min_length=16, max_length=16)]
_Members = Annotated[list[Member], msgspec.Meta(min_length=1, max_length=PEERS_PER_GROUP)]
_Peers = Annotated[list[PeerId], msgspec.Meta(min_length=1, max_length=PEERS_PER_GROUP)]

NIL: Final = msgspec.Raw(b"\xc0")
"""The encoded None: the value of a result that has none to tell."""


class Write(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Run `command` once it is committed. Answered by `Result` with the index of its entry."""

    id: _Number
    peer: _Name
    command: msgspec.Raw


class Query(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Linearizable, or, with `local`, this replica's state once it has applied `min_index`. Answered by `Result`."""

    id: _Number
    peer: _Name
    query: msgspec.Raw
    local: bool = False
    min_index: _Index = 0


class Stat(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Answered by `Status`."""

    id: _Number
    peer: _Name


class GetConf(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """The stable and committed configuration, from the leader. Answered by `Conf`.

    `in_force`: the one that its log ends with, stable and committed or not.
    """

    id: _Number
    peer: _Name
    in_force: bool = False


class ListPeers(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Answered by `Peers`."""

    id: _Number


class StartPeer(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Make an empty replica of `group`. Answered by `Started`, or by `CreateError`: name taken, backend unknown.

    Asked again for the same name, group and backend while the replica is still blank, it answers the same.
    """

    id: _Number
    name: _NewName
    group: _Group
    backend: _Name


class Bootstrap(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The blank replica becomes the first member of its group, whose voters are `members`. Answered by `Result`."""

    id: _Number
    name: _Name
    members: _Members


class ChangeMembership(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Make `new_members` the voters, where the voters are `old_peers`. Answered by `Result` when it is done.

    Refused where the configuration was appended after `conf_index`; 0: wherever it was.
    """

    id: _Number
    peer: _Name
    new_members: _Members
    old_peers: _Peers
    conf_index: _Index = 0


class Transfer(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """Hand leadership to `to`. Answered by `Result` when it leads."""

    id: _Number
    peer: _Name
    to: PeerId


class RemovePeer(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """Delete the replica with its data, where it belongs to `group` and to no configuration. Answered by `Result`.

    A replica is not told that it was removed. `conf_index` above that of the configuration which it knows says so: the
    asker has seen a committed one, appended there, without it.
    """

    id: _Number
    name: _Name
    group: _Group
    conf_index: _Index = 0


SessionRequest: TypeAlias = (
    StartSession | ResumeSession | SessionWrite | SessionQuery | SessionWatch | Unwatch | Ping | StopSession
)

PlainRequest: TypeAlias = (
    Write | Query | Stat | GetConf | ListPeers | StartPeer | Bootstrap | ChangeMembership | Transfer | RemovePeer
)

Request: TypeAlias = PlainRequest | SessionRequest


class SnapshotProgress(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot on its way here: the one at `index`, and how many bytes of how many have arrived."""

    index: int
    received: int
    total: int


class PeerStatus(msgspec.Struct, frozen=True, array_like=True):
    """One replica as it sees itself. `leader` is None while none is known; `fault` says why a failed one is down.

    "loading": it lost part of its data, has the others send it again, and does not vote until then; `fault` says so.
    """

    id: PeerId
    role: str
    """"loading" "blank" "follower" "candidate" "leader" "learner" or "failed"."""
    term: int = 0
    leader: PeerId | None = None
    first_index: int = 0
    last_index: int = 0
    last_term: int = 0
    commit_index: int = 0
    last_applied: int = 0
    snapshot_index: int = 0
    snapshot_term: int = 0
    conf_index: int = 0
    peers: tuple[PeerId, ...] = ()
    sessions: int = 0
    watchers: int = 0
    ephemerals: int = 0
    backend: str = ""
    fault: str | None = None
    sync_mode: str = "default"
    """Its node's `log_sync_mode`: "default" where what it acknowledges is durable."""
    target: tuple[PeerId, ...] = ()
    """Whom the change under way is to make the peers; empty: none is."""
    joining: tuple[tuple[PeerId, int], ...] = ()
    """At the leader: the new peers that learn, and up to which index each has the log."""
    fetching: SnapshotProgress | None = None
    sending: tuple[tuple[PeerId, int], ...] = ()
    """At the leader: who may be fetching which snapshot that it was offered, by index."""


REMOVED: Final = "removed"
"""The role of a replica that left its group: it does not run, its data is kept."""


def kept_name(name: str, incarnation: int) -> str:
    """What the data of replica `name` is called after it left its group; a name that nobody can have chosen."""
    mark = f".removed-{incarnation:016x}"
    return name[: 64 - len(mark)] + mark


class PeerEntry(msgspec.Struct, frozen=True, array_like=True):
    """One replica of a node: who it is, and its role as in `PeerStatus`, or `REMOVED`.

    What is kept of a removed one stands under the name that `kept_name` says.
    """

    member: Member
    group: _Group
    backend: str
    role: str

    def is_called(self, name: str) -> bool:
        """It has this name, or had it before it was removed."""
        present = self.member.peer.name
        return present == name or (self.role == REMOVED and present == kept_name(name, self.member.incarnation))


class Result(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """It is done. `index`: the entry that did it, or the state that was read; 0 where there is none."""

    id: _Number
    index: _Index
    value: msgspec.Raw = NIL


class Status(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The replica as it is."""

    id: _Number
    status: PeerStatus


class Conf(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The configuration appended at `index`, and what one needs to know to start further replicas of the group.

    `outgoing`, `target`: of a change under way, as in a `Membership`.
    """

    id: _Number
    group: _Group
    backend: str
    leader: PeerId
    index: _Index
    members: tuple[Member, ...]
    learners: tuple[Member, ...] = ()
    outgoing: tuple[Member, ...] = ()
    target: tuple[Member, ...] = ()

    @property
    def is_changing(self) -> bool:
        """It is not the last one of a change."""
        return bool(self.learners or self.outgoing or self.target)


class Peers(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Every replica of the node, by name."""

    id: _Number
    peers: tuple[PeerEntry, ...]


class Started(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """The replica exists, and its data was born as this member."""

    id: _Number
    member: Member


Reply: TypeAlias = Result | Failed | Status | Conf | Peers | Started | Triggered | Streamed

_Requests = Annotated[list[Request], msgspec.Meta(min_length=1, max_length=ITEMS_PER_FRAME)]
_Replies = Annotated[list[Reply], msgspec.Meta(min_length=1, max_length=ITEMS_PER_FRAME)]

_ENCODER: Final = msgspec.msgpack.Encoder()
_REQUESTS: Final[msgspec.msgpack.Decoder[list[Request]]] = msgspec.msgpack.Decoder(_Requests)
_REPLIES: Final[msgspec.msgpack.Decoder[list[Reply]]] = msgspec.msgpack.Decoder(_Replies)


def encode_item(item: Request | Reply) -> bytes:
    """One request or reply; `frames.array_of` makes the payload of a frame."""
    return _ENCODER.encode(item)


def decode_requests(payload: bytes) -> list[Request]:
    """What a REQUESTS frame carries. Raises `ProtocolError`. Of the commands within only the length is checked."""
    try:
        return _REQUESTS.decode(payload)
    except RecursionError:
        raise ProtocolError("not requests: nested too deep") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"not requests: {error}") from error


def decode_replies(payload: bytes) -> list[Reply]:
    """What a REPLIES frame carries. Raises `ProtocolError`."""
    try:
        return _REPLIES.decode(payload)
    except RecursionError:
        raise ProtocolError("not replies: nested too deep") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"not replies: {error}") from error
