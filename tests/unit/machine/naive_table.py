"""A table as a list that is searched from its beginning, which says what the backend "table" should do."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from zraft import table
from zraft.machine.backend import Context
from zraft.types import NOT_FOUND

RANKS: dict[type, int] = {bytes: 1, str: 2, int: 3, tuple: 4}
INT64 = 1 << 63


class Refused(Exception):
    """With the code."""


@dataclass(frozen=True)
class Row:
    """One entry."""

    key: Any
    value: Any
    version: int
    created: int
    modified: int
    owner: int | None
    deadline: int | None

    def answer(self) -> dict[str, Any]:
        found = {
            "key": list(self.key) if isinstance(self.key, tuple) else self.key,
            "value": self.value,
            "version": self.version,
            "created_index": self.created,
            "modified_index": self.modified,
        }
        if self.owner is not None:
            found["session"] = self.owner
        if self.deadline is not None:
            found["expires_at"] = self.deadline
        return found


def rank(key: Any) -> tuple[Any, ...]:
    """What keys are sorted by."""
    if isinstance(key, tuple):
        return (4, tuple((RANKS[type(part)], part) for part in key))
    return (RANKS[type(key)], key)


def begins(key: Any, prefix: Any) -> bool:
    """In the sense of a prefix query."""
    if type(key) is not type(prefix):
        return False
    return bool(key[: len(prefix)] == prefix) if isinstance(key, tuple) else bool(key.startswith(prefix))


class NaiveTable:
    """The rows in no order. `changed` is what the last call changed, with its kind."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.changed: list[tuple[Any, Any, str]] = []

    def find(self, key: Any) -> Row | None:
        return next((row for row in self.rows if row.key == key and type(row.key) is type(key)), None)

    def between(self, start: Any, end: Any) -> list[Row]:
        rows = sorted(self.rows, key=lambda row: rank(row.key))
        return [
            row
            for row in rows
            if (start is None or rank(row.key) >= rank(start)) and (end is None or rank(row.key) < rank(end))
        ]

    def apply(self, command: Any, ctx: Context) -> Any:
        """The result; raises Refused, and nothing has changed."""
        before, self.changed = list(self.rows), []
        try:
            return self._apply(command, ctx)
        except Refused:
            self.rows, self.changed = before, []
            raise

    def _apply(self, command: Any, ctx: Context) -> Any:
        match command:
            case table.Put(key, value, ttl):
                if ttl is not None and ttl <= 0:
                    raise Refused("bad_ttl")
                deadline = None if ttl is None else ctx.time + math.ceil(ttl * 1000)
                self._store(key, value, deadline, ctx)
                return "ok"
            case table.Delete(key):
                return (self._remove([self.find(key)], "delete") and "ok") or NOT_FOUND
            case table.CompareAndSet(key, expected, value):
                row = self.find(key)
                present = NOT_FOUND if row is None else row.value
                if (type(present), present) != (type(expected), expected):
                    return False
                self._store(key, value, row and row.deadline, ctx)
                return True
            case table.Increment(key, by):
                row = self.find(key)
                value = 0 if row is None else row.value
                if type(value) is not int:
                    raise Refused("not_a_number")
                if not -INT64 <= value + by < INT64:
                    raise Refused("overflow")
                self._store(key, value + by, row and row.deadline, ctx)
                return value + by
            case table.DeleteRange(start, end):
                return self._remove(self.between(start, end), "delete")
            case table.Get(key):
                row = self.find(key)
                return NOT_FOUND if row is None else row.answer()
            case table.Txn(compare, success, failure):
                holds = all(self._holds(one) for one in compare)
                return {
                    "succeeded": holds,
                    "results": [self._apply(action, ctx) for action in (success if holds else failure)],
                }
        raise AssertionError(command)

    def _holds(self, compare: table.Compare) -> bool:
        row = self.find(compare.key)
        fields: dict[str, Any] = {"value": NOT_FOUND, "version": 0, "created_index": 0, "modified_index": 0}
        if row is not None:
            fields = {"value": row.value, "version": row.version, "created_index": row.created}
            fields["modified_index"] = row.modified
        present, operand = fields[compare.field], compare.operand
        is_same: bool = (type(present), present) == (type(operand), operand)
        if compare.op in ("==", "!="):
            return is_same == bool(compare.op == "==")
        if type(present) is not type(operand) or type(present) not in (int, str):
            return False
        relations: dict[str, bool] = {
            "<": present < operand,
            "<=": present <= operand,
            ">": present > operand,
            ">=": present >= operand,
        }
        return relations[str(compare.op)]

    def _store(self, key: Any, value: Any, deadline: Any, ctx: Context) -> None:
        owner = ctx.session if ctx.temporary else None
        row = self.find(key)
        if row is None:
            self.rows.append(Row(key, value, 1, ctx.index, ctx.index, owner, deadline))
        else:
            changed = replace(row, value=value, version=row.version + 1, modified=ctx.index)
            self.rows[self.rows.index(row)] = replace(changed, owner=owner, deadline=deadline)
        self.changed.append((key, value, "put"))

    def _remove(self, rows: list[Row | None] | list[Row], kind: str) -> int:
        there = [row for row in rows if row is not None]
        self.rows = [row for row in self.rows if row not in there]
        self.changed += [(row.key, None, kind) for row in there]
        return len(there)

    def end(self, session: int) -> None:
        """The session has ended."""
        self.changed = []
        self._remove([row for row in self.between(None, None) if row.owner == session], "session")

    def due(self) -> int | None:
        """When the next row goes."""
        return min((row.deadline for row in self.rows if row.deadline is not None), default=None)

    def advance(self, time: int) -> None:
        """It is so late now."""
        self.changed = []
        gone = [row for row in self.between(None, None) if row.deadline is not None and row.deadline <= time]
        self._remove(sorted(gone, key=lambda row: row.deadline or 0), "expire")
