"""A machine taken through a script, as a replica would take it, and what is written down of each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from zraft.errors import BackendError, Rejected, ReplicaFault, RequestError, TooLarge, UsageError
from zraft.machine.backend import Backend, Change
from zraft.session.machine import ReplicatedMachine
from zraft.session.outcomes import Outcome, encode_result
from zraft.session.replies import Replayed
from zraft.sim.conformance.report import shown
from zraft.sim.conformance.script import Script, Step
from zraft.sim.conformance.view import View, view_of
from zraft.types import PeerId
from zraft.wire.values import decode_value, encode_value

T = TypeVar("T")
Around: TypeAlias = Callable[[], AbstractContextManager[Any]]

ONE: Final = PeerId("one", "127.0.0.1:7101")
OTHER: Final = PeerId("another", "another.example:7102")
POINTS: Final = 12
"""Of a script, where states are looked at and snapshots taken."""

_RESULT: Final = "result"
_REFUSED: Final = "refused"
_FAILED: Final = "failed"


class Noted(msgspec.Struct, frozen=True):
    """What a step did: a result, a refusal or a failure, and the keys that it changed, in an order of ours."""

    kind: str
    reply: bytes
    changed: list[bytes] = []

    @property
    def is_refused(self) -> bool:
        """It raised."""
        return self.kind != _RESULT

    @property
    def text(self) -> str:
        """For a reader."""
        said = shown(decode_value(self.reply))
        return said if self.kind == _RESULT else f"{self.kind}: {said}"


class Record(msgspec.Struct, frozen=True):
    """Of a whole script: what each step did, and the state after some of them. `fault`: why it ended early."""

    steps: list[Noted]
    views: dict[int, View]
    answers: list[Noted]
    """To the queries, at the end."""
    fault: str = ""


class Trial:
    """One replica. `machine` has applied the first `done` steps of its script."""

    def __init__(self, kind: type[Backend], script: Script, peer: PeerId = ONE) -> None:
        self.machine = ReplicatedMachine(kind(peer))
        self.machine.collect_changes = True
        self.script = script

    @property
    def backend(self) -> Backend:
        return self.machine.backend

    @property
    def done(self) -> int:
        """Indexes begin at 1, and each step is one entry."""
        return self.machine.last_applied

    @property
    def is_through(self) -> bool:
        return self.done >= len(self.script.steps)

    def step(self) -> Noted:
        """The next one. Raises ReplicaFault."""
        return self.take(self.script.steps[self.done])

    def take(self, step: Step) -> Noted:
        """An entry, of the script or not. Raises ReplicaFault."""
        outcomes = self.machine.apply_batch(step.batch)
        changes = [key for _, keys in self.machine.take_changes() for key in keys]
        return noted(outcomes[0], sorted(map(_key_bytes, changes)))

    def go_to(self, index: int) -> list[Noted]:
        """As far as that. Raises ReplicaFault."""
        return [self.step() for _ in range(index - self.done)]

    def ask(self, query: bytes) -> Noted:
        """The answer to a query, or its refusal."""
        try:
            return noted(self.machine.query(query))
        except RequestError as error:
            return noted(error)


def points(count: int) -> list[int]:
    """Up to `POINTS` numbers from 0 to `count`, both included."""
    return list(dict.fromkeys(count * number // (POINTS - 1) for number in range(POINTS)))


def record(
    kind: type[Backend],
    script: Script,
    queries: Sequence[bytes],
    peer: PeerId = ONE,
    around: Around = nullcontext,
) -> Record:
    """All of it. `around` is entered for what must depend on nothing else. Raises what the constructor raises."""
    trial = Trial(kind, script, peer)
    steps: list[Noted] = []
    views: dict[int, View] = {}
    wanted = dict.fromkeys(points(len(script.steps)))
    try:
        while True:
            if trial.done in wanted:
                views[trial.done] = view_of(trial.backend)
            if trial.is_through:
                break
            with around():
                steps.append(trial.step())
                trial.machine.due()
    except ReplicaFault as fault:
        return Record(steps, views, [], str(fault))
    return Record(steps, views, [trial.ask(query) for query in queries])


def noted(outcome: Outcome, changed: list[bytes] | None = None) -> Noted:
    """What a reader, or another process, is told of it."""
    if type(outcome) is Replayed:
        outcome = outcome.outcome
    try:
        return Noted(_RESULT, encode_result(outcome), changed or [])
    except Rejected as refusal:
        return Noted(_REFUSED, encode_value([refusal.code, refusal.detail]), changed or [])
    except BackendError as error:
        return Noted(_FAILED, encode_value(error.type), changed or [])
    except RequestError as error:
        return Noted(_FAILED, encode_value(type(error).__name__), changed or [])


def _key_bytes(key: Any) -> bytes:
    try:
        return encode_value([key.key, key.value, key.kind] if type(key) is Change else key)
    except (UsageError, TooLarge):
        return type(key).__name__.encode()


def attempt(call: Callable[[], T]) -> tuple[T | None, str]:
    """What it returns, or what it raised, in words: whatever a user's code raises is a finding here."""
    try:
        return call(), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}" + _place(error)


def _place(error: BaseException) -> str:
    """The innermost line of the traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f", at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
