"""`Queue`: what one puts in, one other takes out.

An item stands under its priority and its number, which a counter of the queue gives. Who takes one queues first, so
that items are taken in their order, and a new item wakes one: the first of those who wait. The item and the turn of its
taker go in one transaction, so an item is taken once.

That transaction may run though its caller has given up. Then the turn is gone: what is sent behind it puts the item
back where the turn is gone, and ends the turn where it is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from zraft.client.session import Session
from zraft.client.waiting import Timeout, said
from zraft.errors import RequestTimeout, UsageError
from zraft.limits import TABLE_TXN_ITEMS
from zraft.machine.table_types import Compare, Count, Delete, Entry, Increment, Prefix, Put, Txn
from zraft.recipes.access import Access, Deadline, Key, check_number, entries_of, number_of
from zraft.recipes.turns import wait_turn
from zraft.types import Value

_QUEUE: Final = "zraft.queue"
_ITEMS: Final = "items"
_AFTER_ITEMS: Final = "items\0"
_TURNS: Final = "turns"
_COUNT: Final = "count"
_PRIORITY: Final = 100


class Queue:
    """Items come out by priority, lower ones first, and those of one priority in the order in which they were put.

    An object may be used by any number of tasks.
    """

    def __init__(self, session: Session, name: str) -> None:
        self._access = Access(session, _QUEUE, name)

    async def put(self, value: Value, priority: int = _PRIORITY, *, timeout: Timeout = 5.0) -> None:
        """The item is in the queue, once. Raises as `Session.write`; after "maybe" it is in the queue, or will be."""
        await self.put_all([value], priority, timeout=timeout)

    async def put_all(self, values: Iterable[Value], priority: int = _PRIORITY, *, timeout: Timeout = 5.0) -> None:
        """As `put`, all of them in one step; at most 1024."""
        items = list(values)
        check_number("priority", priority)
        if len(items) > TABLE_TXN_ITEMS:
            raise UsageError(f"{len(items)} items; {TABLE_TXN_ITEMS} at a time is the most")
        if not items:
            return
        access, deadline = self._access, Deadline(timeout)
        try:
            last = (await access.write(Increment(access.key(_COUNT), len(items)), deadline)).result
        except RequestTimeout as error:
            error.executed = "no"
            raise
        first = last - len(items) + 1
        puts = [Put(access.key(_ITEMS, priority, number), item) for number, item in enumerate(items, first)]
        await access.write(Txn([], puts), deadline)

    async def get(self, *, timeout: Timeout = None) -> Value:
        """The next item, which is in the queue no more: nobody else gets it.

        Whoever waits longest gets it. Raises `RequestTimeout`, "no": none was taken, also after a cancellation.
        `SessionExpired` and `SessionClosed` may be "maybe": then one may have been taken that nobody gets.
        """
        access, deadline = self._access, Deadline(timeout)
        turn = access.drawn(_TURNS)
        taking: Entry | None = None
        taken: Entry | None = None
        try:
            await access.write(Put(turn, None), deadline, temporary=True)
            while taken is None:
                await wait_turn(access, turn, deadline, _TURNS)
                taking = await self._next_item(deadline)
                take = Txn([_is_there(taking)], [Delete(taking.key), Delete(turn)])
                if (await access.write(take, deadline)).result["succeeded"]:
                    taken = taking
                taking = None
        except RequestTimeout:
            raise RequestTimeout(
                f"nothing came out of {access.name!r} within {said(deadline.seconds)}", executed="no"
            ) from None
        finally:
            if taken is None:
                self._undo(turn, taking)
        return taken.value

    async def _next_item(self, deadline: Deadline) -> Entry:
        query = Prefix(self._access.key(_ITEMS), 1)
        return entries_of(await self._access.until(query, bool, deadline))[0]

    def _undo(self, turn: Key, taking: Entry | None) -> None:
        """The turn ends; where it went with the item, the item is put back into its place."""
        if taking is None:
            self._access.later([Delete(turn)])
            return
        is_gone, none = Compare(turn, "version", "==", 0), Compare(taking.key, "version", "==", 0)
        self._access.later([Put(taking.key, taking.value)], is_gone, none, failure=[Delete(turn)])

    async def size(self, *, timeout: Timeout = 5.0) -> int:
        """How many items are in the queue."""
        items = Count(self._access.key(_ITEMS), self._access.key(_AFTER_ITEMS))
        return number_of(await self._access.session.query(items, timeout=Deadline(timeout).left))


def _is_there(item: Entry) -> Compare:
    return Compare(item.key, "created_index", "==", item.created_index)
