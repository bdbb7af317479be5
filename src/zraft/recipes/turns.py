"""Turns: a queue of temporary entries, one each, in the order in which they were made.

    made 7        made 9        made 12
    ┌───────┐     ┌───────┐     ┌───────┐
    │ has it│ <── │ waits │ <── │ waits │        each watches only the one before it: the end of one wakes one
    └───────┘     └───────┘     └───────┘

The queue is data of the group: whoever is lost leaves it with its session. The index at which an entry was made is the
token of its turn: whoever comes later has a higher one, and nobody has a turn before those with lower ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from zraft.client.waiting import Timeout, said
from zraft.errors import RequestTimeout, SessionExpired
from zraft.machine.table_types import Delete, Entry, Put
from zraft.recipes.access import Access, Deadline, Key, in_order
from zraft.recipes.holding import Holding
from zraft.types import Value

Blocker: TypeAlias = Callable[[Sequence[Entry], int], Entry | None]
"""From all turns and the place of one: for whose end that one waits. None: for nobody's."""


def one_before(entries: Sequence[Entry], place: int) -> Entry | None:
    """Whoever is not the first waits for the one before."""
    return entries[place - 1] if place else None


async def wait_turn(access: Access, key: Key, deadline: Deadline, *parts: str, blocker: Blocker = one_before) -> Entry:
    """The entry of this key, once nobody blocks it; `parts`: where among the entries of the recipe the turns are.

    Raises `RequestTimeout`, and `SessionExpired` where the entry or the session is gone (BM-074).
    """
    while True:
        entries = in_order(await access.entries(deadline, *parts))
        place = place_of(access, key, entries)
        before = blocker(entries, place)
        if before is None:
            access.check_alive()
            return entries[place]
        await access.wait_change(before, deadline)


def place_of(access: Access, key: Key, entries: Sequence[Entry]) -> int:
    """Of the entry of this key. Raises `SessionExpired` where it is gone."""
    for place, entry in enumerate(entries):
        if entry.key == key:
            return place
    access.check_alive()
    raise SessionExpired(f"the turn at {access.name!r} is gone: somebody has removed it, or the session ended")


class Turn(Holding):
    """One turn at a time, taken and given back."""

    async def contenders(self, *, timeout: Timeout = 5.0) -> list[Value]:
        """What those say of themselves that have it or wait for it, in their order."""
        return [self._said(entry) for entry in in_order(await self._access.entries(Deadline(timeout)))]

    def _said(self, entry: Entry) -> Value:
        return entry.value

    def _blocker(self, entries: Sequence[Entry], place: int) -> Entry | None:
        return one_before(entries, place)

    async def _take(self, value: Value, timeout: Timeout) -> int:
        """The token. What is given up leaves nothing."""
        self._check_unused()
        access, deadline = self._access, Deadline(timeout)
        self._key = key = access.drawn()
        try:
            await access.write(Put(key, value), deadline, temporary=True)
            entry = await wait_turn(access, key, deadline, blocker=self._blocker)
            self._token = entry.created_index
        except RequestTimeout:
            raise RequestTimeout(
                f"{access.name!r} was not had within {said(deadline.seconds)}", executed="no"
            ) from None
        finally:
            if self._token is None:
                self._key = None
                access.later([Delete(key)])
        return self._token
