"""The exam of a backend, as far as one process can hold it: each rule has a backend that breaks it, and is found."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

import zraft
from tests.unit.sim import backends
from tests.unit.sim.backends import COMMANDS, QUERIES, Sound, line_of
from zraft.errors import UsageError
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.sim import Report, conform
from zraft.sim.conformance import exam, processes
from zraft.sim.conformance.trial import Record, record

TABLE = [
    zraft.table.Put("a", 1),
    zraft.table.Put("b", 2, ttl=1.5),
    zraft.table.Increment("a", 4),
    zraft.table.Increment("b", "x"),
    zraft.table.CompareAndSet("a", 5, [1]),
    zraft.table.Delete("q"),
    zraft.table.DeleteRange("a", "b"),
    ("no command",),
    *(zraft.table.Put(("k", number), number, ttl=number) for number in range(1, 8)),
]
DICT = [("a", 1), ("b", [1, 2]), ("a",), ("gone",), ("a", {"x": 1}), (1, 2, 3), ("c", "c"), ("b",), ("b", 4)]


def found(kind: type[zraft.Backend], **arguments: Any) -> Report:
    """By the exam in this process."""
    return conform(kind, COMMANDS, queries=QUERIES, processes=False, **arguments)


@pytest.mark.parametrize(
    ("kind", "commands", "queries"),
    [
        (Sound, COMMANDS, QUERIES),
        (DictBackend, DICT, ["a", "b", (1, 2)]),
        (TableBackend, TABLE, [zraft.table.Get("a"), zraft.table.Prefix("a"), zraft.table.Range(None, None)]),
    ],
)
def test_a_sound_backend_conforms(kind: type[zraft.Backend], commands: list[Any], queries: list[Any]) -> None:
    """Those that are built in, too; refusals, temporary data and times to live are among the commands."""
    report = conform(kind, commands, queries=lambda: queries, processes=False)
    report.check()
    assert not report
    assert f"conforms, {len(commands)} commands" in str(report)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (backends.Clock, "asks time.time(): a clock"),
        (backends.Calendar, "asks datetime.now(): a clock"),
        (backends.Chance, "asks random.Random.choice(), by way of random.getrandbits(): chance"),
        (backends.Entropy, "asks os.urandom(): chance"),
        (backends.Place, "asks id(): an object's place in memory"),
    ],
)
def test_what_apply_asks_the_world_is_named_with_its_line(kind: type[Sound], what: str) -> None:
    """Also where nothing comes of it this time; however it was imported."""
    (finding, *_) = found(kind)
    what = what.replace(
        "random.Random.choice(), by way of random.Random._randbelow_with_getrandbits()", "random.Random"
    )
    assert (finding.rule, finding.where) == ("determinism", line_of(kind)), str(finding)
    assert f"{kind.__name__}.apply {what}" in finding.text


@pytest.mark.parametrize(
    ("kind", "rule", "what"),
    [
        (backends.Shared, "determinism", "command 1, ['a', 1] is answered with 1 and with 8"),
        (backends.Named, "determinism", "is answered with '127.0.0.1:7101' and with 'another.example:7102'"),
        (backends.SharedValues, "snapshots", "is not of that point, values change under it"),
        (
            backends.LateCapture,
            "snapshots",
            "one of the empty state, written while later commands were applied, is not of",
        ),
        (backends.Forgetful, "snapshots", "goes on in another way: command 3, ['a', 3] is answered with 2 and with 1"),
        (backends.Unwritable, "snapshots", "of the empty state cannot be taken: UsageError: not a name"),
        (backends.Halfway, "refusals", "command 4, ['refuse', 1] raises (refused: ['refused', None]) and changes"),
        (backends.Unencodable, "results", "that of command 1, ['a', 1] cannot travel"),
        (backends.Asking, "queries", "query 'zz' changes the state: fields of the state differ: data"),
        (backends.Silent, "watches", "command 3, ['a', 3] changes the answer to query 'a', but reports no change"),
        (backends.Fragile, "apply", "a peer would stop: apply raised OSError at index 5: no space"),
        (backends.Unmakable, "constructor", "no instance can be made: LookupError: no settings, at "),
        (backends.Leaving, "sessions", "the only session has ended, and temporary_count() is 2"),
        (backends.Overdue, "advance", "due() still says 500 at time "),
    ],
)
def test_a_broken_rule_is_named_with_the_command_that_shows_it(kind: type[Sound], rule: str, what: str) -> None:
    """So that the author of a backend can find the line."""
    report = found(kind)
    assert any(finding.rule == rule and what in finding.text for finding in report), str(report)
    with pytest.raises(AssertionError, match=f"{kind.__name__}: "):
        report.check()


def test_a_difference_that_only_the_hash_seed_makes_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes: one, another one, and one that differs from the first in its hash seed only."""
    seeds = {"one": "1", "other": "2", "one with another hash seed": "2"}

    def run_in(
        world: str, kind: type[zraft.Backend], scripts: list[Any], queries: list[bytes], _: float
    ) -> list[Record]:
        monkeypatch.setattr(backends, "hash", lambda value: int(seeds[world]), raising=False)
        return [record(kind, script, queries) for script in scripts]

    monkeypatch.setattr(exam, "run_in", run_in)
    report = conform(backends.HashOrder, COMMANDS)
    assert any("a process with another hash seed does not do the same" in finding.text for finding in report)
    assert any(finding.where == line_of(backends.HashOrder) for finding in report), str(report)
    seeds["one with another hash seed"] = "1"
    report = conform(backends.HashOrder, COMMANDS)
    assert any("a process with another time zone, locale and start" in finding.text for finding in report)


def test_a_command_that_takes_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In processor time: a busy machine makes nothing slow."""
    times = count(step=100_000_000)
    monkeypatch.setattr(exam, "processor_ns", lambda: next(times))
    assert not found(Sound)
    times = count(step=300_000_000)
    (finding, *_) = found(Sound)
    assert str(finding).startswith("time: command 1, ['a', 1] takes 0.3 s of processor time")


def test_what_hangs_is_not_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was ended in its own process, and the line where it was is told."""

    def run_in(*_: object) -> list[Record]:
        raise processes.TooLong("endless.py:7")

    monkeypatch.setattr(exam, "run_in", run_in)
    report = conform(backends.Endless, COMMANDS, timeout=2)
    (finding,) = report
    assert str(finding) == "time: the commands do not come to an end within 2 s (endless.py:7)"


def test_what_no_other_process_can_import_is_judged_by_its_source() -> None:
    """The order of a set may do no harm; nobody can say here that it does none."""

    class Local(Sound):
        def apply(self, command: Any, ctx: zraft.Context) -> Any:
            words = {"some", "words"}
            for word in words:
                self.data.setdefault(word, [])
            return super().apply(command, ctx) if command[0] != "refuse" else None

    report = conform(Local, COMMANDS)
    assert any("goes by the order of the set words" in finding.text for finding in report), str(report)
    assert "Local is defined inside a function: no other process can import it" in report.unexamined[0]
    assert report.unexamined[1:] == ["queries and watches: none were given"]
    (hint,) = conform(Local, COMMANDS, processes=False, queries=["none"]).hints[-1:]
    assert "goes by the order of the set" in hint


@pytest.mark.parametrize(
    ("kind", "commands", "what"),
    [
        (dict, COMMANDS, "not a subclass of zraft.Backend"),
        (Sound, [], "an exam needs commands"),
        (Sound, "commands", "a list of command values is wanted"),
        (Sound, Sound, "a list of command values is wanted"),
        (Sound, 7, "a list of command values is wanted"),
        (Sound, [("a", 1), object()], "command 2 cannot travel"),
    ],
)
def test_who_asks_wrongly_is_told(kind: Any, commands: Any, what: str) -> None:
    """Before anything is run."""
    with pytest.raises(UsageError, match=what):
        conform(kind, commands)
