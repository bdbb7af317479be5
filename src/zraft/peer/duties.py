"""What a host wants done at the end of a turn, besides the jobs that it has given to its disk."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from zraft.core.messages import Message
from zraft.core.output import RoleChange
from zraft.errors import StorageError
from zraft.types import GroupId, Index, Millis, PeerId, Term
from zraft.wire.peering import NodeBeat
from zraft.wire.requests import Reply
from zraft.wire.states import State

Client: TypeAlias = Any
"""Who asked: hashable, compared by identity, owned by whoever runs the host; usually a connection."""


class Note(msgspec.Struct, frozen=True):
    """Something worth a log line. `peer` empty: the node itself. `is_alarm`: an operator should know."""

    peer: str
    text: str
    is_alarm: bool = False
    error: Exception | None = None
    """What stopped the peer, or stops the node: for whoever keeps tracebacks."""


class PeerChange(msgspec.Struct, frozen=True, gc=False):
    """The role, term or leader of replica `peer` changed."""

    peer: str
    change: RoleChange


class PeerView(msgspec.Struct, frozen=True):
    """What an application wants to know of one replica. `peers`: of the last stable, committed configuration."""

    peer: PeerId
    role: str
    """As in `PeerStatus`, or "removed"."""
    term: Term = 0
    leader: PeerId | None = None
    conf_index: Index = 0
    peers: tuple[PeerId, ...] = ()


class Recorded(msgspec.Struct, frozen=True):
    """The bytes of a recording of replica `peer`, which has failed, to be kept for whoever asks why (`recording`)."""

    peer: str
    incarnation: int
    data: bytes


class Duties(msgspec.Struct, gc=False):
    """One turn's duties. Messages to one node keep their order; replies to one client too."""

    messages: list[tuple[GroupId, Message | State]] = msgspec.field(default_factory=list)
    """Each goes to the node of its `to`."""
    node_beats: list[NodeBeat] = msgspec.field(default_factory=list)
    """Each goes to the node of its `to`."""
    replies: list[tuple[Client, Reply]] = msgspec.field(default_factory=list)
    recordings: list[Recorded] = msgspec.field(default_factory=list)
    notes: list[Note] = msgspec.field(default_factory=list)
    changes: list[PeerChange] = msgspec.field(default_factory=list)
    altered: dict[str, None] = msgspec.field(default_factory=dict)
    """Replicas of which `Host.view` says something else now, or may: they came, went, failed, changed role or group."""
    fatal: StorageError | None = None
    """The store failed: nothing was or will be acknowledged that is not durable; the node must stop."""
    has_more: bool = False
    """Committed entries wait to be applied: another turn is wanted soon, after what waits in the sockets."""
    wake_at_ms: Millis | None = None
    """When time alone matters next; None: never, nothing runs here."""


class Outbox:
    """Where all replicas of a host put the duties of the present turn, and get numbers that no other one has."""

    __slots__ = ("_token", "duties", "sharing")

    def __init__(self) -> None:
        self.duties = Duties()
        self.sharing = 1
        """How many replicas run here."""
        self._token = 0

    def next_token(self) -> int:
        """A number for a load. What an earlier replica of the same name had asked for is never taken for one's own."""
        self._token += 1
        return self._token

    def take(self) -> Duties:
        """This turn's duties; the next turn begins with none."""
        duties, self.duties = self.duties, Duties()
        return duties
