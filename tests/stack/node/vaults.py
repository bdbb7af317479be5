"""Vaults on real folders, and states to keep in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.unit.session.backends import Scripted, commands, machine
from zraft.core.entries import Membership, SnapshotMark
from zraft.machine.backend import Directory
from zraft.machine.dict_backend import DictBackend
from zraft.node.vault import RealVault, Transfers
from zraft.peer.vault import Drop, Forget, FoundSnapshot, Install, VaultDone, VaultJob, Write
from zraft.session.machine import ReplicatedMachine
from zraft.session.snapshots import Captured
from zraft.storage.replica import ReplicaMeta
from zraft.types import GroupId, Index, Member, PeerId
from zraft.wire.values import encode_value

GROUP = GroupId(b"group of a test!")
PEER = PeerId("a", "127.0.0.1:7101")
PATIENCE_S = 60.0


def meta(name: str = "a", incarnation: int = 7, backend: str = "dict") -> ReplicaMeta:
    return ReplicaMeta(name, GROUP, incarnation, backend)


def mark(index: Index, term: int = 1) -> SnapshotMark:
    return SnapshotMark(index, term, 0, 1, Membership((Member(PEER, 7),)))


def state(index: Index) -> ReplicatedMachine:
    """A dict after `index` commands: key k-i has the value i."""
    replica = machine(DictBackend(PEER))
    if index:
        replica.apply_batch(commands(1, [(f"k-{number}", number) for number in range(1, index + 1)]))
    return replica


def value(replica: ReplicatedMachine, number: int) -> Any:
    return replica.query(encode_value(f"k-{number}"))


def scripted(index: Index, writer: Callable[[Directory], None]) -> Captured:
    """A state after `index` commands that `writer` writes."""
    backend = Scripted()
    backend.snapshot_is = writer
    replica = machine(backend)
    replica.apply_batch(commands(1, list(range(index))))
    return replica.capture()


class Vaulted:
    """A vault, and what it reports."""

    def __init__(self, folder: Path, transfers: Transfers | None = None) -> None:
        self.folder = folder
        self.reported: SimpleQueue[VaultDone] = SimpleQueue()
        self.vault = RealVault(folder, self.reported.put, transfers=transfers)
        self.jobs = 0

    def number(self) -> int:
        self.jobs += 1
        return self.jobs

    def do(self, job: VaultJob) -> VaultDone:
        self.vault.submit(job)
        return self.done(job.number)

    def done(self, number: int) -> VaultDone:
        found = self.reported.get(timeout=PATIENCE_S)
        assert found.number == number
        return found

    def write(self, index: Index, who: ReplicaMeta | None = None, *, archive: bool = False) -> VaultDone:
        job = Write(self.number(), who or meta(), mark(index), state(index).capture(), archive)
        return self.do(job)

    def write_with(self, index: Index, writer: Callable[[Directory], None]) -> VaultDone:
        return self.do(Write(self.number(), meta(), mark(index), scripted(index, writer)))

    def install(self, index: Index, replica: ReplicatedMachine) -> VaultDone:
        return self.do(Install(self.number(), meta(), mark(index), replica))

    def drop(self, below: Index, keep: tuple[Index, ...] = ()) -> VaultDone:
        return self.do(Drop(self.number(), meta(), below, keep))

    def forget(self, who: ReplicaMeta | None = None) -> VaultDone:
        return self.do(Forget(self.number(), who or meta()))

    def found(self) -> list[tuple[str, Index]]:
        """Names and indexes of what is published and can be used."""
        return [(found.meta.name, found.mark.index) for found in self.all() if found.fault is None]

    def all(self) -> list[FoundSnapshot]:
        return self.vault.found()

    def loaded(self, index: Index) -> ReplicatedMachine:
        replica = machine(DictBackend(PEER))
        self.vault.load(meta(), mark(index), replica)
        return replica

    def snapshot(self, index: Index, *, archived: bool = False) -> Path:
        tree = "archive" if archived else "snapshots"
        return self.folder / tree / "a-0000000000000007" / f"{index}-1"

    def names(self) -> list[str]:
        """Everything below the folder but locks, as paths."""
        paths = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))
        return sorted(path for path in paths if path != "LOCK")
