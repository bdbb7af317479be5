"""Documented bugs of applying committed entries: twice or never, a poison command, apply that asks the world."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.museum.machine import replay
from tests.unit.machine.directory import MemoryDirectory
from tests.unit.session.backends import Scripted, commands, machine, raising
from zraft.core.entries import Batch, Kind
from zraft.errors import BackendError, CorruptData, Rejected, ReplicaFault
from zraft.session.machine import ReplicatedMachine

ROOT = Path(__file__).resolve().parents[3]


def digests(replica: ReplicatedMachine, batches: list[Batch], slices: list[int]) -> dict[int, int | None]:
    """Applies what the replica does not have yet, in slices, and notes the digest after each."""
    found = {replica.last_applied: replica.digest()}
    for batch in batches:
        while batch.first <= replica.last_applied + 1 <= batch.last:
            limit = slices.pop() if slices else None
            replica.apply_batch(batch, replica.last_applied + 1 - batch.first, limit, replies=False)
            found[replica.last_applied] = replica.digest()
    return found


@pytest.mark.parametrize("backend", ["dict", "table"])
@given(st.integers(0, 11), st.lists(st.integers(1, 5), max_size=40))
def test_bm_078_a_crash_at_any_point_neither_skips_nor_repeats_an_entry(
    backend: str, crash_at: int, slices: list[int]
) -> None:
    """A replica that restarts from its last snapshot has, at every index, the state of one that never crashed."""
    fresh, log = replay.STORIES[backend]
    batches = log(12)
    never_crashed = digests(fresh(), batches, [1] * 500)
    replica, directory = fresh(), MemoryDirectory()
    digests(replica, batches[:crash_at], list(slices))
    captured = replica.capture()
    if crash_at < len(batches):
        replica.apply_batch(batches[crash_at], limit=1)  # lost in the crash
    captured.write(directory)

    restarted = fresh()
    restarted.install_snapshot(directory, captured.index)
    found = digests(restarted, batches, slices)
    assert found == {index: never_crashed[index] for index in found}
    assert restarted.last_applied == batches[-1].last


def test_bm_078_an_entry_that_is_offered_again_or_too_early_is_not_applied() -> None:
    """The position is part of the state: what does not follow it stops the replica, what is of another index too."""
    batches = replay.log(3)
    for applied, wrong in ((batches[:1], batches[0]), ([], batches[1])):
        replica = replay.fresh()
        digests(replica, applied, [])
        before = replica.digest()
        with pytest.raises(ReplicaFault, match="cannot follow"):
            replica.apply_batch(wrong)
        assert replica.digest() == before
    replica, directory = replay.fresh(), MemoryDirectory()
    digests(replica, batches[:2], [])
    replica.capture().write(directory)
    with pytest.raises(CorruptData):
        replay.fresh().install_snapshot(directory, batches[0].last)


@pytest.mark.parametrize("error", [KeyError("k"), ZeroDivisionError(), RuntimeError("text"), AssertionError()])
def test_bm_118_a_poison_command_is_one_bad_result_on_every_replica(error: Exception) -> None:
    """The same error at that index everywhere, by class name alone; what follows it runs, and nobody stops."""
    told: list[list[Any]] = []
    for _ in range(3):
        backend = Scripted()
        backend.on_apply = lambda command, ctx: raising(error)() if command == "poison" else command
        replica = machine(backend)
        outcomes = replica.apply_batch(commands(1, ["a", "poison", "b"])) + replica.apply_batch(commands(4, ["c"]))
        told.append([(o.type, str(o), o.executed) if isinstance(o, BackendError) else o for o in outcomes])
        assert replica.last_applied == 4
    name = type(error).__name__
    assert told == [["a", (name, f"the backend raised {name}", "yes"), "b", "c"]] * 3


@pytest.mark.parametrize("command", [None, 7, [], ["k", 1, 2], [{"no": "key"}, 1], [[[float("nan")]], 1], [["a", {}]]])
def test_bm_118_a_command_that_the_dict_cannot_take_changes_nothing(command: Any) -> None:
    """It is refused at its index, and the state is that of a log without it."""
    with_it, without = replay.fresh(), replay.fresh()
    (_, outcome, _) = with_it.apply_batch(commands(1, [["a", 1], command, ["b", 2]]))
    without.apply_batch(commands(1, [["a", 1], ["b", 2]]))
    assert isinstance(outcome, Rejected)
    assert outcome.executed == "no"
    assert with_it.digest() == without.digest()


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError(), OSError(5, "I/O"), SystemError(), ReplicaFault("x")]
)
def test_bm_118_what_only_one_replica_may_meet_stops_it_instead_of_diverging(error: Exception) -> None:
    """An entry must not fail here and run there."""
    backend = Scripted()
    backend.on_apply = raising(error)
    replica = machine(backend)
    with pytest.raises(ReplicaFault, match=f"{type(error).__name__} at index 1"):
        replica.apply_batch(commands(1, ["a"]))
    with pytest.raises(ReplicaFault):
        replica.apply_batch(commands(1, ["a"]))
    assert len(backend.told) == 1


def test_bm_117_a_kind_of_entry_from_a_newer_version_stops_the_peer() -> None:
    """It is named, and what stands behind it is not applied either."""
    replica = replay.fresh()
    with pytest.raises(ReplicaFault, match="kind 9"):
        replica.apply_batch(Batch(1, 1, 1, 0, 0, 9, b""))
    with pytest.raises(ReplicaFault, match="kind 9"):
        replica.apply_batch(Batch(2, 1, 1, 0, 0, Kind.NOOP, b""))
    assert replica.last_applied == 0


def run(hash_seed: str, zone: str, language: str, folder: Path) -> str:
    """What a process of its own finds after it applied the log."""
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "PYTHONHASHSEED": hash_seed,
        "TZ": zone,
        "LC_ALL": language,
    }
    command = [sys.executable, "-m", "tests.museum.machine.replay"]
    return subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_bm_119_two_processes_apply_one_log_to_one_state(tmp_path: Path) -> None:
    """Whatever their hash seed, time zone, language and folder: equal outcomes, digests and snapshots."""
    first = run("1", "UTC", "C", tmp_path)
    second = run("4242", "Asia/Tokyo", "tr_TR.UTF-8", ROOT)
    assert first == second
    assert len(first.split()) == 8
