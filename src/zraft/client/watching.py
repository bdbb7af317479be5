"""Those who wait for triggers of one session, as futures: `triggers` decides who is told, this file wakes and waits."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import TypeAlias

from zraft.client.connection import Connection
from zraft.client.triggers import Triggers, WatchTrigger
from zraft.client.waiting import FOREVER
from zraft.wire.session_requests import UNWATCHED_AT_ONCE, Triggered, TriggerReason, Unwatch

_Waiter: TypeAlias = asyncio.Future[WatchTrigger | None]


class Watching:
    """The watches of one session and who waits for them. See `Triggers`, whose methods these are."""

    __slots__ = ("_loop", "_triggers", "unwanted")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._triggers: Triggers[_Waiter] = Triggers()
        self.unwanted: list[int] = []
        """Numbers under which something may be set at the leader, which is still to hear that nobody wants it."""

    def ask(self, number: int, ref: Hashable) -> None:
        """A query goes out that sets a watch. Raises `Overloaded`."""
        self._triggers.ask(number, ref)

    def forget(self, number: int) -> bool:
        """The query was not answered, or nobody waits for its answer. False: it was answered."""
        return self._triggers.forget(number)

    def forget_all(self, ref: Hashable) -> None:
        """Nobody wants to know of the watches `ref`."""
        self.unwanted += self._triggers.forget_all(ref)

    def flush(self, connection: Connection, peer: str, session: int, token: bytes) -> bool:
        """The leader is told what is unwanted. False: too much waits to be sent to it."""
        while self.unwanted:
            numbers = self.unwanted[:UNWATCHED_AT_ONCE]
            if not connection.tell(Unwatch(connection.draw(), peer, session, token, numbers)):
                return False
            del self.unwanted[:UNWATCHED_AT_ONCE]
        return True

    def opened(self, number: int) -> None:
        """The query was answered."""
        self._wake(self._triggers.opened(number))

    def fired(self, triggered: Triggered) -> None:
        """The leader says so."""
        reason = triggered.reason
        self._wake(self._triggers.fired(triggered.id, "change" if reason is TriggerReason.CHANGE else "change_leader"))

    def lost(self) -> None:
        """The connection to the leader is gone."""
        self.unwanted.clear()
        self._wake(self._triggers.lost())

    def end(self) -> None:
        """The session is over: nobody waits any more."""
        self.unwanted.clear()
        for waiter in self._triggers.end():
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, ref: Hashable, seconds: float) -> WatchTrigger | None:
        """The next trigger of `ref`, or of any where that is None; None: not in this time, or the session is over."""
        waiter: _Waiter = self._loop.create_future()
        kept = self._triggers.wait_any(waiter) if ref is None else self._triggers.wait_on(waiter, ref)
        if kept is not None:
            return kept
        try:
            await asyncio.wait([waiter], timeout=None if seconds == FOREVER else seconds)
        except asyncio.CancelledError:
            self._triggers.leave(waiter, ref)
            if waiter.done() and (trigger := waiter.result()) is not None:
                self._wake(self._triggers.give_back(trigger))
            raise
        if waiter.done():
            return waiter.result()
        self._triggers.leave(waiter, ref)
        return None

    def _wake(self, given: list[tuple[_Waiter, WatchTrigger]]) -> None:
        """A waiter that was given something waits no more, so that none is woken twice."""
        for waiter, trigger in given:
            waiter.set_result(trigger)
