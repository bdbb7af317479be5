"""Whether a user's machine does what a replicated one must, while a run goes on.

Its model is one instance that applies what is committed, entry by entry, and has never seen a snapshot, a restart or a
query. After each entry the invariant must hold there. After every turn of a node its replica must be what the model was
after the same entry, however it came there. A command's answer must be the model's, at the index that the answer names;
an answer must not be older than one that had returned before it was asked for (linearizability, by the indexes that
replies name: §6.3, §6.4); when the run is over, every query is asked again of a fresh model at its index.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from zraft.core.entries import Batch, Kind
from zraft.errors import BackendError, Rejected, ReplicaFault
from zraft.session.items import RawItem
from zraft.session.machine import ReplicatedMachine
from zraft.sim.checks.ghost import Ledger, Violation
from zraft.sim.trace import Trace
from zraft.sim.trials.trial import Exchange, Trial
from zraft.sim.trials.views import View, difference, view_of
from zraft.types import Index, Member, PeerId, Value
from zraft.wire.values import decode_value, decoder_for, encode_value

MODEL: Final = PeerId("model", "nowhere:0")

_ITEMS: Final = decoder_for(list[RawItem])
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")
"""Of an object in memory: another one in every run."""
_SHOWN: Final = 200
"""Characters of a value that are shown."""


class Entry(msgspec.Struct, frozen=True):
    """One committed command and what became of it."""

    command: Value
    result: Value
    error: str
    """The code of a `Reject`, or the class of what was raised; "": none."""


class Examination:
    """Of one run, whose group has this ledger. What it finds it raises as a Violation."""

    def __init__(self, trial: Trial, ledger: Ledger, trace: Trace) -> None:
        self._trial, self._ledger, self._trace = trial, ledger, trace
        self._model = ReplicatedMachine(trial.make(MODEL))
        self._views: dict[Index, View] = {0: self._view(self._model)}
        self._entries: dict[Index, Entry] = {}
        self._floor: Index = 0
        """The largest index that any answer has named so far."""
        self._seen: dict[PeerId, ReplicatedMachine] = {}
        """The machine of each replica that was looked at last."""

    def begin(self) -> None:
        """Nothing was asked yet."""
        self._expect(self._model, "at the beginning")

    # -- states

    def look(self, member: Member, machine: ReplicatedMachine) -> None:
        """The machine of a replica is between two batches."""
        self._catch_up()
        index = machine.last_applied
        expected = self._views.get(index)
        if expected is None:
            return  # nobody has committed it: the other checks say so
        if self._trace.keep and self._seen.get(member.peer) is not machine:
            self._seen[member.peer] = machine
            if machine.history.floor:
                self._trace.tell(member.peer.node, f"has the snapshot at {machine.history.floor} for its state")
        found = difference(self._view(machine), expected)
        if found:
            raise Violation("state", f"after entry {index} {member.peer} has another state: {found}")
        self._expect(machine, f"after entry {index} at {member.peer}")

    def _view(self, machine: ReplicatedMachine) -> View:
        return view_of(machine.backend, self._trial.state)

    def _catch_up(self) -> None:
        """The model applies what was committed since, and is looked at after each entry."""
        model, committed = self._model, self._ledger.committed
        for mark in committed.between(model.last_applied, committed.end.last):
            if mark.batch is not None:
                self._apply(mark.batch)

    def _apply(self, batch: Batch) -> None:
        model, commands = self._model, commands_of(batch)
        for offset in range(batch.count):
            index = batch.first + offset
            error_before = model.advance_error
            try:
                outcome = model.apply_batch(batch, offset, 1)[0]
            except ReplicaFault as fault:
                raise Violation("backend", str(fault)) from fault
            if model.advance_error not in (None, error_before, *self._trial.may_raise):
                raise Violation("backend", f"advance at entry {index} raised {model.advance_error}")
            view = self._views[index] = self._view(model)
            where = f"after entry {index}"
            if commands:
                command = commands[offset]
                entry = self._entries[index] = _entry(command, outcome)
                where = f"after entry {index}, {_text(command)}"
                if self._trace.keep:
                    self._trace.tell("the log", f"entry {index}: {_text(command)} -> {_answer(entry)}")
                if isinstance(outcome, BackendError) and outcome.type not in self._trial.may_raise:
                    raise Violation("backend", f"apply raised {outcome.type} at entry {index}, {_text(command)}")
            self._expect(model, where, view)

    def _expect(self, machine: ReplicatedMachine, where: str, view: View | None = None) -> None:
        """The invariant holds."""
        invariant = self._trial.invariant
        if invariant is not None and (problem := broken(invariant, machine.backend)):
            raise Violation("invariant", f"{where}: {problem}{_shown(view) if view else ''}")

    # -- answers

    @property
    def floor(self) -> Index:
        """What is asked now must be answered at this index or later."""
        return self._floor

    def answered(self, exchange: Exchange, floor: Index) -> None:
        """A client was told this; `floor` was the floor when it asked."""
        index = exchange.index
        if index is None:
            return
        self._catch_up()
        if index < floor or (index == floor and not exchange.is_query and floor):
            raise Violation("linearizability", f"{told(exchange)}, and {floor} was answered before it was asked")
        self._floor = max(self._floor, index)
        if not exchange.is_query:
            entry = self._entries.get(index)
            if entry is None or entry.command != _carried(exchange.request):
                raise Violation("answers", f"{told(exchange)}: the log has {entry and entry.command!r} there")
            if (entry.result, entry.error) != (exchange.result, exchange.error):
                raise Violation("answers", f"{told(exchange)}: the log gives {_answer(entry)}")

    def judge(self, exchanges: Sequence[Exchange]) -> None:
        """The run is over: the queries, and what the user says of the whole history."""
        self._catch_up()
        asked: dict[Index, list[Exchange]] = {}
        for exchange in exchanges:
            if exchange.is_query and exchange.index is not None:
                asked.setdefault(exchange.index, []).append(exchange)
        model = ReplicatedMachine(self._trial.make(MODEL))
        self._ask_again(model, asked.get(0, ()))
        committed = self._ledger.committed
        for mark in committed.between(0, committed.end.last):
            for offset in range(mark.batch.count if mark.batch is not None and asked else 0):
                if mark.batch is not None:
                    model.apply_batch(mark.batch, offset, 1, replies=False)
                    self._ask_again(model, asked.get(model.last_applied, ()))
        history = self._trial.history
        if history is not None and (problem := broken(history, list(exchanges))):
            raise Violation("history", problem)

    def _ask_again(self, model: ReplicatedMachine, exchanges: Sequence[Exchange]) -> None:
        for exchange in exchanges:
            try:
                answer: Value = _carried(model.query(encode_value(exchange.request)))
            except (Rejected, BackendError) as error:
                answer = error
            if answer != exchange.result:
                raise Violation("answers", f"{told(exchange)}: after entry {exchange.index} the log gives {answer!r}")


def broken(claim: Callable[[Any], object], about: object) -> str:
    """How a user's claim does not hold: it answers False, or raises. "": it holds."""
    try:
        said = claim(about)
    except Exception as error:
        return _ADDRESS.sub("", str(error)).strip() or type(error).__name__
    return f"{getattr(claim, '__name__', 'it')} does not hold" if said is False else ""


def commands_of(batch: Batch) -> list[Value]:
    """Of a batch of commands; [] of any other."""
    if batch.kind != Kind.COMMANDS:
        return []
    return [decode_value(item.command) for item in _ITEMS.decode(batch.payload)]


def told(exchange: Exchange) -> str:
    """An exchange in a few words."""
    return f"{exchange.name} asked {_text(exchange.request)} and was told {outcome_of(exchange)}"


def outcome_of(exchange: Exchange) -> str:
    """What became of it, in a few words."""
    if exchange.is_refused:
        return "that nobody takes it"
    if exchange.returned_ms is None:
        return "nothing"
    where = f", {'after' if exchange.is_query else 'as'} entry {exchange.index}" if exchange.index is not None else ""
    return f"{_text(exchange.result) if not exchange.error else exchange.error}{where}"


def _entry(command: Value, outcome: Value) -> Entry:
    if isinstance(outcome, Rejected):
        return Entry(command, None, outcome.code)
    if isinstance(outcome, BackendError):
        return Entry(command, None, outcome.type)
    return Entry(command, decode_value(outcome) if type(outcome) is msgspec.Raw else _carried(outcome), "")


def _carried(value: Value) -> Value:
    """The value as it is after the wire."""
    return decode_value(encode_value(value))


def _answer(entry: Entry) -> str:
    return entry.error or _text(entry.result)


def _text(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _shown(view: View) -> str:
    text = ", ".join(f"{name}={value}" for name, value in view.items())
    return f"; {text}" if len(text) <= 2 * _SHOWN else f"; {text[: 2 * _SHOWN]}…"
