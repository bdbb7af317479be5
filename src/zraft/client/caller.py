"""One client's connections, and one request from its first attempt to its answer.

`routing` decides, this file carries out: it asks, waits, and searches for the leader. Requests that look for the same
leader share one search, so that a thousand of them do not ask every node a thousand times. A supervisor task owns every
task of the client; an error in one of them that nobody expected closes the client and is raised by `aclose`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeAlias, TypeVar

from zraft.client.connection import Connection
from zraft.client.routing import Move, Route, undecided
from zraft.client.waiting import FOREVER
from zraft.errors import ProtocolError, RequestError, RequestTimeout, UsageError, ZraftError
from zraft.transport.counters import Counters
from zraft.transport.dialer import Target
from zraft.types import PeerId
from zraft.wire.handshake import ANY_CLUSTER, Role
from zraft.wire.requests import PeerStatus, Reply, Request, Stat, Status

Make: TypeAlias = Callable[[int, str], Request]
"""Makes a request from its number and the name of the peer that it is for."""

_Patience: TypeAlias = tuple[float, float]
"""How many seconds a search waits for a peer that the caller knows, and for one that it was told of."""

ReplyT = TypeVar("ReplyT", bound=Reply)
T = TypeVar("T")

SEARCH_S: Final = 1.0
"""How long a search waits for one peer."""
REASON_S: Final = 0.04
"""The same where time is up and only the reason is wanted: so much longer a caller waits at most if nobody answers."""
REASON_OF_OTHERS_S: Final = 0.25
"""And so much longer for the voters that somebody has told of: who is only far away shall not be called missing."""


class Caller:
    """The connections of one client, by node. Belongs to the event loop in which it was made."""

    def __init__(self, *, secret: bytes | None, cluster: str | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._secret, self._cluster = secret, cluster or ANY_CLUSTER
        self._connections: dict[str, Connection] = {}
        self._leased: dict[Connection, None] = {}
        self._searches: dict[tuple[PeerId, _Patience], asyncio.Task[list[PeerStatus]]] = {}
        """Under way, by the peer that the callers named, and how long they wait for each peer."""
        self._counters = Counters()
        self._error: Exception | None = None
        self._is_closed = False
        self._end = asyncio.Event()
        self._begun: asyncio.Future[asyncio.TaskGroup] = self._loop.create_future()
        self._supervisor = self._loop.create_task(self._supervise(), name="zraft client")

    @property
    def is_closed(self) -> bool:
        """It can be used no more."""
        return self._is_closed

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it belongs to."""
        return self._loop

    def deadline(self, seconds: float) -> float:
        """The time of the loop's clock in so many seconds."""
        return self._loop.time() + seconds if seconds < FOREVER else FOREVER

    # -- asking

    async def call(
        self,
        origin: PeerId,
        make: Make,
        kind: type[ReplyT],
        *,
        deadline: float,
        seconds: float,
        redirect: bool = True,
        is_read: bool = False,
    ) -> tuple[ReplyT, PeerId]:
        """The answer to a request for the leader of the group of `origin`, and who gave it.

        `deadline` is when the caller stops waiting, `seconds` how long that is in its eyes, for messages. Without
        `redirect` only `origin` is asked, once. Raises a `RequestError` that is true about what was sent.
        """
        route: Route | None = None
        peer = origin
        while True:
            try:
                reply = await self._attempt(peer, make, deadline)
            except RequestError as error:
                if route is None:
                    route = Route(origin, redirect=redirect, is_read=is_read)
                if isinstance(error, RequestTimeout) and self._loop.time() >= deadline:
                    is_sent = error.executed != "no"
                    why = await self.undecided((peer,)) if is_sent and redirect else ""
                    raise route.timed_out(seconds, is_sent=is_sent, why=why) from None
                move = route.refused(error)
                if move is Move.STOP:
                    raise _as_promised(error, is_read=is_read) from None
                await self._prepare(route, move, deadline, seconds)
                peer = route.peer
            else:
                return expected(reply, kind), peer

    async def ask(self, node: str, request: Callable[[int], Request], kind: type[ReplyT], *, deadline: float) -> ReplyT:
        """The answer of one node, asked once. Raises what `Connection.ask` raises."""
        reply = await self.connection(node).ask(request, deadline)
        return expected(reply, kind)

    async def _attempt(self, peer: PeerId, make: Make, deadline: float) -> Reply:
        name = peer.name
        return await self.connection(peer.node).ask(lambda number: make(number, name), deadline)

    async def _prepare(self, route: Route, move: Move, deadline: float, seconds: float) -> None:
        """Pauses and searches until there is a peer to ask. Raises `RequestTimeout` when time is up."""
        while True:
            if route.pause:
                if self._loop.time() + route.pause >= deadline:
                    await asyncio.sleep(max(0.0, deadline - self._loop.time()))
                    raise route.timed_out(seconds, is_sent=False)
                await asyncio.sleep(route.pause)
            if move is Move.ASK:
                return
            statuses = await self._search(route, deadline)
            if statuses is None:
                raise route.timed_out(seconds, is_sent=False)
            move = route.found(statuses)

    # -- searching

    async def undecided(self, known: tuple[PeerId, ...]) -> str:
        """Why the group of these peers decides nothing, for messages; "" where enough of its voters answer."""
        return undecided(await self._found(known, FOREVER, (REASON_S, REASON_OF_OTHERS_S)) or [])

    async def _search(self, route: Route, deadline: float) -> list[PeerStatus] | None:
        """The status of every peer of the group that answers. None: the deadline came first."""
        return await self._found(route.known(), deadline, (SEARCH_S, SEARCH_S))

    async def _found(self, known: tuple[PeerId, ...], deadline: float, patience: _Patience) -> list[PeerStatus] | None:
        key = (known[0], patience)
        search = self._searches.get(key)
        if search is None:
            tasks = await self._tasks()
            search = self._searches.get(key)
            if search is None:
                search = tasks.create_task(self._ask_all(known, patience), name=f"search the leader of {known[0]}")
                self._searches[key] = search
                search.add_done_callback(lambda _: self._searches.pop(key, None))
        remaining = None if deadline == FOREVER else deadline - self._loop.time()
        await asyncio.wait([search], timeout=remaining)
        return search.result() if search.done() and not search.cancelled() else None

    async def _ask_all(self, known: tuple[PeerId, ...], patience: _Patience) -> list[PeerStatus]:
        """Asks these peers, and then the voters that they tell of."""
        found: dict[PeerId, PeerStatus | None] = {}
        wanted = list(known)
        while wanted:
            seconds = patience[1] if found else patience[0]
            statuses = await each(self._status(peer, seconds) for peer in wanted)
            found.update(zip(wanted, statuses, strict=True))
            told = [peer for status in statuses if status is not None for peer in status.peers]
            wanted = [peer for peer in dict.fromkeys(told) if peer not in found]
        return [status for status in found.values() if status is not None]

    async def _status(self, peer: PeerId, seconds: float) -> PeerStatus | None:
        try:
            reply = await self.ask(
                peer.node, lambda number: Stat(number, peer.name), Status, deadline=self.deadline(seconds)
            )
        except (RequestError, ProtocolError):
            return None
        return reply.status

    # -- what it owns

    def connection(self, node: str) -> Connection:
        """The one that all requests to this node share."""
        connection = self._connections.get(node)
        if connection is None:
            connection = self._connections[node] = self._made(node)
        return connection

    def lease(self, node: str) -> Connection:
        """One more connection to the node, for somebody who gives it back to `release`."""
        connection = self._made(node)
        self._leased[connection] = None
        return connection

    def release(self, connection: Connection) -> None:
        """A leased connection is closed."""
        self._leased.pop(connection, None)
        connection.close()

    def _made(self, node: str) -> Connection:
        if self._is_closed:
            raise UsageError("this client is closed")
        target = Target(to=node, role=Role.CLIENT, cluster=self._cluster, node="zraft.Client", secret=self._secret)
        return Connection(target, counters=self._counters, spawn=self.spawn, failed=self.fail)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs `work` in the supervisor's group, which is there in a moment if not now."""
        if self._is_closed:
            work.close()
            raise UsageError("this client is closed")
        if self._begun.done() and not self._begun.cancelled():
            self._begun.result().create_task(work, name=name)
        else:
            self._begun.add_done_callback(lambda begun: begun.result().create_task(work, name=name))

    async def _tasks(self) -> asyncio.TaskGroup:
        await asyncio.wait([self._begun])
        if self._is_closed:
            raise UsageError("this client is closed")
        return self._begun.result()

    async def _supervise(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._begun.set_result(tasks)
                await self._end.wait()
                self._close_all()
                raise _Ended
        except* _Ended:
            pass
        finally:
            self._close_all()

    def _close_all(self) -> None:
        self._is_closed = True
        connections = [*self._connections.values(), *self._leased]
        self._connections, self._leased = {}, {}
        for connection in connections:
            connection.close()

    def fail(self, error: Exception) -> None:
        """An error that nobody expected: the client cannot be trusted any more."""
        if self._error is None:
            self._error = error
        self._end.set()

    async def aclose(self) -> None:
        """Ends every connection; what waits ends as lost. Raises the error that ended the client early, if one did."""
        self._end.set()
        await asyncio.wait([self._supervisor])
        if self._error is not None:
            raise self._error
        if not self._supervisor.cancelled():
            self._supervisor.result()


class _Ended(Exception):
    """The client was closed: whatever its group still runs is cancelled."""


async def each(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of several coroutines that run at once, in their order. Raises what the first of them raised."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_captured(one)) for one in work]
    results: list[T] = []
    for task in running:
        result, error = task.result()
        if error is not None:
            raise error
        results += result
    return results


async def _captured(work: Coroutine[Any, Any, T]) -> tuple[list[T], ZraftError | None]:
    try:
        return [await work], None
    except ZraftError as error:
        return [], error


def expected(reply: Reply, kind: type[ReplyT]) -> ReplyT:
    """The reply, which must be of this kind. Raises `ProtocolError`."""
    if not isinstance(reply, kind):
        raise ProtocolError(f"a node answered with {type(reply).__name__} where {kind.__name__} was due")
    return reply


def _as_promised(error: RequestError, *, is_read: bool) -> RequestError:
    """A read has no effect, whatever became of it."""
    if is_read:
        error.executed = "no"
    return error
