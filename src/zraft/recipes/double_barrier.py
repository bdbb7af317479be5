"""`DoubleBarrier`: so many begin together, and end together.

Who enters adds a temporary entry. Once there are enough, the last one that is needed writes down the round: which
entries it has. Everybody waits for that. The round is over when all of these entries are gone, by leaving or with their
sessions; whoever sees that first removes it, and the next round may begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from zraft.client.session import Session
from zraft.client.waiting import Timeout, said
from zraft.errors import RequestTimeout, UsageError
from zraft.limits import TABLE_TXN_ITEMS
from zraft.machine.table_types import Compare, Delete, Entry, Get, Prefix, Put, Txn
from zraft.recipes.access import Access, Deadline, Key, check_count, entries_of, in_order
from zraft.recipes.turns import place_of
from zraft.types import NOT_FOUND, Value

_BARRIER: Final = "zraft.double_barrier"
_ROUND: Final = "round"
_IN: Final = "in"


class DoubleBarrier:
    """`enter` returns once `num_clients` have called it, `leave` once all of these have left or were lost.

    Everybody says the same `num_clients`: where those who came before said another number, `enter` raises
    `UsageError`. More than that wait for the next round. `identifier` is what `contenders` says of this one.
    """

    def __init__(self, session: Session, name: str, num_clients: int, identifier: Value = None) -> None:
        self._access = Access(session, _BARRIER, name)
        check_count("clients", num_clients, TABLE_TXN_ITEMS - 2)
        self._size, self._value = num_clients, [num_clients, identifier]
        self._round_key = self._access.key(_ROUND)
        self._key: Key | None = None
        self._round: Entry | None = None

    @property
    def participating(self) -> bool:
        """It has entered and not left."""
        return self._round is not None

    async def contenders(self, *, timeout: Timeout = 5.0) -> list[Value]:
        """What those say of themselves that are in, or wait to be."""
        return [entry.value[1] for entry in in_order(await self._access.entries(Deadline(timeout), _IN))]

    # -- in

    async def enter(self, *, timeout: Timeout = None) -> None:
        """It is in, and with it all others of its round. Raises as `Lock.acquire`; it is then not in."""
        if self._key is not None:
            raise UsageError(f"this object has entered {self._access.name!r}, or waits to: make another one")
        access, deadline = self._access, Deadline(timeout)
        self._key = key = access.drawn(_IN)
        try:
            await access.write(Put(key, self._value), deadline, temporary=True)
            while self._round is None:
                self._round = await self._try(key, deadline)
        except RequestTimeout:
            why = f"{self._size} had not entered {access.name!r} within {said(deadline.seconds)}"
            raise RequestTimeout(why, executed="no") from None
        finally:
            if self._round is None:
                self._key = None
                access.later([Delete(key)])

    async def _try(self, key: Key, deadline: Deadline) -> Entry | None:
        """The round that it is in; None after something has changed."""
        access = self._access
        round_, entries = await self._look(deadline)
        place = place_of(access, key, entries)
        self._check_size(entries[:place])
        if round_ is not None:
            if key[-1] in round_.value:
                access.check_alive()
                return round_
            await self._wait_end(round_, deadline)
        elif place == self._size - 1:
            await self._begin(entries[: self._size], deadline)
        elif place < self._size:
            await access.until(Get(self._round_key), lambda found: found is not NOT_FOUND, deadline)
        else:  # one too many, for a moment: the round begins, or one of those before goes
            known = {entry.key for entry in entries[: self._size]}
            await access.until(Prefix(access.prefix), lambda found: self._is_other(found, known), deadline)
        return None

    def _is_other(self, found: Value, known: set[Key]) -> bool:
        keys = {entry.key for entry in entries_of(found)}
        return self._round_key in keys or not known <= keys

    async def _begin(self, entries: Sequence[Entry], deadline: Deadline) -> None:
        """These are a round, if all are still there and nobody was faster."""
        present = [Compare(entry.key, "created_index", "==", entry.created_index) for entry in entries]
        ids = [entry.key[-1] for entry in entries]
        none = Compare(self._round_key, "version", "==", 0)
        await self._access.write(Txn([none, *present], [Put(self._round_key, ids)]), deadline)

    def _check_size(self, earlier: Sequence[Entry]) -> None:
        for entry in earlier:
            if entry.value[0] != self._size:
                raise UsageError(
                    f"the double barrier {self._access.name!r} is used with num_clients={entry.value[0]} by others,"
                    f" not {self._size}"
                )

    # -- out

    async def leave(self, *, timeout: Timeout = None) -> None:
        """It is out, and with it all others of its round. Nothing happens where it is not in.

        Raises `RequestTimeout` where others are in still, and `SessionExpired`; it is out nevertheless.
        """
        key, round_, self._key, self._round = self._key, self._round, None, None
        if key is None or round_ is None:
            return
        access, deadline = self._access, Deadline(timeout)
        try:
            await access.write(Delete(key), deadline)
            await self._wait_end(round_, deadline)
        except RequestTimeout:
            why = f"others had not left {access.name!r} within {said(deadline.seconds)}"
            raise RequestTimeout(why, executed="no") from None

    async def _wait_end(self, round_: Entry, deadline: Deadline) -> None:
        """Until none of its entries is there any more, nor the round itself.

        Each waits for the last one that is there: few are woken when one leaves that is not the last to do so.
        """
        ids = frozenset(round_.value)
        while True:
            now, entries = await self._look(deadline)
            if now is None or now.created_index != round_.created_index:
                return
            present = [entry for entry in entries if entry.key[-1] in ids]
            if not present:
                still = Compare(self._round_key, "created_index", "==", round_.created_index)
                await self._access.write(Txn([still], [Delete(self._round_key)]), deadline)
                return
            await self._access.wait_change(present[-1], deadline)

    async def _look(self, deadline: Deadline) -> tuple[Entry | None, list[Entry]]:
        """The round that there is, and whoever is in or waits to be, in their order."""
        entries = await self._access.entries(deadline)
        rounds = [entry for entry in entries if entry.key == self._round_key]
        return next(iter(rounds), None), in_order([entry for entry in entries if entry.key != self._round_key])
