"""What a session decides: whether it lives, when to ping, which writes to send and which answers it has (§6.3).

    connecting ──answered──> connected <──answered── suspended      (lost: connected -> suspended)
        │                        └───────┬──────────────┘
        │ not within the timeout         │ a timeout after the last answered ping was sent
        v                                v
      closed (ConnectionTimeout)      expired (SessionExpired)      stop: closed (SessionClosed)

**Alive.** The leader counts from the moment in which a ping came, the client from when it was sent, which is earlier:
the client gives the session up first. A write that was answered does what a ping does.

**Exactly once.** Writes are numbered from 1 in the order of the calls, and each keeps its number until it is answered,
whoever leads and however often it is sent. With each goes `acknowledged`, up to which every answer has come: the
replicas may forget those. A write that no leader accepts (it is too large) leaves a hole, and those behind it move up;
never while a copy of one of them may still be on its way under its old number, where it would run as another.

`now` comes from outside, seconds of any clock that never goes back. Nothing here waits or sends.
"""

from __future__ import annotations

from copy import copy
from typing import Final, Generic, Literal, TypeAlias, TypeVar

import msgspec

from zraft.errors import (
    ConnectionTimeout,
    Executed,
    InvariantViolation,
    Overloaded,
    RequestError,
    SessionExpired,
)
from zraft.limits import SESSION_UNANSWERED

State: TypeAlias = Literal["connecting", "connected", "suspended", "expired", "closed"]

PATIENCE_S: Final = 2.0
"""How long a peer may be silent that was asked something, at most: then others are asked."""
_SHARE: Final = 4
"""With short sessions: a quarter of the timeout, so that after a ping at half of it there is time for another peer."""


class Lifeline:
    """Whether the session lives, and what is to be done when, seen from its client."""

    __slots__ = ("_asked_at", "_began_at", "_error", "_is_lost", "_proven_at", "expires_at", "patience_s", "timeout_s")

    def __init__(self, timeout_s: float, now: float) -> None:
        self.timeout_s = timeout_s
        self.patience_s = min(PATIENCE_S, timeout_s / _SHARE)
        self._began_at = now
        self._proven_at: float | None = None
        """When that was sent which was answered, the latest of all; None: nothing was answered."""
        self._asked_at = now
        """When that was sent before which the peer owed nothing."""
        self.expires_at = now + timeout_s
        """When it is over unless something is answered that was sent later than the last."""
        self._is_lost = False
        self._error: tuple[State, RequestError] | None = None

    @property
    def state(self) -> State:
        """As users see it."""
        if self._error is not None:
            return self._error[0]
        if self._proven_at is None:
            return "connecting"
        return "suspended" if self._is_lost else "connected"

    def state_at(self, now: float) -> State:
        """The state that `check` would find."""
        if self._error is None and now >= self.expires_at:
            return "closed" if self._proven_at is None else "expired"
        return self.state

    @property
    def is_over(self) -> bool:
        """It never comes back."""
        return self._error is not None

    @property
    def is_connected(self) -> bool:
        """The peer that is asked answers."""
        return self._error is None and self._proven_at is not None and not self._is_lost

    @property
    def ping_at(self) -> float:
        """When to ping unless something is answered before."""
        return (self._began_at if self._proven_at is None else self._proven_at) + self.timeout_s / 2

    def asked(self, now: float, *, owed: bool) -> None:
        """Something was sent that the peer has to answer; `owed`: it owed an answer before."""
        if not owed:
            self._asked_at = now

    def silent_at(self, heard_at: float) -> float:
        """When a peer that owes an answer and was last heard at `heard_at` counts as silent."""
        return max(self._asked_at, heard_at) + self.patience_s

    def answered(self, sent_at: float) -> None:
        """What proves the session alive was answered: a start, a ping or a write, sent at `sent_at`.

        Late or out of order, it never shortens the life. An answer after the end changes nothing.
        """
        proven_at = self._proven_at
        if self._error is None and (proven_at is None or proven_at < sent_at):
            self._proven_at = sent_at
            self.expires_at = sent_at + self.timeout_s

    def found(self) -> None:
        """The peer that is asked has shown that it leads."""
        self._is_lost = False

    def adopt(self, timeout_s: float) -> None:
        """A resumed session keeps the timeout that it was started with."""
        self.timeout_s, self.patience_s = timeout_s, min(PATIENCE_S, timeout_s / _SHARE)
        self.expires_at = (self._began_at if self._proven_at is None else self._proven_at) + timeout_s

    def lost(self) -> None:
        """Nobody answers for now."""
        self._is_lost = True

    def check(self, now: float, why: str = "nobody answered") -> bool:
        """Whether it is over, by now at the latest. `why`: for the message, what was missing."""
        if self._error is None and now >= self.expires_at:
            seconds = f"{self.timeout_s:g} s"
            if self._proven_at is None:
                self.end("closed", ConnectionTimeout(f"no session within {seconds}: {why}"))
            else:
                self.end("expired", SessionExpired(f"no ping of the session was answered for {seconds}: {why}"))
        return self._error is not None

    def end(self, state: State, error: RequestError) -> None:
        """It is over, for the first reason that was given; every later call raises `error`."""
        if self._error is None:
            self._error = state, error

    def error(self, executed: Executed = "no") -> RequestError:
        """What a call is told once it is over."""
        if self._error is None:
            raise InvariantViolation("a session that lives has no error to tell")
        error = copy(self._error[1])
        error.executed = executed
        return error


CallT = TypeVar("CallT")


class Pending(msgspec.Struct, Generic[CallT], eq=False):
    """A write that is not answered yet, made by a `Window`. `call` is the caller's."""

    sequence: int
    call: CallT
    temporary: bool
    sent: int = 0
    """How often it was sent."""
    lost: int = 0
    """How many of these copies nobody will tell the fate of."""
    sent_at: float = 0.0
    is_under_way: bool = False
    """Sent over the connection that there is, and not answered."""

    @property
    def executed(self) -> Executed:
        """What is true of it while nobody has told more."""
        return "maybe" if self.is_under_way or self.lost else "no"


class Window(Generic[CallT]):
    """The unanswered writes of a session, by their numbers."""

    __slots__ = ("_cursor", "_first", "_hole", "_is_torn", "_next", "_pending")

    def __init__(self, last: int = 0) -> None:
        """`last`: every number up to it was used, and is answered."""
        self._pending: dict[int, Pending[CallT]] = {}
        self._first = self._cursor = self._next = last + 1
        self._hole: int | None = None
        """The first number that was not used while later ones are given; None: there is none."""
        self._is_torn = False
        """A copy of what was left out may still be on its way."""

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def acknowledged(self) -> int:
        """Every write up to this number is answered."""
        return self._first - 1

    @property
    def pending(self) -> list[Pending[CallT]]:
        """Those that are not answered, in their order."""
        return list(self._pending.values())

    def add(self, call: CallT, *, temporary: bool, is_bound: bool = True) -> Pending[CallT]:
        """The next write. Raises `Overloaded` where too many are unanswered, counted from the first of them.

        Not where it is not bound: the leader refuses it then, and it goes out again until there is room.
        """
        if is_bound and self._next - self._first >= SESSION_UNANSWERED:
            raise Overloaded(f"{SESSION_UNANSWERED} writes of this session are unanswered", reason="session")
        write = Pending(self._next, call, temporary)
        self._pending[self._next] = write
        self._next += 1
        return write

    def next_to_send(self) -> Pending[CallT] | None:
        """The first that is not under way. None: there is none, or a hole has to be closed first."""
        cursor, end = self._cursor, self._next
        if cursor == end or self._hole is not None:
            return None
        while cursor < end:
            write = self._pending.get(cursor)
            if write is not None and not write.is_under_way:
                self._cursor = cursor
                return write
            cursor += 1
        self._cursor = cursor
        return None

    def sent(self, write: Pending[CallT], now: float) -> None:
        """It is under way."""
        write.sent, write.sent_at, write.is_under_way = write.sent + 1, now, True
        if write.sequence == self._cursor:
            self._cursor += 1

    def refused(self, write: Pending[CallT], *, is_known: bool = True) -> None:
        """It is to be sent again. `is_known`: this copy did not run and never will."""
        if write.is_under_way:
            write.is_under_way = False
            write.lost += not is_known
            self._cursor = min(self._cursor, write.sequence)
            self._close_hole()

    def rewind(self) -> None:
        """The connection is gone: whatever is unanswered is to be sent again, under the same numbers."""
        for write in self._pending.values():
            write.lost += write.is_under_way
            write.is_under_way = False
        self._cursor = self._first
        self._close_hole()

    def answered(self, write: Pending[CallT]) -> None:
        """It ran, or its outcome is decided for ever."""
        if self._hole is not None and write.sequence > self._hole:
            raise InvariantViolation(f"write {write.sequence} was answered, and {self._hole} before it never ran")
        first, end, pending = self._first, self._next, self._pending
        if pending.pop(write.sequence, None) is not write:
            raise InvariantViolation(f"write {write.sequence} of the session is not unanswered")
        while first < end and first not in pending and first != self._hole:
            first += 1
        self._first = first
        if self._cursor < first:
            self._cursor = first

    def leave_out(self, write: Pending[CallT]) -> None:
        """No leader accepts it: it did not run, and its number is free, unless `is_stuck`."""
        if self._pending.pop(write.sequence, None) is not write:
            raise InvariantViolation(f"write {write.sequence} of the session is not unanswered")
        self._hole = write.sequence if self._hole is None else min(self._hole, write.sequence)
        self._is_torn |= write.lost > 0
        self._close_hole()

    @property
    def is_stuck(self) -> bool:
        """There is a hole that cannot be closed: copies of it, or of writes behind it, may still be on their way.

        Under its old number such a copy would run in the place of another write.
        """
        hole = self._hole
        return hole is not None and (self._is_torn or any(write.lost for write in self._behind(hole)))

    def _behind(self, hole: int) -> list[Pending[CallT]]:
        return [write for write in self._pending.values() if write.sequence > hole]

    def _close_hole(self) -> None:
        """Once nothing behind it is under way: they move up."""
        hole = self._hole
        if hole is None or self.is_stuck:
            return
        behind = self._behind(hole)
        if any(write.is_under_way for write in behind):
            return
        for write in behind:
            del self._pending[write.sequence]
        for sequence, write in enumerate(behind, hole):
            write.sequence = sequence
            self._pending[sequence] = write
        self._next = hole + len(behind)
        self._hole = None
        self._cursor = min(self._cursor, hole)
