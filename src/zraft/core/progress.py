"""What a leader knows of one follower, and what is under way to it (§3.5, §10.2.2). Knows no messages.

    PROBE      where the logs meet is not known: one AppendEntries at a time, from `next_index`
    REPLICATE  they meet at `match_index`: a small window of messages, `next_index` runs ahead
    SNAPSHOT   what the follower needs is gone: nothing is sent until it reports on the snapshot

`match_index` < `next_index` always, and `match_index` never falls (I11).
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from zraft.types import Index, Millis


class ProgressState(Enum):
    """How entries go to a follower."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One follower or learner as its leader sees it."""

    __slots__ = (
        "flights",
        "contact_ms",
        "flight_bytes",
        "loading",
        "match_index",
        "next_index",
        "round",
        "snapshot_index",
        "state",
        "waiting_since_ms",
    )

    def __init__(self, next_index: Index, now: Millis) -> None:
        self.state = ProgressState.PROBE
        self.match_index: Index = 0
        """Known to be stored on it; only an accepted AppendEntries or an installed snapshot says so."""
        self.next_index = next_index
        """First index of the next message; always the first of a batch."""
        self.round = 0
        """Last heartbeat round that it answered."""
        self.contact_ms = now
        """When it last answered anything in this term; a new leader gives everybody an election timeout."""
        self.loading = False
        """Older batches for it are being read; nothing else is sent meanwhile."""
        self.snapshot_index: Index = 0
        """The snapshot that it was offered; 0: none."""
        self.waiting_since_ms: Millis | None = None
        """PROBE: when the message under way was sent. SNAPSHOT: when the offer was made. None: nothing is under way."""
        self.flights: deque[tuple[Index, int, Millis]] = deque()
        self.flight_bytes = 0

    def can_send(self, window_messages: int, window_bytes: int) -> bool:
        """Another AppendEntries may go out now."""
        if self.loading:
            return False
        if self.state is ProgressState.REPLICATE:
            return len(self.flights) < window_messages and self.flight_bytes < window_bytes
        return self.state is ProgressState.PROBE and self.waiting_since_ms is None

    def sent(self, last_index: Index, size_bytes: int, now: Millis) -> None:
        """A message that ends at `last_index` is under way."""
        if self.state is ProgressState.REPLICATE:
            self.flights.append((last_index, size_bytes, now))
            self.flight_bytes += size_bytes
            self.next_index = last_index + 1
        else:
            self.waiting_since_ms = now

    def acknowledged(self, index: Index) -> bool:
        """It has stored everything up to `index`. True where that is news; late or doubled replies are not (BM-017)."""
        while self.flights and self.flights[0][0] <= index:
            self.flight_bytes -= self.flights.popleft()[1]
        is_news = index > self.match_index
        if is_news:
            self.match_index = index
            self.next_index = max(self.next_index, index + 1)
        if self.state is ProgressState.PROBE or (self.state is ProgressState.SNAPSHOT and index >= self.snapshot_index):
            self.become_replicate()
        return is_news

    def become_replicate(self) -> None:
        """The logs meet at `match_index`."""
        self.state = ProgressState.REPLICATE
        self.next_index = self.match_index + 1
        self._forget_flights()

    def become_probe(self, next_index: Index) -> None:
        """Look for the meeting point from `next_index` downwards, never at or below `match_index`."""
        self.state = ProgressState.PROBE
        self.next_index = max(next_index, self.match_index + 1)
        self._forget_flights()

    def lose_flights(self) -> None:
        """What is under way to it counts as lost: ask anew, from where that began (§3.7)."""
        self.become_probe(self.match_index + 1 if self.state is ProgressState.REPLICATE else self.next_index)

    def become_snapshot(self, index: Index, now: Millis) -> None:
        """It was offered the snapshot at `index`."""
        self.state = ProgressState.SNAPSHOT
        self.snapshot_index = index
        self._forget_flights()
        self.waiting_since_ms = now

    def oldest_sent_ms(self) -> Millis | None:
        """When the oldest unanswered message was sent; None where nothing is under way."""
        if self.state is ProgressState.REPLICATE:
            return self.flights[0][2] if self.flights else None
        return self.waiting_since_ms

    def _forget_flights(self) -> None:
        self.flights.clear()
        self.flight_bytes = 0
        self.waiting_since_ms = None
        self.loading = False
