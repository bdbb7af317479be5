"""`Session` without `async`."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from types import TracebackType
from typing import Self

from zraft.blocking.light import Run
from zraft.client import session, streaming
from zraft.client.light_session import Written
from zraft.client.session_state import State
from zraft.client.triggers import WatchTrigger
from zraft.client.waiting import Timeout
from zraft.types import Index, Value


class Session:
    """A replicated session. A context manager; for any number of threads. Its pings go out whatever they do.

    Made by `start_session` of a blocking client. It ends with that client at the latest, without being stopped.
    """

    def __init__(self, its: session.Session, run: Run) -> None:
        self.its, self.run = its, run
        """The session in its loop, and what runs coroutines there: for `recipes`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self.its.__aexit__(kind, error, trace))

    @property
    def id(self) -> int:
        """As `zraft.Session.id`."""
        return self.its.id

    @property
    def token(self) -> bytes:
        """As `zraft.Session.token`."""
        return self.its.token

    @property
    def expires_at(self) -> float:
        """As `zraft.Session.expires_at`: by `time.monotonic()`."""
        return self.its.expires_at

    @property
    def state(self) -> str:
        """As `zraft.Session.state`."""
        return self.its.state

    def wait_state(self, *states: State, timeout: Timeout = None) -> State:
        """As `zraft.Session.wait_state`."""
        state: State = self.run(self.its.wait_state(*states, timeout=timeout))
        return state

    def write(self, data: Value, *, temporary: bool = False, timeout: Timeout = 5.0) -> Value:
        """As `zraft.Session.write`. Those of one thread apply in the order of its calls."""
        return self.run(self.its.write(data, temporary=temporary, timeout=timeout))

    def write_entry(self, data: Value, *, temporary: bool = False, timeout: Timeout = 5.0) -> Written:
        """As `zraft.Session.write_entry`."""
        written: Written = self.run(self.its.write_entry(data, temporary=temporary, timeout=timeout))
        return written

    def query(self, query: Value, *, watch: Hashable = None, timeout: Timeout = 5.0) -> Value:
        """As `zraft.Session.query`."""
        return self.run(self.its.query(query, watch=watch, timeout=timeout))

    def query_entry(self, query: Value, *, watch: Hashable = None, timeout: Timeout = 5.0) -> Written:
        """As `zraft.Session.query_entry`."""
        found: Written = self.run(self.its.query_entry(query, watch=watch, timeout=timeout))
        return found

    def triggers(self) -> Iterator[WatchTrigger]:
        """As `zraft.Session.triggers`: waits for each, and ends when the session is stopped."""
        while True:
            trigger: WatchTrigger | None = self.run(session.next_trigger(self.its))
            if trigger is None:
                return
            yield trigger

    def watch(self, key: Value, from_index: Index | None = None) -> ChangeStream:
        """As `zraft.Session.watch`: an iterator that waits for each change."""
        return ChangeStream(self.its.watch(key, from_index), self.run)

    def forget(self, ref: Hashable) -> None:
        """As `zraft.Session.forget`."""

        async def forget() -> None:
            self.its.forget(ref)

        self.run(forget())

    def wait_trigger(self, ref: Hashable, *, timeout: Timeout = None) -> WatchTrigger:
        """As `zraft.Session.wait_trigger`."""
        trigger: WatchTrigger = self.run(self.its.wait_trigger(ref, timeout=timeout))
        return trigger

    def stop(self) -> None:
        """As `zraft.Session.stop`."""
        self.run(self.its.stop())


class ChangeStream:
    """As `zraft.ChangeStream`: an iterator, and a context manager."""

    def __init__(self, its: streaming.ChangeStream, run: Run) -> None:
        self._its, self._run = its, run

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> streaming.Changed:
        change: streaming.Changed | None = self._run(self._its.next())
        if change is None:
            raise StopIteration
        return change

    def __enter__(self) -> Self:
        self._run(self._its.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def index(self) -> Index | None:
        """As `zraft.ChangeStream.index`."""
        return self._its.index

    def close(self) -> None:
        """As `zraft.ChangeStream.aclose`."""
        self._run(self._its.aclose())

    def next(self) -> streaming.Changed | None:
        """As `zraft.ChangeStream.next`."""
        return next(self, None)
