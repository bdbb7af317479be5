"""`Session`: writes that run exactly once, data that goes with its writer, and word of what changes (§6.3).

What users call. `upkeep` has the connection and the clock, `triggers` what the watches saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator, Hashable, Sequence
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Any, Self, get_args

import msgspec

from zraft.client.caller import Caller
from zraft.client.light_session import Written
from zraft.client.session_calls import Outcome, Resume
from zraft.client.session_state import State
from zraft.client.streaming import ChangeStream
from zraft.client.triggers import WatchTrigger
from zraft.client.upkeep import Upkeep
from zraft.client.waiting import FOREVER, Timeout, said, seconds_of
from zraft.errors import RequestError, RequestTimeout, SessionClosed, SessionExpired, UsageError
from zraft.limits import MAX_SESSION_TIMEOUT_MS
from zraft.types import Index, PeerId, Value
from zraft.wire.requests import Result
from zraft.wire.values import decode_value, encode_value


class Session:
    """A replicated session. Awaitable, and an async context manager: it lives from there to `stop`.

    Made by `start_session`. Any number of tasks of its event loop may use it. `triggers` and `wait_trigger` tell what
    its watches saw. It ends with its client at the latest, without being stopped: its temporary data then stays until
    the leader has missed the pings for the timeout.
    """

    __slots__ = ("_upkeep",)

    def __init__(
        self, caller: Caller, peers: PeerId | Sequence[PeerId], session_timeout: Timeout, *, resume: Resume = None
    ) -> None:
        timeout_s = seconds_of(session_timeout)
        if not 1 <= timeout_s * 1000 <= MAX_SESSION_TIMEOUT_MS:
            raise UsageError(
                f"not a session_timeout: {session_timeout!r} (0.001 s to {MAX_SESSION_TIMEOUT_MS // 1000} s)"
            )
        self._upkeep = Upkeep(caller, peers, timeout_s, resume)

    # -- life

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    async def __aenter__(self) -> Self:
        return await self._start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As `stop`. That it has expired, by now or before, is no error here: it is over, as it should be."""
        if not self._upkeep.is_over():
            with suppress(SessionExpired):
                await self.stop()

    async def _start(self) -> Self:
        """Returns once it is connected. Raises `ConnectionTimeout`, and what makes it impossible."""
        upkeep = self._upkeep
        upkeep.begin()
        try:
            while not upkeep.is_over():
                if upkeep.id:
                    return self
                await upkeep.wait_change()
        finally:
            if not upkeep.id:
                upkeep.end("closed", SessionClosed("the start of this session was given up"))
        raise upkeep.line.error()

    async def stop(self) -> None:
        """It is over, after the writes that were called before; its temporary data is gone. May be called twice.

        Where no leader is reached this takes until the session expires. Raises `SessionExpired` where it has, by then
        or before. A cancelled stop ends it here; at the leader it then ends as if its client had been lost.
        """
        upkeep = self._upkeep
        if upkeep.state() == "closed":
            return
        upkeep.check(even_stopping=True)
        upkeep.stop()
        try:
            while not upkeep.is_over():
                await upkeep.wait_change()
        finally:
            upkeep.end("closed", SessionClosed("this session was stopped"))
        if upkeep.line.state == "expired":
            raise upkeep.line.error()

    @property
    def id(self) -> int:
        """Its number in its group, higher than that of every earlier session. Raises `UsageError` before the start."""
        if not self._upkeep.id:
            raise UsageError("this session has not begun: await it, or use `async with`")
        return self._upkeep.id

    @property
    def token(self) -> bytes:
        """128 bits that prove the session: whoever has them may resume it. Keep them secret."""
        return self._upkeep.token

    @property
    def expires_at(self) -> float:
        """When it expires unless something is answered, by the clock of the event loop (`time.monotonic()`)."""
        return self._upkeep.line.expires_at

    @property
    def state(self) -> str:
        """Is "connecting", "connected", "suspended" (nobody answers, for now), "expired" or "closed"."""
        return self._upkeep.state()

    async def wait_state(self, *states: State, timeout: Timeout = None) -> State:
        """The state, once it is one of these. One that was over again before this task ran may be missed.

        Raises what every call raises where the session is over in another one than these, and `RequestTimeout`.
        """
        unknown = [state for state in states if state not in get_args(State)]
        if unknown or not states:
            raise UsageError(f"no state of a session: {unknown}; name some of {', '.join(get_args(State))}")
        seconds, upkeep = seconds_of(timeout), self._upkeep
        deadline = monotonic() + seconds
        while (state := self.state) not in states:
            if upkeep.is_over():
                raise upkeep.line.error()
            if monotonic() >= deadline:
                raise RequestTimeout(f"the session was {state} for {said(seconds)}", executed="no")
            await upkeep.wait_change(None if deadline == FOREVER else deadline - monotonic())
        return state

    # -- requests

    async def write(self, data: Value, *, temporary: bool = False, timeout: Timeout = 5.0) -> Value:
        """What the backend answered to the command `data`. It runs exactly once while the session lives (§6.3).

        Writes apply in the order of their calls. `temporary`: what it stores goes when the session ends. A timeout
        and a cancellation end the wait only: the write is sent until it is answered. Raises `RequestTimeout`
        ("maybe"), `SessionExpired`, `SessionClosed` ("maybe" where it was sent), `Overloaded` with 1024 unanswered
        writes ("no"), `TooLarge`, `Rejected` ("no"), `BackendError` ("yes").
        """
        outcome = await self._write(data, temporary, timeout)
        if isinstance(outcome, RequestError):
            raise outcome
        return decode_value(outcome.value)

    async def write_entry(self, data: Value, *, temporary: bool = False, timeout: Timeout = 5.0) -> Written:
        """As `write`, with the index of the entry."""
        outcome = await self._write(data, temporary, timeout)
        if isinstance(outcome, RequestError):
            raise outcome
        return Written(decode_value(outcome.value), outcome.index)

    async def query(self, query: Value, *, watch: Hashable = None, timeout: Timeout = 5.0) -> Value:
        """The result of a linearizable query; it sees every write that was answered before it was asked (§6.4).

        `watch`: a reference, under which a trigger comes once when what was asked may have changed since, or when the
        leader that watches is lost. To watch on, query again. Raises as `write`, and `WatchNotSupported`.
        """
        return decode_value((await self._query(query, watch, timeout)).value)

    async def query_entry(self, query: Value, *, watch: Hashable = None, timeout: Timeout = 5.0) -> Written:
        """As `query`, with the index of the last entry that the answer has seen."""
        reply = await self._query(query, watch, timeout)
        return Written(decode_value(reply.value), reply.index)

    def _write(self, data: Value, temporary: bool, timeout: Timeout) -> asyncio.Future[Outcome]:
        seconds = timeout if type(timeout) is float and timeout >= 0.0 else seconds_of(timeout)
        command = msgspec.Raw(encode_value(data))
        return self._upkeep.write(command, temporary=bool(temporary), seconds=seconds)

    async def _query(self, query: Value, watch: Hashable, timeout: Timeout) -> Result:
        return await self._upkeep.query(msgspec.Raw(encode_value(query)), _reference(watch), seconds_of(timeout))

    # -- watches

    async def triggers(self) -> AsyncIterator[WatchTrigger]:
        """Every trigger that no waiter on its reference took, as they come, until the session is stopped.

        Raises `SessionExpired` when it expires: from then on nobody watches.
        """
        while (trigger := await next_trigger(self)) is not None:
            yield trigger

    def watch(self, key: Value, from_index: Index | None = None) -> ChangeStream:
        """Every change of `key`, or of every key that begins with a `zraft.Prefix`, in the order of the log.

        An async iterator of `Changed`s: what changed after the entry at `from_index`; None: from when it is entered or
        first iterated. It goes on by itself, whoever leads, and raises `Lagged` where what follows is gone.
        """
        return ChangeStream(self._upkeep, key, from_index)

    def forget(self, ref: Hashable) -> None:
        """The watches `ref` are of no interest any more: they fire no triggers, and those that are kept are gone."""
        self._upkeep.forget(ref)

    async def wait_trigger(self, ref: Hashable, *, timeout: Timeout = None) -> WatchTrigger:
        """The next trigger of the watch `ref`, also one that fired before this call. Raises `RequestTimeout`."""
        if ref is None:
            raise UsageError("None is no reference of a watch")
        self._upkeep.check(even_stopping=True)
        seconds = seconds_of(timeout)
        trigger = await self._upkeep.watching.wait(_reference(ref), seconds)
        if trigger is not None:
            return trigger
        if self._upkeep.line.is_over:
            raise self._upkeep.line.error()
        raise RequestTimeout(f"the watch {ref!r} did not fire within {said(seconds)}", executed="no")


def _reference(ref: Hashable) -> Hashable:
    """What a watch can be known by. Raises `UsageError`."""
    try:
        hash(ref)
    except TypeError as error:
        raise UsageError(f"no reference of a watch: {error}") from None
    return ref


def write_later(session: Session, data: Value) -> asyncio.Future[Outcome] | None:
    """The write `data` goes out after those before it, however many these are; None where the session is over.

    For what has to be undone by a task that has no time left: nobody needs to wait for it.
    """
    upkeep = session._upkeep
    if session.state in ("closed", "expired"):
        return None
    return upkeep.write(msgspec.Raw(encode_value(data)), temporary=False, seconds=FOREVER, is_bound=False)


def check_alive(session: Session) -> None:
    """Raises `SessionExpired` or `SessionClosed` where the session is over by now."""
    session._upkeep.check(even_stopping=True)


def spawn(session: Session, work: Coroutine[Any, Any, None], name: str) -> None:
    """Runs `work` as a task of the session's client, whose end is its end; what it raises ends the client."""
    session._upkeep.spawn(work, name)


async def next_trigger(session: Session) -> WatchTrigger | None:
    """What `Session.triggers` gives next; None: the session was stopped."""
    upkeep = session._upkeep
    try:
        upkeep.check(even_stopping=True)
        trigger = await upkeep.watching.wait(None, FOREVER)
        if trigger is None:
            raise upkeep.line.error()
    except SessionClosed:
        return None
    return trigger
