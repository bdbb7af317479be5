"""`LightSession`: writes and queries at whichever peer leads, with nothing to open and nothing to keep alive.

It remembers who leads and who failed, so a request usually costs one message each way. Unlike a `Session` it promises
no more than Raft: a write whose outcome nobody told is `OutcomeUnknown`, and only the caller can say whether to repeat
it. `retry_unknown=True` repeats it always: then a write may be applied twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import msgspec

from zraft.client.caller import Caller
from zraft.client.connection import Connection
from zraft.client.rotation import Rotation
from zraft.client.waiting import FOREVER, Timeout, said, seconds_of
from zraft.errors import (
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    RequestError,
    RequestTimeout,
    UsageError,
    ZraftError,
)
from zraft.types import Index, PeerId, Value
from zraft.wire.requests import Query, Reply, Request, Result, Write
from zraft.wire.values import decode_value, encode_value

if TYPE_CHECKING:
    from zraft.client.client import Client

FAIL_S: Final = 1.0
ELECTION_S: Final = 0.5

_Make: TypeAlias = Callable[[int, str], Request]


@dataclass(frozen=True, slots=True)
class Written:
    """What the backend answered to a write, and the index of its entry."""

    result: Value
    index: Index
