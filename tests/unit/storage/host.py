"""Drives one store as a node does, and knows what each replica may look like after a crash."""

from __future__ import annotations

from collections.abc import Sequence

from tests.unit.storage.fake_disk import FakeDisk
from zraft.core.entries import Batch, HardState, Kind, Membership, SnapshotMark
from zraft.core.memberships import encode_membership
from zraft.core.recovered import Recovered
from zraft.storage.replica import RecoveredReplica, ReplicaMeta, Save, SaveDone, StoreResult
from zraft.storage.store import Opened, Store, StoreSettings
from zraft.types import GroupId, Member, PeerId

SMALL = StoreSettings(segment_bytes=4096)

Log = tuple[SnapshotMark, tuple[Batch, ...]]


def meta(name: str, incarnation: int = 0) -> ReplicaMeta:
    incarnation = incarnation or 1000 + int.from_bytes(name.encode(), "big")
    return ReplicaMeta(
        name, GroupId(name.encode().ljust(16, b"g")), incarnation or 1000 + int.from_bytes(name.encode(), "big"), "dict"
    )


def member(name: str, incarnation: int = 7) -> Member:
    return Member(PeerId(name, "127.0.0.1:7101"), incarnation)


def batch(first: int, count: int = 1, term: int = 1, payload: bytes = b"", size: int = 0) -> Batch:
    """A batch of commands whose payload tells which one it is."""
    text = payload or f"{first}.{term}".encode()
    return Batch(first, count, term, 10 * first, 99 + first, Kind.COMMANDS, text.ljust(size, b"."))


def configuration(first: int, *names: str, term: int = 1) -> Batch:
    payload = encode_membership(Membership(tuple(member(name) for name in names)))
    return Batch(first, 1, term, 10 * first, 0, Kind.CONFIGURATION, payload)


def mark(index: int, term: int = 1) -> SnapshotMark:
    return SnapshotMark(index, term, 10 * index, 1, Membership((member("a"),)))


class Expected:
    """Every state that one replica went through, and the last ones that were acknowledged."""

    def __init__(self, recovered: Recovered | None = None, log: Sequence[Batch] = ()) -> None:
        start = recovered or Recovered()
        self.hard = [start.hard_state]
        self.logs: list[Log] = [(start.mark, tuple(log))]
        self.after: dict[int, tuple[int, int]] = {}
        self.acked = 0, 0

    def saved(self, save: Save) -> None:
        if save.hard_state is not None:
            self.hard.append(save.hard_state)
        if save.truncate_from:
            at, batches = self.logs[-1]
            self.logs.append((at, tuple(item for item in batches if item.first < save.truncate_from)))
        if save.reset_to is not None:
            self.logs.append((save.reset_to, ()))
        for item in save.append:
            at, batches = self.logs[-1]
            self.logs.append((at, (*batches, item)))
        self.after[save.number] = len(self.hard) - 1, len(self.logs) - 1

    def compacted(self, at: SnapshotMark) -> None:
        _, batches = self.logs[-1]
        self.logs.append((at, tuple(item for item in batches if item.last > at.index)))

    def done(self, number: int) -> None:
        self.acked = self.after.get(number, self.acked)

    def check(self, found: RecoveredReplica) -> tuple[Batch, ...]:
        """Asserts that what was found is a state between the acknowledged one and the last; its log."""
        assert found.fault is None, found.fault
        recovered = found.recovered
        assert recovered.hard_state in self.hard[self.acked[0] :]
        seen = recovered.mark, recovered.lasts, recovered.terms, recovered.tail
        possible = [
            (at, [item.last for item in log], [item.term for item in log], list(log))
            for at, log in self.logs[self.acked[1] :]
        ]
        assert seen in possible, (seen, possible)
        log = tuple(recovered.tail)
        memberships = [item.first for item in log if item.kind == Kind.CONFIGURATION]
        assert [index for index, _ in recovered.memberships] == memberships
        assert recovered.time == (log[-1].time if log else recovered.mark.time)
        return log


class Host:
    """One node's store over a fake disk. `replicas` has the states that a crash may leave."""

    def __init__(self, disk: FakeDisk, settings: StoreSettings = SMALL, known: Host | None = None) -> None:
        self.disk = disk
        self.settings = settings
        opened: Opened = Store.open(disk, settings)
        self.store, self.notes = opened.store, opened.notes
        self.found = {replica.meta.name: replica for replica in opened.replicas}
        self.replicas: dict[str, Expected] = {}
        self.removed: dict[str, Expected] = {}
        self.numbers: dict[str, int] = {}
        self.results: list[StoreResult] = []
        if known is not None:
            self._compare(known)
        for name, replica in self.found.items():
            self.replicas.setdefault(name, Expected(replica.recovered, replica.recovered.tail))
            self.numbers[name] = 0
            self.results.append(SaveDone(name, 0))

    def _compare(self, known: Host) -> None:
        """Asserts that nothing acknowledged is lost, nothing removed is back, nothing else is there."""
        for name, expected in known.replicas.items():
            if name in self.found:
                self.replicas[name] = Expected(self.found[name].recovered, expected.check(self.found[name]))
            else:
                assert not known.is_acked(name, 0), f"{name} is lost"
        for name in self.found:
            if name not in known.replicas:
                assert not known.is_acked(name, known.numbers[name]), f"{name} is back"
                self.replicas[name] = Expected(self.found[name].recovered, known.removed[name].check(self.found[name]))

    def is_acked(self, name: str, number: int) -> bool:
        return any(isinstance(item, SaveDone) and item.name == name and item.number >= number for item in self.results)

    def number(self, name: str) -> int:
        self.numbers[name] = self.numbers.get(name, 0) + 1
        return self.numbers[name]

    def create(self, name: str, hard_state: HardState | None = None) -> None:
        self.replicas[name] = Expected(Recovered(hard_state=hard_state or HardState()))
        self.store.create_replica(meta(name), self.number(name), hard_state)

    def remove(self, name: str) -> None:
        self.removed[name] = self.replicas.pop(name)
        self.store.remove_replica(name, self.number(name))

    def save(
        self,
        name: str,
        *append: Batch,
        hard_state: HardState | None = None,
        truncate_from: int = 0,
        reset_to: SnapshotMark | None = None,
    ) -> int:
        save = Save(name, self.number(name), hard_state, truncate_from, reset_to, tuple(append))
        self.replicas[name].saved(save)
        self.store.save(save)
        return save.number

    def compact(self, name: str, at: SnapshotMark, keep_from: int = 0) -> None:
        self.replicas[name].compacted(at)
        self.store.compact(name, at, keep_from or at.index + 1)

    def hand_out(self) -> bool:
        """Submits the next job, if there is one."""
        job = self.store.next_job()
        if job is not None:
            self.disk.submit(job)
        return job is not None

    def complete(self) -> list[StoreResult]:
        """Performs the oldest job."""
        results = self.store.completed(self.disk.run())
        for item in results:
            if isinstance(item, SaveDone) and item.name in self.replicas:
                self.replicas[item.name].done(item.number)
        self.results += results
        return results

    def pump(self) -> list[StoreResult]:
        """Until nothing is left to do. Every job that is there is submitted before the oldest one is performed."""
        results: list[StoreResult] = []
        while True:
            while self.hand_out():
                pass
            if not self.disk.jobs:
                return results
            results += self.complete()

    def write(self, name: str, *append: Batch, hard_state: HardState | None = None, truncate_from: int = 0) -> None:
        """A save, until it is durable."""
        self.save(name, *append, hard_state=hard_state, truncate_from=truncate_from)
        self.pump()
