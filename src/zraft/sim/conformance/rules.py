"""What one process can try: runs are alike, refusals and queries change nothing, watches fire, hooks come to an end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from zraft.errors import RequestError
from zraft.machine.backend import Backend, Change
from zraft.session.outcomes import UNENCODABLE
from zraft.sim.conformance.report import Notes, shown
from zraft.sim.conformance.script import Script, later
from zraft.sim.conformance.trial import Noted, Record, Trial, noted
from zraft.sim.conformance.view import View, changed_fields, view_of
from zraft.wire.changes import begins_so, is_prefix, place_of, plain
from zraft.wire.values import decode_value, encode_value

_REFUSALS: Final = 50
"""So many steps that raise are looked at before and after."""
_WATCHED: Final = 20_000
"""So many answers are compared."""
_TIMES: Final = 1000
"""Time entries until nothing is due any more."""


def difference(script: Script, one: Record, other: Record) -> str:
    """Where two runs of the script part, for a reader; empty: they are alike."""
    if one.fault != other.fault:
        return f"one of them stops: {one.fault or other.fault}"
    for number, (first, second) in enumerate(zip(one.steps, other.steps, strict=False), 1):
        before = state_difference(one.views.get(number - 1), other.views.get(number - 1))
        what = script.steps[number - 1].what
        if before:
            return f"before {what}, {before}"
        if (first.kind, first.reply) != (second.kind, second.reply):
            return f"{what} is answered with {first.text} and with {second.text}"
        if first.changed != second.changed:
            keys = [[decode_value(key) for key in each.changed] for each in (first, second)]
            return f"{what} changes the keys {shown(keys[0])} and {shown(keys[1])}"
    end = len(one.steps)
    after = state_difference(one.views.get(end), other.views.get(end))
    if after:
        return f"at the end, {after}"
    pairs = enumerate(zip(one.answers, other.answers, strict=False), 1)
    apart = next(((number, *pair) for number, pair in pairs if pair[0] != pair[1]), None)
    return f"query {apart[0]} is answered with {apart[1].text} and with {apart[2].text}" if apart else ""


def state_difference(one: View | None, other: View | None) -> str:
    """In what two states differ, for a reader; empty: in nothing, or one is not known."""
    if one is None or other is None or one == other:
        return ""
    names = ", ".join(changed_fields(one, other))
    if one.digest != other.digest:
        return f"digest() is {one.digest} and {other.digest}" + (f"; fields that differ: {names}" if names else "")
    return f"fields of the state differ: {names}" if names else ""


def _check_unchanged(notes: Notes, rule: str, text: str, before: View, after: View) -> None:
    """Where the digest says that nothing changed, a field that did may be there for speed only."""
    what = state_difference(before, after)
    if what and before.digest is not None and before.digest == after.digest:
        notes.hint(f"{text}, though not its digest: {what}")
    elif what:
        notes.find(rule, f"{text}: {what}")


def check_results(notes: Notes, script: Script, ran: Record) -> None:
    """They can travel. What raises something else than Reject is worth a look."""
    if ran.fault:
        notes.find("apply", f"a peer would stop: {ran.fault}, which is {script.steps[len(ran.steps)].what}")
    for step, said in zip(script.steps, ran.steps, strict=False):
        if not said.is_refused:
            continue
        word = decode_value(said.reply)
        if word == UNENCODABLE:
            notes.find("results", f"that of {step.what} cannot travel: it is no value that MessagePack carries")
        elif isinstance(word, str) and len(notes.hints) < Notes.MOST:
            notes.hint(f"{step.what} raises {word}, which clients see as a BackendError; Reject says more")


def check_refusals(notes: Notes, kind: type[Backend], script: Script, ran: Record) -> None:
    """A step that raised has changed nothing."""
    refused = dict.fromkeys(islice((i for i, said in enumerate(ran.steps) if said.is_refused), _REFUSALS))
    if not refused:
        return
    trial = Trial(kind, script)
    for place in range(max(refused) + 1):
        if place not in refused:
            trial.step()
            continue
        before = view_of(trial.backend)
        said = trial.step()
        if decode_value(said.reply) != UNENCODABLE:
            text = f"{script.steps[place].what} raises ({said.text}) and changes the state"
            _check_unchanged(notes, "refusals", text, before, view_of(trial.backend))


def check_queries(notes: Notes, kind: type[Backend], script: Script, queries: Sequence[bytes]) -> None:
    """They change nothing, and can be answered twice."""
    trial = Trial(kind, script)
    trial.go_to(len(script.steps))
    for query in queries:
        before = view_of(trial.backend)
        first, second = trial.ask(query), trial.ask(query)
        named = shown(decode_value(query))
        _check_unchanged(notes, "queries", f"query {named} changes the state", before, view_of(trial.backend))
        if first != second:
            notes.find("queries", f"query {named} is answered with {first.text}, and then with {second.text}")
        if first.is_refused and decode_value(first.reply) == UNENCODABLE:
            notes.find("queries", f"the answer to query {named} cannot travel")


def check_watches(notes: Notes, kind: type[Backend], script: Script, queries: Sequence[bytes]) -> None:
    """Where the answer to a query that can be watched changes, the entry has reported a key that it watches."""
    trial = Trial(kind, script)
    machine = trial.machine
    answers: dict[bytes, tuple[Noted, tuple[Any, ...]]] = {}
    told: dict[bytes, None] = {}
    for step in script.steps[: _WATCHED // max(len(queries), 1)]:
        machine.apply_batch(step.batch)
        changed = [plain(key.key if type(key) is Change else key) for _, keys in machine.take_changes() for key in keys]
        for query in queries:
            try:
                found = machine.answer(query)
            except RequestError:
                continue
            answer, before = noted(found.value), answers.get(query)
            answers[query] = answer, tuple(found.watch)
            if before is None or query in told or not before[1] or answer == before[0]:
                continue
            if not any(_concerns(key, watch) for key in changed for watch in before[1]):
                told[query] = None
                text = f"{step.what} changes the answer to query {shown(decode_value(query))}, but reports no change of"
                notes.find("watches", f"{text} a key that it watches ({shown(list(before[1]))}): a watch is not told")


def _concerns(key: Any, watch: Any) -> bool:
    place = place_of(watch)
    return begins_so(key, place) if is_prefix(place) else key == place


def check_hooks(notes: Notes, kind: type[Backend], script: Script) -> None:
    """`due` changes nothing and is met by `advance`; with its session the temporary data is gone."""
    trial = Trial(kind, script)
    trial.go_to(len(script.steps))
    backend = trial.backend
    left = trial.machine.temporary_count()
    if left:
        notes.find("sessions", f"the only session has ended, and temporary_count() is {left}")
    before = view_of(backend)
    due = trial.machine.due()
    _check_unchanged(notes, "due", "due() changes the state", before, view_of(backend))
    if due is None:
        return
    for step in later(script, _TIMES):
        trial.take(step)
        due = backend.due()
        if trial.machine.advance_error:
            notes.find("advance", f"advance() raises {trial.machine.advance_error} at time {step.batch.time}")
            return
        if due is None or due > step.batch.time:
            return
    notes.find("advance", f"due() still says {due} at time {step.batch.time}: time entries would be made for ever")


def encoded(values: Sequence[Any]) -> list[bytes]:
    """As clients send them. Raises UsageError, TooLarge."""
    return [encode_value(value) for value in values]
