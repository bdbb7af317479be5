"""The Vault port: where the snapshots of a node's replicas are kept, and how they get from node to node.

`node` performs it in worker threads on a real folder and over real sockets, `sim` with faults. A job is answered by
exactly one `VaultDone`, which reaches the host from outside `submit`; jobs of one replica are performed in the order of
submission, those of different replicas in any. A job that fails leaves what was there before: a snapshot is published
whole (files and folder synced, then renamed) or not at all.

    Write    a captured state becomes a published snapshot
    Fetch    a snapshot that a leader offered is carried over, verified, and published here
    Install  a published snapshot is read into a fresh machine; nothing durable changes
    Drop     published snapshots of the replica below an index are deleted, but for those that are being fetched
    Forget   everything that is kept of the replica is deleted; its archives stay

The synchronous methods serve recovery (`found`, `load`), the moment in which a leader makes an offer, and whoever asks
how far a fetch is.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec

from zraft.core.entries import SnapshotMark
from zraft.errors import CorruptData, ZraftError
from zraft.session.machine import ReplicatedMachine
from zraft.session.snapshots import Captured
from zraft.storage.replica import ReplicaMeta
from zraft.types import Index, Member


class Write(msgspec.Struct, frozen=True):
    """Write `captured`, the state at `mark`, and publish it. `archive`: keep a copy that `Drop` never touches.

    It takes the place of a published snapshot of the replica at the same index, which may be one that cannot be read.
    """

    number: int
    meta: ReplicaMeta
    mark: SnapshotMark
    captured: Captured
    archive: bool = False


class Fetch(msgspec.Struct, frozen=True):
    """Bring the snapshot at `mark` from `sender`, who offered it as `offer` (what its own `Vault.offer` had made).

    A connection that breaks is resumed where it stood. It fails where the sender takes the offer back, where what
    arrived is not what was offered, or where nothing arrives for too long. What is published takes the place of a
    snapshot of the replica at the same index.
    """

    number: int
    meta: ReplicaMeta
    mark: SnapshotMark
    sender: Member
    offer: bytes


class Install(msgspec.Struct, frozen=True):
    """Read the published snapshot at `mark` into `machine`, which is fresh and nobody else's until it is done."""

    number: int
    meta: ReplicaMeta
    mark: SnapshotMark
    machine: ReplicatedMachine


class Drop(msgspec.Struct, frozen=True):
    """Delete the replica's published snapshots below `below`, but for those at the indexes in `keep`."""

    number: int
    meta: ReplicaMeta
    below: Index
    keep: tuple[Index, ...] = ()


class Forget(msgspec.Struct, frozen=True):
    """Delete everything that is kept of the replica, what is half written and half fetched included."""

    number: int
    meta: ReplicaMeta


VaultJob: TypeAlias = Write | Fetch | Install | Drop | Forget


class VaultDone(msgspec.Struct, frozen=True):
    """Job `number` is done, or failed with `error`. `size`: bytes of the snapshot that was written or fetched."""

    number: int
    size: int = 0
    error: ZraftError | None = None


class FoundSnapshot(msgspec.Struct, frozen=True):
    """A published snapshot of the replica `meta`, as its manifest says. `fault` set: it cannot be used."""

    meta: ReplicaMeta
    mark: SnapshotMark
    size: int
    fault: CorruptData | None = None


class Vault(Protocol):
    """One node's snapshots."""

    def found(self) -> list[FoundSnapshot]:
        """What is published, sorted by name, then index. Manifests are verified, the rest by `load`. Raises OSError.

        What was half written or half fetched when the process ended is removed, and what is found is durable from now
        on: a process that is killed leaves names that can be read and would be gone after a power loss.
        """

    def load(self, meta: ReplicaMeta, mark: SnapshotMark, machine: ReplicatedMachine) -> None:
        """Read the published snapshot into the fresh `machine` now. For recovery. Raises CorruptData and OSError."""

    def submit(self, job: VaultJob) -> None:
        """Queue the job."""

    def offer(self, meta: ReplicaMeta, mark: SnapshotMark, to: Member) -> bytes | None:
        """What `to` needs to fetch the published snapshot at `mark`; None where there is none any more.

        An offer is good for one receiver, until a newer one is made to it or it has fetched the snapshot.
        """

    def is_sending(self, meta: ReplicaMeta, index: Index) -> bool:
        """The snapshot at `index` is on its way to somebody."""

    def progress(self, meta: ReplicaMeta, mark: SnapshotMark) -> tuple[int, int] | None:
        """How many bytes of how many have arrived of the snapshot at `mark`; None while it is not being fetched.

        Cheap: it is asked with every status.
        """
