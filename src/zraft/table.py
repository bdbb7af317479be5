"""The backend "table" as its clients see it: commands to write, queries to ask, and the entries that come back.

await client.write(peer, table.Put("colour", "red", ttl=60))
found, leader = await client.query(peer, table.Get("colour"))
table.Entry.of(found).version
"""

from __future__ import annotations

from zraft.machine.table_types import (
    Action,
    Command,
    Compare,
    CompareAndSet,
    Count,
    Delete,
    DeleteRange,
    Entry,
    Get,
    Increment,
    Prefix,
    Put,
    Query,
    Range,
    Txn,
)

__all__ = [
    "Action",
    "Command",
    "Compare",
    "CompareAndSet",
    "Count",
    "Delete",
    "DeleteRange",
    "Entry",
    "Get",
    "Increment",
    "Prefix",
    "Put",
    "Query",
    "Range",
    "Txn",
]
