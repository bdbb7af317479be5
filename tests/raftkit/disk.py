"""A disk that is a list: what a replica made durable, what it has under way, and what a restart finds."""

from __future__ import annotations

from collections import deque

from zraft.core.entries import Batch, HardState, Kind, Membership, SnapshotMark
from zraft.core.memberships import decode_membership
from zraft.core.output import Output
from zraft.core.recovered import Recovered
from zraft.types import Index


class Disk:
    """The durable state of one replica, and the saves that a crash would lose."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.mark = SnapshotMark()
        self.batches: list[Batch] = []
        self.pending: deque[Output] = deque()
        self.completed = 0
        self.tail = 1000
        """How many batches a restart puts into memory."""

    def issue(self, output: Output) -> None:
        """A save is under way."""
        self.pending.append(output)

    def complete_one(self) -> int:
        """The oldest save is durable now. Returns its number."""
        output = self.pending.popleft()
        if output.hard_state is not None:
            self.hard_state = output.hard_state
        self.batches = _after(self.batches, output)
        self.completed = output.save
        return output.save

    def crash(self) -> None:
        """What was under way is lost."""
        self.pending.clear()
        self.completed = 0

    def journal(self) -> list[Batch]:
        """The log as it will be when everything under way is durable: what a running replica may read back."""
        batches = self.batches
        for output in self.pending:
            batches = _after(batches, output)
        return batches

    def load(self, first: Index, last: Index, limit_bytes: int) -> tuple[Batch, ...]:
        """Contiguous batches from `first` to `last`, about `limit_bytes` of them, at least one; none if it is gone."""
        found: list[Batch] = []
        size_bytes = 0
        for batch in self.journal():
            if first <= batch.first and batch.last <= last:
                size_bytes += len(batch.payload)
                if found and size_bytes > limit_bytes:
                    break
                found.append(batch)
        return tuple(found) if found and found[0].first == first else ()

    def compact_to(self, index: Index) -> None:
        """Batches up to `index` are not needed any more."""
        self.batches = [batch for batch in self.batches if batch.last > index]

    def recover(self) -> Recovered:
        """What a start finds. A snapshot ahead of the log discards it."""
        mark = self.mark
        batches = [batch for batch in self.batches if batch.first > mark.index]
        at_mark = [batch for batch in self.batches if batch.last == mark.index]
        if (batches and batches[0].first != mark.index + 1) or (at_mark and at_mark[0].term != mark.term):
            batches = []
        self.batches = batches
        return Recovered(
            hard_state=self.hard_state,
            mark=mark,
            lasts=[batch.last for batch in batches],
            terms=[batch.term for batch in batches],
            tail=batches[max(len(batches) - self.tail, 0) :],
            memberships=configurations(batches),
            time=batches[-1].time if batches else mark.time,
        )


def configurations(batches: list[Batch]) -> list[tuple[Index, Membership]]:
    """The configuration entries among `batches`."""
    return [(batch.first, decode_membership(batch.payload)) for batch in batches if batch.kind == Kind.CONFIGURATION]


def _after(batches: list[Batch], output: Output) -> list[Batch]:
    if output.truncate_from:
        batches = [batch for batch in batches if batch.first < output.truncate_from]
    if output.reset_to is not None:
        batches = []
    return batches + output.append
