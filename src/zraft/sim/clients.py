"""Simulated clients: closed loops of one operation after another, and the history of what they saw.

A client asks one node at a time, follows what it is told of the leader, and gives up after a timeout; then the
outcome of a write is unknown. Frames travel as bytes over links that lose and delay; a reply that comes after the
client gave up is dropped. Values are unique, so that every read names the write that it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from zraft.sim.chance import Chance
from zraft.sim.history import Get, Input, Operation, Put, Remove, Swap
from zraft.sim.network import Network
from zraft.sim.scheduler import Owner, Scheduler
from zraft.sim.speech import Speech
from zraft.sim.trace import Trace
from zraft.types import Millis, PeerId
from zraft.wire.failures import Failed, FailureCode
from zraft.wire.frames import array_of
from zraft.wire.requests import Query, Request, Result, Write, decode_replies, encode_item
from zraft.wire.values import decode_value, encode_value

HURRIED_MS: Final[Millis] = 100
"""Mean pause of a client that is in a hurry."""

MAYBE: Final = 1
"""`Failed.executed` of an operation that may have run."""

Moment = Callable[[], int]


def _everything(_: str) -> bool:
    return True


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every client of a run has in common."""

    keys: Sequence[str]
    reads: int
    """Percent of the operations."""
    timeout_ms: Millis
    think_ms: Millis
    """Mean pause between two operations."""
    speech: Speech
    strays: int = 20
    """Percent of the operations that are sent to any peer rather than to the one that last knew of a leader."""
    stray_reads: int = 0
    """Percent of the reads besides."""
    value_bytes: int = 0
    """What is added to every value."""
    asks: Callable[[str], bool] = _everything
    """Of an operation, by client and number: it is not left out, while there is chaos."""


class _Pending(msgspec.Struct):
    """The operation under way."""

    number: int
    key: str
    input: Input
    call: int


class SimClient:
    """One client. `history` has every operation that ended, and at the end of the run the one that did not."""

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        network: Network,
        chance: Chance,
        settings: ClientSettings,
        peers: Sequence[PeerId],
        moment: Moment,
        trace: Trace,
    ) -> None:
        self.owner = Owner(name)
        self.name = name
        self._scheduler, self._network, self._chance = scheduler, network, chance
        self._settings, self._moment, self._trace = settings, moment, trace
        self._peers = list(peers)
        self._target = chance.choice(self._peers)
        self._number = 0
        self._pending: _Pending | None = None
        self._think_ms = settings.think_ms
        self._seen: dict[str, object] = {}
        """The last value of each key that this client learnt of: what a swap expects."""
        self._is_stopped = False
        self._leaves_out = True
        self.asked: list[str] = []
        """Client and number of each operation that was begun."""
        self.history: list[Operation] = []
        self.succeeded = 0
        network.attach(self.owner)

    @property
    def operations(self) -> int:
        """How many ended."""
        return len(self.history)

    def start(self) -> None:
        """The first operation begins soon."""
        self._rest()

    def hurry(self) -> None:
        """It thinks no longer than a busy client, from its next operation on, and leaves nothing out."""
        self._think_ms = min(self._think_ms, HURRIED_MS)
        self._leaves_out = False

    def stop(self) -> None:
        """No further operation begins; the one under way goes on."""
        self._is_stopped = True

    def finish(self) -> None:
        """The run is over: what is under way will never be answered."""
        if self._pending is not None:
            self._end(self._pending, None)

    def _rest(self) -> None:
        self._scheduler.after(self._chance.exponential(self._think_ms), self._begin, owner=self.owner)

    def _begin(self, _: object) -> None:
        if self._is_stopped:
            return
        self._number += 1
        chance, key = self._chance, self._chance.choice(self._settings.keys)
        target = chance.choice(self._peers) if chance.below(100) < self._settings.strays else self._target
        asked = self._next_input(key)
        strays = self._settings.stray_reads
        if strays and isinstance(asked, Get) and chance.below(100) < strays:
            target = chance.choice(self._peers)
        if self._leaves_out and not self._settings.asks(f"{self.name}.{self._number}"):
            self._rest()
            return
        self.asked.append(f"{self.name}.{self._number}")
        encoded = msgspec.Raw(encode_value(self._settings.speech.request(key, asked)))
        request: Request = (Query if isinstance(asked, Get) else Write)(self._number, target.name, encoded)
        self._pending = _Pending(self._number, key, asked, self._moment())
        self._network.send(self.name, target.node, array_of([encode_item(request)]))
        self._scheduler.after(self._settings.timeout_ms, self._give_up, self._number, owner=self.owner)

    def _next_input(self, key: str) -> Input:
        chance, value = self._chance, f"{self.name}.{self._number}" + "." * self._settings.value_bytes
        if chance.below(100) < self._settings.reads:
            return Get()
        if self._settings.speech.swaps and chance.below(100) < self._settings.speech.swaps:
            return Swap(self._seen.get(key), value)
        return Put(value) if chance.below(10) else Remove()

    def _give_up(self, number: int) -> None:
        pending = self._pending
        if pending is not None and pending.number == number:
            self._end(pending, None)
            self._target = self._chance.choice(self._peers)
            self._rest()

    def receive(self, frame: bytes) -> None:
        """A frame of replies arrived."""
        for reply in decode_replies(frame):
            pending = self._pending
            if pending is None or reply.id != pending.number:
                continue
            if isinstance(reply, Result):
                self.succeeded += 1
                output = self._settings.speech.output(pending.input, decode_value(reply.value))
                self._learn(pending.key, pending.input, output)
                self._end(pending, self._moment(), output, reply.index)
            elif isinstance(reply, Failed):
                self._failed(pending, reply)
            self._rest()

    def _learn(self, key: str, asked: Input, output: object) -> None:
        match asked:
            case Get():
                self._seen[key] = output
            case Put(value):
                self._seen[key] = value
            case Remove():
                self._seen[key] = None
            case Swap(_, value) if output:
                self._seen[key] = value

    def _failed(self, pending: _Pending, failed: Failed) -> None:
        self._end(pending, None, is_refused=failed.executed != MAYBE)
        if failed.code is FailureCode.NOT_LEADER and failed.leader is not None:
            self._target = failed.leader
        elif failed.code is not FailureCode.OVERLOADED or not self._chance.below(4):
            self._target = self._chance.choice(self._peers)

    def _end(
        self,
        pending: _Pending,
        returned: int | None,
        output: object = None,
        index: int | None = None,
        *,
        is_refused: bool = False,
    ) -> None:
        self._pending = None
        operation = Operation(
            client=self.name,
            key=pending.key,
            call=pending.call,
            returned=returned,
            input=pending.input,
            output=output,
            index=index,
            is_refused=is_refused,
        )
        self.history.append(operation)
        if self._trace.keep and is_refused:
            self._trace.line(self.name, "refused")
        elif self._trace.keep:
            self._trace.tell(self.name, f"{self.name}.{pending.number} {operation}")
