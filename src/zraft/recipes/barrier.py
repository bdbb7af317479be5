"""`Barrier`: everybody waits while it is there."""

from __future__ import annotations

from typing import Final

from zraft.client.session import Session
from zraft.client.waiting import Timeout, said
from zraft.errors import RequestTimeout
from zraft.machine.table_types import CompareAndSet, Delete, Get, Txn
from zraft.recipes.access import Access, Deadline
from zraft.types import NOT_FOUND, Value

_BARRIER: Final = "zraft.barrier"


class Barrier:
    """It stays until somebody removes it, also when the session ends that made it."""

    def __init__(self, session: Session, name: str) -> None:
        self._access = Access(session, _BARRIER, name)
        self._key = self._access.key()

    async def create(self, *, timeout: Timeout = 5.0) -> bool:
        """It is there; False where it was before."""
        is_new: bool = (await self._access.write(CompareAndSet(self._key, NOT_FOUND, True), Deadline(timeout))).result
        return is_new

    async def remove(self, *, timeout: Timeout = 5.0) -> bool:
        """It is not there, and whoever waits goes on; False where it was not there before."""
        done = await self._access.write(Txn([], [Delete(self._key)]), Deadline(timeout))
        results: list[Value] = done.result["results"]
        return results == ["ok"]

    async def wait(self, *, timeout: Timeout = None) -> None:
        """Until it is not there, which it may be again by now. Raises `RequestTimeout`, "no"."""
        deadline = Deadline(timeout)
        try:
            if await self._access.entry(self._key, deadline) is not None:
                await self._access.until(Get(self._key), lambda found: found is NOT_FOUND, deadline)
        except RequestTimeout:
            name = self._access.name
            raise RequestTimeout(
                f"the barrier {name!r} was there for {said(deadline.seconds)}", executed="no"
            ) from None
