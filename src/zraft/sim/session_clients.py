"""Simulated clients with sessions: they count, keep temporary data, watch each other, lock, fall silent, and check.

A client sends each write until it is answered, always under its sequence; every increment of its counter must then
answer its own place, however often it was sent and whoever led meanwhile (X1). All contend for one lock, temporary
data of whoever has it; the index at which it was taken is a token for what it guards. Some of a run's clients fall
silent for good: their sessions must end, those of the others must not. In some profiles they are started anew now and
then, know their token and nothing else, and resume: whatever the earlier life had under way must not run after that.
Requests travel as bytes over links that lose and delay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from zraft.sim.chance import Chance
from zraft.sim.checks.ghost import Violation
from zraft.sim.checks.sessions import LOCK, SessionChecks, Watched
from zraft.sim.network import Network
from zraft.sim.scheduler import Owner, Scheduler
from zraft.sim.stream_clients import SimStream
from zraft.types import Millis, PeerId, Value
from zraft.wire.failures import Failed, FailureCode
from zraft.wire.frames import array_of
from zraft.wire.requests import Result, SessionRequest, decode_replies, encode_item
from zraft.wire.session_requests import (
    Ping,
    ResumeSession,
    SessionQuery,
    SessionWatch,
    SessionWrite,
    StartSession,
    StopSession,
    Streamed,
    Triggered,
    TriggerReason,
    Unwatch,
    decode_opened,
)
from zraft.wire.values import decode_value, encode_value

MAYBE: Final = 1

_PINGS: Final = 8
"""So many at least go out within the timeout of a session that is to be kept: some go to a peer that does not lead."""

_AHEAD: Final = 4
"""Writes that a client has under way at most."""

_ROUND: Final = 8
"""The writes of a session come in rounds of so many: every other one counts, and these are the rest."""
_TEMPORARY: Final = (0, 4)
_TAKES: Final = 2
_GIVES: Final = 6


class _Asked(msgspec.Struct):
    """A request under way: `sequence` of a write, what is watched by a query."""

    request: SessionRequest
    sent_ms: Millis
    sequence: int = 0
    key: str = ""


class SessionClient:
    """One client, one session after the other. `served` counts answers; `acknowledged` increments by counter."""

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        network: Network,
        chance: Chance,
        peers: Sequence[PeerId],
        checks: SessionChecks,
        timeout_ms: Millis,
        *,
        falls_silent: bool,
        restarts: bool = False,
        stream: SimStream | None = None,
    ) -> None:
        self.owner = Owner(name)
        self.name = name
        self._scheduler, self._network, self._chance, self._checks = scheduler, network, chance, checks
        self._peers = list(peers)
        self._target = chance.choice(self._peers)
        self.timeout_ms = timeout_ms
        self._falls_silent, self._restarts = falls_silent, restarts
        self.is_silent = self.is_resting = False
        self._is_tired = True
        self.session = 0
        self.heard_ms: Millis = 0
        """When the last request was sent that was answered since."""
        self._lives = self._before = 0
        """Sessions that it had; the largest id that was known before the present one."""
        self._life = self._base = 0
        """How often it resumed the present one; the sequences up to here are an earlier life's."""
        self._is_resuming = False
        self._unwatched: dict[int, int] = {}
        """Numbers of watches that it does not want any more, and the index from which on they do not fire."""
        self._token = b""
        self._is_stopping = False
        self._number = 0
        self._asked: dict[int, _Asked] = {}
        self._sequence = self._known = 0
        """The last write, and up to which one all are answered."""
        self._answered: dict[int, int] = {}
        """The index of each answered write of this session."""
        self.served = 0
        self.fired = 0
        self._watches: dict[int, Watched] = {}
        self.stream = stream
        self.token = 0
        """The index at which it took the lock that it has; 0: it has none."""
        self._taken_after: dict[int, int] = {}
        """Of each write that takes the lock: the largest token that anybody knew when it was first sent."""
        self._early: dict[int, Triggered] = {}
        """Triggers that overtook the answer of their query, which no connection lets happen."""
        network.attach(self.owner)

    # -- its course

    def start(self) -> None:
        """Its first session is opened soon."""
        self._renew()
        self._tick(None)

    def rest(self) -> None:
        """From now on it keeps its session, and does nothing else; who has fallen silent stays so."""
        self.is_resting = True

    def wake(self) -> None:
        """All is well now: it writes and watches as before, without naps, and does not fall silent by itself."""
        self.is_resting = self._falls_silent = False
        self._is_tired = False
        self._watches.clear()

    def leave(self) -> None:
        """It falls silent for good."""
        self.is_silent = True

    @property
    def open_watches(self) -> list[Watched]:
        """What it watches, and has not been told of."""
        return list(self._watches.values())

    def _renew(self) -> None:
        """The next session, with a token and a counter of its own."""
        self._lives += 1
        self._token = self._chance.bits().to_bytes(8, "big") + self._lives.to_bytes(8, "big")
        self.session = 0
        self._begin(0, 0)
        self._before = self._checks.largest
        self._is_stopping = False

    def _begin(self, life: int, last: int) -> None:
        """A new process: it knows the token of its session, and that the sequences up to `last` are over."""
        self._life = life
        self._sequence = self._known = self._base = last
        self._is_resuming = False
        self.token = 0
        self._taken_after.clear()
        self._answered.clear()
        self._asked.clear()
        self._watches.clear()
        self._unwatched.clear()

    @property
    def counter(self) -> str:
        """The key that the writes of this life of the session count in."""
        return f"n.{self.name}.{self._lives}" + (f".{self._life}" if self._life else "")

    def _tick(self, _: object) -> None:
        chance = self._chance
        if self._falls_silent and self.session and not self.is_resting and not chance.below(40):
            self.is_silent = True
        if self.is_silent:
            return
        if self.session and self._is_tired and not self.is_resting and chance.below(30) == 0:
            nap_ms = self.timeout_ms * chance.between(95, 115) // 100
            self._scheduler.after(nap_ms, self._hurry, chance.between(1, 30), owner=self.owner)
            return
        pause_ms = chance.exponential(max(self.timeout_ms // 10, 1))
        if self.is_resting:
            pause_ms = min(pause_ms, self.timeout_ms // _PINGS)
        self._scheduler.after(1 + pause_ms, self._tick, owner=self.owner)
        if self.session and self.stream is not None and (self.is_resting or self.stream.is_due):
            self._send([self._streaming(self.stream)])
        if not self.session:
            if not self.is_resting:
                self._send([self._opening()])
        elif self._is_resuming:
            self._send([self._resuming()])
        elif self._restarts and not self._is_stopping and not self.is_resting and chance.below(30) == 0:
            self._is_resuming = True
            self.token = 0
        elif self._restarts and self._watches and chance.below(10) == 0:
            self._send([self._unwatching(chance.choice(list(self._watches)))])
        elif self.is_resting or chance.below(3) == 0:
            self._send([self._pinging()])
        elif self._is_stopping or chance.below(60) == 0:
            self._is_stopping = True
            self.token = 0
            self._checks.stops(self.session)
            self._send([self._ask(lambda n: StopSession(n, self._target.name, self.session, self._token))])
        elif chance.below(4) == 0:
            self._send([self._watching()])
        else:
            if self._sequence - self._known < _AHEAD:
                self._sequence += 1
            unanswered = [n for n in range(self._known + 1, self._sequence + 1) if n not in self._answered]
            self._send([self._write(sequence) for sequence in unanswered])

    def _hurry(self, pings: int) -> None:
        """It was away for about its timeout: is its session still there?"""
        if pings and self.session:
            self._send([self._pinging()])
            self._scheduler.after(1 + self._chance.below(8), self._hurry, pings - 1, owner=self.owner)
        else:
            self._tick(None)

    # -- what it asks

    def _ask(self, make: Callable[[int], SessionRequest], sequence: int = 0, key: str = "") -> bytes:
        self._number += 1
        request = make(self._number)
        self._asked[self._number] = _Asked(request, self._scheduler.now_ms, sequence, key)
        return encode_item(request)

    def _opening(self) -> bytes:
        return self._ask(lambda n: StartSession(n, self._target.name, self._token, self.timeout_ms))

    def _resuming(self) -> bytes:
        life = self._life + 1
        return self._ask(lambda n: ResumeSession(n, self._target.name, self._token, life, self.session))

    def _unwatching(self, number: int) -> bytes:
        del self._watches[number]
        return self._ask(lambda n: Unwatch(n, self._target.name, self.session, self._token, [number]))

    def _pinging(self) -> bytes:
        return self._ask(lambda n: Ping(n, self._target.name, self.session, self._token))

    def _write(self, sequence: int) -> bytes:
        command = self._command(sequence)
        is_temporary = command[0] != "increment"
        raw = msgspec.Raw(encode_value(command))
        known, session = self._known, self.session
        self._checks.sent(self.counter, self._place(sequence))
        return self._ask(
            lambda n: SessionWrite(n, self._target.name, session, self._token, sequence, known, raw, is_temporary),
            sequence,
        )

    def _command(self, sequence: int) -> list[Value]:
        place = (sequence - self._base) % _ROUND
        if place in _TEMPORARY:
            return ["put", f"t.{self.name}", sequence]
        if place == _TAKES:
            self._taken_after.setdefault(sequence, self._checks.largest_token)
            return ["txn", [[LOCK, "version", "==", 0]], [["put", LOCK, self.session]], []]
        if place == _GIVES:
            self.token = 0
            return ["txn", [[LOCK, "value", "==", self.session]], [["delete", LOCK]], []]
        return ["increment", self.counter]

    def _watching(self) -> bytes:
        key = f"t.{self._chance.choice(self._checks.names)}"
        raw = msgspec.Raw(encode_value(["get", key]))
        return self._ask(lambda n: SessionQuery(n, self._target.name, self.session, self._token, raw, n), key=key)

    def _streaming(self, stream: SimStream) -> bytes:
        return self._ask(lambda n: stream.request(n, self._target.name, self.session, self._token))

    def _place(self, sequence: int) -> int:
        """The value of the counter once the writes up to `sequence` have run."""
        return (sequence - self._base + 1) // 2

    def _send(self, items: Sequence[bytes]) -> None:
        chance = self._chance
        if chance.below(100) < 15 or not items:
            other = chance.choice(self._peers)
            self._target = self._target if self.is_resting else other
        if items:
            self._network.send(self.name, self._target.node, array_of(list(items)))

    # -- what it is told

    def receive(self, frame: bytes) -> None:
        """A frame of replies arrived."""
        for reply in decode_replies(frame):
            if isinstance(reply, Triggered):
                self._triggered(reply)
                continue
            if isinstance(reply, Streamed):
                if self.stream is not None:
                    self.stream.pushed(reply)
                continue
            asked = self._asked.pop(reply.id, None)
            if asked is None:
                continue
            if isinstance(reply, Result):
                self._succeeded(asked, reply)
            elif isinstance(reply, Failed):
                self._failed(asked, reply)

    def _succeeded(self, asked: _Asked, result: Result) -> None:
        self.served += 1
        request = asked.request
        if isinstance(request, StartSession):
            opened = decode_opened(result.value)
            if not self.session:
                self.session = opened.session
                self.heard_ms = asked.sent_ms
                self._checks.opened(self, self._before)
            elif self.session != opened.session and all(map(self._checks.lives, (self.session, opened.session))):
                raise Violation("sessions", f"{self.name} opened {self.session} and {opened.session} with one token")
            return
        self.heard_ms = max(self.heard_ms, asked.sent_ms)
        if isinstance(request, ResumeSession):
            self._resumed(request, result)
        elif isinstance(request, Unwatch):
            self._unwatched.update(dict.fromkeys(request.watches, result.index))
        elif isinstance(request, SessionWrite):
            self._written(asked.sequence, result)
        elif isinstance(request, SessionQuery):
            self._watches[request.watch] = Watched(asked.key, result.index)
            if request.watch in self._early:
                self._triggered(self._early.pop(request.watch))
        elif isinstance(request, StopSession):
            self._renew()
        elif isinstance(request, SessionWatch) and self.stream is not None:
            self.stream.answered(result)

    def _resumed(self, request: ResumeSession, result: Result) -> None:
        opened = decode_opened(result.value)
        if opened.session != self.session or opened.last < self._known:
            text = f"{self.name} resumed {self.session} after {self._known} and got {opened}"
            raise Violation("sessions", text)
        self._checks.resumed(self.counter, result.index)
        self._begin(request.life, opened.last)

    def _written(self, sequence: int, result: Result) -> None:
        is_first = sequence not in self._answered
        before = self._answered.setdefault(sequence, result.index)
        if before != result.index:
            raise Violation("sessions", f"{self.name}: write {sequence} ran at {before} and at {result.index}")
        value = decode_value(result.value)
        nth = sequence - self._base
        if nth % _ROUND == _TAKES:
            if is_first and value["succeeded"]:
                self._taken(sequence, result.index)
        elif nth % 2 and value != self._place(sequence):
            text = f"write {sequence} of session {self.session} counts {self.counter} to {value}"
            raise Violation("sessions", f"{self.name}: {text}, not {self._place(sequence)}")
        self._checks.acknowledged(self.counter, self._place(sequence))
        while self._known + 1 in self._answered:
            self._known += 1

    def _taken(self, sequence: int, token: int) -> None:
        """It took the lock; it has it still, unless it has given that up, or its session."""
        if self._checks.locked(self, token, self._taken_after[sequence]) and not self._is_stopping:
            self.token = token

    def _triggered(self, fired: Triggered) -> None:
        watched = self._watches.pop(fired.id, None)
        if fired.reason is TriggerReason.CHANGE and fired.index > self._unwatched.get(fired.id, fired.index):
            text = f"watch {fired.id} of {self.name} was ended by {self._unwatched[fired.id]}, fired for {fired.index}"
            raise Violation("watches", text)
        if watched is None:
            self._early[fired.id] = fired
        elif fired.reason is TriggerReason.CHANGE:
            self.fired += 1
            self._checks.fired(watched, fired.index)

    def _failed(self, asked: _Asked, failed: Failed) -> None:
        request = asked.request
        match failed.code:
            case FailureCode.SESSION_EXPIRED if not isinstance(request, StartSession):
                self._checks.told_gone(self)
                self._renew()
            case FailureCode.LAGGED if isinstance(request, SessionWatch) and self.stream is not None:
                self.stream.lagged(request, failed)
            case FailureCode.NOT_LEADER if failed.leader is not None:
                self._target = failed.leader
            case FailureCode.REQUEST_ERROR if failed.executed == MAYBE and asked.sequence <= self._known:
                pass
            case FailureCode.REQUEST_ERROR if failed.executed == MAYBE and self._life:
                self._renew()  # an earlier life's request to resume came late: this one has lost the session
            case FailureCode.REQUEST_ERROR | FailureCode.REJECTED | FailureCode.BACKEND_ERROR:
                raise Violation("sessions", f"{self.name}: write {asked.sequence} is answered {failed}")
            case _:
                self._target = self._chance.choice(self._peers)
