"""What sessions promise, checked while a run goes on and once it is over.

Formulas: every replica that has applied up to i holds the same sessions and kept replies (X2). A session ends only when
its client stopped it, or at least its timeout after the last request was sent that the client saw answered (S1), by an
entry (S2), on a clock that may run fast by a hundredth. Ids grow (BM-074). A counter ends between what was
acknowledged and what was sent, and counts nothing more once its session was resumed (X1). A watch fires for the first
change after the state that its query read (W1, W2). The index at which a lock is taken is a fencing token: above all
that were known before, the place of that very entry, and nobody else has the lock as long as whoever holds it has
reason to believe in its session (F1, F2). S1 and F2 are promised for clocks within a hundredth, F1 for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from zraft.machine.backend import Change
from zraft.machine.table_backend import TableBackend
from zraft.machine.table_types import Get
from zraft.session.machine import ReplicatedMachine
from zraft.sim.checks.ghost import Trail, Violation
from zraft.sim.checks.streams import StreamChecks
from zraft.types import NOT_FOUND, Index, Millis, PeerId
from zraft.wire.values import encode_value

SLACK: float = 0.97
"""The leader's clock may run a little faster than the client's."""


LOCK: Final = "lock"
"""The key that clients contend for."""


class Watched(msgspec.Struct, frozen=True):
    """A key that was watched from the state at `index` on."""

    key: str
    index: Index


class Totals(msgspec.Struct, frozen=True):
    """Of all counters together."""

    acknowledged: int
    counted: int
    """What the committed log makes of them."""
    sent: int


class Holder(Protocol):
    """Whoever holds a session."""

    name: str
    session: int
    heard_ms: Millis
    timeout_ms: Millis
    token: int
    """Of the lock that it has; 0: it has none."""


class SessionChecks:
    """Of one run. `names`: its clients with sessions; `now_ms`: true time, which no clock shows unless `keeps_time`."""

    def __init__(self, names: Sequence[str], now_ms: Callable[[], Millis], *, keeps_time: bool = True) -> None:
        self.names = list(names)
        self._now_ms, self.keeps_time = now_ms, keeps_time
        self._digests: dict[Index, tuple[int, str]] = {}
        self._holders: dict[int, Holder] = {}
        self._stopped: dict[int, None] = {}
        self.largest = 0
        """The largest id that any client has learnt."""
        self.largest_token = 0
        """The largest token of the lock that any client has learnt."""
        self._tokens: dict[int, str] = {}
        self._acknowledged: dict[str, int] = {}
        self._sent: dict[str, int] = {}
        self._resumed: dict[str, Index] = {}
        """By counter of a life that is over: the index by which its session was resumed."""
        self._fired: list[tuple[Watched, Index]] = []
        self.ended = 0
        self.streams = StreamChecks()

    # -- while it runs

    @property
    def counters(self) -> list[str]:
        """Every counter that a write of was sent, one a session."""
        return list(self._sent)

    def looked(self, node: str, machine: ReplicatedMachine) -> None:
        """A replica has ended a turn."""
        digest, applied = machine.sessions.digest(), machine.last_applied
        other, first = self._digests.setdefault(applied, (digest, node))
        if other != digest:
            raise Violation("sessions", f"after {applied} {node} has other sessions than {first}")
        gone = [session for session in self._holders if applied >= session and session not in machine.sessions]
        for session in gone:
            holder = self._holders.pop(session)
            self.ended += 1
            if session not in self._stopped:
                self._check_end(holder, session, node)

    def _check_end(self, holder: Holder, session: int, node: str) -> None:
        silence = self._now_ms() - holder.heard_ms
        if self.keeps_time and holder.session == session and silence < SLACK * holder.timeout_ms:
            text = f"session {session} of {holder.name} has ended at {node} {silence} ms after it was answered"
            raise Violation("sessions", f"{text}, its timeout is {holder.timeout_ms}")

    def opened(self, holder: Holder, before: int) -> None:
        """It has learnt the id of its session; `before` was the largest one known when it first asked."""
        if holder.session <= before:
            raise Violation("sessions", f"{holder.name} got session {holder.session} after {before} was known")
        if holder.session in self._holders:
            raise Violation("sessions", f"{holder.name} and {self._holders[holder.session].name} share a session")
        self._holders[holder.session] = holder
        self.largest = max(self.largest, holder.session)

    def lives(self, session: int) -> bool:
        """Nobody has seen it end."""
        return session in self._holders

    def told_gone(self, holder: Holder) -> None:
        """It was told that its session has ended."""
        if holder.session not in self._stopped:
            self._check_end(holder, holder.session, "its leader")

    def stops(self, session: int) -> None:
        """Its client ends it itself."""
        self._stopped[session] = None

    def locked(self, holder: Holder, token: int, before: int) -> bool:
        """It has learnt that it took the lock; `before` was the largest token known when it first asked.

        False: it learnt that so late that its session may have ended, and the lock with it.
        """
        if token <= before:
            raise Violation("fencing", f"{holder.name} got token {token} after {before} was known")
        if token in self._tokens:
            raise Violation("fencing", f"{holder.name} and {self._tokens[token]} got token {token}")
        self._tokens[token] = holder.name
        self.largest_token = max(self.largest_token, token)
        if not self._believes(holder):
            return False
        for other in self._holders.values():
            if other is not holder and other.token and self._believes(other):
                raise Violation("fencing", f"{other.name} has the lock by {other.token}, {holder.name} by {token}")
        return True

    def _believes(self, holder: Holder) -> bool:
        """As far as it knows its session lives. Who has another clock than the leader can believe nothing."""
        return self.keeps_time and self._now_ms() - holder.heard_ms < SLACK * holder.timeout_ms

    def sent(self, counter: str, place: int) -> None:
        """The write that counts to `place` is on its way."""
        self._sent[counter] = max(self._sent.get(counter, 0), place)

    def acknowledged(self, counter: str, place: int) -> None:
        """Its client has seen the counter there."""
        self._acknowledged[counter] = max(self._acknowledged.get(counter, 0), place)

    def resumed(self, counter: str, index: Index) -> None:
        """The session goes on from `index` in another life; `counter` is the earlier one's."""
        self._resumed[counter] = index

    def fired(self, watched: Watched, index: Index) -> None:
        """A watch has fired for the entry at `index`."""
        if index <= watched.index:
            raise Violation("watches", f"a watch on {watched.key} from {watched.index} on fired for {index}")
        self._fired.append((watched, index))

    # -- once it is over

    def judge(self, committed: Trail, open_watches: Sequence[Watched] = ()) -> Totals:
        """Counters and watches against the committed log; `open_watches` were set while all was well.

        Raises Violation.
        """
        machine = ReplicatedMachine(TableBackend(PeerId("judge", "nowhere:0")))
        machine.collect_changes = True
        for mark in committed.marks:
            if mark.batch is not None:
                machine.apply_batch(mark.batch, replies=False)
        counted = 0
        for counter, most in self._sent.items():
            value = machine.query(encode_value(Get(counter)))
            count = 0 if value is NOT_FOUND else value["value"]
            least = self._acknowledged.get(counter, 0)
            if not least <= count <= most:
                text = f"{counter} counts {count}, acknowledged were {least}, sent {most}"
                raise Violation("sessions", text)
            counted += count
        changed: dict[object, list[Index]] = {}
        changes = machine.take_changes()
        self.streams.judge(changes)
        for index, keys in changes:
            for key in keys:
                changed.setdefault(key.key if isinstance(key, Change) else key, []).append(index)
        for counter, index in self._resumed.items():
            late = [at for at in changed.get(counter, []) if at > index]
            if late:
                raise Violation("sessions", f"{counter} was over by {index} and counted at {late}")
        for token, name in self._tokens.items():
            if token not in changed.get(LOCK, ()):
                raise Violation("fencing", f"{name} got token {token}; the lock changed at {changed.get(LOCK)}")
        for watched in open_watches:
            missed = [at for at in changed.get(watched.key, []) if at > watched.index]
            if missed:
                raise Violation("watches", f"a watch on {watched.key} from {watched.index} on missed {missed}")
        for watched, index in self._fired:
            first = next((at for at in changed.get(watched.key, []) if at > watched.index), None)
            if first != index:
                text = f"a watch on {watched.key} from {watched.index} on fired for {index}; it changed at {first}"
                raise Violation("watches", text)
        return Totals(sum(self._acknowledged.values()), counted, sum(self._sent.values()))
