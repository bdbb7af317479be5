"""Live records among dead ones: copied to the end of the journal, so that old segments can go (BM-060).

A quiet replica would otherwise keep every segment since its last batch. The oldest segment is emptied when the sealed
ones waste more than what is live in them and a few segments besides; so the journal stays below twice the live bytes
plus that slack. What was copied is needed at its old place until the copy is durable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from zraft import limits
from zraft.errors import CorruptData
from zraft.storage.disk import Completion
from zraft.storage.index import Released
from zraft.storage.journal import Journal
from zraft.storage.logs import StoredLog
from zraft.storage.reading import Plan, Wanted, check_batch, plan_reads


class CopyJob(msgspec.Struct, frozen=True):
    """Records of one replica that were read to be copied."""

    log: StoredLog
    wanted: list[Wanted]
    plan: Plan


class Cleaning:
    """Empties one segment at a time, a slice at a time. A record that cannot be read stays, and so does its segment."""

    __slots__ = ("_copying", "_journal", "_segment", "_segment_bytes", "_todo")

    def __init__(self, journal: Journal, segment_bytes: int) -> None:
        self._journal = journal
        self._segment_bytes = segment_bytes
        self._segment = -1
        """The segment that is or was emptied; none is tried twice."""
        self._todo: deque[tuple[StoredLog, Wanted]] = deque()
        self._copying = False

    def consider(self, logs: Iterable[StoredLog], released: Released) -> None:
        """Begin with the oldest segment, where the waste is worth it."""
        segments, journal = self._journal.segments, self._journal
        oldest = segments.oldest
        if self._todo or self._copying or oldest is segments.active or oldest.sequence <= self._segment:
            return
        used, live = segments.waste()
        slack = limits.JOURNAL_SLACK_SEGMENTS * self._segment_bytes
        if used - live <= live + slack or oldest.last_lsn > journal.completed_lsn:
            return
        self._segment = oldest.sequence
        for log in logs:
            if log.mark_place is not None and log.mark_place.segment == oldest.sequence:
                log.rewrite_mark(journal, released)
            self._todo.extend((log, item) for item in log.wanted_in(oldest.sequence))

    def next_slice(self) -> CopyJob | None:
        """The next records to read; None where there are none or some are being read."""
        if self._copying:
            return None
        wanted: list[Wanted] = []
        size = 0
        owner: StoredLog | None = None
        while self._todo and size < limits.JOURNAL_COPY_BYTES:
            log, item = self._todo[0]
            if owner is not None and log is not owner:
                break
            self._todo.popleft()
            if log.index.is_at(item.first, item.segment, item.offset):
                owner = log
                wanted.append(item)
                size += item.size
        if owner is None:
            return None
        self._copying = True
        return CopyJob(owner, wanted, plan_reads(wanted))

    def copied(self, job: CopyJob, completion: Completion, released: Released) -> None:
        """The records were read: those that are still needed are written again."""
        self._copying = False
        if completion.error is not None:
            return
        for (read, at), item in zip(job.plan.spots, job.wanted, strict=True):
            if not job.log.index.is_at(item.first, item.segment, item.offset):
                continue
            try:
                batch = check_batch(completion.reads[read], at, job.log.owner, item)
            except CorruptData:
                continue  # Whoever loads it, and the next start, will say so; its segment stays as it is.
            job.log.copy_forward(item, batch, self._journal, released)
