"""The simulated disk: the Disk port of storage, with everything that a real one may do at a crash or before.

What is written lies in the page cache until `SyncFile`; names lie there until `SyncFolder`. A power loss keeps of
each unsynced 512-byte sector the old bytes, the new ones or zeros, and of each unsynced create, rename or delete all
or nothing, each drawn on its own. A killed process leaves the page cache as it is: what the next life reads may still
be lost.

Jobs run one after another. A sync takes the drawn time and is done at its end; everything before it in the job is done
at once, so a crash in the middle of a sync finds it half done. Faults are set on `faults` at any time.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, assert_never

import msgspec

from zraft.sim.chance import Chance
from zraft.sim.scheduler import Owner, Scheduler
from zraft.storage.disk import (
    Completion,
    CreateFile,
    DeleteFile,
    DiskError,
    Job,
    Operation,
    ReadAt,
    RenameFile,
    SyncFile,
    SyncFolder,
    WriteAt,
)
from zraft.storage.hard_state import STATE_FILES, decode_state
from zraft.storage.records import MAGIC_BYTES, Header, header_at, record_bytes
from zraft.storage.segments import list_segments, segment_name
from zraft.types import Millis

SECTOR: Final = 512
"""What a disk writes whole or not at all."""

Done: TypeAlias = Callable[[Completion], None]


class DiskFaults(msgspec.Struct):
    """What goes wrong. Rates are per million operations of their kind; times are milliseconds."""

    sync_ms: Millis = 1
    """Least time of a sync."""
    sync_jitter_ms: Millis = 0
    """Mean of what is added to it, drawn exponentially."""
    slow: int = 0
    """How often a sync takes `slow_ms` instead."""
    slow_ms: Millis = 1000
    stalled_until_ms: Millis = 0
    """No sync ends before this true time."""
    write_error: int = 0
    sync_error: int = 0
    """EIO. What was not synced is dropped from the page cache, as kernels do."""
    read_error: int = 0
    sticky: bool = False
    """The first error of a write or sync makes every later one fail too, also those that recovery makes itself."""
    quota: int = 0
    """Bytes that files may take together; 0: no limit. Beyond it ENOSPC."""


class DiskTally(msgspec.Struct):
    """What happened on one disk."""

    jobs: int = 0
    syncs: int = 0
    slow_syncs: int = 0
    errors: int = 0
    read_errors: int = 0
    short_writes: int = 0
    """Writes that failed after some of their bytes were in the page cache; also counted as errors."""
    no_space: int = 0
    power_losses: int = 0
    torn_sectors: int = 0
    lost_names: int = 0
    flips: int = 0


class _File:
    """One file's bytes as a reader sees them, and as the medium has them."""

    __slots__ = ("cached", "dirty", "durable")

    def __init__(self, size: int) -> None:
        self.cached = bytearray(size)
        self.durable = bytearray()
        self.dirty: dict[int, None] = {}

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if end > len(self.cached):
            self.cached.extend(bytes(end - len(self.cached)))
        self.cached[offset:end] = data
        for sector in range(offset // SECTOR, -(-end // SECTOR)):
            self.dirty[sector] = None

    def sync(self) -> None:
        if len(self.durable) != len(self.cached):
            self.durable = bytearray(self.cached)
        else:
            for sector in self.dirty:
                start = sector * SECTOR
                self.durable[start : start + SECTOR] = self.cached[start : start + SECTOR]
        self.dirty.clear()

    def settle(self, chance: Chance) -> int:
        """The medium after a power loss, or a sync that failed; how many sectors were torn."""
        torn = 0
        size = len(self.cached)
        if len(self.durable) < size:
            if chance.below(2):
                size = len(self.durable)
            self.durable.extend(bytes(size - len(self.durable)))
        for sector in sorted(self.dirty):
            start = sector * SECTOR
            end = min(start + SECTOR, size)
            if start >= size:
                continue
            fate = chance.below(3)
            torn += fate != 1
            if fate == 1:
                self.durable[start:end] = self.cached[start:end]
            elif fate == 2:
                self.durable[start:end] = bytes(end - start)
        self.cached = bytearray(self.durable)
        self.dirty.clear()
        return torn

    def copy_durable(self) -> _File:
        other = _File(0)
        other.durable = bytearray(self.durable)
        other.cached = bytearray(self.durable)
        return other


class SimDisk:
    """One node's folder. `done` receives the completions; it may be exchanged with every life of the node."""

    def __init__(self, scheduler: Scheduler, chance: Chance, owner: Owner) -> None:
        self._scheduler, self._chance, self._owner = scheduler, chance, owner
        self._short = chance.split("short writes")
        self._files: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._unsynced_names: list[tuple[str, str, _File]] = []
        self._queue: deque[Job] = deque()
        self._place, self._reads, self._busy, self._broken = 0, list[bytes](), False, False
        self._failed: DiskError | None = None
        """What the first change of this life failed with that its job does not forgive."""
        self.faults = DiskFaults()
        self.tally = DiskTally()
        self.done: Done = _nobody

    # The port.

    def submit(self, job: Job) -> None:
        self.tally.jobs += 1
        self._queue.append(job)
        if not self._busy:
            self._busy = True
            self._scheduler.at(self._scheduler.now_ms, self._proceed, owner=self._owner)

    def names(self) -> list[str]:
        return sorted(self._files)

    def size(self, name: str) -> int:
        return len(self._existing(name).cached)

    def read(self, name: str, offset: int, length: int) -> bytes:
        if self._chance.happens(self.faults.read_error):
            self.tally.read_errors += 1
            raise self._error(errno.EIO, "read error", name)
        return bytes(self._existing(name).cached[offset : offset + length])

    def perform(self, *operations: Operation) -> None:
        for operation in operations:
            self._perform(operation)

    # What the simulation does to it.

    def crash(self, *, power_loss: bool) -> None:
        """The process is gone, its jobs with it; with `power_loss` everything unsynced is torn or lost."""
        self._queue.clear()
        self._place, self._reads, self._busy, self._broken, self._failed = 0, [], False, False, None
        if power_loss:
            self.tally.power_losses += 1
            self._lose_names()
            for file in dict.fromkeys(self._files.values()):
                self.tally.torn_sectors += file.settle(self._chance)

    def wipe(self) -> None:
        """Somebody put an empty disk in."""
        self.crash(power_loss=False)
        self._files, self._durable_names, self._unsynced_names = {}, {}, []

    def flip(self, name: str, offset: int, bit: int) -> None:
        """One bit of the medium rots: bit 0 to 7 of the byte at `offset`, in page cache and on the medium alike."""
        file = self._existing(name)
        self.tally.flips += 1
        file.cached[offset] ^= 1 << bit
        if offset < len(file.durable):
            file.durable[offset] ^= 1 << bit

    def spoil(self, name: str, offset: int, other: int, kind: int) -> str:
        """A sector, or a bit of it, is not what it was, in page cache and on the medium alike; says what became of it.

        0 and 1: a bit flips; 2: the write was lost, and the sector is as it was before, zeros in a journal; 3: it has
        the bytes of the sector of `other`.
        """
        file = self._existing(name)
        start, source = offset // SECTOR * SECTOR, other // SECTOR * SECTOR
        if kind < 2:
            self.flip(name, offset, other % 8)
            return f"a bit flips in {name} at {offset}"
        self.tally.flips += 1
        data = bytes(SECTOR) if kind == 2 else bytes(file.cached[source : source + SECTOR])
        file.cached[start : start + SECTOR] = data
        if start + SECTOR <= len(file.durable):
            file.durable[start : start + SECTOR] = data
        return f"the sector at {start} of {name} {'is lost' if kind == 2 else f'is that at {source}'}"

    def content(self, name: str) -> bytes:
        """All bytes of the file as a reader sees them, without any fault."""
        return bytes(self._existing(name).cached)

    def used_bytes(self) -> int:
        """What the files take together."""
        return sum(len(file.cached) for file in self._files.values())

    def durable_image(self, chance: Chance, owner: Owner) -> SimDisk:
        """Another disk with what a power loss at this moment leaves at least: everything unsynced is lost."""
        other = SimDisk(self._scheduler, chance, owner)
        other._files = {name: file.copy_durable() for name, file in self._durable_names.items()}
        other._durable_names = dict(other._files)
        return other

    # Jobs.

    def _proceed(self, _: object) -> None:
        """Performs operations up to the next sync, which ends later."""
        while self._queue:
            job = self._queue[0]
            while self._place < len(job.operations):
                operation = job.operations[self._place]
                if isinstance(operation, SyncFile | SyncFolder):
                    self._scheduler.at(self._sync_ends_ms(), self._end_sync, operation, owner=self._owner)
                    return
                if not self._attempt(operation):
                    break
            else:
                self._complete(None)
        self._busy = False

    def _end_sync(self, operation: Operation) -> None:
        if self._attempt(operation):
            job = self._queue[0]
            if self._place == len(job.operations):
                self._complete(None)
        self._proceed(None)

    def _attempt(self, operation: Operation) -> bool:
        """One operation of the first job; where it fails the job is over."""
        is_change = not isinstance(operation, ReadAt)
        if is_change and self._failed is not None:
            self._complete(self._failed)
            return False
        try:
            self._perform(operation)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "EIO")
            failure = DiskError(f"{type(operation).__name__} {error.filename}", name, str(error))
            if is_change and name not in self._queue[0].forgives:
                self._failed = failure
            self._complete(failure)
            return False
        self._place += 1
        return True

    def _complete(self, error: DiskError | None) -> None:
        job = self._queue.popleft()
        reads, self._place, self._reads = tuple(self._reads), 0, []
        self.done(Completion(job.number, reads, error))

    def _sync_ends_ms(self) -> Millis:
        faults = self.faults
        self.tally.syncs += 1
        takes = faults.sync_ms
        if faults.sync_jitter_ms:
            takes += self._chance.exponential(faults.sync_jitter_ms)
        if self._chance.happens(faults.slow):
            self.tally.slow_syncs += 1
            takes = faults.slow_ms
        return max(self._scheduler.now_ms + takes, faults.stalled_until_ms)

    # Operations.

    def _perform(self, operation: Operation) -> None:
        match operation:
            case WriteAt(name, offset, data):
                self._write(name, offset, data)
            case SyncFile(name):
                self._sync(name)
            case SyncFolder():
                self._fail_sometimes(self.faults.sync_error, "the folder")
                self._durable_names = dict(self._files)
                self._unsynced_names.clear()
            case CreateFile(name, size):
                self._create(name, size)
            case RenameFile(old, new):
                file = self._existing(old)
                del self._files[old]
                self._files[new] = file
                self._unsynced_names.append((old, new, file))
            case DeleteFile(name):
                file = self._existing(name)
                del self._files[name]
                self._unsynced_names.append((name, "", file))
            case ReadAt(name, offset, length):
                self._reads.append(self.read(name, offset, length))
            case _:
                assert_never(operation)

    def _write(self, name: str, offset: int, data: bytes) -> None:
        """Where it fails, a part of it may have been written."""
        file = self._existing(name)
        try:
            self._fail_sometimes(self.faults.write_error, name)
        except OSError:
            written = self._short.below(len(data) + 1) if self._short.below(2) else 0
            if written and offset + written <= len(file.cached):
                self.tally.short_writes += 1
                file.write(offset, data[:written])
            raise
        self._claim(max(0, offset + len(data) - len(file.cached)), name)
        file.write(offset, data)

    def _create(self, name: str, size: int) -> None:
        if name in self._files:
            raise self._error(errno.EEXIST, "the file exists", name)
        self._fail_sometimes(self.faults.write_error, name)
        self._claim(size, name)
        file = _File(size)
        self._files[name] = file
        self._unsynced_names.append(("", name, file))

    def _sync(self, name: str) -> None:
        file = self._existing(name)
        try:
            self._fail_sometimes(self.faults.sync_error, name)
        except OSError:
            file.settle(self._chance)
            raise
        file.sync()

    def _existing(self, name: str) -> _File:
        file = self._files.get(name)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return file

    def _claim(self, more: int, name: str) -> None:
        if more and self.faults.quota and self.used_bytes() + more > self.faults.quota:
            self.tally.no_space += 1
            raise self._error(errno.ENOSPC, "no space left", name)

    def _fail_sometimes(self, rate: int, name: str) -> None:
        if self._broken or self._chance.happens(rate):
            self._broken = self.faults.sticky
            raise self._error(errno.EIO, "input/output error", name)

    def _error(self, number: int, text: str, name: str) -> OSError:
        self.tally.errors += 1
        return OSError(number, text, name)

    def _lose_names(self) -> None:
        """Each create, rename and delete since the last folder sync happened or did not, on its own."""
        names = self._durable_names
        for old, new, file in self._unsynced_names:
            if not self._chance.below(2):
                self.tally.lost_names += 1
                continue
            if old and names.get(old) is file:
                del names[old]
            if new:
                names[new] = file
        self._unsynced_names = []
        self._files = dict(names)
        self._durable_names = names


def vouched_ends(disk: SimDisk) -> dict[str, int]:
    """Of each segment of the journal, up to which byte a later record, or a state file, says that it was durable."""
    names = disk.names()
    found = {segment_name(sequence): sequence for sequence in list_segments(names)}
    states = [decode_state(disk.content(name)) for name in STATE_FILES if name in names]
    durable = max((state[1].durable_lsn for state in states if not isinstance(state, str)), default=0)
    headers: list[tuple[str, Header]] = []
    for name, sequence in found.items():
        data = disk.content(name)
        offset = data.find(MAGIC_BYTES)
        while offset >= 0:
            header = header_at(data, offset, sequence)
            if header is not None:
                headers.append((name, header))
            offset = data.find(MAGIC_BYTES, offset + 1)
    durable = max([durable, *(header.durable for _, header in headers)])
    return {name: header.offset + record_bytes(header.length) for name, header in headers if header.lsn <= durable}


def _nobody(_: Completion) -> None:
    """Completions before anybody listens."""
