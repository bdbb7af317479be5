"""One replica's snapshots: taken, offered to followers, fetched from leaders (§5.1). The state itself is the vault's.

    TAKE     due ─> apply waits for the own disk ─> capture ─> Write ─> SnapshotTaken ─> the log is cut
                                                     └ apply goes on, unless the backend wants it written at once
    OFFER    send_snapshot ─> the vault's offer ─> InstallSnapshot
    FETCH    restore ─> hard states durable ─> Fetch ─> Install into a fresh machine ─> SnapshotRestored ─> swapped in

A snapshot is captured between batches, at an index that the own disk has: what is durable of it never speaks of a term
that the hard state may have lost (BM-002). A failure is told, noted and tried again; none ends the replica. Snapshots
that a newer one replaced are dropped, except those that a follower was offered and may still be fetching.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from zraft.core.entries import Batch, SnapshotMark
from zraft.core.events import SnapshotFailed, SnapshotTaken
from zraft.core.messages import InstallSnapshot
from zraft.core.progress import ProgressState
from zraft.core.roles import Leader
from zraft.errors import ReplicaFault, ZraftError
from zraft.machine.backend import Backend
from zraft.peer.growth import Growth, SnapshotSettings
from zraft.peer.shelf import Shelf
from zraft.peer.vault import Drop, Fetch, Install, VaultDone, VaultJob, Write
from zraft.session.machine import ReplicatedMachine
from zraft.session.outcomes import attempted
from zraft.session.snapshots import Captured
from zraft.storage.replica import ReplicaMeta
from zraft.types import Index, Member, Millis, PeerId
from zraft.wire.requests import SnapshotProgress

if TYPE_CHECKING:
    from zraft.peer.peer import Peer

_RETRY_AT_MOST: Final[Millis] = 60_000

_REFUSALS_AT_MOST: Final = 3
"""Offers of one snapshot that come to nothing before another one is taken."""


class _Writing(msgspec.Struct, frozen=True):
    """A state that was captured, and is being written."""

    mark: SnapshotMark
    backend: Backend
    bytes_then: int
    is_sync: bool


class _Offer(msgspec.Struct, frozen=True):
    """What a follower was offered, and when."""

    message: InstallSnapshot
    at: Millis


class _Restoring(msgspec.Struct):
    """A snapshot that the leader offered. `after_save`: what must be durable before it may be fetched."""

    message: InstallSnapshot
    after_save: int
    is_asked: bool = False
    machine: ReplicatedMachine | None = None
    size: int = 0


class Snapshotting:
    """Of one running replica."""

    __slots__ = (
        "_drop_due",
        "_dropping",
        "_growth",
        "_is_possible",
        "_make_machine",
        "_meta",
        "_offered",
        "_peer",
        "_refusals",
        "_restoring",
        "_retaken_at",
        "_retry_at",
        "_retry_ms",
        "_settings",
        "_shelf",
        "_wanted",
        "_writing",
    )

    def __init__(
        self,
        peer: Peer,
        shelf: Shelf,
        settings: SnapshotSettings,
        make_machine: Callable[[ReplicaMeta], ReplicatedMachine],
        *,
        state_bytes: int,
    ) -> None:
        """The machine of `peer` is where its last snapshot stands, which weighs `state_bytes`."""
        self._peer, self._shelf, self._settings, self._make_machine = peer, shelf, settings, make_machine
        self._meta = peer.meta
        self._growth = Growth(settings, peer.machine.last_applied, state_bytes)
        self._is_possible = shelf.is_there
        self._writing: _Writing | None = None
        self._wanted = False
        """The last snapshot is of no use to followers: another one is wanted, due or not."""
        self._refusals = 0
        """Offers of it in a row that came to nothing."""
        self._retaken_at: Index = 0
        """Where the last one stands that was taken for that reason: once is enough, it may be the followers' fault."""
        self._retry_ms: Millis = settings.retry_ms
        self._retry_at: Millis | None = None
        """After a failure: not before this moment."""
        self._offered: dict[Member, _Offer] = {}
        self._restoring: _Restoring | None = None
        self._dropping = False
        self._drop_due = True
        """Something may be published that nobody needs."""

    # -- taking

    def applied(self, batch: Batch) -> bool:
        """`batch` was applied whole. True where nothing more may be applied before the next turn."""
        return self._growth.applied(batch) and self._may_take

    @property
    def holds_apply(self) -> bool:
        """Nothing may be applied now: the state is about to be captured, or is being written as it stands."""
        machine = self._peer.machine
        if self._writing is not None:
            return self._writing.is_sync and self._writing.backend is machine.backend
        return self._is_due and machine.is_between_batches

    @property
    def _may_take(self) -> bool:
        is_free = self._writing is None and self._restoring is None
        return is_free and self._retry_at is None and self._is_possible

    @property
    def _is_due(self) -> bool:
        if not self._may_take:
            return False
        applied, last = self._peer.machine.last_applied, self._peer.raft.snapshot.index
        return (self._growth.is_due and applied > last) or (self._wanted and applied >= last)

    @property
    def due_ms(self) -> Millis | None:
        """When `turn` wants to be called though nothing happens; None: it does not."""
        return self._retry_at

    def turn(self, now: Millis) -> None:
        """The turn ends: see to what was waiting for the disk, for time or for apply."""
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
        if self._is_due:
            self._take(now)
        if self._restoring is not None and not self._restoring.is_asked:
            self._fetch(now, self._restoring)
        if self._offered:
            self._forget_offers(now)
        if self._drop_due and not self._dropping:
            self._drop()

    def _take(self, now: Millis) -> None:
        """Capture the state and have it written, where that is possible now."""
        peer = self._peer
        raft, machine = peer.raft, peer.machine
        index = machine.last_applied
        if not machine.is_between_batches or index > raft.saves.durable_index:
            return
        try:
            captured = attempted("snapshot", machine.capture)
        except ReplicaFault as fault:
            self._failed(now, machine.backend, fault)
            return
        if not isinstance(captured, Captured):
            if captured.type == NotImplementedError.__name__:
                self._is_possible = False
                peer.note(f"backend {self._meta.backend!r} has no snapshot(): the log grows for ever", is_alarm=True)
            else:
                self._failed(now, machine.backend, captured)
            return
        at = captured.surroundings
        membership_index, membership = raft.memberships.as_of(index)
        mark = SnapshotMark(index, at.term, at.time, membership_index, membership)
        if not raft.log.has(index, at.term):
            raise ReplicaFault(f"the machine is at {index} of term {at.term}, which is not in {raft.log!r}")
        if self._wanted:
            self._wanted, self._retaken_at = False, index
        self._writing = _Writing(mark, machine.backend, self._growth.bytes_now, captured.is_sync)
        number = self._shelf.next_number()
        self._submit(Write(number, self._meta, mark, captured, self._settings.backup))

    def _written(self, now: Millis, writing: _Writing, done: VaultDone) -> None:
        self._writing = None
        peer = self._peer
        if done.error is not None:
            self._failed(now, writing.backend, done.error)
            return
        self._retry_ms, self._retry_at = self._settings.retry_ms, None
        self._tell("snapshot_done", writing.backend.snapshot_done)
        self._drop_due = True
        if writing.mark.index <= peer.raft.snapshot.index:
            return  # one from the leader came in between
        self._growth.published(writing.mark.index, writing.bytes_then, done.size)
        peer.step(now, SnapshotTaken(writing.mark, self._growth.keep_from()))
        log = peer.raft.log
        peer.note(f"took a snapshot at {writing.mark.index}, {done.size} bytes; the log begins at {log.base_index + 1}")

    def _failed(self, now: Millis, backend: Backend, error: ZraftError) -> None:
        """Not fatal: the log goes on growing, and an operator hears of it each time."""
        self._retry_at = now + self._retry_ms
        self._peer.note(f"no snapshot could be taken: {error}; next attempt in {self._retry_ms} ms", is_alarm=True)
        self._retry_ms = min(2 * self._retry_ms, _RETRY_AT_MOST)
        self._tell("snapshot_failed", backend.snapshot_failed, error)

    # -- offering

    def offer(self, now: Millis, message: InstallSnapshot) -> InstallSnapshot | None:
        """The message that offers the snapshot, complete. None: there is nothing to offer now; the core asks again.

        Who may still be fetching an older one is offered that again: it would otherwise never finish any.
        """
        earlier = self._offered.get(message.to)
        if earlier is not None and self._stands(now, message.to, earlier) and earlier.message.term == message.term:
            return earlier.message
        transfer = self._shelf.offer(self._meta, message.mark, message.to)
        if transfer is None:
            self._offered.pop(message.to, None)
            self._wanted = True
            self._peer.note(f"the snapshot at {message.mark.index} cannot be offered to {message.to}", is_alarm=True)
            return None
        complete = msgspec.structs.replace(message, transfer=transfer)
        self._offered[message.to] = _Offer(complete, now)
        return complete

    def sending(self) -> tuple[tuple[PeerId, Index], ...]:
        """Who may be fetching which snapshot from here."""
        return tuple((to.peer, offer.message.mark.index) for to, offer in self._offered.items())

    def _stands(self, now: Millis, to: Member, offer: _Offer) -> bool:
        """The follower may still be fetching what it was offered."""
        role = self._peer.raft.role
        progress = role.progress.get(to) if type(role) is Leader else None
        return (
            progress is not None
            and progress.state is ProgressState.SNAPSHOT
            and progress.match_index < offer.message.mark.index
            and (
                now - offer.at < self._settings.offer_ms or self._shelf.is_sending(self._meta, offer.message.mark.index)
            )
            and any(found.mark == offer.message.mark for found in self._shelf.published(self._meta))
        )

    def _forget_offers(self, now: Millis) -> None:
        """Who took a snapshot, gave it up or went, may be fetching nothing any more."""
        for to, offer in list(self._offered.items()):
            if not self._stands(now, to, offer):
                del self._offered[to]
                self._drop_due = True
                self._learn(to, offer)

    def _learn(self, to: Member, offer: _Offer) -> None:
        """Where followers cannot take the last snapshot again and again, it may be unreadable here."""
        role, last = self._peer.raft.role, self._peer.raft.snapshot.index
        progress = role.progress.get(to) if type(role) is Leader else None
        if progress is None or offer.message.mark.index != last:
            return
        if progress.match_index >= last:
            self._refusals = 0
        elif progress.state is ProgressState.PROBE:
            self._refusals += 1
            if self._refusals >= _REFUSALS_AT_MOST and last != self._retaken_at:
                self._refusals, self._wanted = 0, True

    # -- fetching

    def restore(self, message: InstallSnapshot, after_save: int) -> None:
        """The core wants this fetched and installed, once save `after_save` is durable."""
        self._restoring = _Restoring(message, after_save)

    def fetching(self) -> SnapshotProgress | None:
        """What is on its way here, and how far it is; None where nothing is, or it has arrived."""
        if self._restoring is None or not self._restoring.is_asked:
            return None
        mark = self._restoring.message.mark
        known = self._shelf.progress(self._meta, mark)
        return SnapshotProgress(mark.index, *known) if known is not None else None

    def _fetch(self, now: Millis, restoring: _Restoring) -> None:
        message = restoring.message
        if not self._shelf.is_there:
            self._not_restored(now, message.mark, ReplicaFault("no snapshots are kept here"))
        elif self._peer.is_saved(restoring.after_save):
            restoring.is_asked = True
            number = self._shelf.next_number()
            job = Fetch(number, self._meta, message.mark, message.sender, message.transfer)
            self._submit(job)

    def _fetched(self, now: Millis, restoring: _Restoring, done: VaultDone) -> None:
        mark = restoring.message.mark
        if done.error is not None:
            self._not_restored(now, mark, done.error)
        elif mark.index <= self._peer.raft.commit_index:
            self._restored(now, restoring, None)
        else:
            restoring.size = done.size
            try:
                restoring.machine = self._make_machine(self._meta)
            except ReplicaFault as fault:
                self._not_restored(now, mark, fault)
                return
            job = Install(self._shelf.next_number(), self._meta, mark, restoring.machine)
            self._submit(job)

    def _installed(self, now: Millis, restoring: _Restoring, done: VaultDone) -> None:
        mark = restoring.message.mark
        if done.error is not None:
            self._not_restored(now, mark, done.error)
        elif mark.index <= self._peer.raft.commit_index:
            self._restored(now, restoring, None)
        else:
            self._restored(now, restoring, restoring.machine)

    def _not_restored(self, now: Millis, mark: SnapshotMark, error: ZraftError) -> None:
        self._restoring = None
        self._peer.note(f"the snapshot at {mark.index} could not be fetched or installed: {error}", is_alarm=True)
        self._peer.step(now, SnapshotFailed(mark))

    def _restored(self, now: Millis, restoring: _Restoring, machine: ReplicatedMachine | None) -> None:
        """With a machine it takes the place of the present one; without, entries came in faster than the snapshot."""
        mark = restoring.message.mark
        self._restoring = None
        self._drop_due = True
        if machine is not None:
            self._growth.restart(mark.index, restoring.size)
        self._peer.restored(now, mark, machine)

    # -- what the vault says

    def done(self, now: Millis, job: VaultJob, done: VaultDone) -> None:
        """A job of this replica has ended."""
        match job:
            case Write() if self._writing is not None and self._writing.mark == job.mark:
                self._written(now, self._writing, done)
            case Fetch() if self._restoring is not None:
                self._fetched(now, self._restoring, done)
            case Install() if self._restoring is not None:
                self._installed(now, self._restoring, done)
            case Drop():
                self._dropping = False
                if done.error is not None:
                    self._peer.note(f"old snapshots could not be deleted: {done.error}", is_alarm=True)
            case _:
                pass

    # -- dropping

    def _drop(self) -> None:
        """Of what is published below the snapshot in force, only what a follower may be fetching stays."""
        self._drop_due = False
        below = self._peer.raft.snapshot.index
        keep = [offer.message.mark.index for offer in self._offered.values()]
        old = [found.mark.index for found in self._shelf.published(self._meta) if found.mark.index < below]
        if any(index not in keep for index in old):
            self._dropping = True
            job = Drop(self._shelf.next_number(), self._meta, below, tuple(sorted(keep)))
            self._submit(job)

    # -- both sides

    def _submit(self, job: VaultJob) -> None:
        self._shelf.submit(job, self._peer.vault_done)

    def _tell(self, what: str, call: Callable[..., None], *arguments: object) -> None:
        """For the backend's own books: what it makes of that is noted, and changes nothing."""
        try:
            problem = attempted(what, call, *arguments)
        except ReplicaFault as fault:
            problem = fault
        if isinstance(problem, ZraftError):
            self._peer.note(f"{what}: {problem}", is_alarm=True)
