"""What became of a command: a value, or the reason why there is none. The same on every replica.

A result is a Python value until somebody who waits for it needs bytes. Whether it can travel is decided by its value
alone, so that every replica would decide alike; one that cannot is a `BackendError` of type "UnencodableResult", and
the command has run. State never depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

from zraft.errors import BackendError, Executed, Rejected, ReplicaFault, RequestError, TooLarge, UsageError
from zraft.machine.backend import Reject
from zraft.types import NotFound
from zraft.wire.values import decode_value, encode_value

Outcome: TypeAlias = Any
"""A result (a value, or `msgspec.Raw` where it was encoded early), or an instance of `RequestError`: `Rejected` or
`BackendError`, and where a session write did not run one of those that `sessions.Sessions` names. What was sent again
is a `replies.Replayed` around the outcome that it had."""

UNENCODABLE: Final = "UnencodableResult"

UNCHANGING: Final = frozenset({str, int, float, bool, bytes, type(None), NotFound, datetime, BackendError, Rejected})
"""Types whose instances can wait to be encoded: nothing that happens later changes them."""

FATAL: Final = (MemoryError, RecursionError, OSError, SystemError, ReplicaFault)
"""What one replica may meet and another not: as a result it would diverge, so it stops the peer instead."""


def encode_result(outcome: Outcome) -> bytes:
    """The bytes of a result. Raises the outcome where it is an error, and `BackendError` where it cannot travel."""
    if type(outcome) is msgspec.Raw:
        return bytes(outcome)
    try:
        return encode_value(outcome)
    except (UsageError, TooLarge) as error:
        if isinstance(outcome, RequestError):
            raise outcome from None
        raise BackendError(UNENCODABLE, f"the backend's result cannot travel: {error}") from error


def settled(outcome: Outcome) -> Outcome:
    """The same outcome, encoded now if it is a container: the next command may change what is in it."""
    if type(outcome) in UNCHANGING:
        return outcome
    try:
        return msgspec.Raw(encode_result(outcome))
    except BackendError as error:
        return error


def rejected(refusal: Reject) -> Rejected | BackendError:
    """What the caller gets for a Reject: code and detail, the detail as it looks after the wire."""
    try:
        return Rejected(refusal.code, decode_value(encode_value(refusal.detail)))
    except (UsageError, TooLarge) as error:
        return BackendError(UNENCODABLE, f"the detail of a Reject cannot travel: {error}", executed="no")


def failed(error: Exception, *, executed: Executed) -> BackendError:
    """What the caller gets for any other exception: its class name and no more, since texts differ and leak."""
    return BackendError(type(error).__name__, executed=executed)


def attempted(what: str, call: Callable[..., Any], *arguments: object) -> Outcome:
    """What the call returns, or a `BackendError` for what it raises. Raises `ReplicaFault` for what `FATAL` lists."""
    try:
        return call(*arguments)
    except FATAL as error:
        raise ReplicaFault(f"{what} raised {type(error).__name__}: {error}") from error
    except Exception as error:
        return failed(error, executed="yes")
