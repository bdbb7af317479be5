"""`Semaphore`: a lock that so many have at a time.

Whoever wants it queues. The first of the queue waits until there is room and moves its entry over to those who hold:
only the first does, so there are never too many, and the tokens grow in the order in which it is had. The end of a
holder wakes the first of the queue, and its move the next.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

from zraft.client.session import Session
from zraft.client.waiting import Timeout, said
from zraft.errors import RequestTimeout, UsageError
from zraft.limits import TABLE_ANSWER_ENTRIES
from zraft.machine.table_types import Compare, Delete, Entry, Prefix, Put, Txn
from zraft.recipes.access import Deadline, Key, check_count, entries_of, in_order
from zraft.recipes.holding import Holding
from zraft.recipes.turns import place_of
from zraft.types import Value

_SEMAPHORE: Final = "zraft.semaphore"
_WAITS: Final = "waits"
_HOLDS: Final = "holds"


class Semaphore(Holding):
    """At most `max_leases` have it at a time. An async context manager; `async with` gives the token.

    Everybody says the same `max_leases`: where those that have it, or wait longer, said another number, `acquire`
    raises `UsageError`. An object has it once at a time. `identifier` is what `lease_holders` says of this one.
    """

    def __init__(self, session: Session, name: str, max_leases: int = 1, identifier: Value = None) -> None:
        super().__init__(session, _SEMAPHORE, name)
        check_count("leases", max_leases, TABLE_ANSWER_ENTRIES // 2)
        self._most, self._value = max_leases, [max_leases, identifier]

    async def __aenter__(self) -> int:
        return await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._give_back_after(error)

    @property
    def max_leases(self) -> int:
        """How many may have it at a time."""
        return self._most

    async def acquire(self, *, timeout: Timeout = None) -> int:
        """The token of this lease, once there is room and all who came before have one. Raises as `Lock.acquire`."""
        self._check_unused()
        access, deadline = self._access, Deadline(timeout)
        waits = access.drawn(_WAITS)
        self._key = holds = access.key(_HOLDS, waits[-1])
        try:
            await access.write(Put(waits, self._value), deadline, temporary=True)
            while self._token is None:
                self._token = await self._try(waits, holds, deadline)
        except RequestTimeout:
            raise RequestTimeout(
                f"{access.name!r} was not had within {said(deadline.seconds)}", executed="no"
            ) from None
        finally:
            if self._token is None:
                self._key = None
                access.later([Delete(waits), Delete(holds)])
        return self._token

    async def _try(self, waits: Key, holds: Key, deadline: Deadline) -> int | None:
        """The token; None after something has changed."""
        access = self._access
        entries = await access.entries(deadline)
        queue = in_order([entry for entry in entries if entry.key[2] == _WAITS])
        holders = [entry for entry in entries if entry.key[2] == _HOLDS]
        place = place_of(access, waits, queue)
        self._check_most([*holders, *queue[:place]])
        if place:
            await access.wait_change(queue[place - 1], deadline)
        elif len(holders) >= self._most:
            await access.until(Prefix(access.key(_HOLDS)), lambda found: len(entries_of(found)) < self._most, deadline)
        else:
            still = Compare(waits, "created_index", "==", queue[0].created_index)
            move = Txn([still], [Delete(waits), Put(holds, self._value)])
            moved = await access.write(move, deadline, temporary=True)
            if moved.result["succeeded"]:
                access.check_alive()
                return moved.index
        return None

    def _check_most(self, earlier: list[Entry]) -> None:
        for entry in earlier:
            if entry.value[0] != self._most:
                raise UsageError(
                    f"the semaphore {self._access.name!r} is used with max_leases={entry.value[0]} by others,"
                    f" not {self._most}"
                )

    async def release(self) -> None:
        """The next one has it. Nothing happens where it is not held. Raises `SessionExpired`: it was lost before."""
        await self._give_back()

    async def lease_holders(self, *, timeout: Timeout = 5.0) -> list[Value]:
        """What those say of themselves that have it, in the order in which they got it."""
        return [entry.value[1] for entry in in_order(await self._access.entries(Deadline(timeout), _HOLDS))]
