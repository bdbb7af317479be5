"""How recipes reach the table: their keys, their requests, and waiting for an answer to change.

A group of another backend is found out by what it answers, before anything is stored: the first request of a recipe is
a query, or a command that the other built-in backend refuses. What undoes something is never a lone `Delete`, which
that backend would take for a key and its value.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final, TypeAlias

from zraft.client.light_session import Written
from zraft.client.session import Session, check_alive, write_later
from zraft.client.waiting import FOREVER, Timeout, seconds_of
from zraft.errors import Rejected, UsageError
from zraft.machine.backend import Reject
from zraft.machine.table_keys import bounds_of_prefix, place_of
from zraft.machine.table_types import Command, Compare, Delete, Entry, Get, Increment, Prefix, Put, Txn
from zraft.types import NOT_FOUND, Value

Key: TypeAlias = tuple[Any, ...]

_DRAWN_BITS: Final = 62
_OF_OTHERS: Final = frozenset({"bad_command", "bad_key", "bad_query"})
"""What a backend says that does not know the commands of the table, or takes them for keys."""
_WRONG: Final = 'recipes need a group of the backend "table"'


class Deadline:
    """When a call stops waiting."""

    __slots__ = ("_at", "seconds")

    def __init__(self, timeout: Timeout) -> None:
        self.seconds = seconds_of(timeout)
        self._at = monotonic() + self.seconds

    @property
    def left(self) -> float | None:
        """Seconds, at least 0; None: for ever."""
        return None if self._at == FOREVER else max(0.0, self._at - monotonic())


class Access:
    """The entries of one recipe of one name, through one session."""

    def __init__(self, session: Session, root: str, name: str) -> None:
        self.session, self.name, self.prefix = session, name, (root, name)
        _check_name(name)

    def key(self, *parts: Any) -> Key:
        """Of an entry of this recipe."""
        return (*self.prefix, *parts)

    def drawn(self, *parts: Any) -> Key:
        """A key that nobody else has."""
        return self.key(*parts, secrets.randbits(_DRAWN_BITS))

    # -- requests

    async def write(self, command: Command, deadline: Deadline, *, temporary: bool = False) -> Written:
        """The result, and the index of the entry. Raises `UsageError` where the group has no table."""
        return await _checked_write(self.session, command, deadline, temporary=temporary)

    async def entries(self, deadline: Deadline, *parts: Any, limit: int = 0) -> list[Entry]:
        """Those whose key begins so, in the order of their keys."""
        return entries_of(await self.session.query(Prefix(self.key(*parts), limit), timeout=deadline.left))

    async def entry(self, key: Key, deadline: Deadline) -> Entry | None:
        """The one under this key. It is asked for as a prefix: by its answer a table is told from what is none."""
        found = entries_of(await self.session.query(Prefix(key, 1), timeout=deadline.left))
        return found[0] if found and found[0].key == key else None

    async def until(self, query: Get | Prefix, is_so: Callable[[Value], bool], deadline: Deadline) -> Value:
        """The answer to the query, once `is_so` holds for it. It is asked again after each change of what it reads.

        Raises `RequestTimeout`, and what ends the session.
        """
        watch = object()
        try:
            while True:
                answer = await self.session.query(query, watch=watch, timeout=deadline.left)
                if is_so(answer):
                    return answer
                await self.session.wait_trigger(watch, timeout=deadline.left)
        finally:
            self.session.forget(watch)

    async def wait_change(self, entry: Entry, deadline: Deadline) -> None:
        """Until something may have become of the entry, whose key nobody uses again once it is gone."""
        watch = object()
        try:
            if await self.session.query(Get(entry.key), watch=watch, timeout=deadline.left) is not NOT_FOUND:
                await self.session.wait_trigger(watch, timeout=deadline.left)
        finally:
            self.session.forget(watch)

    def later(self, success: Sequence[Put | Delete], *compare: Compare, failure: Sequence[Delete] = ()) -> None:
        """The transaction goes out after what was sent before, and nobody waits for it. Nothing where it is over."""
        write_later(self.session, Txn(compare, success, failure))

    def check_alive(self) -> None:
        """Raises `SessionExpired` or `SessionClosed` where the session is over by now (BM-074)."""
        check_alive(self.session)


async def checked_increment(session: Session, command: Increment, deadline: Deadline) -> int:
    """The sum. Raises `UsageError` where the group has no table."""
    total: int = (await _checked_write(session, command, deadline, temporary=False)).result
    return total


async def _checked_write(session: Session, command: Command, deadline: Deadline, *, temporary: bool) -> Written:
    try:
        return await session.write_entry(command, temporary=temporary, timeout=deadline.left)
    except Rejected as error:
        if error.code in _OF_OTHERS:
            raise UsageError(f"{_WRONG}: {error}") from error
        raise


def entries_of(answer: Value) -> list[Entry]:
    """What a `Prefix` was answered with. Raises `UsageError` where no table answered."""
    if not isinstance(answer, list):
        raise UsageError(f"{_WRONG}, which answers with entries")
    return [Entry.of(entry) for entry in answer]


def number_of(answer: Value) -> int:
    """What a `Count` was answered with. Raises `UsageError` where no table answered."""
    if not isinstance(answer, int):
        raise UsageError(f"{_WRONG}, which counts")
    return answer


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    """The entry that was made first stands first."""
    return sorted(entries, key=lambda entry: entry.created_index)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise UsageError(f"not a name: {name!r} (a text that is not empty)")
    check_key(name)


def check_key(key: Any) -> None:
    """Raises `UsageError` for what is no key of the table."""
    try:
        place_of(key)
    except Reject as refusal:
        raise UsageError(f"not a key: {key!r} ({refusal.detail})") from None


def check_prefix(prefix: Any) -> None:
    """Raises `UsageError` for what no key of the table begins with."""
    try:
        bounds_of_prefix(prefix)
    except Reject as refusal:
        raise UsageError(f"not a prefix: {prefix!r} ({refusal.detail})") from None


def check_number(what: str, number: object) -> None:
    """Raises `UsageError` for what is no int of 64 bits with a sign."""
    if isinstance(number, bool) or not isinstance(number, int) or not -(1 << 63) <= number < 1 << 63:
        raise UsageError(f"not a {what}: {number!r} (an int of 64 bits with a sign)")


def check_count(what: str, count: object, most: int) -> None:
    """Raises `UsageError` for what is no number from 1 to `most`."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
        raise UsageError(f"not a number of {what}: {count!r} (1 to {most})")
