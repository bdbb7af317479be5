"""What the own disk has proved: which part of the present log is durable (§3.8, §10.2.1).

A completion counts only for what its save appended and nobody truncated since: otherwise the completion of an old write
at some index would vouch for a newer entry there (BM-025).
"""

from __future__ import annotations

from collections import deque

from zraft.types import Index, Millis


class Saves:
    """Saves that were issued and are not yet reported durable, oldest first."""

    __slots__ = ("pending", "completed", "durable_index", "issued")

    def __init__(self, durable_index: Index) -> None:
        self.issued = 0
        """Number of the last save; 0: none yet."""
        self.completed = 0
        self.durable_index = durable_index
        """The present log is durable up to here."""
        self.pending: deque[tuple[int, Index, Millis]] = deque()

    def issue(self, last_index: Index, now: Millis) -> int:
        """A save after which the log, as it is now, is durable up to `last_index`. Returns its number."""
        self.issued += 1
        self.pending.append((self.issued, last_index, now))
        return self.issued

    def truncated_from(self, index: Index) -> None:
        """Entries from `index` on are gone: no earlier save vouches for what will stand there."""
        self.durable_index = min(self.durable_index, index - 1)
        self.pending = deque((number, min(last, index - 1), at) for number, last, at in self.pending)

    def reset_to(self, index: Index) -> None:
        """The log now begins after `index`, which a durable snapshot covers."""
        self.pending = deque((number, index, at) for number, _, at in self.pending)
        self.durable_index = index

    def complete(self, number: int) -> None:
        """Every save up to `number` is durable."""
        while self.pending and self.pending[0][0] <= number:
            _, last, _ = self.pending.popleft()
            self.durable_index = max(self.durable_index, last)
        self.completed = max(self.completed, number)

    def stalled_for(self, now: Millis) -> Millis:
        """How long the oldest save has been under way; 0 where none is."""
        return now - self.pending[0][2] if self.pending else 0
