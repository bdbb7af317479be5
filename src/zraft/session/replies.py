"""Replies of session writes as they are kept: bytes that every replica makes alike, and the outcome they stand for.

[kind, index, bytes]    RESULT: the value;  REJECTED: [code, detail];  FAILED: [type, executed]
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from zraft.errors import BackendError, Executed, Rejected
from zraft.limits import MAX_TERM
from zraft.session.outcomes import Outcome, encode_result
from zraft.types import Index
from zraft.wire.values import decode_value, encode_value

RESULT: Final = 0
REJECTED: Final = 1
FAILED: Final = 2


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The reply to a write that ran at `index`."""

    kind: Annotated[int, msgspec.Meta(ge=RESULT, le=FAILED)]
    index: Annotated[Index, msgspec.Meta(ge=1, le=MAX_TERM)]
    data: bytes


class Replayed(msgspec.Struct, frozen=True):
    """The outcome of a write that was sent again: that of the entry which ran it."""

    index: Index
    outcome: Outcome


def kept(index: Index, outcome: Outcome) -> Kept:
    """The reply, encoded: whether it can travel is decided now, the same on every replica."""
    try:
        return Kept(RESULT, index, encode_result(outcome))
    except Rejected as refusal:
        return Kept(REJECTED, index, encode_value([refusal.code, refusal.detail]))
    except BackendError as error:
        return Kept(FAILED, index, encode_value([error.type, error.executed]))


def outcome_of(reply: Kept) -> Outcome:
    """What whoever sent the write gets. Raises `ProtocolError`, TypeError or ValueError where it is malformed."""
    if reply.kind == RESULT:
        return msgspec.Raw(reply.data)
    name, detail = decode_value(reply.data)
    if reply.kind == REJECTED:
        return Rejected(name, detail)
    executed: Executed = "no" if detail == "no" else "yes"
    return BackendError(name, executed=executed)
