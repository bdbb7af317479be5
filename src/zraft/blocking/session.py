"""`Session` without `async`."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from types import TracebackType
from typing import Self

from zraft.blocking.light import Run
from zraft.client import session
from zraft.client.light_session import Written
from zraft.client.triggers import WatchTrigger
from zraft.client.waiting import Timeout
from zraft.types import Value


class Session:
    """A replicated session. A context manager; for any number of threads. Its pings go out whatever they do.

    Made by `start_session` of a blocking client. It ends with that client at the latest, without being stopped.
    """

    def __init__(self, its: session.Session, run: Run) -> None:
        self._session, self._run = its, run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._session.__aexit__(kind, error, trace))

    @property
    def id(self) -> int:
        """As `zraft.Session.id`."""
        return self._session.id

    @property
    def token(self) -> bytes:
        """As `zraft.Session.token`."""
        return self._session.token

    @property
    def expires_at(self) -> float:
        """As `zraft.Session.expires_at`: by `time.monotonic()`."""
        return self._session.expires_at

    @property
    def state(self) -> str:
        """As `zraft.Session.state`."""
        return self._session.state

    def write(self, data: Value, *, temporary: bool = False, timeout: Timeout = 5.0) -> Value:
        """As `zraft.Session.write`. Those of one thread apply in the order of its calls."""
        return self._run(self._session.write(data, temporary=temporary, timeout=timeout))

    def write_entry(self, data: Value, *, temporary: bool = False, timeout: Timeout = 5.0) -> Written:
        """As `zraft.Session.write_entry`."""
        written: Written = self._run(self._session.write_entry(data, temporary=temporary, timeout=timeout))
        return written

    def query(self, query: Value, *, watch: Hashable = None, timeout: Timeout = 5.0) -> Value:
        """As `zraft.Session.query`."""
        return self._run(self._session.query(query, watch=watch, timeout=timeout))

    def query_entry(self, query: Value, *, watch: Hashable = None, timeout: Timeout = 5.0) -> Written:
        """As `zraft.Session.query_entry`."""
        found: Written = self._run(self._session.query_entry(query, watch=watch, timeout=timeout))
        return found

    def triggers(self) -> Iterator[WatchTrigger]:
        """As `zraft.Session.triggers`: waits for each, and ends when the session is stopped."""
        while True:
            trigger: WatchTrigger | None = self._run(session.next_trigger(self._session))
            if trigger is None:
                return
            yield trigger

    def wait_trigger(self, ref: Hashable, *, timeout: Timeout = None) -> WatchTrigger:
        """As `zraft.Session.wait_trigger`."""
        trigger: WatchTrigger = self._run(self._session.wait_trigger(ref, timeout=timeout))
        return trigger

    def stop(self) -> None:
        """As `zraft.Session.stop`."""
        self._run(self._session.stop())
