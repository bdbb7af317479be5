"""The flight recorder: the last steps of a replica's core, for whoever asks afterwards how it came to its fault.

    checkpoint ─ event ─ event ... │ checkpoint ─ event ─ event ... ─ fault
    the stretch before             │ the present one

The core is a function of its state and its events (`core`), so a checkpoint and the events after it are all that a
replay needs. While nothing is wrong only references are kept: one tuple an event, and a checkpoint, in which nothing of
the log is copied, once for each stretch. A recording is encoded on a fault, and never otherwise.
"""

from __future__ import annotations

from typing import TypeAlias

from zraft import limits
from zraft.core import checkpoint
from zraft.core.checkpoint import Held
from zraft.core.events import Event
from zraft.core.log import HeldLog
from zraft.core.raft import Raft
from zraft.types import Millis

Entry: TypeAlias = tuple[Millis, Event]
"""An event, and the time at which the core was told of it."""


class Flight:
    """The recorder of one replica. Whoever steps its core appends to `events` before, and calls `look` now and then."""

    __slots__ = ("_before", "_log", "_most", "_raft", "_start", "due", "events", "is_in_core")

    def __init__(self, raft: Raft, sharing: int) -> None:
        """From now on. So many replicas of the node share what is kept."""
        self._raft = raft
        self._before: tuple[Held, HeldLog, list[Entry]] | None = None
        self.is_in_core = False
        """The fault happened in a step of the core: the replay ends with it, too."""
        self._begin(sharing)

    def _begin(self, sharing: int) -> None:
        self._start, self._log = checkpoint.hold(self._raft)
        self.events: list[Entry] = []
        self._most = max(limits.FLIGHT_LEAST, min(limits.FLIGHT_EVENTS, limits.FLIGHT_SHARED // max(sharing, 1)))
        self.due = min(limits.FLIGHT_LOOK, self._most)
        """`look` is due at so many events."""

    def look(self, sharing: int) -> None:
        """Begins the next stretch where this one is long enough, or would keep what the log has let go of."""
        if len(self.events) >= self._most or not self._raft.log.is_held_by(self._log):
            self._before = self._start, self._log, self.events
            self._begin(sharing)
        else:
            self.due += limits.FLIGHT_LOOK

    def recorded(self) -> tuple[Held, HeldLog, list[Entry]]:
        """Where it begins, and all events since."""
        if self._before is None:
            return self._start, self._log, self.events
        held, log, events = self._before
        return held, log, events + self.events
