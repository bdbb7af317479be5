"""Sessions in tests: entries that open, use and end them, one after the other, applied to a machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from zraft.core.entries import Batch, Kind
from zraft.errors import RequestError
from zraft.session.items import EXPIRED, encode_session_items, end_item, open_item, resume_item, write_item
from zraft.session.machine import ReplicatedMachine
from zraft.session.replies import Replayed
from zraft.session.sessions import token_digest
from zraft.wire.values import decode_value, encode_value

TOKEN = b"t" * 16
OTHER = b"o" * 16


def opening(token: bytes = TOKEN, timeout_ms: int = 5000) -> bytes:
    return open_item(token_digest(token), timeout_ms)


def resuming(life: int, token: bytes = TOKEN) -> bytes:
    return resume_item(token_digest(token), life)


def writing(session: int, sequence: int, command: Any, acknowledged: int = 0, *, temporary: bool = False) -> bytes:
    return write_item(encode_value(command), session, sequence, acknowledged, temporary=temporary)


def ending(session: int, why: str = EXPIRED) -> bytes:
    return end_item(session, why)


def batch_of(items: Sequence[bytes], first: int, *, term: int = 1) -> Batch:
    """The batch that a leader makes of these items."""
    return Batch(first, len(items), term, 0, 0, Kind.COMMANDS, encode_session_items(items))


def apply(replica: ReplicatedMachine, *items: bytes) -> list[Any]:
    """Outcomes of the items as one batch that follows what was applied: values, errors, `Replayed`."""
    outcomes = replica.apply_batch(batch_of(items, replica.last_applied + 1))
    return [_shown(outcome) for outcome in outcomes]


def _shown(outcome: Any) -> Any:
    if isinstance(outcome, Replayed):
        return Replayed(outcome.index, _shown(outcome.outcome))
    return decode_value(outcome) if type(outcome) is msgspec.Raw else outcome


def executed(outcome: Any) -> str:
    """What an error promises."""
    assert isinstance(outcome, RequestError), outcome
    return outcome.executed
