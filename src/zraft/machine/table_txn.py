"""Transactions of the backend "table": comparisons, then one of two lists of actions, all of it or nothing.

An action sees what the actions before it did, so it can only be checked when they are done. Where one is refused, they
are taken back, and every entry is the very one that it was before.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from zraft.limits import TABLE_TXN_ITEMS
from zraft.machine.backend import Change, Context, Reject
from zraft.machine.table_apply import ACTIONS
from zraft.machine.table_entries import Entries
from zraft.machine.table_keys import place_of
from zraft.machine.table_types import Compare, Txn
from zraft.machine.table_values import are_ordered, are_same
from zraft.types import NOT_FOUND, Value

_NUMBERS: Final = frozenset({"version", "created_index", "modified_index"})
_ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def txn(entries: Entries, command: Txn, ctx: Context, changes: list[Change]) -> Value:
    """Rejects "too_many", "bad_compare", "bad_key", and what an action is refused for, with its place in the list."""
    items = len(command.compare) + len(command.success) + len(command.failure)
    if items > TABLE_TXN_ITEMS:
        raise Reject("too_many", f"{items} comparisons and actions; a transaction has {TABLE_TXN_ITEMS} at most")
    holds = [_holds(entries, compare) for compare in command.compare]
    succeeded = all(holds)
    name, actions = ("success", command.success) if succeeded else ("failure", command.failure)
    results: list[Value] = []
    changed = len(changes)
    journal = entries.journal = []
    try:
        for action in actions:
            results.append(ACTIONS[type(action)](entries, action, ctx, changes))
    except Reject as refusal:
        entries.journal = None
        entries.take_back(reversed(journal))
        del changes[changed:]
        raise Reject(refusal.code, f"{name}[{len(results)}]: {refusal.detail}") from refusal
    finally:
        entries.journal = None
    return {"succeeded": succeeded, "results": results}


def _holds(entries: Entries, compare: Compare) -> bool:
    entry, operand = entries.get(place_of(compare.key)), compare.operand
    present: Value
    if compare.field == "value":
        present = NOT_FOUND if entry is None else entry.value
    elif type(compare.field) is str and compare.field in _NUMBERS:
        if type(operand) is not int:
            raise Reject("bad_compare", f"a {compare.field} is compared to a number")
        present = 0 if entry is None else getattr(entry, compare.field)
    else:
        raise Reject("bad_compare", f"a field is value, {', '.join(sorted(_NUMBERS))}")
    if compare.op == "==":
        return are_same(present, operand)
    if compare.op == "!=":
        return not are_same(present, operand)
    if type(compare.op) is not str or compare.op not in _ORDERS:
        raise Reject("bad_compare", f"a relation is ==, !=, {', '.join(_ORDERS)}")
    return are_ordered(present, operand) and _ORDERS[compare.op](present, operand)
