"""`LightSession`: writes and queries at whichever peer leads, with nothing to open and nothing to keep alive.

It remembers who leads and who failed, so a request usually costs one message each way: it is posted on the leader's
connection, and its answer is awaited, without anything in between. Everything else is the long way: dial, turn to
another peer, wait. `rotation` decides whom to ask; this file carries it out.

Unlike a `Session` it promises no more than Raft: a write whose outcome nobody told is `OutcomeUnknown`, and only the
caller can say whether to repeat it. `retry_unknown=True` repeats it always: then a write may be applied twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import msgspec

from zraft.client.caller import Caller
from zraft.client.connection import Connection, Expired, Landed, Lost
from zraft.client.groups import OPEN_S, conf_of
from zraft.client.rotation import ELECTION_S, FAIL_S, SHORTEST_S, Attempts, Blame, Rotation, blame, timed_out
from zraft.client.routing import explained
from zraft.client.waiting import FOREVER, Timeout, said, seconds_of
from zraft.errors import (
    AllPeersFailed,
    NoPeers,
    NotLeader,
    Overloaded,
    PeerUnavailable,
    RequestError,
    RequestTimeout,
    SessionClosed,
    TooLarge,
)
from zraft.types import Index, PeerId, Value
from zraft.wire.requests import Query, Result, Write
from zraft.wire.values import decode_value, encode_value

_PATIENCE_S: Final = 2.0
"""How long one attempt waits before a request that may be sent again is sent again."""

_TICK_S: Final = 0.001
"""A loop's timer may fire this much too early."""

_Kind: TypeAlias = type[Write] | type[Query]
_Asked: TypeAlias = tuple[PeerId, Connection, float]
"""Who was asked, over which connection, and when."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the backend answered to a write or a query, and the index of its entry, or of the last one that it saw."""

    result: Value
    index: Index


class LightSession:
    """Writes and queries at whichever of its peers leads. Awaitable, and an async context manager.

    Made by `light_session`. `leader` and `peers` are what it knows now. Any number of tasks may use it at once; writes
    that it sends in one order to one leader are applied in that order.
    """

    __slots__ = (
        "_caller",
        "_clock",
        "_connections",
        "_current",
        "_is_closed",
        "_peer",
        "_read_patience",
        "_retry_unknown",
        "_rotation",
        "_seed",
        "_share",
        "_silent_since",
        "_timeouts",
        "_write_patience",
    )

    def __init__(
        self,
        caller: Caller,
        peers: PeerId | Sequence[PeerId],
        *,
        fail_timeout: Timeout = None,
        election_timeout: Timeout = None,
        retry_unknown: bool = False,
        share: bool = False,
    ) -> None:
        fail_s = FAIL_S if fail_timeout is None else seconds_of(fail_timeout)
        election_s = ELECTION_S if election_timeout is None else seconds_of(election_timeout)
        if not peers:
            raise NoPeers("a light session needs at least one peer")
        self._caller, self._clock = caller, caller.loop.time
        self._timeouts = fail_s, election_s
        self._retry_unknown, self._share = retry_unknown, share
        self._read_patience = max(_PATIENCE_S, 2 * fail_s)
        self._write_patience = self._read_patience if retry_unknown else FOREVER
        self._seed = peers if isinstance(peers, PeerId) else None
        """The peer whose configuration is still to be read."""
        self._rotation = self._ring([peers] if isinstance(peers, PeerId) else peers)
        self._current: Connection | None = None
        """Of the peer that is asked without further thought; None where thought is needed."""
        self._peer = self._rotation.leader
        """That peer."""
        self._connections: dict[str, Connection] = {}
        self._silent_since = 0.0
        """When the first of the requests was asked that timed out and since which nothing was heard."""
        self._is_closed = False

    def _ring(self, peers: Sequence[PeerId], leader: PeerId | None = None) -> Rotation:
        fail_s, election_s = self._timeouts
        return Rotation(peers, fail_s=fail_s, election_s=election_s, leader=leader)

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self) -> None:
        """Reads the configuration, if only one peer is known."""
        if self._seed is not None:
            conf = await conf_of(self._caller, self._seed, OPEN_S)
            self._rotation = self._ring([member.peer for member in conf.members], conf.leader)
            self._seed = None

    @property
    def leader(self) -> PeerId:
        """Whom it asks next: the peer that answered last, or the one to which an error has led."""
        return self._rotation.leader

    @property
    def peers(self) -> list[PeerId]:
        """The peers that are asked, in the order of the list."""
        return self._rotation.peers

    async def close(self) -> None:
        """Its connections end; requests that wait end as lost. Later calls raise `SessionClosed`."""
        self._is_closed = True
        self._current = None
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            self._caller.release(connection)

    # -- requests

    async def write(self, data: Value, *, timeout: Timeout = 5.0) -> Value:
        """What the backend answered to the command `data`, durable on a majority.

        Another peer is tried only while no earlier attempt may have run. Raises a `RequestError` as `zraft.write`:
        `OutcomeUnknown` where the leader was lost, unless `retry_unknown`; `AllPeersFailed` where no peer was reached.
        """
        reply = await self._ask(Write, msgspec.Raw(encode_value(data)), timeout, self._write_patience)
        return decode_value(reply.value)

    async def write_entry(self, data: Value, *, timeout: Timeout = 5.0) -> Written:
        """As `write`, with the index of the entry."""
        reply = await self._ask(Write, msgspec.Raw(encode_value(data)), timeout, self._write_patience)
        return Written(decode_value(reply.value), reply.index)

    async def query(self, query: Value, *, timeout: Timeout = 5.0) -> Value:
        """The result of a linearizable query: it sees every write that was answered before it was asked (§6.4).

        Raises as `write`; `executed` is always "no".
        """
        reply = await self._ask(Query, msgspec.Raw(encode_value(query)), timeout, self._read_patience)
        return decode_value(reply.value)

    async def query_entry(self, query: Value, *, timeout: Timeout = 5.0) -> Written:
        """As `query`, with the index of the last entry that the answer has seen."""
        reply = await self._ask(Query, msgspec.Raw(encode_value(query)), timeout, self._read_patience)
        return Written(decode_value(reply.value), reply.index)

    async def write_many(self, data: Sequence[Value], *, timeout: Timeout = 5.0) -> list[Value]:
        """The results of many writes, in their order: they travel together and share one round of the group.

        Each is a write of its own, and they are applied in this order as long as the leader does not change meanwhile.
        Where some fail, the error of the first that did is raised once the fate of all is known; its `executed` is "no"
        only where none of them ran.
        """
        seconds = seconds_of(timeout)
        batch = _Batch([msgspec.Raw(encode_value(one)) for one in data])
        deadline = self._clock() + seconds
        while batch.pending:
            try:
                await self._send_round(batch, deadline, seconds)
            except RequestError as error:
                batch.fail(error, *batch.pending)
        try:
            return batch.results()
        except RequestTimeout as error:
            raise await self._explained(error, seconds) from None

    # -- the short way

    async def _ask(self, kind: _Kind, data: msgspec.Raw, timeout: Timeout, patience: float) -> Result:
        seconds = timeout if type(timeout) is float and timeout >= 0.0 else seconds_of(timeout)
        current, now = self._current, self._clock()
        if current is not None:
            limit = now + (seconds if seconds < patience else patience)
            peer = self._peer
            future = current.post(kind, peer.name, data, limit)
            if future is not None:
                landed = await future
                if type(landed) is Result:
                    return landed
                return await self._ask_on(kind, data, now + seconds, patience, seconds, (peer, current, now), landed)
        return await self._ask_on(kind, data, now + seconds, patience, seconds)

    # -- the long way

    async def _ask_on(
        self,
        kind: _Kind,
        data: msgspec.Raw,
        deadline: float,
        patience: float,
        seconds: float,
        asked: _Asked | None = None,
        landed: Landed | None = None,
    ) -> Result:
        """Asks one peer after the other until one answers; `landed`: what became of the short way, if it was tried."""
        attempts = Attempts(is_read=kind is Query, is_repeatable=self._retry_unknown)
        try:
            while True:
                if asked is not None and landed is not None:
                    error, whose = self._learn(asked, landed, seconds)
                    may_repeat = attempts.may_repeat(error) and self._clock() < deadline
                    if whose is Blame.NOBODY or not may_repeat:
                        raise self._told_late(error, deadline, seconds)
                    if whose is Blame.BUSY:
                        await self._pause(error, deadline)
                peer, connection = await self._ready(deadline, seconds)
                now = self._clock()
                future = connection.post(kind, peer.name, data, min(deadline, now + patience))
                if future is None:
                    continue
                asked, landed = (peer, connection, now), await future
                if type(landed) is Result:
                    return landed
        except RequestError as error:
            raise attempts.final(await self._explained(error, seconds)) from None

    def _told_late(self, error: RequestError, deadline: float, seconds: float) -> RequestError:
        """Who does not lead says so, and there is no time to ask another: time is what was wanting."""
        now = self._clock()
        late = isinstance(error, NotLeader) and error.executed == "no" and now >= deadline
        return timed_out(self._rotation, said(seconds), now) if late else error

    async def _explained(self, error: RequestError, seconds: float) -> RequestError:
        """A timeout's text says who of the voters is missing, where they are so many that nobody can decide."""
        if not isinstance(error, RequestTimeout) or self._is_closed or self._caller.is_closed:
            return error
        heard = {node: connection.heard_at for node, connection in self._connections.items() if connection.is_open}
        witness = max(self._rotation.peers, key=lambda peer: heard.get(peer.node, 0.0))
        why = await self._caller.undecided((witness,))
        if error.executed != "no":
            return RequestTimeout(explained(str(error), why), executed=error.executed)
        return RequestTimeout(f"no leader: {why} (after {said(seconds)})", executed="no") if why else error

    async def _send_round(self, batch: _Batch, deadline: float, seconds: float) -> None:
        """Sends every write that waits, or as many as the connection takes, and sees what becomes of each."""
        peer, connection = await self._ready(deadline, seconds)
        now = self._clock()
        limit = min(deadline, now + self._write_patience)
        posted: list[tuple[int, asyncio.Future[Landed]]] = []
        for number in batch.pending:
            try:
                future = connection.post(Write, peer.name, batch.commands[number], limit)
            except Overloaded:
                if not posted:
                    raise
                break
            except TooLarge as error:
                batch.fail(error, number)
                continue
            if future is None:
                break
            posted.append((number, future))
        busy: RequestError | None = None
        for number, future in posted:
            landed = await future
            if type(landed) is Result:
                batch.done[number] = landed
                continue
            failure, whose = self._learn((peer, connection, now), landed, seconds)
            attempts = Attempts(is_read=False, is_repeatable=self._retry_unknown)
            may_repeat = attempts.may_repeat(failure) and self._clock() < deadline
            if whose is Blame.NOBODY or not may_repeat:
                batch.fail(self._told_late(failure, deadline, seconds), number)
            else:
                batch.may_have_run |= failure.executed != "no"
                busy = failure if whose is Blame.BUSY else busy
        batch.settle()
        if busy is not None and batch.pending:
            await self._pause(busy, deadline)

    async def _ready(self, deadline: float, seconds: float) -> tuple[PeerId, Connection]:
        """Whom to ask, over a connection that is open. Waits for both; raises `RequestError` where it cannot be had."""
        while True:
            await self._open()
            rotation = self._rotation
            peer, connection = self._aim()
            asked_at = self._clock()
            if asked_at >= deadline:
                raise timed_out(rotation, said(seconds), asked_at)
            if connection is None:
                await self._rest(rotation, deadline, seconds)
                continue
            if connection.is_open:
                return peer, connection
            try:
                await connection.wait_open(deadline)
            except PeerUnavailable as error:
                rotation.failed(peer, str(error), self._clock())
            except RequestTimeout:
                now = self._clock()
                if self._is_silent(connection, asked_at, now):
                    rotation.failed(peer, "no answer", now)
                    self._current = None
                raise timed_out(rotation, said(seconds), now) from None

    def _aim(self) -> tuple[PeerId, Connection | None]:
        """Whom to ask, from now on also on the short way; None: nobody for now."""
        if self._is_closed or self._caller.is_closed:
            raise SessionClosed("this light session is closed" if self._is_closed else "its client is closed")
        peer = self._rotation.choose(self._clock())
        if peer is None:
            self._current = None
            return self._rotation.leader, None
        connection = self._connection(peer.node)
        if connection is not self._current:
            self._current, self._silent_since = connection, 0.0
        self._peer = peer
        return peer, connection

    def _learn(self, asked: _Asked, landed: Landed, seconds: float) -> tuple[RequestError, Blame]:
        """What became of an attempt, as an error, and what it says about the peer; the ring knows it from now on."""
        peer, connection, asked_at = asked
        now = self._clock()
        error = connection.error_of(landed)
        if isinstance(landed, Expired):
            error = RequestTimeout(f"{peer} did not answer within {said(seconds)}")
            whose = Blame.ABSENT if self._is_silent(connection, asked_at, now) else Blame.BUSY
        else:
            whose = Blame.ABSENT if isinstance(landed, Lost) else blame(error)
        if whose is Blame.ABSENT:
            self._rotation.failed(peer, "no answer" if isinstance(landed, Expired) else str(error), now)
        elif whose is Blame.FOLLOWER:
            self._rotation.not_leader(peer, error.leader if isinstance(error, NotLeader) else None, now)
        if not self._is_closed:
            self._aim()
        return error, whose

    def _is_silent(self, connection: Connection, asked_at: float, now: float) -> bool:
        """Requests time out, and nothing at all has been heard for an election timeout: the node hangs, or is cut off.

        Short timeouts alone prove nothing, so they add up.
        """
        if connection.heard_at >= asked_at:
            return False
        if self._silent_since <= connection.heard_at:
            self._silent_since = asked_at
        return now - self._silent_since >= self._timeouts[1]

    async def _pause(self, error: RequestError, deadline: float) -> None:
        """Before the same peer is asked again."""
        seconds = error.retry_after if isinstance(error, Overloaded) else SHORTEST_S
        await asyncio.sleep(max(0.0, min(seconds, deadline - self._clock())))

    async def _rest(self, rotation: Rotation, deadline: float, seconds: float) -> None:
        """Waits until somebody may be asked again. Raises `AllPeersFailed`, or `RequestTimeout` at the deadline."""
        now = self._clock()
        if rotation.is_lost(now):
            raise AllPeersFailed(rotation.missing(now))
        until = rotation.free_at()
        await asyncio.sleep(max(_TICK_S, min(until, deadline) - now))
        if deadline <= until:
            raise timed_out(rotation, said(seconds), self._clock())

    def _connection(self, node: str) -> Connection:
        if self._share:
            return self._caller.connection(node)
        connection = self._connections.get(node)
        if connection is None:
            connection = self._connections[node] = self._caller.lease(node)
        return connection


class _Batch:
    """Writes that are sent together: which of them wait, and what became of the others."""

    __slots__ = ("_failed", "commands", "done", "may_have_run", "pending")

    def __init__(self, commands: list[msgspec.Raw]) -> None:
        self.commands = commands
        self.pending = list(range(len(commands)))
        self.done: dict[int, Result] = {}
        self.may_have_run = False
        """An attempt of one of them may have, whatever became of later ones."""
        self._failed: dict[int, RequestError] = {}

    def fail(self, error: RequestError, *numbers: int) -> None:
        """These end with `error`."""
        for number in numbers:
            self._failed[number] = error
        self.may_have_run |= error.executed != "no"
        self.settle()

    def settle(self) -> None:
        """Only what has not ended waits."""
        self.pending = [number for number in self.pending if number not in self.done and number not in self._failed]

    def results(self) -> list[Value]:
        """In the order of the commands. Raises the first error, true to all of them."""
        if self._failed:
            error = self._failed[min(self._failed)]
            if error.executed == "no" and (self.done or self.may_have_run):
                error.executed = "maybe"
            raise error
        return [decode_value(self.done[number].value) for number in range(len(self.commands))]
