"""When a replica looks at its own state, so that all of a group look at the same index.

    entries   1 ............... 4065 .. 4096 ] ............... 8161 .. 8192 ... ]
              only applied      noted   sampled                noted   sampled when the batch ends

The last entries before a multiple of `every` are noted one by one, what they did and which keys they changed; a sample
is taken when the batch in which the multiple lies is applied. Batches are the same in every log (`core.entries`), so
the indexes are, too. A replica that begins within such a stretch lets it go by. All other entries cost nothing.
"""

from __future__ import annotations

from typing import Any, Final

from zraft.core.entries import Batch
from zraft.limits import ALARM_EFFECTS, ALARM_KEPT
from zraft.session.effects import digest_of, effects_of
from zraft.session.machine import Changed, ReplicatedMachine
from zraft.session.outcomes import Outcome
from zraft.types import Index
from zraft.wire.states import Sample

_NEVER: Final[Index] = 1 << 63


class Sampling:
    """Of one machine. Batches whose last index reaches `opens_at` are applied by `apply`, all others without it."""

    __slots__ = ("_changed", "_effects", "_every", "_stretch", "opens_at", "samples")

    def __init__(self, every: int, applied: Index) -> None:
        """`every` so many entries, 0: never; `applied` is what the machine begins with."""
        self._every, self._stretch = every, min(ALARM_EFFECTS, every)
        self.samples: dict[Index, Sample] = {}
        """The last ones, oldest first."""
        self.restart(applied)

    def restart(self, applied: Index) -> None:
        """The machine is another one, at `applied`."""
        self._begin()
        multiple = self._every * ((applied + self._stretch - 1) // self._every + 1) if self._every else _NEVER
        self.opens_at: Index = multiple - self._stretch + 1

    def _begin(self) -> None:
        self._effects: list[int] = []
        self._changed: list[Any] = []

    def apply(
        self, machine: ReplicatedMachine, batch: Batch, offset: int, limit: int
    ) -> tuple[list[Outcome], Sample | None]:
        """Applies entries of `batch` as `apply_batch` does; with the sample that is due after it, if any."""
        watched, machine.collect_changes = machine.collect_changes, True
        seen, first = machine.changes_count, machine.last_applied + 1
        try:
            outcomes = machine.apply_batch(batch, offset, limit)
        finally:
            machine.collect_changes = watched
        changes = machine.changes_since(seen)
        if not watched:
            machine.take_changes()
        self._note(first, outcomes, changes)
        return outcomes, self._sample(machine, batch)

    def _note(self, first: Index, outcomes: list[Outcome], changes: list[Changed]) -> None:
        start, stop = max(self.opens_at - first, 0), self.opens_at + self._stretch - first
        noted = [changed for changed in changes if start <= changed[0] - first < stop]
        self._effects += effects_of(first + start, outcomes[start : max(stop, 0)], noted)
        for _, keys in noted:
            self._changed += keys

    def _sample(self, machine: ReplicatedMachine, batch: Batch) -> Sample | None:
        index = machine.last_applied
        if index != batch.last or index < self.opens_at + self._stretch - 1:
            return None
        sample = Sample(index, self.opens_at, digest_of(machine, self._changed, self._effects), self._effects)
        self.samples[index] = sample
        if len(self.samples) > ALARM_KEPT:
            del self.samples[next(iter(self.samples))]
        self.restart(index)
        return sample
