"""Nodes without sockets and time without waiting: what a client says is answered by functions of the test.

`World.nodes` maps an address to the function that answers its requests: a reply, an error that travels, or None for
silence. An address that is missing has nobody listening. The clock of the loop jumps to whatever is due next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from zraft.client import connection
from zraft.client.client import Client
from zraft.errors import CreateError, RequestError
from zraft.transport.dialer import Target
from zraft.transport.link import LinkHandlers
from zraft.types import PeerId
from zraft.wire.failures import error_to_failed
from zraft.wire.frames import FrameKind, array_of
from zraft.wire.requests import Reply, Request, decode_requests, encode_item

T = TypeVar("T")
Node = Callable[[Any], "Reply | RequestError | CreateError | None"]


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands while there is work, and jumps to the next timer when there is none."""

    _now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        ready, scheduled = self.__dict__["_ready"], self.__dict__["_scheduled"]
        if not ready and scheduled:
            self._now = max(self._now, scheduled[0].when())
        super()._run_once()  # type: ignore[misc]  # the one step of asyncio's loop


class FakeLink:
    """An open link to a node of the world."""

    def __init__(self, world: World, node: str, handlers: LinkHandlers) -> None:
        self.world, self.node, self.handlers = world, node, handlers
        self.is_full = False

    def send(self, item: bytes, *, urgent: bool = False) -> bool:
        """As `Link.send`."""
        if not self.is_full:
            asyncio.get_running_loop().call_soon(self._deliver, item)
        return not self.is_full

    def _deliver(self, item: bytes) -> None:
        (request,) = decode_requests(array_of([item]))
        self.world.asked.append((self.node, request))
        self.world.was_asked.set()
        reply = self.world.nodes[self.node](request)
        if isinstance(reply, RequestError | CreateError):
            reply = error_to_failed(request.id, reply)
        if reply is not None:
            self.answer(reply)

    def answer(self, reply: Reply) -> None:
        """The node says this."""
        self.handlers.received(self, FrameKind.REPLIES, array_of([encode_item(reply)]))  # type: ignore[arg-type]  # a stand-in

    def lose(self, why: str = "it broke") -> None:
        """The connection is gone."""
        self.world.links.pop(self.node, None)
        self.handlers.closed(self, why)  # type: ignore[arg-type]  # a stand-in

    def abort(self, why: str) -> None:
        """As `Link.abort`."""
        self.world.ended.append(self.node)


class World:
    """See the top of this file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodes: dict[str, Node] = {}
        self.asked: list[tuple[str, Request]] = []
        """Every request, with the node that got it."""
        self.was_asked = asyncio.Event()
        self.links: dict[str, FakeLink] = {}
        """The newest open link to each node."""
        self.ended: list[str] = []
        self.targets: list[Target] = []
        self.silent: set[str] = set()
        """Nodes that never finish a handshake."""
        monkeypatch.setattr(connection, "connect", self._connect)

    async def _connect(self, target: Target, handlers: LinkHandlers, *, counters: object) -> FakeLink:
        self.targets.append(target)
        if target.to in self.silent:
            await asyncio.get_running_loop().create_future()
        if target.to not in self.nodes:
            raise ConnectionRefusedError(111, "refused")
        link = self.links[target.to] = FakeLink(self, target.to, handlers)
        handlers.opened(link)  # type: ignore[arg-type]  # a stand-in
        return link

    def requests(self, kind: type[T]) -> list[T]:
        """Every request of this kind."""
        return [request for _, request in self.asked if isinstance(request, kind)]

    def run(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """What `work` returns, given a client."""

        async def with_client() -> T:
            async with Client() as client:
                return await work(client)

        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            return runner.run(with_client())


def peers(*names: str) -> list[PeerId]:
    """Peers of these names, each on a node of its own."""
    return [PeerId(name, f"127.0.0.1:{number}") for number, name in enumerate(names, 1)]
