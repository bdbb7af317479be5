"""`Lock`, and `RWLock` with its two sides: for one at a time, and for one writer or many readers."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar

from zraft.client.session import Session
from zraft.client.waiting import Timeout
from zraft.machine.table_types import Entry
from zraft.recipes.turns import Turn
from zraft.types import Value


class Lock(Turn):
    """At most one session has it at a time. An async context manager; `async with` gives the token.

    An object has one turn at a time: whoever shares a session makes a `Lock` each. `identifier` is what `contenders`
    says of this one.
    """

    _ROOT: ClassVar[str] = "zraft.lock"

    def __init__(self, session: Session, name: str, identifier: Value = None) -> None:
        super().__init__(session, self._ROOT, name)
        self._value = identifier

    async def __aenter__(self) -> int:
        return await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._give_back_after(error)

    async def acquire(self, *, timeout: Timeout = None) -> int:
        """The token of this turn, once every earlier one that excludes it has ended.

        Raises `RequestTimeout`, `SessionExpired` also where the session ends while it waits (BM-074), and other
        `RequestError`s; the turn is then given up.
        """
        return await self._take(self._value, timeout)

    async def release(self) -> None:
        """The next one has it. Nothing happens where it is not held. Raises `SessionExpired`: it was lost before."""
        await self._give_back()


class _Side(Lock):
    """Readers and writers stand in one queue, which says of each what it is."""

    _ROOT = "zraft.rwlock"
    _is_writer: ClassVar[bool]

    def __init__(self, session: Session, name: str, identifier: Value = None) -> None:
        super().__init__(session, name, [self._is_writer, identifier])

    def _said(self, entry: Entry) -> Value:
        return entry.value[1]


class WriteLock(_Side):
    """The side of an `RWLock` that nobody else has either side of."""

    _is_writer = True


class ReadLock(_Side):
    """The side of an `RWLock` that others may have, too. It waits for the writers who came before it."""

    _is_writer = False

    def _blocker(self, entries: Sequence[Entry], place: int) -> Entry | None:
        return next((entry for entry in reversed(entries[:place]) if entry.value[0]), None)


class RWLock:
    """Many may read at a time, or one writes. First come, first served: whoever waits to write keeps later readers out.

    The token of a writer is higher than those of all that had the lock before it, and lower than those of all after it.
    """

    def __init__(self, session: Session, name: str, identifier: Value = None) -> None:
        self._session, self._name, self._identifier = session, name, identifier
        ReadLock(session, name)  # a wrong name is told here

    def reader(self) -> ReadLock:
        """A new object for one turn at a time, as a `Lock`."""
        return ReadLock(self._session, self._name, self._identifier)

    def writer(self) -> WriteLock:
        """A new object for one turn at a time, as a `Lock`."""
        return WriteLock(self._session, self._name, self._identifier)
