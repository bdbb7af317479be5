"""A vault in memory: jobs are performed when told to, and fail when told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from zraft.core.entries import SnapshotMark
from zraft.errors import CorruptData, StorageError, ZraftError
from zraft.peer.vault import Drop, Fetch, Forget, FoundSnapshot, Install, VaultDone, VaultJob, Write
from zraft.session.machine import ReplicatedMachine
from zraft.sim.folder import MemoryFolder
from zraft.storage.replica import ReplicaMeta
from zraft.types import Index, Member

Key = tuple[int, Index]


class FakeVault:
    """The Vault port. What `run` has done is durable; `others` are the vaults of all nodes, by name."""

    def __init__(self, node: str, others: dict[str, FakeVault]) -> None:
        self.node, self.others = node, others
        self.published: dict[Key, tuple[ReplicaMeta, SnapshotMark, MemoryFolder]] = {}
        self.corrupt: set[Key] = set()
        """Published, and unreadable."""
        self.archived: list[Key] = []
        self.jobs: deque[VaultJob] = deque()
        self.performed: list[VaultJob] = []
        self.offers: dict[bytes, Key] = {}
        self.sending: set[Key] = set()
        self.made = 0
        self.arrived = 0
        """Bytes of the snapshot that the oldest job fetches."""
        self.fail: Callable[[VaultJob], ZraftError | None] = lambda job: None
        self.unreadable = False
        """Its folder cannot be listed."""
        others[node] = self

    def after_crash(self) -> FakeVault:
        other = FakeVault(self.node, self.others)
        other.published, other.corrupt, other.archived = dict(self.published), set(self.corrupt), list(self.archived)
        return other

    def indexes(self) -> list[Index]:
        """Of everything published, in order."""
        return sorted(index for _, index in self.published)

    def found(self) -> list[FoundSnapshot]:
        if self.unreadable:
            raise PermissionError(13, "not yours", "snapshots")
        return [
            FoundSnapshot(meta, mark, folder.size)
            for _, (meta, mark, folder) in sorted(self.published.items(), key=lambda item: item[0][1])
        ]

    def load(self, meta: ReplicaMeta, mark: SnapshotMark, machine: ReplicatedMachine) -> None:
        key = (meta.incarnation, mark.index)
        if key in self.corrupt:
            raise CorruptData(f"snapshots/{mark.index}", 7, "the checksum does not match")
        machine.install_snapshot(self.published[key][2], mark.index)

    def submit(self, job: VaultJob) -> None:
        self.jobs.append(job)

    def offer(self, meta: ReplicaMeta, mark: SnapshotMark, to: Member) -> bytes | None:
        key = (meta.incarnation, mark.index)
        if key not in self.published or key in self.corrupt:
            return None
        self.made += 1
        token = b"%s %d" % (self.node.encode(), self.made)
        self.offers[token] = key
        return token

    def is_sending(self, meta: ReplicaMeta, index: Index) -> bool:
        return (meta.incarnation, index) in self.sending

    def progress(self, meta: ReplicaMeta, mark: SnapshotMark) -> tuple[int, int] | None:
        job = self.jobs[0] if self.jobs else None
        if not isinstance(job, Fetch) or (job.meta, job.mark) != (meta, mark):
            return None
        source = self.others[job.sender.peer.node]
        return self.arrived, source.published[source.offers[job.offer]][2].size

    def run(self) -> VaultDone:
        """Performs the oldest job."""
        job = self.jobs.popleft()
        self.performed.append(job)
        error = self.fail(job)
        try:
            if error is not None:
                raise error
            return VaultDone(job.number, self._perform(job))
        except ZraftError as failure:
            return VaultDone(job.number, error=failure)

    def _perform(self, job: VaultJob) -> int:
        owner = job.meta.incarnation
        match job:
            case Write():
                folder = MemoryFolder()
                job.captured.write(folder)
                self._publish(job.meta, job.mark, folder)
                if job.archive:
                    self.archived.append((owner, job.mark.index))
                return folder.size
            case Fetch():
                source = self.others[job.sender.peer.node]
                key = source.offers.get(job.offer)
                if key is None or key not in source.published:
                    raise StorageError("it is offered no longer")
                folder = source.published[key][2]
                self._publish(job.meta, job.mark, folder)
                return folder.size
            case Install():
                self.load(job.meta, job.mark, job.machine)
            case Drop():
                for key in list(self.published):
                    if key[0] == owner and key[1] < job.below and key[1] not in job.keep:
                        del self.published[key]
            case Forget():
                for key in [key for key in self.published if key[0] == owner]:
                    del self.published[key]
        return 0

    def _publish(self, meta: ReplicaMeta, mark: SnapshotMark, folder: MemoryFolder) -> None:
        self.published[meta.incarnation, mark.index] = (meta, mark, folder)
        self.corrupt.discard((meta.incarnation, mark.index))

    def remark(self, index: Index, **changes: object) -> None:
        """The published snapshot at `index` says something else about itself."""
        for key, (meta, mark, folder) in list(self.published.items()):
            if key[1] == index:
                self.published[key] = (meta, msgspec.structs.replace(mark, **changes), folder)
