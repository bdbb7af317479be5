"""`conform`: what is asked of a backend, in which order, and how the answers are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from zraft.errors import TooLarge, UsageError
from zraft.machine.backend import Backend
from zraft.sim.conformance import rules
from zraft.sim.conformance.guard import PERHAPS, Guard
from zraft.sim.conformance.processes import Folders, NotRun, TooLong, processor_ns, run_in
from zraft.sim.conformance.reading import Place, places_around, places_of
from zraft.sim.conformance.report import Notes, Report
from zraft.sim.conformance.script import Script, has_hooks, hooked_script, plain_script
from zraft.sim.conformance.shots import Shots
from zraft.sim.conformance.trial import OTHER, Record, Trial, attempt, record
from zraft.wire.values import encode_value

_SLOW_NS: Final = 250_000_000
"""Half of the default election timeout: meanwhile nobody hears anything of this node."""

Values = Iterable[Any] | Callable[[], Iterable[Any]]


def conform(
    backend: type[Backend],
    commands: Values,
    *,
    queries: Values = (),
    processes: bool = True,
    timeout: float = 60.0,
) -> Report:
    """What is wrong with a backend, found by giving it `commands` again and again: here, and in other processes.

    `commands` and `queries` are values as clients send them, or a function that returns them. Let them do everything
    that the backend can, what it refuses too: what they do not reach is not examined. The rules: the same commands do
    the same in every instance and process, whatever the hash seed, time zone, locale and moment; `apply` asks no clock
    and no chance; a refusal and a query change nothing; results and answers can travel; a snapshot is of its point
    whatever is applied while it is written, and what is made of it goes on alike; a watch is told of changes; `due` is
    met by `advance`; nothing takes long.

    Other processes import the backend's module; `processes=False` does without them, and they are given up after
    `timeout` seconds. The report is false where nothing was found; its `check()` raises AssertionError otherwise.
    Raises `UsageError` where `backend` is no subclass of `Backend` or a command cannot travel.
    """
    _check_class(backend)
    told, asked = _encoded("command", commands), _encoded("query", queries)
    if not told:
        raise UsageError("an exam needs commands: give some that do everything that the backend can")
    exam = _Exam(backend, told, asked)
    exam.run(timeout if processes else 0)
    notes = exam.notes
    name = f"{backend.__module__}.{backend.__qualname__}"
    return Report(name, len(told), notes.findings, notes.hints, notes.unexamined)


def _check_class(backend: object) -> None:
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise UsageError(f"not a subclass of zraft.Backend: {backend!r}")


def _encoded(what: str, values: Values) -> list[bytes]:
    given = values() if callable(values) and not isinstance(values, type) else values
    if isinstance(given, type | str | bytes) or not isinstance(given, Iterable):
        raise UsageError(f"a list of {what} values is wanted, or a function that returns one, not {given!r}")
    found = []
    for number, value in enumerate(given, 1):
        try:
            found.append(encode_value(value))
        except (UsageError, TooLarge) as error:
            raise UsageError(f"{what} {number} cannot travel: {error}") from error
    return found


class _Exam:
    """One backend, and what is noted of it."""

    def __init__(self, kind: type[Backend], commands: Sequence[bytes], queries: list[bytes]) -> None:
        self.notes = Notes()
        self._kind, self._queries = kind, queries
        self._scripts = [plain_script(commands)]
        if has_hooks(kind):
            self._scripts.append(hooked_script(commands))
        self._places = places_of(kind)

    def run(self, seconds: float) -> None:
        """All of it; without other processes for 0 seconds. What hangs is found there first, where it can be ended."""
        elsewhere: dict[str, list[Record]] = {}
        try:
            elsewhere = self._elsewhere(seconds)
        except TooLong as error:
            self.notes.find("time", f"the commands do not come to an end within {seconds:g} s", str(error))
            return
        except NotRun as error:
            self.notes.leave_out(f"another hash seed, time zone and locale: {error}")
        _, error_text = attempt(lambda: Trial(self._kind, self._scripts[0]))
        if error_text:
            self.notes.find("constructor", f"no instance can be made: {error_text}")
            return
        for number, script in enumerate(self._scripts):
            if not self.notes.findings:  # the second script would say the same again
                self._examine(script, {world: records[number] for world, records in elsewhere.items()})
        for place in () if elsewhere else self._places:
            if seconds:
                text = f"it {place.what}, and no other process could show that this is harmless"
                self.notes.find("determinism", text, place.where)
            else:
                self.notes.hint(f"it {place.what} ({place.where})")
        if not self._queries:
            self.notes.leave_out("queries and watches: none were given")

    def _elsewhere(self, seconds: float) -> dict[str, list[Record]]:
        if not seconds:
            raise NotRun("not wanted")
        return {world: run_in(world, self._kind, self._scripts, self._queries, seconds) for world in ("one", "other")}

    def _examine(self, script: Script, elsewhere: dict[str, Record]) -> None:
        notes, kind, queries = self.notes, self._kind, self._queries
        watch = _Stopwatch(notes, script)
        ran, error = attempt(lambda: record(kind, script, queries, around=lambda: watch))
        if ran is None:
            notes.find("errors", f"the commands, {script.title or 'alone'}, end in {error}")
            return
        rules.check_results(notes, script, ran)
        guard = Guard(kind.__module__.partition(".")[0])
        again, error = attempt(lambda: record(kind, script, queries, OTHER, lambda: guard))
        self._tell_calls(guard)
        apart = rules.difference(script, ran, again) if again is not None else error
        if apart:
            causes = "its peer, chance, or what is not in the instance"
            self._tell_apart(f"a second instance does not do the same, so it goes by {causes}", apart)
        elif elsewhere:
            self._compare(script, ran, elsewhere)
        if ran.fault or apart:
            return
        self._try("refusals", lambda: rules.check_refusals(notes, kind, script, ran))
        self._try("queries", lambda: rules.check_queries(notes, kind, script, queries))
        self._try("watches", lambda: rules.check_watches(notes, kind, script, queries))
        if script.title:
            self._try("hooks", lambda: rules.check_hooks(notes, kind, script))
        if kind.snapshot is Backend.snapshot:
            notes.leave_out("snapshots: there is no snapshot(), so the log can never be shortened")
            return
        with Folders() as folders:
            self._try("snapshots", Shots(notes, kind, script, queries, ran, folders.make).check)

    def _try(self, rule: str, check: Callable[[], None]) -> None:
        """What ends a check is a finding, too."""
        _, error = attempt(check)
        if error:
            self.notes.find(rule, f"a machine ends in {error}")

    def _tell_calls(self, guard: Guard) -> None:
        for call in guard.calls:
            if call.certainty == PERHAPS:
                self.notes.hint(f"{call.function} asks {call.what}: {call.of} ({call.where})")
            else:
                self.notes.find("determinism", f"{call.function} asks {call.what}: {call.of}", call.where)

    def _compare(self, script: Script, ran: Record, elsewhere: dict[str, Record]) -> None:
        """With two other processes; where they differ, a third one tells whether the hash seed alone does it."""
        one, other = elsewhere["one"], elsewhere["other"]
        apart = rules.difference(script, one, other)
        if apart and rules.difference(script, one, self._with_hash_seed(script)):
            causes = self._places or places_around(self._kind)
            self._tell_apart("a process with another hash seed does not do the same", apart, causes)
        elif apart:
            self._tell_apart("a process with another time zone, locale and start does not do the same", apart)
        else:
            apart = rules.difference(script, ran, one)
            self._tell_apart("another process does not do the same", apart, self._places)

    def _with_hash_seed(self, script: Script) -> Record:
        found, error = attempt(lambda: run_in("one with another hash seed", self._kind, [script], self._queries, 60.0))
        return found[0] if found is not None else Record([], {}, [], error)

    def _tell_apart(self, what: str, apart: str, causes: Sequence[Place] = ()) -> None:
        """With the lines of the source that may be the cause."""
        if apart:
            why = "".join(f"; it {place.what}" + f" at {place.where}" * (len(causes) > 1) for place in causes[:3])
            where = causes[0].where if len(causes) == 1 else ""
            self.notes.find("determinism", f"{what}: {apart}{why}", where)


class _Stopwatch:
    """Around one step of a script after the other."""

    def __init__(self, notes: Notes, script: Script) -> None:
        self._notes, self._steps = notes, iter(script.steps)

    def __enter__(self) -> None:
        self._began = processor_ns()

    def __exit__(self, *error: object) -> None:
        took, step = processor_ns() - self._began, next(self._steps)
        if took > _SLOW_NS:
            text = f"{step.what} takes {took / 1e9:.1f} s of processor time, in which the node does nothing else"
            self._notes.find("time", text)
