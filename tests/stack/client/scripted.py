"""Nodes that answer as a test tells them: the real listener and wire, and no group behind them."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

import msgspec

from zraft.app.processes import PortLease
from zraft.errors import RequestError
from zraft.transport.counters import Counters
from zraft.transport.link import Link, LinkHandlers
from zraft.transport.listener import Listener
from zraft.types import PeerId
from zraft.wire.failures import error_to_failed
from zraft.wire.handshake import Secrets
from zraft.wire.requests import Reply, Request, Result, decode_requests, encode_item
from zraft.wire.values import encode_value

HANG_UP = "hang up"
SILENCE = "silence"

Answer: TypeAlias = Reply | RequestError | str
Script: TypeAlias = Callable[[Request], Answer]


def done(request: Request, value: object = "ok", index: int = 1) -> Result:
    """The request ran, with this result."""
    return Result(request.id, index, msgspec.Raw(encode_value(value)))


def always(answer: Answer) -> Script:
    """The same to every request."""
    return lambda _: answer


class ScriptedNode:
    """A node with the peer "t". `script` says what becomes of each request; `asked` are all that came."""

    def __init__(self, script: Script = done) -> None:
        self.script = script
        self.asked: list[Request] = []
        self.links: list[Link] = []
        self._lease = PortLease()
        self._listener: Listener | None = None

    @property
    def peer(self) -> PeerId:
        """Its peer."""
        return PeerId("t", self._lease.address)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._lease.release()

    async def start(self) -> None:
        """It listens, on the port that it had before."""
        self._listener = Listener(
            listen=self._lease.address,
            cluster="default",
            secrets=Secrets(cluster=None, client=None),
            handlers=LinkHandlers(
                opened=self.links.append, received=self._received, closed=self._closed, failed=_must_not_fail
            ),
            counters=Counters(),
        )
        await self._listener.start()

    async def stop(self) -> None:
        """Nothing listens there any more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.aclose()

    def _closed(self, link: Link, _why: str) -> None:
        self.links.remove(link)

    def _received(self, link: Link, _kind: int, payload: bytes) -> None:
        for request in decode_requests(payload):
            self.asked.append(request)
            answer = self.script(request)
            if answer == HANG_UP:
                link.abort("the script says so")
                return
            if isinstance(answer, RequestError):
                answer = error_to_failed(request.id, answer)
            if not isinstance(answer, str):
                link.send(encode_item(answer))


def _must_not_fail(error: Exception) -> None:
    raise error
