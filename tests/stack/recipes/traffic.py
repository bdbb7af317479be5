"""Turns at a lock, and items through a queue, at once: for tests that do something to the group meanwhile."""

from __future__ import annotations

import zraft
from zraft.client.caller import each
from zraft.recipes import Lock, Queue
from zraft.types import Value

_TURNS = 10
_ITEMS = 20


class Traffic:
    """Of one session, with what was seen of it."""

    def __init__(self, session: zraft.Session) -> None:
        self._session = session
        self._tokens: list[int] = []
        self._inside: list[int] = []
        self._taken: list[Value] = []

    async def go_on(self) -> None:
        """All turns are had, all items are put and taken."""
        turns = [self._turn() for _ in range(_TURNS)]
        puts = [self._put(item) for item in range(_ITEMS)]
        gets = [self._get() for _ in range(_ITEMS)]
        await each([*turns, *gets, *puts])

    async def _turn(self) -> None:
        async with Lock(self._session, "traffic") as token:
            self._inside.append(token)
            await Lock(self._session, "traffic").contenders(timeout=None)
            if self._inside == [token]:
                self._tokens.append(token)
            self._inside.remove(token)

    async def _put(self, item: int) -> None:
        await Queue(self._session, "traffic").put(item, timeout=None)

    async def _get(self) -> None:
        self._taken.append(await Queue(self._session, "traffic").get())

    def check(self) -> None:
        """One at a time, each with a higher token; every item once."""
        assert len(self._tokens) == _TURNS
        assert self._tokens == sorted(set(self._tokens))
        assert sorted(self._taken) == list(range(_ITEMS))
