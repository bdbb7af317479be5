"""`Session.watch`: every change of a key or prefix, in the order of the log, whoever leads meanwhile.

    iterated ──nothing here──> the leader is asked for what follows ──changes──> given one by one
                                                                    ──none─────> set: waits for what is pushed
    set ──pushed──> as above      set ──a ping was answered──> nothing was left out up to its index
        ──connection lost──> the next leader is asked for what follows the same index

Whoever iterates asks, so a stream needs no task, and has at most one piece waiting. Each piece says from which index to
which it is complete; it is taken where it joins what was taken before, and what came already is left out of it. So
nothing is lost or doubled, in whatever order pieces come (BM-082), and a slow reader costs nobody memory: where the
leader's history has passed it by, it is told `Lagged` (BM-083). Who waits is woken when the connection goes (BM-089).
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Final, Protocol, Self
from weakref import WeakValueDictionary

import msgspec

from zraft.client.connection import Connection
from zraft.client.waiting import FOREVER
from zraft.errors import Overloaded, ProtocolError, RequestError, SessionClosed, UsageError
from zraft.limits import MAX_TERM
from zraft.types import Index, PeerId, Value
from zraft.wire.changes import Change, Chunk, Prefix, decode_chunk, entries_of
from zraft.wire.requests import Result
from zraft.wire.session_requests import SessionWatch, Streamed
from zraft.wire.values import Statement, encode_value

MARK_S: Final = 5.0
"""How old what a set stream knows may become, at most: so much must have happened since for it to be called lagged."""


class Changed(Change, frozen=True, gc=False):
    """A change in a stream: what became of `key`, by the entry at `index`.

    `kind` is the backend's word: "put" with the new `value`; "delete", "session" and "expire" for a key that is gone,
    by a command, with its session, at its time; "change" where the backend says no more than that.
    """

    index: Index = 0


class Asker(Protocol):
    """What a stream needs of its session."""

    id: int
    token: bytes

    async def ask_stream(self, stream: ChangeStream) -> Result:
        """The answer to what the stream makes with `request`, from whoever leads; however long that takes."""

    def unwatch(self, connection: Connection, number: int) -> None:
        """Nobody wants to know any more of what is set under this number of the connection."""


class ChangeStream:
    """The changes of one watch: an async iterator, for one task at a time. Also an async context manager.

    Entering it, or iterating for the first time, asks the leader: from then on nothing is missed. It ends when the
    session is stopped, and raises `Lagged` where changes are gone, `SessionExpired`, `WatchNotSupported`, `Rejected`
    for what is no key, `BackendError`. A cancelled wait loses nothing: iterate again.
    """

    __slots__ = (
        "__weakref__",
        "_asker",
        "_connection",
        "_is_over",
        "_is_prefix",
        "_is_set",
        "_key",
        "_number",
        "_queue",
        "_upto",
        "_waiter",
        "_was_told",
    )

    def __init__(self, asker: Asker, key: Value, from_index: Index | None) -> None:
        """See `Session.watch`. Raises `UsageError`."""
        if from_index is not None and (type(from_index) is not int or not 0 <= from_index <= MAX_TERM):
            raise UsageError(f"not an index: {from_index!r}")
        self._is_prefix = isinstance(key, Prefix)
        if isinstance(key, Prefix):
            key = key.key
        if isinstance(key, Statement):
            raise UsageError(f"{key!r} is a query; a stream is of a key, or of a zraft.Prefix")
        self._key = msgspec.Raw(encode_value(key))
        self._asker, self._upto = asker, from_index
        self._queue: deque[Changed] = deque()
        self._connection: Connection | None = None
        """The one that it has its number on."""
        self._number = 0
        self._is_set = self._was_told = self._is_over = False
        """Set at the leader; told something since it asked; ended."""
        self._waiter: asyncio.Future[None] | None = None

    @property
    def index(self) -> Index | None:
        """Everything up to here was given: `from_index` for a later stream that goes on. None: not begun yet.

        Within the changes of one entry it is the index before: they belong together.
        """
        return self._queue[0].index - 1 if self._queue else self._upto

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Changed:
        change = await self.next()
        if change is None:
            raise StopAsyncIteration
        return change

    async def __aenter__(self) -> Self:
        if not self._is_over and not self._is_set:
            await self._guarded(self._ask)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """It gives no more changes, and the leader is told so."""
        self._is_over = True
        self._queue.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._asker.unwatch(connection, self._number)
        self._wake()

    async def next(self) -> Changed | None:
        """The next change; None: it has ended."""
        while not self._queue and not self._is_over:
            await self._guarded(self._wait if self._is_set else self._ask)
        return None if self._is_over else self._queue.popleft()

    async def _guarded(self, step: _Step) -> None:
        """One step; an error that would only come again ends the stream."""
        if self._waiter is not None:
            raise UsageError("a stream is iterated by one task at a time")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await step(self._waiter)
        except SessionClosed:
            self._is_over = True
        except Overloaded:
            raise
        except RequestError:
            self._is_over = True
            raise
        finally:
            self._waiter = None

    async def _ask(self, _: asyncio.Future[None]) -> None:
        result = await self._asker.ask_stream(self)
        chunk = decode_chunk(result.value)
        self._take(chunk)
        self._is_set = not chunk.entries and not self._was_told

    async def _wait(self, woken: asyncio.Future[None]) -> None:
        await asyncio.wait([woken])

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self, chunk: Chunk) -> None:
        """Raises `ProtocolError` where it does not join what was taken before."""
        upto = chunk.after if self._upto is None else self._upto
        if chunk.after > upto:
            raise ProtocolError(f"a stream goes on after {chunk.after}; it is complete up to {upto}")
        for index, changes in entries_of(chunk):
            if index > upto and not self._is_over:
                self._queue += [Changed(change.key, change.value, change.kind, index) for change in changes]
        self._upto = max(upto, chunk.index)

    # -- for the session

    def request(self, connection: Connection, peer: PeerId) -> SessionWatch:
        """What it asks next over this connection."""
        if connection is not self._connection:
            self._connection, self._number = connection, connection.draw()
        self._is_set = self._was_told = False
        asker, number = self._asker, connection.draw()
        return SessionWatch(
            number, peer.name, asker.id, asker.token, self._number, self._key, self._is_prefix, self._upto
        )

    def pushed(self, chunk: Chunk) -> None:
        """The leader sends what it was set for. Raises `ProtocolError`."""
        self._take(chunk)
        self.lost()

    def lost(self) -> None:
        """It is set no more: the next step is to ask."""
        self._is_set, self._was_told = False, True
        self._wake()

    def marked(self, index: Index) -> None:
        """Where it is set nothing was left out up to `index`."""
        if self._is_set and self._upto is not None:
            self._upto = max(self._upto, index)


class Streams:
    """Those of one session that were asked for over its present connection, as long as somebody holds them."""

    __slots__ = ("_by_number", "_marked_at")

    def __init__(self) -> None:
        self._by_number: WeakValueDictionary[int, ChangeStream] = WeakValueDictionary()
        """By the number that they are set under."""
        self._marked_at = 0.0

    def asks(self, stream: ChangeStream, connection: Connection, peer: PeerId) -> SessionWatch:
        """What it asks next; from now on it is told."""
        request = stream.request(connection, peer)
        self._by_number[request.watch] = stream
        return request

    def pushed(self, streamed: Streamed) -> None:
        """One that nobody holds any more is told nothing, and asks for nothing. Raises `ProtocolError`."""
        stream = self._by_number.get(streamed.id)
        if stream is not None:
            stream.pushed(streamed.chunk)

    def marked(self, index: Index, now: float) -> None:
        """A ping was answered: nothing was left out up to `index`."""
        self._marked_at = now
        for stream in self._by_number.values():
            stream.marked(index)

    def mark_at(self, timeout_s: float) -> float:
        """When the next ping is due for their sake, though other requests were answered meanwhile."""
        return self._marked_at + min(MARK_S, timeout_s / 2) if self._by_number else FOREVER

    def lost(self) -> None:
        """Who iterates asks the next leader, or is told that the session is over."""
        streams, self._by_number = list(self._by_number.values()), WeakValueDictionary()
        for stream in streams:
            stream.lost()


class _Step(Protocol):
    async def __call__(self, woken: asyncio.Future[None], /) -> None: ...
