"""`Party`: who is there."""

from __future__ import annotations

from typing import Final

from zraft.client.session import Session
from zraft.client.waiting import Timeout, said
from zraft.errors import RequestTimeout
from zraft.machine.table_types import Delete, Prefix, Put
from zraft.recipes.access import Access, Deadline, Key, entries_of, in_order
from zraft.types import Value

_PARTY: Final = "zraft.party"


class Party:
    """Its members are those that joined, and whose sessions live; each says something of itself.

    `identifier` is what this one says. Whoever only asks needs not join.
    """

    def __init__(self, session: Session, name: str, identifier: Value = None) -> None:
        self._access, self._value = Access(session, _PARTY, name), identifier
        self._key: Key | None = None

    @property
    def participating(self) -> bool:
        """It joined and did not leave. Whether it was lost meanwhile the session knows."""
        return self._key is not None

    async def join(self, *, timeout: Timeout = 5.0) -> None:
        """It is a member, until it leaves or the session ends. Nothing happens where it is one.

        Raises as `Session.write`; it is then no member.
        """
        if self._key is not None:
            return
        self._key = key = self._access.drawn()
        is_joined = False
        try:
            await self._access.write(Put(key, self._value), Deadline(timeout), temporary=True)
            is_joined = True
        finally:
            if not is_joined:
                self._key = None
                self._access.later([Delete(key)])

    async def leave(self, *, timeout: Timeout = 5.0) -> None:
        """It is no member. Raises as `Session.write`; it leaves nevertheless."""
        key, self._key = self._key, None
        if key is not None:
            await self._access.write(Delete(key), Deadline(timeout))

    async def members(self, *, timeout: Timeout = 5.0) -> list[Value]:
        """What each says of itself, in the order in which they joined. Whoever was lost is among them until its end."""
        return [entry.value for entry in in_order(await self._access.entries(Deadline(timeout)))]

    async def wait_change(self, known: list[Value], *, timeout: Timeout = None) -> list[Value]:
        """The members, once they are others than `known`. Raises `RequestTimeout`, "no"."""
        deadline, found = Deadline(timeout), known

        def are_others(answer: Value) -> bool:
            nonlocal found
            found = [entry.value for entry in in_order(entries_of(answer))]
            return found != known

        try:
            await self._access.until(Prefix(self._access.prefix), are_others, deadline)
        except RequestTimeout:
            name = self._access.name
            raise RequestTimeout(
                f"the party {name!r} was the same for {said(deadline.seconds)}", executed="no"
            ) from None
        return found
