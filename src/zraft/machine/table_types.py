"""What clients and the backend "table" say to each other: commands, queries, and entries.

Each command and query travels as an array that begins with its name, so that a client in any language can write it:
`Put("k", 1)` is `["put", "k", 1]`; what has a default may be left out at the end. Fields are checked by the backend
and not by these types, so that whoever breaks a rule is told which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import msgspec

from zraft.errors import UsageError
from zraft.machine.table_keys import as_key
from zraft.types import Index, Millis, Value
from zraft.wire.values import Statement

Key: TypeAlias = Any
"""bytes, str, int, or a tuple of these with one part at least."""


class Put(Statement, frozen=True, gc=False, tag="put"):
    """Stores `value` under `key`; "ok".

    `ttl`, in seconds or a timedelta: the entry goes so much later, unless it is put again. None: it stays, also where
    it had a time to live before.
    """

    key: Key
    value: Value
    ttl: Any = None


class Delete(Statement, frozen=True, gc=False, tag="delete"):
    """Removes `key`; "ok", or NOT_FOUND where there is none."""

    key: Key


class CompareAndSet(Statement, frozen=True, gc=False, tag="compare_and_set"):
    """Stores `value` where the present value is `expected` (NOT_FOUND: where there is none); True, or else False.

    The time to live stays as it is. Values are the same where type and content are: 1, 1.0 and True are three values.
    """

    key: Key
    expected: Value
    value: Value


class Increment(Statement, frozen=True, gc=False, tag="increment"):
    """Adds `by`, which may be negative, to the number under `key`, 0 where there is none; the sum.

    The time to live stays as it is. The sum fits into 64 bits with a sign, or the command is refused.
    """

    key: Key
    by: Any = 1


class DeleteRange(Statement, frozen=True, gc=False, tag="delete_range"):
    """Removes every key from `start` on, up to but not with `end`; how many. None: from the first, to the last."""

    start: Key
    end: Key


class Get(Statement, frozen=True, gc=False, tag="get"):
    """The entry of `key` as a dict, see `Entry`, or NOT_FOUND. Can be watched."""

    key: Key


class Range(Statement, frozen=True, gc=False, tag="range"):
    """The entries from `start` on, up to but not with `end`, in order; None: from the first, to the last.

    `reverse`: from the other end. `limit`: so many at most; 0 is all. Cannot be watched.
    """

    start: Key
    end: Key
    limit: int = 0
    reverse: bool = False


class Prefix(Statement, frozen=True, gc=False, tag="prefix"):
    """The entries whose key begins with `prefix`, in order: texts, bytes, or tuples with these first parts.

    `limit`: so many at most; 0 is all. Can be watched, whatever the limit, for every key that begins so.
    """

    prefix: Key
    limit: int = 0


class Count(Statement, frozen=True, gc=False, tag="count"):
    """How many keys there are from `start` on, up to but not with `end`. Cannot be watched."""

    start: Key
    end: Key


Action: TypeAlias = Put | Delete | CompareAndSet | Increment | DeleteRange | Get
"""What a transaction may do. A `Get` sees what the actions before it did."""


class Compare(Statement, frozen=True, gc=False):
    """A condition of a transaction: `field` of the entry of `key` stands in the relation `op` to `operand`.

    `field` is "value", "version", "created_index" or "modified_index"; `op` is "==", "!=", "<", "<=", ">" or ">=".
    Without an entry the value is NOT_FOUND and the others are 0. Values are ordered where both are numbers, or both of
    one type of text, bytes and datetime; otherwise no "<" nor ">" holds between them. A tuple of four does as well.
    """

    key: Key
    field: Any
    op: Any
    operand: Value


class Txn(Statement, frozen=True, gc=False, tag="txn"):
    """All of `success` where every comparison holds, otherwise all of `failure`, as one step.

    {"succeeded": bool, "results": [...]}, a result for each action. An action that is refused refuses the whole.
    """

    compare: Sequence[Compare]
    success: Sequence[Action]
    failure: Sequence[Action] = ()


Command: TypeAlias = Put | Delete | CompareAndSet | Increment | Txn | DeleteRange
"""What may be written. A command that breaks a rule is refused before it changes anything: `Rejected`."""

Query: TypeAlias = Get | Range | Prefix | Count
"""What may be asked."""


class Entry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A key with its value and its history. Queries answer it as a dict, which `Entry.of` reads.

    `version` is 1 when the key is made and grows by 1 with each change; `created_index` and `modified_index` are the
    log indexes of the first and the last of them. `session` owns the entry, which goes with it; `expires_at` is the
    replicated time at which it goes, in milliseconds. The dict has these two only where they are set.
    """

    key: Key
    value: Value
    version: int
    created_index: Index
    modified_index: Index
    session: int | None = None
    expires_at: Millis | None = None

    @classmethod
    def of(cls, answer: Value) -> Self:
        """The entry in the dict that a query answered. Raises `UsageError` where it is none, as for NOT_FOUND."""
        try:
            return cls(**{**answer, "key": as_key(answer["key"])})
        except (KeyError, TypeError) as error:
            raise UsageError(f"not an entry: {answer!r}") from error

    def as_answer(self) -> dict[str, Value]:
        """What travels."""
        answer = {
            "key": self.key,
            "value": self.value,
            "version": self.version,
            "created_index": self.created_index,
            "modified_index": self.modified_index,
        }
        if self.session is not None:
            answer["session"] = self.session
        if self.expires_at is not None:
            answer["expires_at"] = self.expires_at
        return answer
