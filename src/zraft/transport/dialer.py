"""Makes connections: one attempt (`connect`), or one connection that is kept up for as long as it is wanted (`Dialer`).

Pauses between attempts double up to two seconds and are shortened by chance, so that nodes which lost another one
together do not come back together; after a link that lasted longer than that they begin anew. `nudge` ends a pause:
whoever hears from a node knows that it is there.

What is said while an attempt is under way may wait for the link: a node that is spoken to for the first time answers
before it has a link of its own to the other, and an answer that is lost costs the asker a timeout.
"""

from __future__ import annotations

import asyncio
import secrets as chance
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from zraft import limits
from zraft.errors import HandshakeRefused, ProtocolError
from zraft.transport.address import split_address
from zraft.transport.counters import Counters
from zraft.transport.link import DEFAULT_BOUNDS, LOG, Link, LinkHandlers, LinkLimits
from zraft.wire.handshake import NONCE_BYTES, Dialing, Refusal, Role

EARLY_ITEMS: Final = 256
"""Items that wait for a link; beyond it the oldest are dropped."""
EARLY_BYTES: Final = 1024
"""What is larger does not wait: bulk is asked for again by whoever lacks it."""

_SYSTEM: Final = chance.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to dial, and as whom: `node` is the own address as peer, any printable label as client."""

    to: str
    role: Role
    cluster: str
    node: str
    secret: bytes | None = field(default=None, repr=False)


async def connect(
    target: Target,
    handlers: LinkHandlers,
    *,
    counters: Counters,
    bounds: LinkLimits = DEFAULT_BOUNDS,
) -> Link:
    """An open link to `target`. One attempt, which takes no longer than the handshake may.

    Raises OSError (nobody listens there, no such host, no answer in time) or `HandshakeRefused`. `handlers.opened` has
    been called when it returns, and `handlers.closed` only follows where it was.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Link] = loop.create_future()

    def opened(link: Link) -> None:
        if outcome.done():
            link.abort("nobody waits for it any more")
            return
        outcome.set_result(link)
        handlers.opened(link)

    def closed(link: Link, why: str) -> None:
        if not outcome.done():
            outcome.set_exception(link.refusal or HandshakeRefused(Refusal.CLOSED, why))
        elif link.refusal is None and not outcome.cancelled():
            handlers.closed(link, why)

    handshake = Dialing(
        role=target.role,
        cluster=target.cluster,
        node=target.node,
        to=target.to,
        nonce=chance.token_bytes(NONCE_BYTES),
        secret=target.secret,
    )
    link = Link(handshake, replace(handlers, opened=opened, closed=closed), counters=counters, bounds=bounds)
    host, port = split_address(target.to)
    is_made = False
    try:
        async with asyncio.timeout(bounds.handshake_ms / 1000):
            await loop.create_connection(lambda: link, host, port)
            is_made = True
            return await outcome
    except TimeoutError:
        if outcome.done() and not outcome.cancelled() and outcome.exception() is None:
            return link  # it opened in the moment in which time was over, as for a process that was stopped for a while
        link.refuse(HandshakeRefused(Refusal.TIMEOUT, f"{target.to} does not answer"))
        raise
    except asyncio.CancelledError:
        link.abort("the attempt was cancelled")
        raise
    finally:
        if not is_made:
            link.discarded()
        if outcome.done() and not outcome.cancelled():
            outcome.exception()  # told to whoever awaited it, or to nobody because the attempt ended otherwise


class Dialer:
    """Keeps one link to `target` up, from `start` to `aclose`. Its handlers are told when it opens and closes.

    `handlers.failed` is also told if the dialing itself ends in an error that nobody expected.
    """

    def __init__(
        self,
        target: Target,
        handlers: LinkHandlers,
        *,
        counters: Counters,
        bounds: LinkLimits = DEFAULT_BOUNDS,
        shorten: Callable[[], float] = _SYSTEM.random,
    ) -> None:
        self.target = target
        self.link: Link | None = None
        """The open link; None while there is none."""
        self.last_error = ""
        """Why the last attempt failed; "" after a successful one."""
        self._owner = handlers
        self._handlers = replace(handlers, opened=self._opened, closed=self._closed)
        self._counters, self._bounds, self._shorten = counters, bounds, shorten
        self._nudged = asyncio.Event()
        self._is_trying = False
        """An attempt is under way or about to begin."""
        self._early: deque[tuple[bytes, bool]] = deque(maxlen=EARLY_ITEMS)
        """What waits for the link that it may bring."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to dial; needs a running event loop."""
        if self._task is None:
            self._is_trying = True
            self._task = asyncio.get_running_loop().create_task(self._keep_up(), name=f"dial {self.target.to}")
            self._task.add_done_callback(self._ended)

    def send(self, item: bytes, *, urgent: bool = False, may_wait: bool = False) -> bool:
        """As `Link.send`; False while there is no link.

        With `may_wait` a small item is sent with the link that the attempt under way brings, if it does. It may come
        late by as much as a handshake takes.
        """
        if self.link is not None:
            return self.link.send(item, urgent=urgent)
        if may_wait and self._is_trying and len(item) <= EARLY_BYTES:
            self._early.append((item, urgent))
        return False

    def nudge(self) -> None:
        """The other side is known to be there: try now rather than at the end of the pause."""
        if self.link is None and self._task is not None:
            self._is_trying = True
        self._nudged.set()

    async def aclose(self) -> None:
        """The link is closed, after what waited on it was written, and nothing is dialed any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        link = self.link
        if link is not None:
            link.close("not needed any more")
            await link.wait_closed()

    async def _keep_up(self) -> None:
        clock = asyncio.get_running_loop().time
        pause_ms = limits.REDIAL_MIN_MS
        while True:
            began = clock()
            self._is_trying = True
            try:
                link = await connect(self.target, self._handlers, counters=self._counters, bounds=self._bounds)
            except (OSError, ProtocolError) as error:
                self._is_trying = False
                self._early.clear()
                self._report(str(error) or type(error).__name__)
            else:
                self.last_error = ""
                await link.wait_closed()
                if clock() - began > limits.REDIAL_MAX_MS / 1000:
                    pause_ms = limits.REDIAL_MIN_MS
            await self._pause(pause_ms / 1000 * (1 - self._shorten() / 2))
            pause_ms = min(2 * pause_ms, limits.REDIAL_MAX_MS)

    async def _pause(self, seconds: float) -> None:
        self._nudged.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return

    def _report(self, error: str) -> None:
        """Say it once, not at every attempt."""
        if error != self.last_error:
            self.last_error = error
            LOG.info("%s is not reached: %s", self.target.to, error)

    def _opened(self, link: Link) -> None:
        self.link, self._is_trying = link, False
        for item, urgent in self._early:
            link.send(item, urgent=urgent)
        self._early.clear()
        self._owner.opened(link)

    def _closed(self, link: Link, why: str) -> None:
        self.link = None
        self._owner.closed(link, why)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._owner.failed(error)
