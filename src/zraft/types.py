"""The names that every room shares: peers, members, terms, indexes, timeouts, and the values that travel.

Relies on nothing but `errors`. Guarantees that a `PeerId` which exists is well formed, also when it came from the wire.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, NewType, TypeAlias

import msgspec

from zraft.errors import UsageError

Term: TypeAlias = int
"""A term of Raft (§3.3). 0 before the first election; only grows."""

Index: TypeAlias = int
"""A position in the log. The first entry has index 1; 0 means "before the log"."""

GroupId = NewType("GroupId", bytes)
"""128 random bits that `create` draws once for a group; every message of the group carries them."""

Millis: TypeAlias = int
"""Milliseconds: of the local monotonic clock (names end in `_ms`), or of a group's replicated time (`time`)."""

Timeout: TypeAlias = int | float | timedelta | None
"""How long a user waits: seconds as int, float or timedelta, None for ever."""

FOREVER: Final = float("inf")

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_NODE: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253}):[0-9]{1,5}")


@lru_cache(maxsize=4096)  # every message names two peers, and they are always the same few: 2 µs less for each message
def _check_peer(name: object, node: object) -> None:
    if not isinstance(name, str) or not isinstance(node, str):
        raise UsageError(f"a peer is two texts, a name and a host:port, not {name!r} and {node!r}")
    if not _NAME.fullmatch(name):
        raise UsageError(f"not a peer name: {name!r} (letters, digits, '_', '.', '-'; at most 64)")
    if not _NODE.fullmatch(node) or int(node.rpartition(":")[2]) > 65535:
        raise UsageError(f"not a node address: {node!r} (host:port)")


class PeerId(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One replica of one group: `name` is its name on its node, `node` the node's `host:port`.

    Hashable and ordered. `str()` gives `"name@host:port"`, which `parse` reads back. Raises `UsageError` (a ValueError)
    where name or node is malformed: 1 to 64 characters of `[A-Za-z0-9_.-]` that begin with a letter, digit or `_`.
    """

    name: str
    node: str

    def __post_init__(self) -> None:
        _check_peer(self.name, self.node)

    def __str__(self) -> str:
        return f"{self.name}@{self.node}"

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """The peer that `str()` wrote as `text`, for example `"test1@127.0.0.1:7101"`. Raises `UsageError`."""
        if not isinstance(text, str):  # a caller without a type checker
            raise UsageError(f"not a peer: {text!r} (write name@host:port)")
        name, at, node = text.partition("@")
        if not at:
            raise UsageError(f"not a peer: {text!r} (write name@host:port)")
        return cls(name, node)


class Member(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A peer together with the life that counts: a configuration names members, never bare peers.

    `incarnation` is the 64-bit number that the replica drew when its data was born. A peer that lost its disk draws a
    new one, so it is never taken for the replica that had cast votes and acknowledged entries.
    """

    peer: PeerId
    incarnation: int

    def __str__(self) -> str:
        return f"{self.peer.name}@{self.peer.node}#{self.incarnation & 0xFFFF:04x}"


class NotFound:
    """The type of `NOT_FOUND`; has one instance, which is false."""

    _only: NotFound | None = None

    def __new__(cls) -> NotFound:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NOT_FOUND"

    def __reduce__(self) -> str:
        return "NOT_FOUND"


NOT_FOUND: Final = NotFound()
"""What a query answers for a key that does not exist. Falsy; the same object after the wire."""

Value: TypeAlias = Any
"""A user's command, query or result, as `wire.values` carries it.

None, bool, int of 64 bits, float, str, bytes, an aware datetime, `NOT_FOUND`, and lists, tuples and dicts of these, at
most 64 deep. Tuples come back as lists, but for those that are keys of a dict; a datetime comes back in UTC.
"""


def seconds_of(timeout: Timeout) -> float:
    """The timeout in seconds, `FOREVER` for None. Raises `UsageError` for what is no duration."""
    if type(timeout) is float and timeout >= 0:
        return timeout
    if timeout is None:
        return FOREVER
    seconds: object = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise UsageError(f"not a timeout: {timeout!r} (seconds, a timedelta, or None to wait for ever)")
    return float(seconds)
