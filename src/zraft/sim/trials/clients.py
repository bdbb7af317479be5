"""Simulated clients of a trial: each asks one thing after the other, at moments that its seed alone decides.

What is asked as number n, of whom, and when at the earliest, hangs on nothing but the client and n: to leave one out
changes no other. A request that is known not to have run is sent to another peer, until the client's patience ends;
one that may have run is not sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from zraft.sim.chance import Chance
from zraft.sim.checks.ghost import Violation
from zraft.sim.network import Network
from zraft.sim.scheduler import Owner, Scheduler
from zraft.sim.trace import Trace
from zraft.sim.trials.examination import Examination, outcome_of
from zraft.sim.trials.trial import Exchange, Trial
from zraft.types import Index, Millis, PeerId, Value
from zraft.wire.failures import Failed, FailureCode
from zraft.wire.frames import array_of
from zraft.wire.requests import Query, Request, Result, Write, decode_replies, encode_item
from zraft.wire.values import decode_value, encode_value

HURRIED_MS: Final[Millis] = 100
"""Mean pause of a client that is in a hurry."""

AGAIN_MS: Final[Millis] = 20
"""After a refusal another peer is asked so much later."""

MAYBE: Final = 1


class TrialSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every client of a run has in common."""

    timeout_ms: Millis
    think_ms: Millis
    strays: int
    """Percent of the requests that are sent to any peer first."""
    asks: Callable[[str], bool]
    """Of an exchange, by its name: it is not left out."""


class _Pending(msgspec.Struct):
    """What is under way."""

    name: str
    request: Value
    is_query: bool
    called_ms: Millis
    floor: Index
    encoded: msgspec.Raw
    is_out: bool = False
    """Somebody may have it."""


class TrialClient:
    """One client. `exchanges` has everything that ended, and at the end of the run what did not."""

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        network: Network,
        chance: Chance,
        settings: TrialSettings,
        peers: Sequence[PeerId],
        trial: Trial,
        examination: Examination,
        trace: Trace,
    ) -> None:
        self.owner = Owner(name)
        self.name = name
        self._scheduler, self._network, self._chance, self._trace = scheduler, network, chance, trace
        self._settings, self._trial, self._examination = settings, trial, examination
        self._peers = list(peers)
        self._target = chance.choice(self._peers)
        self._retries = chance.split("retries")
        self._number = self._sent = 0
        self._pending: _Pending | None = None
        self._due_ms: Millis = 0
        self._is_hurried = self._is_stopped = False
        self.asked: list[str] = []
        """Client and number of everything that was begun."""
        self.exchanges: list[Exchange] = []
        self.succeeded = 0
        network.attach(self.owner)

    @property
    def operations(self) -> int:
        """How many ended."""
        return len(self.exchanges)

    def start(self) -> None:
        """The first request is sent soon."""
        self._due_ms = self._scheduler.now_ms
        self._next()

    def hurry(self) -> None:
        """It thinks no longer than a busy client, and leaves nothing out any more."""
        self._is_hurried = True

    def stop(self) -> None:
        """Nothing further is asked; what is under way goes on."""
        self._is_stopped = True

    def finish(self) -> None:
        """The run is over: what is under way will never be answered."""
        if self._pending is not None:
            self._end(self._pending)

    def _next(self) -> None:
        """What is asked next, at its time or as soon as the one before it has ended."""
        self._number += 1
        drawn = self._chance.split(str(self._number))
        think_ms = drawn.exponential(self._settings.think_ms)
        self._due_ms += min(think_ms, HURRIED_MS) if self._is_hurried else think_ms
        self._due_ms = max(self._due_ms, self._scheduler.now_ms) if self._is_hurried else self._due_ms
        self._scheduler.at(self._due_ms, self._begin, drawn, owner=self.owner)

    def _begin(self, drawn: Chance) -> None:
        if self._is_stopped:
            return
        name = f"{self.name}.{self._number}"
        if not self._is_hurried and not self._settings.asks(name):
            self._next()
            return
        self.asked.append(name)
        trial = self._trial
        if drawn.below(100) < self._settings.strays:
            self._target = drawn.choice(self._peers)
        is_query = trial.query is not None and drawn.below(100) < trial.reads
        draw = trial.query if is_query and trial.query is not None else trial.command
        request = draw(drawn, self.name, self._number)
        now_ms, encoded = self._scheduler.now_ms, msgspec.Raw(encode_value(request))
        self._pending = _Pending(name, request, is_query, now_ms, self._examination.floor, encoded)
        self._scheduler.after(self._settings.timeout_ms, self._give_up, name, owner=self.owner)
        self._send(name)

    def _send(self, name: str) -> None:
        pending = self._pending
        if pending is not None and pending.name == name:
            self._sent += 1
            pending.is_out = True
            request: Request = (Query if pending.is_query else Write)(self._sent, self._target.name, pending.encoded)
            self._network.send(self.name, self._target.node, array_of([encode_item(request)]))

    def _give_up(self, name: str) -> None:
        pending = self._pending
        if pending is not None and pending.name == name:
            self._target = self._retries.choice(self._peers)
            self._end(pending)
            self._next()

    def receive(self, frame: bytes) -> None:
        """A frame of replies arrived."""
        for reply in decode_replies(frame):
            pending = self._pending
            if pending is None or reply.id != self._sent:
                continue
            if isinstance(reply, Result):
                self._succeeded(pending, decode_value(reply.value), "", reply.index)
            elif isinstance(reply, Failed):
                self._failed(pending, reply)

    def _failed(self, pending: _Pending, failed: Failed) -> None:
        match failed.code:
            case FailureCode.BACKEND_ERROR if pending.is_query and failed.reason not in self._trial.may_raise:
                raise Violation("backend", f"query raised {failed.reason}: {pending.name} asked {pending.request!r}")
            case FailureCode.REJECTED | FailureCode.BACKEND_ERROR:
                self._succeeded(pending, None, failed.reason, None)
            case _ if failed.executed == MAYBE:
                self._target = self._retries.choice(self._peers)
                self._end(pending)
                self._next()
            case _:
                pending.is_out = False
                known = failed.leader if failed.code is FailureCode.NOT_LEADER else None
                self._target = known if known is not None else self._retries.choice(self._peers)
                self._scheduler.after(AGAIN_MS, self._send, pending.name, owner=self.owner)

    def _succeeded(self, pending: _Pending, result: Value, error: str, index: Index | None) -> None:
        self.succeeded += 1
        exchange = self._end(pending, self._scheduler.now_ms, result, error, index)
        self._examination.answered(exchange, pending.floor)
        self._next()

    def _end(
        self,
        pending: _Pending,
        returned_ms: Millis | None = None,
        result: Value = None,
        error: str = "",
        index: Index | None = None,
    ) -> Exchange:
        self._pending = None
        exchange = Exchange(
            name=pending.name,
            request=pending.request,
            is_query=pending.is_query,
            called_ms=pending.called_ms,
            returned_ms=returned_ms,
            result=result,
            error=error,
            index=index,
            is_refused=not pending.is_out,
        )
        self.exchanges.append(exchange)
        if self._trace.keep:
            is_in_log = returned_ms is not None and not pending.is_query
            (self._trace.line if is_in_log else self._trace.tell)(
                self.name, f"{pending.name} asked {pending.request!r} and was told {outcome_of(exchange)}"
            )
        return exchange
