"""The simulated vault: the Vault port of a node's snapshots, with everything that may happen to files and transfers.

A snapshot is written aside, synced, renamed, and its folder synced: a step each, which takes time and may fail. What is
not renamed when the process ends is removed by the next `found`. After a power loss every rename and deletion whose
folder was not synced happened or did not, each drawn on its own. A snapshot is fetched piece by piece over the
simulated links: a cut, a sender that is down and a lost connection hold it up, and it goes on where it stood; a sender
that began a new life has forgotten its offer. Bits that flip, on the medium or on the way, are noticed by a checksum.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Generator
from typing import Final, TypeAlias, assert_never

import google_crc32c
import msgspec

from zraft.core.entries import SnapshotMark
from zraft.errors import CorruptData, DiskFull, StorageError, ZraftError
from zraft.peer.vault import Drop, Fetch, Forget, FoundSnapshot, Install, VaultDone, VaultJob, Write
from zraft.session.machine import ReplicatedMachine
from zraft.sim.chance import Chance
from zraft.sim.folder import MemoryFolder
from zraft.sim.network import Network
from zraft.sim.scheduler import Owner, Scheduler
from zraft.storage.replica import ReplicaMeta
from zraft.types import Index, Member, Millis

Steps: TypeAlias = Generator[Millis, None, int]
"""A job: what each step takes, and at last the bytes of its snapshot."""

Done: TypeAlias = Callable[[VaultDone], None]

_Key: TypeAlias = tuple[int, Index]
"""Incarnation and index."""

_OFFER: Final = msgspec.msgpack.Decoder(tuple[int, int, int])
"""Number, bytes and checksum."""


class VaultFaults(msgspec.Struct):
    """What goes wrong. Rates are per million steps; times are milliseconds."""

    step_ms: Millis = 1
    """Mean time of a step."""
    write_error: int = 0
    """EIO in any step that changes the disk."""
    no_space: int = 0
    """ENOSPC while a snapshot is written or fetched."""
    lost: int = 0
    """Of a piece on its way: the connection breaks, and is made again."""
    garbled: int = 0
    """A piece arrives with a bit flipped."""
    piece_bytes: int = 64
    patience_ms: Millis = 5000
    """Without a piece for so long a fetch is given up."""


class VaultTally(msgspec.Struct):
    """What happened in one vault."""

    written: int = 0
    fetched: int = 0
    installed: int = 0
    failed: int = 0
    resumed: int = 0
    lost_names: int = 0
    flips: int = 0


class _Stored:
    """A published snapshot, or one on its way to be."""

    __slots__ = ("checksum", "files", "is_manifest_whole", "mark", "meta")

    def __init__(self, meta: ReplicaMeta, mark: SnapshotMark, files: dict[str, bytearray]) -> None:
        self.meta, self.mark, self.files = meta, mark, files
        self.checksum = checksum_of(files)
        self.is_manifest_whole = True

    @property
    def key(self) -> _Key:
        return self.meta.incarnation, self.mark.index

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))

    def copy(self, meta: ReplicaMeta) -> _Stored:
        """The same files as the snapshot of another replica."""
        return _Stored(meta, self.mark, {name: bytearray(data) for name, data in self.files.items()})


def checksum_of(files: dict[str, bytearray]) -> int:
    """Of all names and bytes."""
    total = 0
    for name in sorted(files):
        total = google_crc32c.extend(total, b"%d %s " % (len(files[name]), name.encode()))
        total = google_crc32c.extend(total, bytes(files[name]))
    return total


class SimVault:
    """One node's snapshots. `done` hears of jobs; `others` are the vaults of all nodes, by name."""

    def __init__(
        self,
        scheduler: Scheduler,
        network: Network,
        chance: Chance,
        owner: Owner,
        others: dict[str, SimVault],
    ) -> None:
        self._scheduler, self._network, self._chance, self._owner = scheduler, network, chance, owner
        self._others = others
        self._names: dict[_Key, _Stored] = {}
        self._durable: dict[_Key, _Stored] = {}
        self._unsynced: list[tuple[_Key, _Stored | None]] = []
        """Renames, and deletions (None), since the folder was synced."""
        self._queues: dict[int, deque[VaultJob]] = {}
        self._offers: dict[int, tuple[_Key, Member]] = {}
        self._arrived: dict[_Key, tuple[int, int]] = {}
        """Of what is being fetched: bytes that have arrived, and all of them."""
        self._sent_ms: dict[_Key, Millis] = {}
        """When a piece of it last went to somebody."""
        self._is_up = False
        self._next_offer = 1
        self.faults = VaultFaults()
        self.tally = VaultTally()
        self.done: Done = _nobody
        others.setdefault(owner.name, self)

    # The port.

    def found(self) -> list[FoundSnapshot]:
        self._is_up = True
        self._sync_folder()
        found = []
        for stored in sorted(self._names.values(), key=lambda one: (one.meta.name, one.mark.index)):
            fault = None if stored.is_manifest_whole else CorruptData(f"{stored.mark.index}/manifest", 0, "checksum")
            found.append(FoundSnapshot(stored.meta, stored.mark, stored.size, fault))
        return found

    def load(self, meta: ReplicaMeta, mark: SnapshotMark, machine: ReplicatedMachine) -> None:
        stored = self._names.get((meta.incarnation, mark.index))
        if stored is None:
            raise FileNotFoundError(errno.ENOENT, "no such snapshot", str(mark.index))
        if checksum_of(stored.files) != stored.checksum:
            raise CorruptData(f"{mark.index}/files", 0, "the checksum does not match")
        machine.install_snapshot(MemoryFolder(stored.files), mark.index)

    def submit(self, job: VaultJob) -> None:
        queue = self._queues.setdefault(job.meta.incarnation, deque())
        queue.append(job)
        if len(queue) == 1:
            self._begin(job)

    def offer(self, meta: ReplicaMeta, mark: SnapshotMark, to: Member) -> bytes | None:
        stored = self._names.get((meta.incarnation, mark.index))
        if stored is None or stored.mark != mark:
            return None
        self._offers = {number: offer for number, offer in self._offers.items() if offer[1] != to}
        number, self._next_offer = self._next_offer, self._next_offer + 1
        self._offers[number] = (stored.key, to)
        return msgspec.msgpack.encode((number, stored.size, stored.checksum))

    def is_sending(self, meta: ReplicaMeta, index: Index) -> bool:
        sent_ms = self._sent_ms.get((meta.incarnation, index))
        return sent_ms is not None and self._scheduler.now_ms - sent_ms < self.faults.patience_ms

    def progress(self, meta: ReplicaMeta, mark: SnapshotMark) -> tuple[int, int] | None:
        return self._arrived.get((meta.incarnation, mark.index))

    # What the simulation does to it.

    def crash(self, *, power_loss: bool) -> None:
        """The process is gone, with its jobs and offers; with `power_loss` what the folder had not synced, too."""
        self._is_up = False
        self._queues.clear()
        self._offers.clear()
        self._arrived.clear()
        self._sent_ms.clear()
        self._next_offer += 1_000_000  # no number of this life means anything in the next one
        if not power_loss:
            return
        names = dict(self._durable)
        for key, stored in self._unsynced:
            if not self._chance.below(2):
                self.tally.lost_names += 1
            elif stored is not None:
                names[key] = stored
            else:
                names.pop(key, None)
        self._names, self._durable, self._unsynced = names, dict(names), []

    def wipe(self) -> None:
        """Somebody put an empty disk in."""
        self.crash(power_loss=False)
        self._names, self._durable, self._unsynced = {}, {}, []

    def flip(self, place: int, bit: int) -> str:
        """A bit rots in the newest published snapshot; says where. "": there is none."""
        if not self._names:
            return ""
        stored = self._names[max(self._names, key=lambda key: key[1])]
        self.tally.flips += 1
        if place % 8 == 0:
            stored.is_manifest_whole = False
            return f"the manifest of snapshot {stored.mark.index}"
        file = stored.files[sorted(stored.files)[place % len(stored.files)]]
        file[place % len(file)] ^= 1 << bit
        return f"snapshot {stored.mark.index}"

    def durable_image(self, owner: Owner) -> SimVault:
        """Another vault with what a power loss at this moment leaves at least."""
        other = SimVault(self._scheduler, self._network, self._chance, owner, {})
        other._names = dict(self._durable)
        other._durable = dict(self._durable)
        return other

    def is_durable(self, incarnation: int, index: Index) -> bool:
        """The snapshot would be there after a power loss."""
        return (incarnation, index) in self._durable

    # Jobs, a step at a time.

    def _begin(self, job: VaultJob) -> None:
        self._proceed((job, self._steps(job)))

    def _proceed(self, running: tuple[VaultJob, Steps]) -> None:
        job, steps = running
        try:
            takes = next(steps)
        except StopIteration as end:
            self._end(job, VaultDone(job.number, end.value))
        except ZraftError as error:
            self.tally.failed += 1
            self._end(job, VaultDone(job.number, error=error))
        else:
            self._scheduler.after(takes, self._proceed, running, owner=self._owner)

    def _end(self, job: VaultJob, done: VaultDone) -> None:
        self._scheduler.after(0, self._tell, done, owner=self._owner)
        if isinstance(job, Fetch):
            self._arrived.pop((job.meta.incarnation, job.mark.index), None)
        queue = self._queues[job.meta.incarnation]
        queue.popleft()
        if queue:
            self._begin(queue[0])

    def _tell(self, done: VaultDone) -> None:
        self.done(done)

    def _steps(self, job: VaultJob) -> Steps:
        match job:
            case Write():
                return self._write(job)
            case Fetch():
                return self._fetch(job)
            case Install():
                return self._install(job)
            case Drop():
                return self._drop(job)
            case Forget():
                return self._forget(job)
            case _:
                assert_never(job)

    def _write(self, job: Write) -> Steps:
        yield self._takes()
        folder = MemoryFolder()
        self._fail_sometimes()
        job.captured.write(folder)
        stored = _Stored(job.meta, job.mark, folder.files)
        yield from self._publish(stored)
        self.tally.written += 1
        return stored.size

    def _publish(self, stored: _Stored) -> Steps:
        """Sync the files, rename, sync the folder."""
        yield self._takes()
        self._fail_sometimes()
        before = self._names.get(stored.key)
        self._rename(stored.key, stored)
        yield self._takes()
        try:
            self._fail_sometimes()
        except StorageError:
            self._rename(stored.key, before)
            raise
        self._sync_folder()
        return stored.size

    def _fetch(self, job: Fetch) -> Steps:
        number, size, checksum = _OFFER.decode(job.offer)
        faults, arrived, waited, garbled = self.faults, 0, 0, False
        source = self._others[job.sender.peer.node]
        here = (job.meta.incarnation, job.mark.index)
        self._arrived[here] = (0, size)
        while arrived < size:
            takes = self._takes()
            yield takes
            if not self._reaches(source) or self._chance.happens(faults.lost):
                self.tally.resumed += 1
                waited += takes + faults.step_ms
                if waited > faults.patience_ms:
                    raise StorageError(f"nothing came from {job.sender.peer.node} for {waited} ms")
                yield faults.step_ms
                continue
            if not source.sends(number):
                raise StorageError(f"{job.sender.peer.node} offers it no longer")
            waited = 0
            arrived += faults.piece_bytes
            self._arrived[here] = (min(arrived, size), size)
            garbled = garbled or self._chance.happens(faults.garbled)
        offered = source.offered(number)
        if offered is None:
            raise StorageError(f"{job.sender.peer.node} cannot read it")
        stored = offered.copy(job.meta)
        if garbled or stored.checksum != checksum or stored.mark != job.mark:
            raise CorruptData(f"{job.mark.index}/files", 0, "what arrived is not what was offered")
        yield from self._publish(stored)
        source.has_fetched(number)
        self.tally.fetched += 1
        return stored.size

    def _reaches(self, source: SimVault) -> bool:
        here, there = self._owner.name, source._owner.name
        is_cut = self._network.is_cut(here, there) or self._network.is_cut(there, here)
        return source._is_up and not is_cut and source._owner.paused_until_ms <= self._scheduler.now_ms

    def stands(self, number: int) -> bool:
        """The offer is good, and what it is of is still there."""
        offer = self._offers.get(number)
        return offer is not None and offer[0] in self._names

    def sends(self, number: int) -> bool:
        """Sends a piece, while the offer stands."""
        if self.stands(number):
            self._sent_ms[self._offers[number][0]] = self._scheduler.now_ms
            return True
        return False

    def offered(self, number: int) -> _Stored | None:
        """The snapshot of an offer that stands; None where it does not, or cannot be read."""
        stored = self._names[self._offers[number][0]] if self.stands(number) else None
        if stored is None or checksum_of(stored.files) != stored.checksum:
            return None
        return stored

    def has_fetched(self, number: int) -> None:
        """The receiver has everything: the offer is used up."""
        self._offers.pop(number, None)

    def _install(self, job: Install) -> Steps:
        yield self._takes()
        try:
            self.load(job.meta, job.mark, job.machine)
        except OSError as error:
            raise StorageError(str(error)) from error
        self.tally.installed += 1
        return 0

    def _drop(self, job: Drop) -> Steps:
        for key in list(self._names):
            if key[0] == job.meta.incarnation and key[1] < job.below and key[1] not in job.keep:
                yield self._takes()
                self._fail_sometimes()
                self._rename(key, None)
        yield self._takes()
        self._fail_sometimes()
        self._sync_folder()
        return 0

    def _forget(self, job: Forget) -> Steps:
        for key in [key for key in self._names if key[0] == job.meta.incarnation]:
            self._rename(key, None)
        yield self._takes()
        self._sync_folder()
        return 0

    # Files.

    def _rename(self, key: _Key, stored: _Stored | None) -> None:
        if stored is not None:
            self._names[key] = stored
        else:
            self._names.pop(key, None)
        self._unsynced.append((key, stored))

    def _sync_folder(self) -> None:
        self._durable = dict(self._names)
        self._unsynced.clear()

    def _takes(self) -> Millis:
        return self._chance.exponential(self.faults.step_ms)

    def _fail_sometimes(self) -> None:
        if self._chance.happens(self.faults.write_error):
            raise StorageError("input/output error")
        if self._chance.happens(self.faults.no_space):
            raise DiskFull("no space left")


def _nobody(_: VaultDone) -> None:
    """Before anybody listens."""
