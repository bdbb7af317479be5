"""What somebody has until it is given back or lost: a token, a condition for transactions, and word of the loss.

It is had as long as its entry is there, which goes with the session. While the session is suspended nobody can tell: it
is had until `Session.expires_at`, unless somebody has removed the entry, and perhaps longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Literal, TypeAlias

from zraft.client.session import Session
from zraft.client.waiting import Timeout, said
from zraft.errors import RequestError, RequestTimeout, SessionClosed, SessionExpired, UsageError
from zraft.machine.table_types import Compare, Delete, Get
from zraft.recipes.access import Access, Deadline, Key
from zraft.types import NOT_FOUND

Loss: TypeAlias = Literal["suspended", "expired", "closed", "released", "removed"]
"""Why something is not had any more, or is in doubt ("suspended")."""

_FOR_EVER: Final = Deadline(None)


class Holding:
    """One entry that is had by this object, or not. What takes it is left to those that inherit this."""

    def __init__(self, session: Session, root: str, name: str) -> None:
        self._access = Access(session, root, name)
        self._key: Key | None = None
        """Of the entry that is had, or tried for."""
        self._token: int | None = None
        self._was_released = False

    @property
    def token(self) -> int | None:
        """The index of this turn, higher than those of all turns before it; None where it is not had."""
        return self._token

    @property
    def is_acquired(self) -> bool:
        """It was had and not given back. Whether it was lost meanwhile, `wait_lost` and the session know."""
        return self._token is not None

    @property
    def held(self) -> Compare:
        """The condition that it is still had, for a `zraft.table.Txn`. Raises `UsageError` where it never was."""
        return Compare(self._had()[0], "created_index", "==", self._token)

    async def wait_lost(self, *, in_doubt: bool = False, timeout: Timeout = None) -> Loss:
        """Why it is not had any more, once it is not: "expired" or "closed", as the session, or "removed", "released".

        `in_doubt`: also "suspended", when the leader is not reached. Raises `RequestTimeout`, and `UsageError` where it
        was never had.
        """
        if self._was_released and self._token is None:
            return "released"
        key, token = self._had()
        deadline = Deadline(timeout)
        ways: list[Coroutine[Any, Any, Loss | RequestError]] = [self._wait_gone(key, token)]
        if in_doubt:
            ways.append(self._wait_doubt())
        loss = await _first(ways, deadline)
        if loss is None:
            raise RequestTimeout(
                f"{self._access.name!r} was not lost within {said(deadline.seconds)}", executed="no"
            ) from None
        if isinstance(loss, RequestError):
            raise loss
        return loss

    async def _wait_gone(self, key: Key, token: int) -> Loss | RequestError:
        try:
            await self._access.until(
                Get(key), lambda found: found is NOT_FOUND or found["created_index"] != token, _FOR_EVER
            )
        except SessionExpired:
            return "expired"
        except SessionClosed:
            return "closed"
        except RequestError as error:
            return error
        return "removed" if self._key == key else "released"

    async def _wait_doubt(self) -> Loss | RequestError:
        try:
            state = await self._access.session.wait_state("suspended", "expired", "closed")
        except RequestError as error:
            return error
        return "expired" if state == "expired" else "closed" if state == "closed" else "suspended"

    def _had(self) -> tuple[Key, int]:
        if self._key is None or self._token is None:
            raise UsageError(f"{self._access.name!r} is not held")
        return self._key, self._token

    def _check_unused(self) -> None:
        if self._key is not None:
            raise UsageError(f"{self._access.name!r} is held, or waited for, by this object: make another one")

    async def _give_back(self) -> None:
        """The next one has it: `release`, or `resign`. What was not had is not given back, what was lost is gone."""
        if self._token is None or self._key is None:
            return
        key, self._key, self._token, self._was_released = self._key, None, None, True
        await self._access.write(Delete(key), _FOR_EVER)

    async def _give_back_after(self, error: BaseException | None) -> None:
        """At the end of a block: what it raised is not hidden by the loss of what was had."""
        try:
            await self._give_back()
        except RequestError:
            if error is None:
                raise


async def _first(
    ways: list[Coroutine[Any, Any, Loss | RequestError]], deadline: Deadline
) -> Loss | RequestError | None:
    """What the first of them returns; the others are cancelled. None: none does in time."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(way) for way in ways]
        await asyncio.wait(running, timeout=deadline.left, return_when=asyncio.FIRST_COMPLETED)
        found = [task.result() for task in running if task.done()]
        for task in running:
            task.cancel()
    return found[0] if found else None
