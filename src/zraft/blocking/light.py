"""`LightSession` without `async`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from zraft.client import light_session as light
from zraft.client.light_session import Written
from zraft.client.waiting import Timeout
from zraft.types import PeerId, Value

Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine in the loop that the session belongs to."""


class LightSession:
    """Writes and queries at whichever peer leads. A context manager; for any number of threads.

    Made by `light_session` of a blocking client. It ends with that client at the latest.
    """

    def __init__(self, session: light.LightSession, run: Run) -> None:
        self._session, self._run = session, run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def leader(self) -> PeerId:
        """Whom it asks now."""
        return self._session.leader

    @property
    def peers(self) -> list[PeerId]:
        """The peers that it may ask, in the order in which it does."""
        return self._session.peers

    def write(self, data: Value, *, timeout: Timeout = 5.0) -> Value:
        """As `zraft.LightSession.write`."""
        return self._run(self._session.write(data, timeout=timeout))

    def write_entry(self, data: Value, *, timeout: Timeout = 5.0) -> Written:
        """As `zraft.LightSession.write_entry`."""
        written: Written = self._run(self._session.write_entry(data, timeout=timeout))
        return written

    def write_many(self, data: Sequence[Value], *, timeout: Timeout = 5.0) -> list[Value]:
        """As `zraft.LightSession.write_many`."""
        results: list[Value] = self._run(self._session.write_many(data, timeout=timeout))
        return results

    def query(self, query: Value, *, timeout: Timeout = 5.0) -> Value:
        """As `zraft.LightSession.query`."""
        return self._run(self._session.query(query, timeout=timeout))

    def query_entry(self, query: Value, *, timeout: Timeout = 5.0) -> Written:
        """As `zraft.LightSession.query_entry`."""
        found: Written = self._run(self._session.query_entry(query, timeout=timeout))
        return found

    def close(self) -> None:
        """Its connections end; calls that wait fail."""
        self._run(self._session.close())
