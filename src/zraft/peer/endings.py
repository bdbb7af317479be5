"""The end of a session on its way through the log: who waits for it, and what becomes of them.

From the moment that the entry is appended nobody is told that the session lives, until the entry is decided (BM-068):
it may have been appended by a leader that is one no longer, and still be committed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zraft.errors import RequestError
from zraft.session.outcomes import Outcome
from zraft.types import Index

if TYPE_CHECKING:
    from zraft.peer.desk import Asked
    from zraft.wire.requests import SessionRequest


class Ending:
    """Stands where the one who asked stands otherwise: the desk tells it the outcome of the entry.

    `over` is called once: with the index and outcome of the entry, or with the error that took it.
    """

    __slots__ = ("_over", "session", "stops", "waiting")

    def __init__(self, session: int, over: Callable[[Ending, Index, Outcome], None]) -> None:
        self.session = session
        self.stops: list[Asked] = []
        """Who asked for the end."""
        self.waiting: list[tuple[Asked, SessionRequest]] = []
        """Who asked for something else meanwhile."""
        self._over = over

    def applied(self, index: Index, outcome: Outcome) -> None:
        """The entry at `index` was applied. The outcome is an error where the session had ended before."""
        self._over(self, index, outcome)

    def failed(self, error: RequestError) -> None:
        """The entry was not appended, or nobody here knows any more what becomes of it."""
        self._over(self, 0, error)
