"""Segments: the files that the journal consists of, each known by a sequence number that is never used twice.

journal-0000000000000007.log   sealed: full, or left because the next record did not fit
journal-0000000000000008.log   active: records are appended here
journal-0000000000000009.log   spare: zeros, so that going on is no work
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from zraft.storage.index import Released

_PREFIX: Final = "journal-"
_SUFFIX: Final = ".log"
_DIGITS: Final = 16
_AT_ONCE: Final = 4
"""Segments that one job deletes."""


class Segment:
    """A segment that has or will have records."""

    __slots__ = ("capacity", "first_lsn", "last_lsn", "live", "name", "sequence", "used")

    def __init__(self, sequence: int, capacity: int, first_lsn: int) -> None:
        self.sequence = sequence
        self.name = segment_name(sequence)
        """The file."""
        self.capacity = capacity
        """Bytes that may be written before the next segment is begun."""
        self.first_lsn = first_lsn
        self.last_lsn = first_lsn - 1
        self.used = 0
        """Where the next record goes."""
        self.live = 0
        """Bytes of records that somebody still needs."""


class Segments:
    """Every segment that exists, oldest first; the last one is the active one."""

    __slots__ = ("_by_sequence", "_live", "_sealed", "active")

    def __init__(self, existing: Sequence[Segment]) -> None:
        self._by_sequence = {segment.sequence: segment for segment in existing}
        self.active = existing[-1]
        self._sealed = sum(segment.used for segment in existing[:-1])
        """Bytes in all segments but the active one."""
        self._live = sum(segment.live for segment in existing)

    def __len__(self) -> int:
        return len(self._by_sequence)

    @property
    def oldest(self) -> Segment:
        """The one that is deleted next."""
        return next(iter(self._by_sequence.values()))

    def begin(self, segment: Segment) -> None:
        """`segment` is active from now on; the one before is sealed."""
        self._by_sequence[segment.sequence] = segment
        self._sealed += self.active.used
        self.active = segment

    def need(self, sequence: int, size: int) -> None:
        """A record of `size` bytes there is needed."""
        self._by_sequence[sequence].live += size
        self._live += size

    def release(self, released: Released) -> None:
        """Records are needed no longer, and a crash cannot make them needed again."""
        for sequence, size in released.items():
            self._by_sequence[sequence].live -= size
            self._live -= size

    def take_dead(self, completed_lsn: int) -> list[Segment]:
        """The oldest segments, if they hold nothing that is needed; they are no longer known afterwards.

        Only sealed ones whose every record was written: `completed_lsn` is the last one that was. Only a few at once,
        because deleting takes its time.
        """
        dead: list[Segment] = []
        for segment in self._by_sequence.values():
            if segment is self.active or segment.live or segment.last_lsn > completed_lsn or len(dead) == _AT_ONCE:
                break
            dead.append(segment)
        for segment in dead:
            del self._by_sequence[segment.sequence]
            self._sealed -= segment.used
        return dead

    def waste(self) -> tuple[int, int]:
        """Bytes in sealed segments, and how many of them are needed."""
        return self._sealed, self._live - self.active.live


def segment_name(sequence: int) -> str:
    """The file of a segment."""
    return f"{_PREFIX}{sequence:0{_DIGITS}x}{_SUFFIX}"


def segment_sequence(name: str) -> int | None:
    """The sequence number in a file's name; None where it is no segment."""
    digits = name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    if name != f"{_PREFIX}{digits}{_SUFFIX}" or len(digits) != _DIGITS:
        return None
    if not all(digit in "0123456789abcdef" for digit in digits):
        return None
    return int(digits, 16)


def list_segments(names: Sequence[str]) -> list[int]:
    """The sequence numbers of all segments among these files, ascending."""
    found = (segment_sequence(name) for name in names)
    return sorted(sequence for sequence in found if sequence is not None)
