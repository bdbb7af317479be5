"""One replica's log: what it knows of every batch, and the batches themselves as far as they are in memory (§3.5).

What holds at any time, checked by `invariants.check_log`:

1. Batches are contiguous: the first begins at base + 1, each next one after the last index of the one before.
2. Terms never decrease along the log.
3. In memory is a suffix of the log, whole batches; older ones are in the journal only.
4. (base_index, base_term) names the entry before the log: covered by a snapshot, or 0.

The lists only grow at their ends; whatever takes something out puts a new list in the place of the old one, so that
`hold` need copy nothing.

    base        lasts[0]       lasts[1]   lasts[2] = last_index
     │ [─────────────]  [──────────]  [──────]
     └ in a snapshot    └ _window = 1: from here on in memory
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from zraft.core.entries import Batch
from zraft.core.recovered import Recovered
from zraft.errors import InvariantViolation
from zraft.types import Index, Term

_BATCH_OVERHEAD = 160
"""What a batch in memory costs besides its payload, in bytes."""


class HeldLog(msgspec.Struct, frozen=True, array_like=True):
    """A log as it was: the first `count` of its positions and the first `in_memory` of its batches."""

    base_index: Index
    base_term: Term
    count: int
    lasts: list[Index]
    terms: list[Term]
    in_memory: int
    batches: list[Batch]


class Log:
    """Knows the term of every entry after `base_index`, and holds the newest batches."""

    __slots__ = ("_batches", "_lasts", "_terms", "_window", "base_index", "base_term", "memory_bytes")

    def __init__(self, recovered: Recovered) -> None:
        self.base_index: Index = recovered.mark.index
        self.base_term: Term = recovered.mark.term
        self._lasts = list(recovered.lasts)
        self._terms = list(recovered.terms)
        self._batches: list[Batch] = []
        """The batches at positions `_window` and after."""
        self._window = len(self._lasts)
        self.memory_bytes = 0
        for batch in reversed(recovered.tail):
            if self._window == 0 or self._lasts[self._window - 1] != batch.last:
                break
            self._batches.append(batch)
            self._window -= 1
            self.memory_bytes += len(batch.payload) + _BATCH_OVERHEAD
        self._batches.reverse()

    @property
    def last_index(self) -> Index:
        """Index of the last entry; `base_index` where the log is empty."""
        return self._lasts[-1] if self._lasts else self.base_index

    @property
    def last_term(self) -> Term:
        """Term of the last entry; `base_term` where the log is empty."""
        return self._terms[-1] if self._terms else self.base_term

    @property
    def batch_count(self) -> int:
        """Batches after the base."""
        return len(self._lasts)

    def term_at(self, index: Index) -> Term | None:
        """Term of the entry at `index`; None where the log does not know it (before the base, after the end)."""
        if index > self.base_index:
            position = bisect_left(self._lasts, index)
            return self._terms[position] if position < len(self._lasts) else None
        return self.base_term if index == self.base_index else None

    def has(self, index: Index, term: Term) -> bool:
        """A batch of `term` ends at `index`, or the base is exactly there."""
        if index > self.base_index:
            position = bisect_left(self._lasts, index)
            return position < len(self._lasts) and self._lasts[position] == index and self._terms[position] == term
        return index == self.base_index and term == self.base_term

    def is_boundary(self, index: Index) -> bool:
        """A batch ends at `index`, or the base is there."""
        if index == self.base_index:
            return True
        position = bisect_left(self._lasts, index)
        return position < len(self._lasts) and self._lasts[position] == index

    def is_up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """A log that ends with (`last_index`, `last_term`) is at least as up to date as this one (§3.6.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def boundary_before(self, index: Index, term: Term) -> tuple[Index, Term]:
        """The last (index, term) at which a batch ends, at or before `index` and of at most `term`; else the base.

        Both sides of a refused AppendEntries skip with it everything that cannot match, a term at a time (§3.5).
        """
        position = bisect_left(self._lasts, index + 1)
        while position > 0 and self._terms[position - 1] > term:
            position = bisect_left(self._terms, self._terms[position - 1], 0, position)
        if position == 0:
            return self.base_index, self.base_term
        return self._lasts[position - 1], self._terms[position - 1]

    def append(self, batch: Batch) -> None:
        """Add a batch at the end. Raises InvariantViolation where it does not follow the last one."""
        if batch.first != self.last_index + 1 or batch.count < 1:
            raise InvariantViolation(f"append of {batch.first}+{batch.count} to a log that ends at {self.last_index}")
        if batch.term < self.last_term:
            raise InvariantViolation(f"append of term {batch.term} after term {self.last_term}")
        self._lasts.append(batch.last)
        self._terms.append(batch.term)
        self._batches.append(batch)
        self.memory_bytes += len(batch.payload) + _BATCH_OVERHEAD

    def truncate_from(self, index: Index) -> None:
        """Forget every entry from `index` on, which must be the first one of a batch."""
        if not self.is_boundary(index - 1):
            raise InvariantViolation(f"truncation at {index} would split a batch")
        position = bisect_left(self._lasts, index)
        keep = max(position - self._window, 0)
        for batch in self._batches[keep:]:
            self.memory_bytes -= len(batch.payload) + _BATCH_OVERHEAD
        self._batches = self._batches[:keep]
        self._lasts, self._terms = self._lasts[:position], self._terms[:position]
        self._window = min(self._window, position)

    def compact_to(self, index: Index) -> None:
        """A snapshot covers entries up to `index`, the last one of a batch: the log begins after it."""
        term = self.term_at(index)
        if term is None or not self.is_boundary(index):
            raise InvariantViolation(f"compaction to {index}, which is no end of a batch in {self!r}")
        position = bisect_left(self._lasts, index + 1)
        self._drop_from_memory(position)
        self._lasts, self._terms = self._lasts[position:], self._terms[position:]
        self._window -= position
        self.base_index, self.base_term = index, term

    def reset(self, index: Index, term: Term) -> None:
        """Forget everything; the log begins after (`index`, `term`)."""
        self.base_index, self.base_term = index, term
        self._lasts, self._terms, self._batches = [], [], []
        self._window = self.memory_bytes = 0

    def evict(self, budget_bytes: int, *, keep_from: Index) -> None:
        """Where batches in memory weigh more than the budget, let go of the oldest; never of `keep_from` or later.

        A quarter of the budget is freed at once: letting go of one batch costs as much as letting go of many.
        """
        if self.memory_bytes <= budget_bytes:
            return
        bytes_left, position = self.memory_bytes, self._window
        while bytes_left > budget_bytes * 3 // 4 and position < len(self._lasts) and self._lasts[position] < keep_from:
            bytes_left -= len(self._batches[position - self._window].payload) + _BATCH_OVERHEAD
            position += 1
        self._drop_from_memory(position)

    def take(self, first: Index, limit_bytes: int) -> list[Batch] | None:
        """Batches from `first` on, about `limit_bytes` of them and at least one; [] after the end.

        None where the batch at `first` is not in memory: it must be loaded. `first` is the first index of a batch.
        """
        position = bisect_left(self._lasts, first)
        if position >= len(self._lasts):
            return []
        if position < self._window:
            return None
        if not self.is_boundary(first - 1):
            raise InvariantViolation(f"entries from {first} would split a batch")
        start = end = position - self._window
        taken = 0
        while end < len(self._batches):
            taken += len(self._batches[end].payload)
            if taken > limit_bytes and end > start:
                break
            end += 1
        return self._batches[start:end]

    def payload_bytes_after(self, index: Index) -> int:
        """What the batches after `index` weigh, as far as they are in memory."""
        total, position = 0, len(self._lasts) - 1
        while position >= self._window and self._lasts[position] > index:
            total += len(self._batches[position - self._window].payload)
            position -= 1
        return total

    def last_before_memory(self, first: Index) -> Index:
        """The last index that is not in memory, where `first` is not either: the most that a load can be asked for."""
        return self._lasts[self._window - 1] if self._window else first

    def _drop_from_memory(self, position: int) -> None:
        if position <= self._window:
            return
        count = position - self._window
        for batch in self._batches[:count]:
            self.memory_bytes -= len(batch.payload) + _BATCH_OVERHEAD
        self._batches = self._batches[count:]
        self._window = position

    def hold(self) -> HeldLog:
        """The log as it is now, whatever happens to it later."""
        lasts, batches = self._lasts, self._batches
        return HeldLog(self.base_index, self.base_term, len(lasts), lasts, self._terms, len(batches), batches)

    def is_held_by(self, held: HeldLog) -> bool:
        """Nothing was taken from memory since: what `held` keeps there, this log keeps anyway."""
        return self._batches is held.batches

    @classmethod
    def resumed(cls, held: HeldLog) -> Log:
        """A log like this one."""
        log = cls(Recovered())
        log.base_index, log.base_term = held.base_index, held.base_term
        log._lasts, log._terms = held.lasts[: held.count], held.terms[: held.count]
        log._batches = held.batches[: held.in_memory]
        log._window = held.count - held.in_memory
        log.memory_bytes = sum(len(batch.payload) + _BATCH_OVERHEAD for batch in log._batches)
        return log

    def parts(self) -> tuple[list[Index], list[Term], int]:
        """Last indexes, terms, and the position from which batches are in memory: for invariants and inspection."""
        return self._lasts, self._terms, self._window

    def __repr__(self) -> str:
        return f"log({self.base_index},{self.last_index}] term {self.last_term}"
