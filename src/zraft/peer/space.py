"""A disk that is full: whoever leads here hands over, and where nobody can take over, writes are refused (BM-098).

    no space for the next segment ─> alarm, leaderships are handed over ─> tried again every second ─> space: goes on
                                                └ nobody takes over: writes are answered `Overloaded`, "disk_full"

What the journal's present segment still holds is the reserve, for terms, votes and what others lead. Reads go on. Where
all disks are full, leadership goes round less and less often: each time costs a little of the reserve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zraft.errors import Overloaded
from zraft.types import Millis

if TYPE_CHECKING:
    from zraft.peer.host import Host
    from zraft.peer.peer import Peer

RETRY_MS: Final[Millis] = 1000
"""How often it is tried whether there is space again. It is believed when it has held for so long."""

_PAUSE_AT_MOST: Final[Millis] = 60_000
"""Between two attempts to hand over."""


class Space:
    """Of one host."""

    __slots__ = ("_hand_over_at", "_host", "_pause_ms", "_since", "_try_at")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._since: Millis | None = None
        """Since when there is no space; None: there is."""
        self._try_at: Millis = 0
        self._hand_over_at: Millis = 0
        self._pause_ms: Millis = RETRY_MS

    @property
    def due_ms(self) -> Millis | None:
        """When `turn` wants to be called; None: there is space."""
        return None if self._since is None else self._try_at

    def turn(self, now: Millis) -> None:
        """The turn ends: is there space?"""
        host, is_short = self._host, self._host.store.is_short_of_space
        if self._since is None:
            if is_short:
                self._since, self._try_at = now, now + RETRY_MS
                self._pause_ms = RETRY_MS
                host.note("", "the disk is full: others shall lead, or writes are refused", is_alarm=True)
                self._hand_over(now)
        elif now >= self._try_at:
            self._try_at = now + RETRY_MS
            if is_short:
                host.store.retry_space()
                if now >= self._hand_over_at:
                    self._hand_over(now)
            else:
                self._since = None
                host.note("", "there is space on the disk again")

    def _hand_over(self, now: Millis) -> None:
        self._hand_over_at = now + self._pause_ms
        self._pause_ms = min(2 * self._pause_ms, _PAUSE_AT_MOST)
        self._host.hand_over(now, self._host.leading())

    def refusal(self, now: Millis, peer: Peer) -> Overloaded | None:
        """Why `peer`, which leads, takes no write; None: it does, or somebody else may take over any moment."""
        if self._since is None:
            return None
        is_alone = peer.meta.name not in self._host.leading()
        if not is_alone and now - self._since < 2 * self._host.settings.raft.election_timeout_ms:
            return None
        return Overloaded(reason="disk_full", retry_after=RETRY_MS / 1000)
