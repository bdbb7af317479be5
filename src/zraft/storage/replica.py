"""What the store keeps for each replica besides its log, and what recovery hands back."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from zraft.core.entries import Batch, HardState, SnapshotMark
from zraft.core.recovered import Recovered
from zraft.errors import CorruptData, StorageError
from zraft.types import GroupId, Index, Member
from zraft.wire.requests import kept_name


class ReplicaMeta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The identity of one replica, durable together with its hard state from its birth on.

    `name` is the peer's name on this node, unique there; `group` the group it belongs to; `incarnation` the 64-bit
    number drawn at birth; `backend` the name its machine was made with.
    """

    name: str
    group: GroupId
    incarnation: int
    backend: str


def is_kept_aside(meta: ReplicaMeta) -> bool:
    """The replica left its group: it does not run, and its data is only kept."""
    return meta.name == kept_name(meta.name.rpartition(".removed-")[0], meta.incarnation)


class RecoveredReplica(msgspec.Struct, frozen=True):
    """One replica as found at start. `fault` set: it must not run; `recovered` is then what could be read, if any."""

    meta: ReplicaMeta
    recovered: Recovered
    fault: CorruptData | None = None
    is_rotten: bool = False
    """The fault is that records of it, or perhaps of it, were durable and cannot be read."""
    named: tuple[Member, ...] = ()
    """Everybody whom a configuration names that can be read, whether it counts or not."""


class Save(msgspec.Struct, frozen=True, gc=False):
    """One numbered save of one replica: the first four fields of the core's Output, carried out in this order."""

    name: str
    number: int
    hard_state: HardState | None = None
    truncate_from: Index = 0
    reset_to: SnapshotMark | None = None
    append: tuple[Batch, ...] = ()


class SaveDone(msgspec.Struct, frozen=True, gc=False):
    """Every save of `name` up to `number` is durable."""

    name: str
    number: int


class LoadDone(msgspec.Struct, frozen=True, gc=False):
    """The batches that `Store.load` asked for under `token`: contiguous, possibly none where they are gone."""

    name: str
    token: int
    batches: tuple[Batch, ...]


class LoadFailed(msgspec.Struct, frozen=True, gc=False):
    """What was read for `token` does not match its checksum: the replica must stop (D5)."""

    name: str
    token: int
    error: CorruptData


class StoreFailed(msgspec.Struct, frozen=True, gc=False):
    """A write or a sync failed. Nothing is durable from now on and nothing was acknowledged since: the node stops."""

    error: StorageError


StoreResult: TypeAlias = SaveDone | LoadDone | LoadFailed | StoreFailed
"""What the completion of a job may mean for a replica or the node."""
