"""A node's snapshots as its host knows them: what is published of which replica, and the vault's jobs under way.

    found at start ─┐
    Write, Fetch    ┼─> published, by replica      A job belongs to whoever asked for it: what a replica that stopped or
    Drop, Forget   ─┘                              went had asked for changes what is published, and nobody is told.

`choose` says from which published snapshot a replica goes on. A snapshot replaces only what its log leads to, or a log
that never was promised beyond it:

    published            log                                               the replica goes on
    at the log's mark    begins after it                                   from it
    above the mark       holds the entry at it, or not: then all of it     from it: the log follows, or is reset (§5.1)
                         is older, or never was committed
    below the mark       lacks what lies between                           not from it
    none at, or above    begins after a mark                               not at all: it has failed, and says so
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from zraft.core.entries import SnapshotMark
from zraft.core.recovered import Recovered
from zraft.errors import CorruptData, ReplicaFault, StorageError, ZraftError
from zraft.peer.duties import Outbox
from zraft.peer.vault import Drop, Fetch, Forget, FoundSnapshot, Vault, VaultDone, VaultJob, Write
from zraft.session.machine import ReplicatedMachine
from zraft.storage.replica import ReplicaMeta
from zraft.types import Index, Member, Millis, Term

Told: TypeAlias = Callable[[Millis, VaultJob, VaultDone], None]
"""Hears what became of a job."""


class Chosen(msgspec.Struct, frozen=True):
    """A machine that holds the state at `mark`, the size of that snapshot, and what was wrong with newer ones.

    By default a fresh one, of a replica that has no snapshot.
    """

    machine: ReplicatedMachine
    mark: SnapshotMark = SnapshotMark()
    size: int = 0
    notes: tuple[str, ...] = ()


class Shelf:
    """Without a vault nothing is published and no job is possible: no log is ever shortened."""

    def __init__(self, vault: Vault | None, outbox: Outbox) -> None:
        """Raises StorageError where the folder of snapshots cannot be read."""
        self._vault = vault
        self._outbox = outbox
        self._jobs: dict[int, tuple[VaultJob, Told]] = {}
        self._published: dict[int, dict[Index, FoundSnapshot]] = {}
        """By incarnation and index."""
        self.rotten: dict[int, None] = {}
        """Replicas, by incarnation, for which nothing could be chosen because the bytes of a snapshot have changed."""
        self._leaving: dict[str, list[ReplicaMeta]] = {}
        """Replicas whose removal is not durable yet, by name."""
        try:
            found = vault.found() if vault is not None else []
        except OSError as error:
            raise StorageError(f"the snapshots cannot be read: {error}") from error
        for snapshot in found:
            self._published.setdefault(snapshot.meta.incarnation, {})[snapshot.mark.index] = snapshot

    @property
    def is_there(self) -> bool:
        """Snapshots can be taken here."""
        return self._vault is not None

    # -- jobs

    def next_number(self) -> int:
        """A number for a job, which no other one has."""
        return self._outbox.next_token()

    def submit(self, job: VaultJob, told: Told) -> None:
        """Hand the job to the vault; `told` hears how it ended."""
        if self._vault is None:
            raise ReplicaFault("no snapshots are kept here")
        self._jobs[job.number] = (job, told)
        self._vault.submit(job)

    def done(self, now: Millis, done: VaultDone) -> ReplicaMeta | None:
        """A job has ended; whose it was. None: one that nobody knows, of an earlier life of the host."""
        known = self._jobs.pop(done.number, None)
        if known is None:
            return None
        job, told = known
        if done.error is None:
            self._note(job, done.size)
        told(now, job, done)
        return job.meta

    def _note(self, job: VaultJob, size: int) -> None:
        owner = job.meta.incarnation
        match job:
            case Write() | Fetch():
                published = self._published.setdefault(owner, {})
                published[job.mark.index] = FoundSnapshot(job.meta, job.mark, size)
            case Drop():
                kept = self._published.get(owner, {})
                for index in [index for index in kept if index < job.below and index not in job.keep]:
                    del kept[index]
            case Forget():
                self._published.pop(owner, None)
            case _:
                pass

    def disown(self, told: Told) -> None:
        """Whoever asked is gone, and hears nothing any more."""
        for number, (job, listener) in list(self._jobs.items()):
            if listener == told:
                self._jobs[number] = (job, _nobody)

    # -- what is published

    def published(self, meta: ReplicaMeta) -> list[FoundSnapshot]:
        """Of this replica, oldest first."""
        found = self._published.get(meta.incarnation, {})
        return [found[index] for index in sorted(found)]

    def offer(self, meta: ReplicaMeta, mark: SnapshotMark, to: Member) -> bytes | None:
        """What `to` needs to fetch the snapshot at `mark`; None where it cannot be had."""
        return self._vault.offer(meta, mark, to) if self._vault is not None else None

    def is_sending(self, meta: ReplicaMeta, index: Index) -> bool:
        """The snapshot at `index` is on its way to somebody."""
        return self._vault is not None and self._vault.is_sending(meta, index)

    def progress(self, meta: ReplicaMeta, mark: SnapshotMark) -> tuple[int, int] | None:
        """How many bytes of how many have arrived; None where this snapshot is not on its way here."""
        return self._vault.progress(meta, mark) if self._vault is not None else None

    def choose(
        self, meta: ReplicaMeta, recovered: Recovered, make_machine: Callable[[ReplicaMeta], ReplicatedMachine]
    ) -> Chosen:
        """A machine for a replica that starts, at the newest state that its log can follow.

        Raises ReplicaFault where there is none, or where one is of a term that the hard state has not heard of.
        """
        notes: list[str] = []
        is_rotten = False
        self.rotten.pop(meta.incarnation, None)
        mark, term = recovered.mark, recovered.hard_state.term
        usable = [found for found in self.published(meta) if found.mark.index >= mark.index]
        for found in reversed(usable):
            problem: Exception | None = found.fault or _disagreement(found, meta, mark, term)
            is_rotten = is_rotten or found.fault is not None
            if problem is None:
                machine = make_machine(meta)
                problem = self._load(found, machine)
                if problem is None:
                    return Chosen(machine, found.mark, found.size, tuple(notes))
                is_rotten = is_rotten or isinstance(problem, CorruptData)
            text = str(problem) if isinstance(problem, ZraftError) else f"{type(problem).__name__}: {problem}"
            notes.append(f"the snapshot at {found.mark.index} cannot be used: {text}")
        if mark.index:
            if is_rotten:
                self.rotten[meta.incarnation] = None
            why = f": {notes[0]}" if notes else ""
            raise ReplicaFault(f"the log begins after {mark.index}, and no snapshot leads to it{why}")
        return Chosen(make_machine(meta), notes=tuple(notes))

    def _load(self, found: FoundSnapshot, machine: ReplicatedMachine) -> Exception | None:
        """None, or why the machine is of no use."""
        if self._vault is None:
            return ReplicaFault("no snapshots are kept here")
        try:
            self._vault.load(found.meta, found.mark, machine)
        except Exception as error:
            return error
        return None

    # -- replicas that go

    def leave(self, meta: ReplicaMeta) -> None:
        """The replica is being removed; its snapshots go when that is durable.

        What was kept aside has another name since, and its snapshots do not.
        """
        self._leaving.setdefault(meta.name, []).append(next((found.meta for found in self.published(meta)), meta))

    def left(self, name: str) -> None:
        """Removals of replicas of that name are durable."""
        for meta in self._leaving.pop(name, []):
            self._forget(meta)

    def forget_strangers(self, replicas: list[ReplicaMeta]) -> None:
        """What is kept of others than these was left behind by a removal that a crash cut short."""
        known = [meta.incarnation for meta in replicas]
        for owner in [owner for owner in self._published if owner not in known]:
            self._forget(next(iter(self._published[owner].values())).meta)

    def _forget(self, meta: ReplicaMeta) -> None:
        if self._vault is not None:
            self.submit(Forget(self.next_number(), meta), _nobody)


def _disagreement(found: FoundSnapshot, meta: ReplicaMeta, mark: SnapshotMark, term: Term) -> CorruptData | None:
    """What keeps a readable snapshot from being this replica's. Raises ReplicaFault where the replica must not run."""
    if found.mark.term > term:
        raise ReplicaFault(
            f"the snapshot at {found.mark.index} is of term {found.mark.term}, the hard state only of term {term}"
        )
    name = f"snapshot {found.mark.index} of {meta.name}"
    if found.meta != meta:
        return CorruptData(name, 0, f"it belongs to {found.meta}, not to {meta}")
    if found.mark.index == mark.index and found.mark != mark:
        return CorruptData(name, 0, f"it stands at {found.mark}, the log begins after {mark}")
    return None


def _nobody(now: Millis, job: VaultJob, done: VaultDone) -> None:
    """Nobody asked, or nobody is left."""
