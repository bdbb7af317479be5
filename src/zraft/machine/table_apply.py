"""What each single command of the backend "table" does. Each checks all that it was given before it changes anything.

A write keeps what it does not name: the time to live stays but for a `Put`. Whose the entry is the last writer decides:
a temporary write makes it the writer's session's, any other nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from zraft.machine.backend import Change, Context
from zraft.machine.table_entries import Entries
from zraft.machine.table_keys import as_key, bounds, place_of
from zraft.machine.table_types import CompareAndSet, Delete, DeleteRange, Entry, Get, Increment, Put
from zraft.machine.table_values import are_same, check_value, deadline_of, summed
from zraft.types import NOT_FOUND, Millis, Value

Apply: TypeAlias = Callable[[Entries, Any, Context, list[Change]], Value]
"""Carries out a command, adds what it changed, and returns the result. Raises `Reject`, and has then done nothing."""


def put(entries: Entries, command: Put, ctx: Context, changes: list[Change]) -> Value:
    """Rejects "bad_key", "bad_value", "bad_ttl"."""
    place = place_of(command.key)
    check_value(command.value)
    expires_at = deadline_of(command.ttl, ctx.time)
    _store(entries, place, command.key, command.value, expires_at, ctx, changes)
    return "ok"


def delete(entries: Entries, command: Delete, ctx: Context, changes: list[Change]) -> Value:
    """Rejects "bad_key"."""
    place = place_of(command.key)
    entry = entries.get(place)
    if entry is None:
        return NOT_FOUND
    remove(entries, place, entry, "delete", changes)
    return "ok"


def compare_and_set(entries: Entries, command: CompareAndSet, ctx: Context, changes: list[Change]) -> Value:
    """Rejects "bad_key", "bad_value"."""
    place = place_of(command.key)
    check_value(command.value)
    entry = entries.get(place)
    if not are_same(NOT_FOUND if entry is None else entry.value, command.expected):
        return False
    _store(entries, place, command.key, command.value, _deadline(entry), ctx, changes)
    return True


def increment(entries: Entries, command: Increment, ctx: Context, changes: list[Change]) -> Value:
    """Rejects "bad_key", "bad_amount", "not_a_number", "overflow"."""
    place = place_of(command.key)
    entry = entries.get(place)
    total = summed(0 if entry is None else entry.value, command.by)
    _store(entries, place, command.key, total, _deadline(entry), ctx, changes)
    return total


def delete_range(entries: Entries, command: DeleteRange, ctx: Context, changes: list[Change]) -> Value:
    """Rejects "bad_key"."""
    removed = entries.remove_between(*entries.positions(*bounds(command.start, command.end)))
    changes += [Change(entry.key, None, "delete") for entry in removed]
    return len(removed)


def get(entries: Entries, query: Get, ctx: Context, changes: list[Change]) -> Value:
    """Rejects "bad_key"."""
    return found(entries, query.key)


def found(entries: Entries, key: Any) -> Value:
    """The entry of the key, as it travels, or NOT_FOUND."""
    entry = entries.get(place_of(key))
    return NOT_FOUND if entry is None else entry.as_answer()


def remove(entries: Entries, place: bytes, entry: Entry, kind: str, changes: list[Change]) -> None:
    """`entry`, which is at `place`, is gone."""
    entries.replace(place, None)
    changes.append(Change(entry.key, None, kind))


def _deadline(entry: Entry | None) -> Millis | None:
    return None if entry is None else entry.expires_at


def _store(
    entries: Entries,
    place: bytes,
    key: Any,
    value: Value,
    expires_at: Millis | None,
    ctx: Context,
    changes: list[Change],
) -> None:
    entry, index = entries.get(place), ctx.index
    owner = ctx.session if ctx.temporary else None
    if entry is None:
        made = Entry(as_key(key), value, 1, index, index, owner, expires_at)
    else:
        made = Entry(entry.key, value, entry.version + 1, entry.created_index, index, owner, expires_at)
    entries.replace(place, made)
    changes.append(Change(made.key, value))


ACTIONS: Final[Mapping[type, Apply]] = {
    Put: put,
    Delete: delete,
    CompareAndSet: compare_and_set,
    Increment: increment,
    DeleteRange: delete_range,
    Get: get,
}
"""What may stand alone, but for `Get`, and what may stand in a transaction."""
