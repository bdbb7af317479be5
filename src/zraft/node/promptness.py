"""Whether the disk is so quick that waiting for it is cheaper than handing a job to the writer thread.

A hand-over costs context switches and a fight for the interpreter, 0.1 to 0.2 ms: on a disk that syncs in a few tenths
of a millisecond, that is much of a save. So while syncs are quick on average, a small save is done in the loop. A stall
ends that until a row of saves was free of them; where the loop had to wait for one, the row becomes longer each time: a
disk that stalls now and then stalls the loop ever more rarely. Such a stall costs what any pause of a process costs:
time, never a promise.
"""

from __future__ import annotations

from typing import Final

from zraft import limits
from zraft.storage.disk import Job, SyncFile, WriteAt

QUICK_S: Final = 0.001
"""Saves that take no longer on average are quick."""
STALL_S: Final = 0.01
ROW: Final = 64
"""So many saves without a stall, and the next may be waited for."""
LONGEST_ROW: Final = 1 << 16
SMALL_BYTES: Final = 32 * limits.KIB
_WEIGHT: Final = 1 / 16
"""Of the last save in the average."""


class Promptness:
    """Counts how long small saves take. `is_prompt`: the next one may be done in the loop."""

    __slots__ = ("_average_s", "_needed", "_row")

    def __init__(self, row: int = ROW) -> None:
        self._average_s = 0.0
        self._row = 0
        """Saves since the last stall."""
        self._needed = row

    @property
    def is_prompt(self) -> bool:
        return self._row >= self._needed and self._average_s <= QUICK_S

    def took(self, seconds: float, *, in_loop: bool) -> None:
        """A small save took so long; `in_loop`: somebody waited for it."""
        self._average_s += (seconds - self._average_s) * _WEIGHT
        self._row += 1
        if seconds > STALL_S:
            self._row = 0
            if in_loop:
                self._needed = min(2 * self._needed, LONGEST_ROW)


def is_small_save(job: Job) -> bool:
    """It writes little and syncs at most once, and does nothing else."""
    syncs = size = 0
    for operation in job.operations:
        if type(operation) is WriteAt:
            size += len(operation.data)
        elif type(operation) is SyncFile:
            syncs += 1
        else:
            return False
    return syncs <= 1 and size <= SMALL_BYTES
