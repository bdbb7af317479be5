"""The connection to one node: made when it is first needed, made again when it is needed after a loss.

What is asked in one turn of the loop leaves as one frame, and each reply goes to the future of the request whose number
it carries. There is no timer for each request: one for the connection fires at the earliest deadline of those that
wait. A request whose caller went away is forgotten; it runs nevertheless, and its reply is dropped.

Futures carry results only, never exceptions: what nobody awaits any more must not be reported as an error of the loop.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from zraft import limits
from zraft.client.waiting import FOREVER
from zraft.errors import OutcomeUnknown, Overloaded, PeerUnavailable, ProtocolError, RequestError, RequestTimeout
from zraft.transport.counters import Counters
from zraft.transport.dialer import Target, connect
from zraft.transport.link import Link, LinkHandlers
from zraft.wire.failures import Failed, failed_to_error
from zraft.wire.requests import Query, Reply, Request, Write, decode_replies, encode_item

DIAL_S: Final = 2.0
"""How long one request waits for the connection before its caller looks elsewhere; the dialing itself goes on."""
_SWEEP_S: Final = 0.005
"""Deadlines are looked after at most this often."""


class Lost(msgspec.Struct, frozen=True, gc=False):
    """The connection went while the request waited."""

    why: str


class Expired(msgspec.Struct, frozen=True, gc=False):
    """The request's time is up."""


_EXPIRED: Final = Expired()

Landed: TypeAlias = Reply | Lost | Expired
"""What becomes of a request that was sent."""


class Listener(Protocol):
    """Who is told what nobody waits for, and when the connection is gone."""

    def replied(self, reply: Reply) -> None:
        """A reply, or what the node sent unasked. Raises `ProtocolError` where it makes no sense: the link ends."""

    def lost(self, why: str) -> None:
        """There is no link any more; what waited for a reply has been told."""


Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None], str], None]
"""Runs a coroutine as a task that has an owner."""


class Connection:
    """See the top of this file. `spawn` runs the dialing, `failed` is told of errors that nobody expected."""

    __slots__ = (
        "_counters",
        "_dial",
        "_dial_error",
        "_failed",
        "_heard_at",
        "_is_closed",
        "_link",
        "_loop",
        "_number",
        "_spawn",
        "_sweep_at",
        "_sweeper",
        "_target",
        "_waiting",
        "listener",
    )

    def __init__(
        self, target: Target, *, counters: Counters, spawn: Spawn, failed: Callable[[Exception], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._target, self._counters = target, counters
        self._spawn, self._failed = spawn, failed
        self._link: Link | None = None
        self._number = 0
        self._waiting: dict[int, tuple[asyncio.Future[Landed], float]] = {}
        """By number of the request: who waits for it, and until when."""
        self._sweep_at = FOREVER
        self._sweeper: asyncio.TimerHandle | None = None
        self._dial: asyncio.Future[None] | None = None
        """The dialing that is under way; done when there is a link, or `_dial_error` says why not."""
        self._dial_error = ""
        self._heard_at = 0.0
        self._is_closed = False
        self.listener: Listener | None = None

    @property
    def is_open(self) -> bool:
        """There is a link."""
        return self._link is not None

    @property
    def heard_at(self) -> float:
        """When the node last answered anything, by the loop's clock; 0.0 before that."""
        return self._heard_at

    def post(
        self, kind: type[Write] | type[Query], peer: str, data: msgspec.Raw, deadline: float
    ) -> asyncio.Future[Landed] | None:
        """Ask without waiting: the future of what becomes of the request. None where there is no link: it is not sent.

        What landed and is no reply goes through `error_of`. Raises `Overloaded` and `TooLarge`; nothing is sent then.
        """
        link = self._link
        if link is None:
            return None
        self._number = number = self._number + 1
        return self._send(link, kind(number, peer, data), number, deadline)

    # -- for a listener, which makes its requests itself

    @property
    def owes(self) -> bool:
        """A request of `put` waits for its reply."""
        return bool(self._waiting)

    def draw(self) -> int:
        """A number that nothing else on this connection has: for a request, or for what it sets."""
        self._number += 1
        return self._number

    def tell(self, request: Request) -> bool:
        """Send without waiting: the listener gets the reply. False: it is not sent, for too much waits to be.

        Raises `TooLarge`; nothing is sent then.
        """
        return self._link is not None and self._link.send(encode_item(request))

    def put(self, request: Request, deadline: float) -> asyncio.Future[Landed] | None:
        """As `post`, for a request whose number was drawn."""
        link = self._link
        return None if link is None else self._send(link, request, request.id, deadline)

    async def ask(self, request: Callable[[int], Request], deadline: float) -> Reply:
        """The reply to `request`, which is made with the number that it is given.

        `deadline` is a time of the loop's clock. Raises what the node answered, `PeerUnavailable` where it is not
        reached, `Overloaded`, `OutcomeUnknown` where the connection broke, and `RequestTimeout`; its `executed` is
        "no" where nothing was sent.
        """
        link = self._link
        if link is None:
            link = await self.wait_open(deadline)
        self._number = number = self._number + 1
        landed = await self._send(link, request(number), number, deadline)
        if isinstance(landed, Failed | Lost | Expired):
            raise self.error_of(landed)
        return landed

    def _send(self, link: Link, request: Request, number: int, deadline: float) -> asyncio.Future[Landed]:
        waiting = self._waiting
        if len(waiting) >= limits.UNANSWERED_REQUESTS or not link.send(encode_item(request)):
            raise Overloaded(f"too much waits to be sent to {self._target.to}", reason="queue")
        future: asyncio.Future[Landed] = self._loop.create_future()
        waiting[number] = (future, deadline)
        if deadline < self._sweep_at:
            self._sweep_by(deadline)
        return future

    def error_of(self, landed: Landed) -> RequestError:
        """What the caller of a request is told that ended so. Raises what is no `RequestError`."""
        if isinstance(landed, Failed):
            error = failed_to_error(landed)
            if not isinstance(error, RequestError):
                raise error
            return error
        if isinstance(landed, Lost):
            return OutcomeUnknown(f"the connection to {self._target.to} was lost: {landed.why}")
        if isinstance(landed, Expired):
            return RequestTimeout(f"{self._target.to} did not answer in time")
        raise ProtocolError(f"{self._target.to} answered with {type(landed).__name__}")

    # -- dialing

    async def wait_open(self, deadline: float) -> Link:
        """The link, dialed if need be. Raises `PeerUnavailable`, or `RequestTimeout` where the deadline comes first."""
        dial = self._dial
        if dial is None:
            dial = self._dial = self._loop.create_future()
            self._spawn(self._connect(dial), f"dial {self._target.to}")
        patience = self._loop.time() + DIAL_S
        await asyncio.wait([dial], timeout=max(0.0, min(deadline, patience) - self._loop.time()))
        if self._link is not None:
            return self._link
        if not dial.done() and deadline <= patience:
            raise RequestTimeout(f"{self._target.to} was not reached in time", executed="no")
        raise PeerUnavailable(
            f"{self._target.to} cannot be reached: {self._dial_error if dial.done() else 'no answer'}"
        )

    async def _connect(self, dial: asyncio.Future[None]) -> None:
        """One attempt. However it ends, those who wait go on."""
        handlers = LinkHandlers(
            opened=self._opened, received=self._received, closed=self._closed, failed=self._handler_failed
        )
        self._dial_error = "the client was closed"
        try:
            await connect(self._target, handlers, counters=self._counters)
            self._dial_error = "the connection was lost at once"
        except TimeoutError:
            self._dial_error = "no answer"
        except (OSError, ProtocolError) as error:
            self._dial_error = _reason(error)
        finally:
            self._dial = None
            if not dial.done():
                dial.set_result(None)

    # -- what the link tells

    def _opened(self, link: Link) -> None:
        if self._is_closed:
            link.abort("nobody waits for it any more")
        else:
            self._link = link

    def _received(self, _link: Link, _kind: int, payload: bytes) -> None:
        self._heard_at = self._loop.time()
        pop = self._waiting.pop
        for reply in decode_replies(payload):
            found = pop(reply.id, None)
            if found is not None:
                if not found[0].done():
                    found[0].set_result(reply)
            elif self.listener is not None:
                self.listener.replied(reply)

    def _closed(self, _link: Link, why: str) -> None:
        self._link = None
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_result(Lost(why))
        if self.listener is not None:
            self.listener.lost(why)

    def _handler_failed(self, error: Exception) -> None:
        self._failed(error)

    def close(self) -> None:
        """End the connection; what waits ends as lost. It is not made again."""
        self._is_closed = True
        if self._dial is not None and not self._dial.done():
            self._dial_error = "the client was closed"
            self._dial.set_result(None)
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._link is not None:
            self._link.abort("the client was closed")
            self._closed(self._link, "the client was closed")

    # -- deadlines

    def _sweep_by(self, deadline: float) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep_at = deadline
        self._sweeper = self._loop.call_at(deadline, self._sweep)

    def _sweep(self) -> None:
        """End what is past its deadline, and sleep until the next one."""
        now = self._loop.time()
        expired = [number for number, (_, deadline) in self._waiting.items() if deadline <= now]
        for number in expired:
            future, _ = self._waiting.pop(number)
            if not future.done():
                future.set_result(_EXPIRED)
        self._sweeper, self._sweep_at = None, FOREVER
        earliest = min((deadline for _, deadline in self._waiting.values()), default=FOREVER)
        if earliest < FOREVER:
            self._sweep_by(max(earliest, now + _SWEEP_S))


def _reason(error: OSError | ProtocolError) -> str:
    """Without what Python's loops add: "Connection refused" rather than a number and the address again."""
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "nothing listens there"
    return str(error) or type(error).__name__
