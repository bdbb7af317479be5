"""`Counter`: a number that everybody adds to."""

from __future__ import annotations

from typing import Any

from zraft.client.session import Session
from zraft.client.waiting import Timeout
from zraft.errors import UsageError
from zraft.machine.table_keys import as_key
from zraft.machine.table_types import Increment, Range
from zraft.recipes.access import Deadline, check_key, check_number, checked_increment, entries_of
from zraft.types import Value


class Counter:
    """A number under `key` of the table, counted exactly once whatever becomes of leaders.

    It has 64 bits with a sign. A sum beyond them is refused: `Rejected`, "overflow".
    """

    def __init__(self, session: Session, key: Any) -> None:
        if key in ("", b""):
            raise UsageError("a counter needs a key that is not empty")
        check_key(key)
        self._session, self._key = session, as_key(key)

    async def add(self, by: int = 1, *, timeout: Timeout = 5.0) -> int:
        """The sum. Raises as `Session.write`; after a `RequestTimeout` it is still counted, once."""
        check_number("number to add", by)
        return await checked_increment(self._session, Increment(self._key, by), Deadline(timeout))

    async def value(self, *, timeout: Timeout = 5.0) -> int:
        """The sum, 0 where nothing was counted. Raises `UsageError` where something else is there."""
        found = entries_of(await self._session.query(Range(self._key, None, 1), timeout=Deadline(timeout).left))
        total: Value = found[0].value if found and found[0].key == self._key else 0
        if not isinstance(total, int):
            raise UsageError(f"what is under {self._key!r} is no number")
        return total
