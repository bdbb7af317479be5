"""When a replica takes a snapshot, and how much of its log stays behind it.

    log   ───[ trailing ]──┤mark├──[ grown since ]──> last applied
                           published snapshot

Disk use is bounded in entries and in bytes (BM-106): what is kept for slow followers may not weigh more than half of
what makes a snapshot due. A large state is not written again before the log has outgrown it, so that writing snapshots
costs at most about as much as writing the log.
"""

from __future__ import annotations

from typing import Final

import msgspec

from zraft import limits
from zraft.core.entries import Batch
from zraft.errors import UsageError
from zraft.storage.records import record_bytes
from zraft.types import Index, Millis

_STEPS: Final = 64
"""In so many steps of bytes it is remembered which index the log had reached."""


class SnapshotSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When snapshots are taken, and what stays. Raises UsageError where the numbers do not fit together."""

    max_log_count: int = 100_000
    """Applied entries, of every kind, since the last snapshot, after which one is taken."""
    max_log_bytes: int = 64 * limits.MIB
    """Bytes of them in the journal, after which one is taken."""
    trailing_log_count: int = 10_000
    """Entries that stay behind a snapshot for slow followers; at most half of `max_log_count`."""
    backup: bool = False
    """Every snapshot is archived."""
    retry_ms: Millis = 1000
    """After a snapshot that failed the next is tried so much later, and each time twice that, up to a minute."""
    offer_ms: Millis = 600_000
    """So long a follower may begin to fetch what it was offered first, while newer snapshots are taken."""

    def __post_init__(self) -> None:
        if self.max_log_count < 1 or self.max_log_bytes < 1:
            raise UsageError(f"a snapshot every {self.max_log_count} entries or {self.max_log_bytes} bytes")
        if not 0 <= self.trailing_log_count <= self.max_log_count // 2:
            half = self.max_log_count // 2
            raise UsageError(f"trailing_log_count is at most half of max_log_count: {self.trailing_log_count} > {half}")


class Growth:
    """What was applied since the last snapshot. `state_bytes` is what that one weighed, 0 where there is none."""

    __slots__ = ("_base", "_base_bytes", "_bytes", "_last", "_settings", "_step", "_steps", "state_bytes")

    def __init__(self, settings: SnapshotSettings, index: Index, state_bytes: int) -> None:
        self._settings = settings
        self._step = max(settings.max_log_bytes // _STEPS, 1)
        self.restart(index, state_bytes)

    def restart(self, index: Index, state_bytes: int) -> None:
        """The machine is at `index`, which a snapshot covers; what was before is forgotten."""
        self._base = self._last = index
        self._base_bytes = self._bytes = 0
        self._steps: list[tuple[Index, int]] = [(index, 0)]
        """(index, bytes applied by then), a step apart, from the beginning of what may still be in the log."""
        self.state_bytes = state_bytes

    def applied(self, batch: Batch) -> bool:
        """`batch` was applied whole. True where a snapshot is due after it."""
        self._last = batch.last
        self._bytes += record_bytes(len(batch.payload))
        if self._bytes - self._steps[-1][1] >= self._step:
            self._steps.append((batch.last, self._bytes))
        return self.is_due

    @property
    def is_due(self) -> bool:
        """It is time for a snapshot."""
        settings, size = self._settings, self._bytes - self._base_bytes
        if self._last - self._base < settings.max_log_count and size < settings.max_log_bytes:
            return False
        return self.state_bytes <= limits.MIB or size >= self.state_bytes

    @property
    def bytes_now(self) -> int:
        """What was applied so far; for `published`."""
        return self._bytes

    def published(self, index: Index, bytes_then: int, state_bytes: int) -> None:
        """There is a snapshot at `index`, captured when `bytes_now` was `bytes_then`."""
        self._base, self._base_bytes, self.state_bytes = index, bytes_then, state_bytes

    def keep_from(self) -> Index:
        """The first entry to keep behind the last snapshot: so many, and no more bytes than half of what is allowed."""
        most = self._settings.max_log_bytes // 2
        place = 0
        while place < len(self._steps) and self._base_bytes - self._steps[place][1] > most:
            place += 1
        after = self._steps[place][0] if place < len(self._steps) else self._base
        del self._steps[: max(place - 1, 0)]
        return max(self._base + 1 - self._settings.trailing_log_count, min(after, self._base) + 1, 1)
