"""Snapshots of a machine: state and index belong together, and the backend's files are its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.machine.directory import DiskDirectory, MemoryDirectory
from tests.unit.session.backends import PEER, Add, Scripted, Sum, commands, machine, raising, single
from zraft.core.entries import Kind
from zraft.errors import CorruptData, ReplicaFault, UsageError
from zraft.machine.backend import Directory, SyncSnapshot
from zraft.session.snapshots import FORMAT, Surroundings
from zraft.wire.values import encode_value


def snapshot_at_three() -> MemoryDirectory:
    """Of a sum of 6 after index 3."""
    replica = machine(Sum(PEER))
    replica.apply_batch(commands(1, [Add(1), Add(2), Add(3)], term=2, time=40))
    captured = replica.capture()
    replica.apply_batch(commands(4, [Add(100)], term=2, time=50))
    directory = MemoryDirectory()
    captured.write(directory)
    assert (captured.index, captured.is_sync) == (3, False)
    return directory


def test_an_installed_machine_goes_on_where_the_snapshot_stands() -> None:
    """State, index, term and time are those of the capture, not of the writing."""
    replica = machine(Sum(PEER))
    replica.install_snapshot(snapshot_at_three(), 3)
    assert (replica.last_applied, replica.term, replica.time) == (3, 2, 40)
    assert replica.query(encode_value("")) == 6
    assert replica.apply_batch(commands(4, [Add(1)], term=2, time=40)) == [7]


def test_time_does_not_run_back_behind_a_snapshot() -> None:
    """It is part of the state."""
    replica = machine(Sum(PEER))
    replica.install_snapshot(snapshot_at_three(), 3)
    with pytest.raises(ReplicaFault, match="40 to 39"):
        replica.apply_batch(single(4, Kind.NOOP, term=2, time=39))


def test_a_snapshot_of_another_index_is_refused() -> None:
    """And the machine that tried is of no use."""
    replica = machine(Sum(PEER))
    with pytest.raises(CorruptData, match="at index 3 in a snapshot at index 4"):
        replica.install_snapshot(snapshot_at_three(), 4)
    with pytest.raises(ReplicaFault, match="did not end"):
        replica.apply_batch(commands(1, [Add(1)]))
    with pytest.raises(UsageError):
        replica.install_snapshot(snapshot_at_three(), 3)


def test_a_snapshot_is_installed_into_a_fresh_machine_only() -> None:
    """What was applied before would be in the state twice."""
    replica = machine(Sum(PEER))
    replica.apply_batch(commands(1, [Add(1)]))
    with pytest.raises(UsageError):
        replica.install_snapshot(snapshot_at_three(), 3)


def test_no_snapshot_stands_in_the_middle_of_a_batch() -> None:
    """Its mark is the last index of one."""
    replica = machine(Sum(PEER))
    replica.apply_batch(commands(1, [Add(1), Add(2)]), limit=1)
    with pytest.raises(UsageError):
        replica.capture()
    replica.apply_batch(commands(1, [Add(1), Add(2)]), 1)
    assert replica.capture().index == 2


@pytest.mark.parametrize("content", [b"", b"\x95", b"\x95\x02", b"\x94\x02\x03\x02\x28", b"\x95\x02\x03\x02\x28\xc0"])
def test_surroundings_that_cannot_be_read_are_corrupt(content: bytes) -> None:
    """Never another exception."""
    directory = snapshot_at_three()
    directory.files["zraft-machine"] = content
    with pytest.raises(CorruptData):
        machine(Sum(PEER)).install_snapshot(directory, 3)


def test_a_newer_format_or_version_stops_the_peer() -> None:
    """It is never read as if it were old (BM-117)."""
    directory = snapshot_at_three()
    directory.files["zraft-machine"] = b"\x96\x03\x03\x02\x28\x01\x00"
    with pytest.raises(ReplicaFault, match=f"format 3; this version reads {FORMAT}"):
        machine(Sum(PEER)).install_snapshot(directory, 3)
    directory.files["zraft-machine"] = b"\x95\x02\x03\x02\x28\x02"
    with pytest.raises(ReplicaFault, match="needs version 2"):
        machine(Sum(PEER)).install_snapshot(directory, 3)


def test_a_backend_that_must_write_at_once_says_so() -> None:
    """Whoever drives the machine then waits."""
    backend = Scripted()
    backend.snapshot_is = SyncSnapshot(lambda directory: None)
    captured = machine(backend).capture()
    assert captured.is_sync
    assert captured.surroundings == Surroundings(FORMAT, 0, 0, 0, 1)


def test_what_a_backends_snapshot_raises_is_passed_on() -> None:
    """The snapshot has failed, the machine has not."""
    backend = Scripted()
    backend.snapshot_is = raising(OSError("full"))
    replica = machine(backend)
    with pytest.raises(OSError, match="full"):
        replica.capture().write(MemoryDirectory())
    assert replica.apply_batch(commands(1, ["a"])) == ["a"]


def seen_by_the_backend(directory: Directory) -> Directory:
    """What a backend is given when a snapshot is installed from `directory`."""
    backend = Scripted()
    backend.snapshot_is = lambda inner: inner.create("own").close()
    machine(backend).capture().write(directory)
    machine(backend).install_snapshot(directory, 0)
    assert backend.installed is not None
    return backend.installed


def test_a_backend_sees_its_own_files_alone() -> None:
    """Neither our file nor a name that we may want."""
    inner = seen_by_the_backend(MemoryDirectory())
    assert inner.names() == ["own"]
    assert inner.open("own").read() == b""
    taken: tuple[Callable[[str], object], ...] = (inner.create, inner.open)
    for use in taken:
        with pytest.raises(UsageError):
            use("zraft-machine")
    assert not isinstance(inner, os.PathLike)


def test_a_real_folder_is_a_path_for_the_backend(tmp_path: Path) -> None:
    """For libraries that write files themselves."""
    inner = seen_by_the_backend(DiskDirectory(tmp_path))
    assert isinstance(inner, os.PathLike)
    assert os.fspath(inner) == str(tmp_path)
    assert inner.names() == ["own"]
