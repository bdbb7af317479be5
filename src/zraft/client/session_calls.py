"""What a session has asked for and waits for: writes with their callers, the end, and which session to resume."""

from __future__ import annotations

import asyncio
import secrets as chance
from typing import Final, TypeAlias

import msgspec

from zraft.client.session_state import Pending
from zraft.errors import (
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    RequestError,
    RequestTimeout,
    SessionExpired,
    UsageError,
)
from zraft.wire.requests import Result
from zraft.wire.session_requests import TOKEN_BYTES

Resume: TypeAlias = bytes | tuple[int, bytes] | None
"""The token of a session, or its id and its token; None: a new session."""

Outcome: TypeAlias = Result | RequestError


class Call(msgspec.Struct, eq=False):
    """A write, and who waits for it. `deadline` is a time of the loop's clock, `seconds` what the caller said."""

    command: msgspec.Raw
    future: asyncio.Future[Outcome]
    deadline: float
    seconds: float

    def end(self, outcome: Outcome) -> None:
        """Whoever waits goes on, if somebody does."""
        if not self.future.done():
            self.future.set_result(outcome)


class Stopping:
    """The session is to end; `sent`: how many requests for that went out."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = 0


What: TypeAlias = Pending[Call] | Stopping | None
"""What a request was for; None: the proof that the peer leads the session, a start or a ping."""

Told: TypeAlias = tuple[What, float]
"""What was asked, and when."""


UNASKED: Final[Told] = (None, -1.0)

PASSING: Final = (SessionExpired, NotLeader, OutcomeUnknown, PeerUnavailable, Overloaded, RequestTimeout)
"""What a write is answered whose outcome is not decided by that: it goes out again, or the session is over."""


def resumed(resume: Resume) -> tuple[bool, int, bytes]:
    """Whether to resume a session, which id it has to have (0: any), and its token. Raises `UsageError`."""
    if resume is None:
        return False, 0, chance.token_bytes(TOKEN_BYTES)
    given: object = (0, resume) if isinstance(resume, bytes) else resume
    match given:
        case (int(number), bytes(token)) if len(token) == TOKEN_BYTES and number >= 0:
            return True, number, token
    raise UsageError(f"resume= takes the token of a session ({TOKEN_BYTES} bytes), or its id and its token")
