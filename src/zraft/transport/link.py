"""One connection: its handshake, then frames in both directions, until it ends for a reason that is told.

Out: what is sent in one turn of the loop is put into few frames and one write. There are two lanes; what is urgent
(votes, heartbeats, their replies) overtakes what waits in the other. Nothing is handed to the transport while it has
more than it can get rid of, so overtaking works until the kernel's own buffer. A lane holds `queue_bytes`; beyond it
`send` returns False and the message is gone: Raft tolerates loss, a client is told `Overloaded`. The first message of
an empty lane is always taken, whatever its size (BM-112). A client that does not read its replies is not read either.

In: frames are delivered in order. Wrong bytes end the connection, are counted and logged, and change nothing else. An
exception of a handler ends the connection too and goes to `failed`: it is a bug of this process.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, cast

from zraft import limits
from zraft.errors import HandshakeRefused, ProtocolError, TooLarge, UsageError
from zraft.transport.counters import Counters
from zraft.wire.frames import FrameKind, FrameReader, array_of, encode_frame, frame_header
from zraft.wire.handshake import Accepting, Dialing, Refusal, Role

LOG: Final = logging.getLogger("zraft.transport")

_WRITE_BYTES: Final = 2 * limits.FRAME_TARGET_BYTES
"""One write at most, beyond its last frame: what becomes urgent meanwhile waits behind it."""
_EVERYTHING: Final = 1 << 62
_HIGH_WATER_BYTES: Final = limits.FRAME_TARGET_BYTES
_CLOSE_S: Final = 1.0
"""How long a closing connection may take to get rid of its last bytes."""
_ARRAY_HEADER_BYTES: Final = 5

# (dialed by us, role) -> what the other side may send, what we may send. Peers answer over their own connection.
_DIRECTIONS: Final[dict[tuple[bool, Role], tuple[FrameKind | None, FrameKind | None]]] = {
    (True, Role.PEER): (None, FrameKind.PEER),
    (False, Role.PEER): (FrameKind.PEER, None),
    (True, Role.CLIENT): (FrameKind.REPLIES, FrameKind.REQUESTS),
    (False, Role.CLIENT): (FrameKind.REQUESTS, FrameKind.REPLIES),
}
_BESIDE: Final = FrameKind.SNAPSHOTS
"""What goes the same way as messages of peers, and not through the lanes."""


class Ending(StrEnum):
    """How a connection that was open came to its end."""

    LOCAL = "local"
    """This side closed it."""
    REMOTE = "remote"
    """The other side closed it, or it broke."""
    PROTOCOL = "protocol"
    """The other side sent something wrong."""
    FAILURE = "failure"
    """A handler of this side raised."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """The bounds of one link; see the table of this package."""

    frame_bytes: int = limits.FRAME_BYTES
    queue_bytes: int = limits.LINK_BYTES
    handshake_ms: int = limits.HANDSHAKE_MS

    def with_frames(self, frame_bytes: int) -> LinkLimits:
        """The same for frames of at most `frame_bytes`: a lane holds two of the largest."""
        return replace(self, frame_bytes=frame_bytes, queue_bytes=max(self.queue_bytes, 2 * frame_bytes))


DEFAULT_BOUNDS: Final = LinkLimits()


@dataclass(frozen=True, slots=True)
class LinkHandlers:
    """What the owner is told, always from within the event loop and never from within a call of its own.

    `opened` comes first or not at all, then `received` for each frame, then `closed` exactly once, also for a link that
    never opened (`link.refusal` says why). `failed`: one of these raised; the process is not what it should be.
    """

    opened: Callable[[Link], None]
    received: Callable[[Link, int, bytes], None]
    closed: Callable[[Link, str], None]
    failed: Callable[[Exception], None]


class _Lane:
    """Encoded messages that wait, with their bytes counted."""

    __slots__ = ("items", "size")

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.size = 0

    def take(self, at_most: int) -> list[bytes]:
        """The next frame's messages: all of them, or `at_most` bytes; at least one."""
        items = self.items
        if self.size <= at_most and len(items) <= limits.ITEMS_PER_FRAME:
            self.items, self.size = [], 0
            return items
        count = size = 0
        for item in items[: limits.ITEMS_PER_FRAME]:
            if count and size + len(item) > at_most:
                break
            count, size = count + 1, size + len(item)
        taken = items[:count]
        del items[:count]
        self.size -= size
        return taken


class Link(asyncio.Protocol):
    """See the top of this file. Made by a `Listener` or by `dialer.connect`, not by hand.

    Once open: `role` is the dialer's, `node` the other side's address (or a client's label), `version` the protocol's.
    """

    def __init__(
        self,
        handshake: Dialing | Accepting,
        handlers: LinkHandlers,
        *,
        counters: Counters,
        bounds: LinkLimits = DEFAULT_BOUNDS,
    ) -> None:
        self.role, self.node, self.version = Role.CLIENT, "", 0
        self.remote = ""
        """The other side's socket address, for logs."""
        self.is_open = False
        self.refusal: HandshakeRefused | None = None
        """Why the link never opened."""
        self._loop = asyncio.get_running_loop()
        self._handshake: Dialing | Accepting | None = handshake
        self._reader: FrameReader = handshake.reader
        self._handlers, self._counters, self._bounds = handlers, counters, bounds
        self._frame_target = min(limits.FRAME_TARGET_BYTES, bounds.frame_bytes - _ARRAY_HEADER_BYTES)
        self._transport: asyncio.Transport | None = None
        self._accepts: FrameKind | None = None
        self._sends: FrameKind | None = None
        self._urgent, self._bulk = _Lane(), _Lane()
        self._is_scheduled = False
        self._is_blocked = False
        """The transport has enough for now."""
        self._holds: set[str] = set()
        """Who wants nothing to be read now."""
        self._was_open = False
        self._why = ""
        self._ending = Ending.REMOTE
        self._timer: asyncio.TimerHandle | None = None
        """The end of the handshake's time, later the end of the closing's."""
        self._lost: asyncio.Future[None] = self._loop.create_future()

    # What the owner calls.

    @property
    def queued_bytes(self) -> int:
        """What waits in both lanes, not counting what the transport has."""
        return self._urgent.size + self._bulk.size

    def send(self, item: bytes, *, urgent: bool = False) -> bool:
        """Send an encoded message when the turn ends. False: it was dropped, the lane is full or the link is not open.

        Raises `TooLarge` where no frame could hold it.
        """
        is_queued = self.queue(item, urgent=urgent)
        if is_queued and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn_ended)
        return is_queued

    def queue(self, item: bytes, *, urgent: bool = False) -> bool:
        """As `send`, for callers that `flush` themselves when the turn ends."""
        lane, size = self._urgent if urgent else self._bulk, len(item)
        if not self.is_open or (lane.size and lane.size + size > self._bounds.queue_bytes):
            self._counters.dropped += 1
            return False
        if size + _ARRAY_HEADER_BYTES > self._bounds.frame_bytes:
            raise TooLarge(f"a message of {size} bytes; a frame has at most {self._bounds.frame_bytes}")
        if self._sends is None:
            raise UsageError("a peer answers over the connection that it dialed itself")
        lane.items.append(item)
        lane.size += size
        return True

    def send_beside(self, payload: bytes) -> bool:
        """Send one frame of the kind SNAPSHOTS to a peer at once, ahead of what waits: for what is small and rare.

        False: the link is not open.
        """
        if self._sends is not FrameKind.PEER or self._transport is None or not self.is_open:
            return False
        self._put(self._transport, encode_frame(_BESIDE, payload))
        return True

    def flush(self) -> None:
        """Write what waits now, rather than when the turn ends; as much of it as the transport is ready for."""
        if self.is_open:
            if not self._is_blocked:
                self._write(_WRITE_BYTES)
            self._balance()

    def pause_reading(self, who: str = "owner") -> None:
        """Nothing is read until everybody who paused has resumed; frames of the last read may still be delivered."""
        self._holds.add(who)
        if self._transport is not None and len(self._holds) == 1 and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self, who: str = "owner") -> None:
        """`who` has room again."""
        if who in self._holds:
            self._holds.remove(who)
            if self._transport is not None and not self._holds and not self._transport.is_closing():
                self._transport.resume_reading()

    def close(self, why: str) -> None:
        """End it, after what waits has been written; cut off after a second. `closed` follows."""
        if self.is_open:
            self._write(_EVERYTHING)
        self._end(Ending.LOCAL, why)
        if self._transport is not None and not self._transport.is_closing():
            self._hang_up(self._transport)

    def abort(self, why: str) -> None:
        """End it at once. `closed` follows."""
        self._end(Ending.LOCAL, why)
        if self._transport is not None:
            self._transport.abort()

    def refuse(self, refusal: HandshakeRefused) -> None:
        """End it before it is open."""
        if self.refusal is None and not self.is_open:
            self.refusal = refusal
            if self._transport is not None:
                self._transport.abort()

    def discarded(self) -> None:
        """The loop made no connection, or closed it again while it was about to hand it over. `closed` is told now.

        A cancellation between `connection_made` and the return of `create_connection` does that. asyncio's loop calls
        `connection_lost` later, which finds nothing left to do; uvloop's never does.
        """
        if self._transport is not None:
            self.connection_lost(None)

    async def wait_closed(self) -> None:
        """Returns once `closed` has been told; at once where there never was a connection to lose."""
        if self._transport is not None:
            await asyncio.shield(self._lost)

    # What the event loop calls.

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, made)  # uvloop's are of no class of asyncio
        transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self.remote = str(transport.get_extra_info("peername"))
        _set_options(transport.get_extra_info("socket"))
        self._timer = self._loop.call_later(self._bounds.handshake_ms / 1000, self._too_late)
        if self.refusal is not None:
            transport.abort()
        elif isinstance(self._handshake, Dialing):
            self._put(transport, self._handshake.opening())

    def data_received(self, data: bytes) -> None:
        self._counters.bytes_in += len(data)
        self._guarded(self._take, data)

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked = False
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lost.done():
            return
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._was_open:
            why = self._why or (f"lost: {exc}" if exc is not None else "closed by the other side")
            self._counters.closed[self._ending] += 1
        else:
            if self.refusal is None:
                self.refusal = HandshakeRefused(Refusal.CLOSED, f"the connection ended: {exc or 'closed'}")
            why = str(self.refusal)
            self._counters.refused[self.refusal.reason] += 1
            LOG.info("%s: %s", self.remote, why)
        self._urgent, self._bulk = _Lane(), _Lane()
        self._guarded(self._tell_closed, why)
        if not self._lost.done():
            self._lost.set_result(None)

    # Inside.

    def _guarded(self, work: Callable[..., None], argument: bytes | str) -> None:
        """The boundary of the connection: wrong bytes end it, an error of this side ends it and is surfaced."""
        try:
            work(argument)
        except HandshakeRefused as refusal:
            self._turn_away(refusal)
        except ProtocolError as error:
            LOG.warning("%s (%s): closed: %s", self.remote, self.node, error)
            self._end(Ending.PROTOCOL, f"protocol error: {error}")
            self._cut()
        except Exception as error:
            self._end(Ending.FAILURE, f"failure: {type(error).__name__}")
            self._cut()
            self._handlers.failed(error)

    def _take(self, data: bytes) -> None:
        if self._handshake is not None:
            self._greet(self._handshake, data)
            data = b""
        for kind, payload in self._reader.feed(data) if self.is_open else ():
            if not self.is_open:
                return  # a handler closed it
            if kind != self._accepts and (kind, self._accepts) != (_BESIDE, FrameKind.PEER):
                raise ProtocolError(f"a frame of type {kind} from a {self.role.name.lower()}")
            self._handlers.received(self, kind, payload)

    def _greet(self, handshake: Dialing | Accepting, data: bytes) -> None:
        if self.refusal is not None or self._transport is None:
            return
        answer = handshake.feed(data)
        self._put(self._transport, answer)
        if handshake.established is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._handshake = None
        self.role, self.node = handshake.established.role, handshake.established.node
        self.version = handshake.established.version
        is_ours = isinstance(handshake, Dialing)
        self._accepts, self._sends = _DIRECTIONS[is_ours, self.role]
        if is_ours and self.role is Role.CLIENT:
            # Neither side sends the other what it would not take.
            at_most = min(handshake.established.frame_bytes, limits.MAX_FRAME_BYTES)
            self._bounds = self._bounds.with_frames(at_most)
            self._frame_target = min(limits.FRAME_TARGET_BYTES, at_most - _ARRAY_HEADER_BYTES)
        self._reader.open(self._bounds.frame_bytes)
        self.is_open = self._was_open = True
        (self._counters.dialed if is_ours else self._counters.accepted)[self.role.name.lower()] += 1
        self._handlers.opened(self)

    def _turn_away(self, refusal: HandshakeRefused) -> None:
        self.refusal = refusal
        if self._transport is not None and self._handshake is not None:
            self._put(self._transport, self._handshake.farewell)
            self._hang_up(self._transport)

    def _too_late(self) -> None:
        self.refuse(HandshakeRefused(Refusal.TIMEOUT, f"not done after {self._bounds.handshake_ms} ms"))

    def _turn_ended(self) -> None:
        self._is_scheduled = False
        self.flush()

    def _write(self, at_most: int) -> None:
        """Up to `at_most` bytes of frames, the urgent ones first, in one write."""
        parts: list[bytes] = []
        size = 0
        for lane in (self._urgent, self._bulk):
            while lane.items and size < at_most:
                payload = array_of(lane.take(self._frame_target))
                parts += (frame_header(self._sends or 0, payload), payload)
                size += len(payload)
        if parts and self._transport is not None:
            self._put(self._transport, b"".join(parts))
        if (self._urgent.items or self._bulk.items) and not self._is_scheduled and not self._is_blocked:
            self._is_scheduled = True
            self._loop.call_soon(self._turn_ended)

    def _put(self, transport: asyncio.Transport, data: bytes) -> None:
        if data:
            self._counters.bytes_out += len(data)
            transport.write(data)

    def _balance(self) -> None:
        """Read no further requests while the replies to earlier ones pile up."""
        if self._sends is FrameKind.REPLIES:
            if self.queued_bytes > self._bounds.queue_bytes // 2:
                self.pause_reading("replies")
            elif self._holds and self.queued_bytes < self._bounds.queue_bytes // 4:
                self.resume_reading("replies")

    def _end(self, ending: Ending, why: str) -> None:
        if self.is_open:
            self.is_open, self._ending, self._why = False, ending, why
        elif self.refusal is None and not self._was_open:
            self.refusal = HandshakeRefused(Refusal.CLOSED, why)

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _hang_up(self, transport: asyncio.Transport) -> None:
        if self._timer is not None:
            self._timer.cancel()
        transport.close()
        self._timer = self._loop.call_later(_CLOSE_S, transport.abort)

    def _tell_closed(self, why: str) -> None:
        self._handlers.closed(self, why)


def _set_options(sock: socket.socket | None) -> None:
    """Small writes leave at once; a host that vanished is noticed without the help of the application."""
    wanted = [(socket.IPPROTO_TCP, "TCP_NODELAY", 1), (socket.SOL_SOCKET, "SO_KEEPALIVE", 1)]
    wanted += [
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", limits.STALLED_MS // 3000),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", limits.STALLED_MS // 3000),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", limits.STALLED_MS),
    ]
    for level, name, setting in wanted:
        if sock is not None and hasattr(socket, name):
            try:
                sock.setsockopt(level, getattr(socket, name), setting)
            except OSError:  # the other side is gone already; the loop will say so
                return
