"""`Cache`: what begins with a prefix, here, and kept up to date.

One watch on the prefix, and one query whenever it fires. How the entries come is the matter of `_Feed` alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from copy import copy
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from zraft.client.session import Session, spawn
from zraft.client.waiting import Timeout, said
from zraft.errors import RequestError, RequestTimeout, UsageError
from zraft.machine.table_types import Entry, Prefix
from zraft.recipes.access import Deadline, check_prefix, entries_of
from zraft.types import NOT_FOUND, Value

_Picture: TypeAlias = tuple[dict[Any, Entry], int]
"""Every entry that there was after the entry of the log with this index, in the order of their keys."""

_NOTHING: Final[Mapping[Any, Entry]] = {}


class _Feed:
    """Where the entries come from: the present ones on demand, and again and again."""

    def __init__(self, session: Session, prefix: Any) -> None:
        self._session, self._query, self._watch = session, Prefix(prefix), object()

    async def now(self, deadline: Deadline) -> _Picture:
        """As of now, or later."""
        return _picture(await self._session.query_entry(self._query, timeout=deadline.left))

    async def pictures(self) -> AsyncGenerator[_Picture, None]:
        """One at once, and one after each change; of changes in quick succession the last. Ends with the session."""
        try:
            while True:
                yield _picture(await self._session.query_entry(self._query, watch=self._watch, timeout=None))
                await self._session.wait_trigger(self._watch)
        finally:
            self._session.forget(self._watch)


def _picture(found: Any) -> _Picture:
    return {entry.key: entry for entry in entries_of(found.result)}, found.index


class Cache:
    """The entries whose key begins with `prefix`, as a mapping from keys to values that is read without waiting.

    An async context manager: it is filled then, and follows the table until its end. It is behind by the time that a
    change takes to travel. While the session is suspended, and once it is over, it stays as it was; `is_current` tells.
    """

    def __init__(self, session: Session, prefix: Any) -> None:
        check_prefix(prefix)
        self._session, self._prefix, self._feed = session, prefix, _Feed(session, prefix)
        self._entries: Mapping[Any, Entry] = _NOTHING
        self._index = 0
        self._error: RequestError | None = None
        self._changed: asyncio.Future[None] | None = None
        """Done, and replaced, when there is a new picture or an end; None: it was not opened."""
        self._follower: asyncio.Task[Any] | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self, *, timeout: Timeout = None) -> None:
        """It is filled, and follows. Raises as `Session.query`; `UsageError` where the group has no table."""
        if self._changed is not None:
            raise UsageError("a cache is opened once")
        self._adopt(await self._feed.now(Deadline(timeout)))
        self._changed = asyncio.get_running_loop().create_future()
        spawn(self._session, self._follow(), f"cache of {self._prefix!r}")

    async def close(self) -> None:
        """It follows no more, and stays as it was."""
        self._is_closed = True
        if self._follower is not None:
            self._follower.cancel()
        self._tell()

    # -- what is in it: nothing here waits, and any thread may ask

    def __getitem__(self, key: Any) -> Value:
        return self._entries[key].value

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Any, default: Value = NOT_FOUND) -> Value:
        """The value, or `default` where there is no such key."""
        entry = self._entries.get(key)
        return default if entry is None else entry.value

    def entry(self, key: Any) -> Entry | None:
        """The whole entry; None where there is no such key."""
        return self._entries.get(key)

    def as_dict(self) -> dict[Any, Value]:
        """Every key with its value, in the order of the keys."""
        return {key: entry.value for key, entry in self._entries.items()}

    @property
    def index(self) -> int:
        """It has seen every entry of the log up to this index."""
        return self._index

    @property
    def is_current(self) -> bool:
        """It follows, and the leader answers. False: something may have changed unseen."""
        return not self._is_closed and self._error is None and self._session.state == "connected"

    # -- waiting

    async def refresh(self, *, timeout: Timeout = 5.0) -> None:
        """It has seen every write that was answered before this call. Raises as `Session.query`."""
        self._adopt(await self._feed.now(Deadline(timeout)))

    async def wait_change(self, since: int, *, timeout: Timeout = None) -> int:
        """The index, once it is beyond `since`, an earlier one: something may have changed after that.

        Raises `RequestTimeout`, and what ended the session. Closing the cache is a `UsageError` to whoever waits.
        """
        deadline = Deadline(timeout)
        while self._index <= since:
            if self._error is not None:
                raise copy(self._error)
            if self._changed is None or self._is_closed:
                raise UsageError("this cache is not open")
            if deadline.left == 0:
                raise RequestTimeout(f"nothing changed within {said(deadline.seconds)}", executed="no")
            await asyncio.wait([self._changed], timeout=deadline.left)
        return self._index

    # -- how it follows

    async def _follow(self) -> None:
        self._follower = asyncio.current_task()
        try:
            async with aclosing(self._feed.pictures()) as pictures:
                async for picture in pictures:
                    if self._is_closed:
                        return
                    self._adopt(picture)
        except RequestError as error:
            self._error = error
            self._tell()

    def _adopt(self, picture: _Picture) -> None:
        entries, index = picture
        if index > self._index:
            self._entries, self._index = entries, index
            self._tell()

    def _tell(self) -> None:
        changed = self._changed
        if changed is not None:
            self._changed = changed.get_loop().create_future()
            changed.set_result(None)
