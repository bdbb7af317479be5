"""What programs build on sessions: a lock, an election, a counter. For groups of the backend "table".

async with zraft.recipes.Lock(session, "nightly job") as token: ...

Who wants a lock queues: a temporary entry each, in the order in which they were created, and the first one has it. Each
watches only the one before it, so that the end of one wakes one. The queue is data of the group: whoever is lost leaves
it with its session. An election is the same queue with something said by each.

**A lock is only as good as what it guards.** Whoever was held up may believe that it has a lock which its session has
lost. So each turn has a *token*, the index of its entry, higher than those of all earlier turns: what is guarded
refuses lower ones than it has seen. In the same group a transaction checks `Lock.held` and acts in one step.
"""

from __future__ import annotations

import asyncio
import secrets
from types import TracebackType
from typing import Any, Final

from zraft.client.session import Session, write_later
from zraft.client.waiting import FOREVER, Timeout, said, seconds_of
from zraft.errors import RequestTimeout, SessionExpired, UsageError
from zraft.machine.table_types import Compare, Delete, Entry, Get, Increment, Prefix, Put
from zraft.types import NOT_FOUND, Value

__all__ = ["Counter", "Election", "Lock"]

_LOCK: Final = "zraft.lock"
_ELECTION: Final = "zraft.election"
_TURN_BITS: Final = 62


class _Queue:
    """The turns of one name, in the order in which they were taken."""

    def __init__(self, session: Session, root: str, name: str) -> None:
        self.session, self.name, self.prefix = session, name, (root, name)

    async def entries(self, timeout: Timeout) -> list[Entry]:
        """Every turn, the first one first."""
        found = await self.session.query(Prefix(self.prefix), timeout=timeout)
        return sorted(map(Entry.of, found), key=lambda entry: entry.created_index)

    async def wait_turn(self, key: tuple[Any, ...], deadline: float) -> int:
        """Until the entry is the first one: its index. Raises `RequestTimeout`, `SessionExpired`."""
        clock = asyncio.get_running_loop().time
        while True:
            entries = await self.entries(max(0.0, deadline - clock()))
            place = next((place for place, entry in enumerate(entries) if entry.key == key), None)
            if place is None:
                raise SessionExpired(
                    f"the turn at {self.name!r} is gone: somebody has removed it, or the session ended"
                )
            if place == 0:
                return entries[0].created_index
            before = entries[place - 1].key
            ref = ("zraft.recipes", key, before)
            try:
                if await self.session.query(Get(before), watch=ref, timeout=max(0.0, deadline - clock())) is NOT_FOUND:
                    continue
                await self.session.wait_trigger(
                    ref, timeout=None if deadline == FOREVER else max(0.0, deadline - clock())
                )
            finally:
                self.session.forget(ref)


class _Turn:
    """What a lock and an election have in common: one turn at a time, taken and given back."""

    def __init__(self, session: Session, root: str, name: str) -> None:
        self._queue = _Queue(session, root, name)
        self._key: tuple[Any, ...] | None = None
        self._token: int | None = None

    @property
    def token(self) -> int | None:
        """The index of this turn, higher than those of all turns before it; None where it is not had."""
        return self._token

    @property
    def held(self) -> Compare:
        """The condition that it is still had, for a `zraft.table.Txn`. Raises `UsageError` where it never was."""
        if self._token is None:
            raise UsageError(f"{self._queue.name!r} is not held")
        return Compare(self._key, "created_index", "==", self._token)

    async def _take(self, value: Value, timeout: Timeout) -> int:
        if self._key is not None:
            raise UsageError(f"{self._queue.name!r} is held, or waited for, by this object: make another one")
        seconds, session = seconds_of(timeout), self._queue.session
        deadline = asyncio.get_running_loop().time() + seconds
        self._key = key = (*self._queue.prefix, secrets.randbits(_TURN_BITS))
        try:
            await session.write(Put(key, value), temporary=True, timeout=timeout)
            self._token = await self._queue.wait_turn(key, deadline)
        except RequestTimeout:
            raise RequestTimeout(f"{self._queue.name!r} was not had within {said(seconds)}", executed="no") from None
        finally:
            if self._token is None:
                self._key = None
                write_later(session, Delete(key))
        return self._token

    async def _give_back(self) -> None:
        """The next one has it. What was not had is not given back; what was lost is gone already."""
        key, self._key, self._token = self._key if self._token is not None else None, None, None
        if key is not None:
            await self._queue.session.write(Delete(key), timeout=None)


class Lock(_Turn):
    """At most one session has it at a time. An async context manager; `async with` gives the token.

    An object has one turn at a time: whoever shares a session makes a `Lock` each.
    """

    def __init__(self, session: Session, name: str) -> None:
        super().__init__(session, _LOCK, name)

    async def __aenter__(self) -> int:
        return await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()

    async def acquire(self, *, timeout: Timeout = None) -> int:
        """The token of this turn, once every earlier one has ended.

        Raises `RequestTimeout`, `SessionExpired` also where the session ends while it waits (BM-074), and other
        `RequestError`s; the turn is then given up.
        """
        return await self._take(None, timeout)

    async def release(self) -> None:
        """The next one has it. Nothing happens where it is not held. Raises `SessionExpired`: it was lost before."""
        await self._give_back()


class Election(_Turn):
    """At most one session leads at a time; everybody can ask who, by what the leader says of itself."""

    def __init__(self, session: Session, name: str) -> None:
        super().__init__(session, _ELECTION, name)

    async def campaign(self, value: Value, *, timeout: Timeout = None) -> int:
        """This session leads, and `leader` is `value`: the token of this turn. Raises as `Lock.acquire`."""
        return await self._take(value, timeout)

    async def resign(self) -> None:
        """Whoever campaigns next leads. Nothing happens where this one does not lead."""
        await self._give_back()

    async def leader(self, *, timeout: Timeout = 5.0) -> Value:
        """What the leader said of itself, or `NOT_FOUND` where nobody leads."""
        entries = await self._queue.entries(timeout)
        return entries[0].value if entries else NOT_FOUND


class Counter:
    """A number under `key` of the table, counted exactly once whatever becomes of leaders."""

    def __init__(self, session: Session, key: Any) -> None:
        self._session, self._key = session, key

    async def add(self, by: int = 1, *, timeout: Timeout = 5.0) -> int:
        """The sum. Raises as `Session.write`; after a `RequestTimeout` it is still counted, once."""
        total: int = await self._session.write(Increment(self._key, by), timeout=timeout)
        return total

    async def value(self, *, timeout: Timeout = 5.0) -> int:
        """The sum, 0 where nothing was counted."""
        found = await self._session.query(Get(self._key), timeout=timeout)
        total: int = 0 if found is NOT_FOUND else Entry.of(found).value
        return total
