"""A listener and its visitors on the loopback: what happened is recorded, and waited for by condition, not by time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop

from zraft.transport.counters import Counters
from zraft.transport.dialer import Target, connect
from zraft.transport.link import Link, LinkHandlers, LinkLimits
from zraft.transport.listener import Listener, ListenerLimits
from zraft.wire.frames import FrameKind
from zraft.wire.handshake import Role, Secrets

T = TypeVar("T")
Story = Callable[[], Coroutine[Any, Any, T]]
PATIENCE_S = 60.0
"""How long a condition may take before the test fails; no test is right because of this number."""
A = "127.0.0.1:7101"
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def tell(story: Story[T], loop: str = "asyncio") -> T:
    """Runs it on a loop of its own. An error that reached only the loop's handler fails the test."""
    unhandled: list[dict[str, Any]] = []

    async def whole() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unhandled.append(context))
        async with asyncio.timeout(2 * PATIENCE_S):
            return await story()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        result = runner.run(whole())
    assert not unhandled
    return result


class Recorder:
    """Handlers that note everything; `until` waits for what they noted."""

    def __init__(self) -> None:
        self.opened: list[Link] = []
        self.frames: list[tuple[int, bytes]] = []
        self.closed: list[str] = []
        self.failures: list[Exception] = []
        self.counters = Counters()
        self.on_opened: Callable[[Link], object] = lambda _link: None
        self.on_frame: Callable[[Link, bytes], object] = lambda _link, _payload: None
        self._changed = asyncio.Event()

    @property
    def handlers(self) -> LinkHandlers:
        return LinkHandlers(opened=self._opened, received=self._received, closed=self._closed, failed=self._failed)

    async def until(self, condition: Callable[[], object]) -> None:
        """Returns as soon as it holds. Counters change without a call, so they are looked at again now and then."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.02):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def _opened(self, link: Link) -> None:
        self.opened.append(link)
        self._changed.set()
        self.on_opened(link)

    def _received(self, link: Link, kind: int, payload: bytes) -> None:
        self.frames.append((kind, payload))
        self._changed.set()
        self.on_frame(link, payload)

    def _closed(self, link: Link, why: str) -> None:
        self.closed.append(why)
        self._changed.set()

    def _failed(self, error: Exception) -> None:
        self.failures.append(error)
        self._changed.set()


class House:
    """A listener with its recorder."""

    def __init__(self, seen: Recorder, listener: Listener) -> None:
        self.seen, self.listener = seen, listener
        self.counters = seen.counters

    @property
    def address(self) -> str:
        return self.listener.address

    def target(self, role: Role = Role.PEER, **changes: Any) -> Target:
        fields: dict[str, Any] = {"to": self.address, "role": role, "cluster": "c", "node": A} | changes
        return Target(**fields)

    async def visit(
        self, seen: Recorder, role: Role = Role.PEER, bounds: LinkLimits | None = None, **changes: Any
    ) -> Link:
        """One connection, open on both sides."""
        before = len(self.seen.opened)
        link = await connect(
            self.target(role, **changes), seen.handlers, counters=seen.counters, bounds=bounds or LinkLimits()
        )
        await self.seen.until(lambda: len(self.seen.opened) > before)
        return link

    async def stranger(self, *parts: bytes) -> bytes:
        """Connects, says these, and returns what is answered until the other side hangs up."""
        reader, writer = await asyncio.open_connection(*self.address.split(":"))
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            async with asyncio.timeout(PATIENCE_S):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()


@asynccontextmanager
async def house(
    *, secrets: Secrets | None = None, bounds: ListenerLimits | None = None, **changes: Any
) -> AsyncIterator[House]:
    """Open until the block ends; nothing failed in it that the test did not take out of `failures`."""
    seen = Recorder()
    settings: dict[str, Any] = {"listen": "127.0.0.1:0", "cluster": "c"} | changes
    listener = Listener(
        secrets=secrets or Secrets(),
        handlers=seen.handlers,
        counters=seen.counters,
        bounds=bounds or ListenerLimits(),
        **settings,
    )
    await listener.start()
    try:
        yield House(seen, listener)
    finally:
        await listener.aclose()
    assert not seen.failures


def payloads(seen: Recorder, kind: FrameKind) -> list[bytes]:
    assert {found for found, _ in seen.frames} <= {kind}
    return [payload for _, payload in seen.frames]
