"""A group whose nodes answer sessions as a test tells them: the real listener and wire, and one state for all nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

import msgspec

from tests.stack.client.scripted import SILENCE, Answer, ScriptedNode
from zraft.errors import NotLeader, Overloaded, RequestError, SessionExpired, TooLarge
from zraft.types import PeerId, Value
from zraft.wire.requests import Request, Result, encode_item
from zraft.wire.session_requests import (
    Opened,
    Ping,
    ResumeSession,
    SessionQuery,
    SessionWrite,
    StartSession,
    StopSession,
    Triggered,
    TriggerReason,
)
from zraft.wire.values import decode_value, encode_value

T = TypeVar("T")
Twist: TypeAlias = Callable[[Request], Answer | None]
"""What becomes of a request instead of the usual; None: the usual."""

TOO_LARGE = "too large"


class ScriptedGroup:
    """So many nodes; the one at `leader` answers, with a state that all of them share."""

    def __init__(self, size: int = 3) -> None:
        self.nodes = [ScriptedNode(self._script(number)) for number in range(size)]
        self.leader = 0
        self.twist: Twist = lambda _: None
        self.session, self.token, self.timeout_ms, self.last = 0, b"", 0, 0
        self.ran: list[Value] = []
        self.acknowledged: list[int] = []
        self.replies: dict[int, Value] = {}
        self.is_alive = False
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for node in self.nodes:
            await self._exits.enter_async_context(node)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    @property
    def peers(self) -> list[PeerId]:
        """One of each node."""
        return [node.peer for node in self.nodes]

    def asked(self, kind: type[T]) -> list[T]:
        """Every request of this kind, at whichever node, in no order between nodes."""
        return [request for node in self.nodes for request in node.asked if isinstance(request, kind)]

    def push(self, watch: int, reason: TriggerReason = TriggerReason.CHANGE) -> None:
        """The watch fires, for whoever is connected to the leader."""
        for link in self.nodes[self.leader].links:
            link.send(encode_item(Triggered(watch, 9, reason)))

    def _script(self, number: int) -> Callable[[Request], Answer]:
        def answer(request: Request) -> Answer:
            if number != self.leader:
                return NotLeader(leader=self.nodes[self.leader].peer)
            twisted = self.twist(request)
            return self.usual(request) if twisted is None else twisted

        return answer

    def usual(self, request: Request) -> Answer:
        """As a leader answers that has nothing else to do."""
        match request:
            case StartSession():
                if not self.is_alive:
                    self.session, self.is_alive = self.session + 10, True
                    self.token, self.timeout_ms = request.token, request.timeout_ms
                return self._result(request, Opened(self.session, self.timeout_ms, self.last))
            case ResumeSession():
                if not self.is_alive or request.token != self.token or request.session not in (0, self.session):
                    return SessionExpired()
                return self._result(request, Opened(self.session, self.timeout_ms, self.last))
            case SessionWrite() | SessionQuery() | Ping() | StopSession():
                if not self.is_alive or (request.session, request.token) != (self.session, self.token):
                    return SessionExpired("no such session")
                return self._of_session(request)
        return SILENCE

    def _of_session(self, request: SessionWrite | SessionQuery | Ping | StopSession) -> Answer:
        if isinstance(request, SessionWrite):
            return self._written(request)
        if isinstance(request, SessionQuery):
            return Result(request.id, len(self.ran), msgspec.Raw(encode_value(list(self.ran))))
        if isinstance(request, StopSession):
            self.is_alive = False
        return Result(request.id, 0)

    def _written(self, request: SessionWrite) -> Answer:
        command = decode_value(request.command)
        self.acknowledged.append(request.acknowledged)
        if command == TOO_LARGE:
            return TooLarge("it is")
        if request.sequence > self.last + 1:
            return Overloaded(reason="order")
        if request.sequence == self.last + 1:
            self.last += 1
            self.ran.append(command)
            self.replies[self.last] = ["ran", command]
        if request.sequence <= request.acknowledged:
            return RequestError("acknowledged", executed="maybe")
        return Result(request.id, request.sequence, msgspec.Raw(encode_value(self.replies[request.sequence])))

    def _result(self, request: Request, value: msgspec.Struct) -> Result:
        return Result(request.id, self.session, msgspec.Raw(msgspec.msgpack.encode(value)))


def play(story: Callable[[ScriptedGroup], Awaitable[T]], *, size: int = 3) -> T:
    """What the story returns, given a group."""

    async def with_group() -> T:
        async with ScriptedGroup(size) as group:
            return await story(group)

    return asyncio.run(with_group())
