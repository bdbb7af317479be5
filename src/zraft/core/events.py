"""What can happen to a replica. Events carry batches of work, never single requests, wherever there can be many.

`ref` numbers are the caller's own: the core hands them back in `Output.accepted`, `reads_ready`, `changed`,
`transferred` or `refused`, each exactly once, except that an accepted proposal is answered by its index being committed
or truncated.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from zraft.core.entries import Batch, Membership, SnapshotMark
from zraft.core.messages import Message
from zraft.types import Index, Member, Millis


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """`count` (at least 1) commands, encoded into one batch's `payload`, which stays one batch for ever."""

    ref: int
    count: int
    payload: bytes


class Propose(msgspec.Struct, frozen=True):
    """Append these, in this order. `wall` is the caller's wall clock in milliseconds, stamped on the batches."""

    proposals: tuple[Proposal, ...]
    wall: int = 0


class ProposeTime(msgspec.Struct, frozen=True):
    """Append one time entry: the machine has something due. A follower ignores it."""


class Read(msgspec.Struct, frozen=True):
    """Give `ref` a read index: state applied up to it is linearizable from now on (§6.4)."""

    ref: int


class ChangeMembership(msgspec.Struct, frozen=True):
    """Make `target` the voters of the group. New members have been started, empty, and their incarnations are real."""

    ref: int
    target: tuple[Member, ...]


class TransferLeadership(msgspec.Struct, frozen=True):
    """Hand leadership to `to`, a voter (§3.10). None: to the most up-to-date voter that answers."""

    ref: int
    to: Member | None = None


class Bootstrap(msgspec.Struct, frozen=True):
    """A blank replica becomes the first member of a new group: `membership` is entry 1, in term 1. Happens once."""

    membership: Membership


class Received(msgspec.Struct, frozen=True, gc=False):
    """A decoded message of this group arrived."""

    message: Message


class Saved(msgspec.Struct, frozen=True, gc=False):
    """Every save up to `number` is durable. What that proves of the log, the core noted when it issued it (BM-025)."""

    number: int


class Loaded(msgspec.Struct, frozen=True):
    """What `Output.load` asked for, as far as it still exists: contiguous batches from `first` on. May be empty."""

    to: Member
    first: Index
    batches: tuple[Batch, ...]


class NodeLost(msgspec.Struct, frozen=True):
    """The connection to a node broke: messages under way to its members are gone."""

    node: str


class NodeBack(msgspec.Struct, frozen=True):
    """A connection to a node is up again."""

    node: str


class NodeSilent(msgspec.Struct, frozen=True):
    """A node was not heard for an election timeout, last at `heard_ms` of the local clock. Wakes who is quiet."""

    node: str
    heard_ms: Millis


class NodeRestarted(msgspec.Struct, frozen=True):
    """A node was started anew: nobody there is what it was. Wakes who is quiet."""

    node: str


class Rouse(msgspec.Struct, frozen=True):
    """Two nodes disagree about whether this replica's group is quiet: it shall be awake."""


class TimePassed(msgspec.Struct, frozen=True, gc=False):
    """`Output.wake_at_ms` was reached. A caller that is late delivers what waits in its sockets first."""


class SnapshotTaken(msgspec.Struct, frozen=True):
    """A snapshot of the applied state is durable at `mark`: the log up to `keep_from - 1` may go.

    It is only taken of entries that the own log holds durably: otherwise a crash could leave a snapshot of a term that
    the hard state has not heard of, and such a replica refuses to start (BM-002).
    """

    mark: SnapshotMark
    keep_from: Index


class SnapshotRestored(msgspec.Struct, frozen=True):
    """The snapshot that `Output.restore` asked for is durable and is the machine's state."""

    mark: SnapshotMark


class SnapshotFailed(msgspec.Struct, frozen=True):
    """The snapshot that `Output.restore` asked for could not be fetched or verified."""

    mark: SnapshotMark


Event: TypeAlias = (
    Propose
    | ProposeTime
    | Read
    | ChangeMembership
    | TransferLeadership
    | Bootstrap
    | Received
    | Saved
    | Loaded
    | NodeLost
    | NodeBack
    | NodeSilent
    | NodeRestarted
    | Rouse
    | TimePassed
    | SnapshotTaken
    | SnapshotRestored
    | SnapshotFailed
)
