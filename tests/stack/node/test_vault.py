"""The vault on a real folder: what is published is whole, whatever happens to what is not."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import msgspec
import pytest

from tests.stack.node.vaults import PATIENCE_S, PEER, Vaulted, mark, meta, scripted, state, value
from tests.unit.session.backends import machine
from zraft import limits
from zraft.errors import BackendError, CorruptData, DataDirInUse, DiskFull, StorageError, UsageError
from zraft.machine.backend import Directory
from zraft.machine.dict_backend import DictBackend
from zraft.node.disk import RealDisk
from zraft.node.snapshot_files import SyncedFile
from zraft.node.vault import RealVault
from zraft.peer.vault import Forget, Write
from zraft.storage.manifest import decode_manifest


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Vaulted]:
    made = Vaulted(tmp_path / "data")
    yield made
    made.vault.close()


def reopened(kept: Vaulted) -> Vaulted:
    """After a restart."""
    kept.vault.close()
    return Vaulted(kept.folder)


def flip(path: Path, at: int = 0) -> None:
    """A bit of the file rots."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


# -- write, publish, load


def test_what_was_written_is_found_and_loaded_after_a_restart(kept: Vaulted) -> None:
    """The state, its mark, its size, and the files that the page on formats describes."""
    done = kept.write(5)
    assert done.error is None
    again = reopened(kept)
    (found,) = again.all()
    assert (found.meta, found.mark, found.size, found.fault) == (meta(), mark(5), done.size, None)
    replica = again.loaded(5)
    assert (replica.last_applied, value(replica, 5)) == (5, 5)
    folder = again.snapshot(5)
    manifest = decode_manifest((folder / "MANIFEST").read_bytes(), "")
    assert [file.name for file in manifest.files] == ["dict", "zraft-machine", "zraft-sessions"]
    assert sum((folder / file.name).stat().st_size for file in manifest.files) == done.size
    again.vault.close()


def test_a_snapshot_is_installed_into_a_fresh_machine(kept: Vaulted) -> None:
    """By a worker, as for a follower."""
    kept.write(3)
    replica = machine(DictBackend(PEER))
    assert kept.install(3, replica).error is None
    assert value(replica, 3) == 3


def test_files_are_private_whatever_the_umask(kept: Vaulted) -> None:
    """S-14: 0700 and 0600, in both trees."""
    kept.write(2, archive=True)
    below = [*kept.folder.rglob("*"), kept.folder]
    assert {stat.S_IMODE(path.stat().st_mode) for path in below if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in below if path.is_file()} == {0o600}


def test_a_large_file_is_synced_every_8_mib(kept: Vaulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sync has more to do, so the journal's own never waits long."""
    written, most, calls = [0], [0], [0]
    write, sync = os.write, os.fdatasync

    def counting(file: int, data: Any) -> int:
        written[0] += len(data)
        return write(file, data)

    def syncing(file: int) -> None:
        most[0], written[0] = max(most[0], written[0]), 0
        calls[0] += 1
        sync(file)

    def writer(directory: Directory) -> None:
        with directory.create("large") as file:
            for _ in range(80):
                file.write(bytes(256 * limits.KIB))
            file.write(bytes(9 * limits.MIB))

    monkeypatch.setattr(os, "write", counting)
    monkeypatch.setattr(os, "fdatasync", syncing)
    assert kept.write_with(1, writer).error is None
    assert limits.SNAPSHOT_SYNC_BYTES <= most[0] < limits.SNAPSHOT_SYNC_BYTES + 9 * limits.MIB
    assert calls[0] >= 4


def test_files_made_by_path_are_found_and_checked(kept: Vaulted) -> None:
    """A backend may give the folder to a library; what it makes there is synced and summed as well."""

    def writer(directory: Directory) -> None:
        Path(os.fspath(directory)).joinpath("by_path").write_bytes(b"made elsewhere")  # type: ignore[call-overload]

    assert kept.write_with(1, writer).error is None
    assert stat.S_IMODE((kept.snapshot(1) / "by_path").stat().st_mode) == 0o600
    flip(kept.snapshot(1) / "by_path")
    with pytest.raises(CorruptData, match="by_path"):
        kept.loaded(1)


def test_the_same_snapshot_once_more_changes_nothing(kept: Vaulted) -> None:
    """A replica that restarts before its log knew of the snapshot takes it again."""
    size = kept.write(5).size
    before = (kept.snapshot(5) / "MANIFEST").stat().st_ino
    again = kept.write(5)
    assert (again.error, again.size) == (None, size)
    assert (kept.snapshot(5) / "MANIFEST").stat().st_ino == before


def test_a_damaged_snapshot_makes_way_for_the_same_one(kept: Vaulted) -> None:
    """It would never be of use; the new one is."""
    for name in ("dict", "zraft-machine", "MANIFEST"):
        kept.write(5)
        flip(kept.snapshot(5) / name, 2)
        assert kept.write(5).error is None
        assert value(kept.loaded(5), 5) == 5


# -- what does not become a snapshot


@pytest.mark.parametrize("name", ["../evil", "a/b", "MANIFEST", "manifest", ".hidden", "", "a" * 65])
def test_a_backend_cannot_write_elsewhere(kept: Vaulted, name: str) -> None:
    """S-09: the snapshot fails, and nothing of it is left."""

    def writer(directory: Directory) -> None:
        directory.create(name)

    error = kept.write_with(1, writer).error
    assert isinstance(error, UsageError)
    assert kept.found() == []
    assert list(kept.folder.rglob("*evil*")) == []


def test_links_and_folders_are_no_files_of_a_snapshot(kept: Vaulted, tmp_path: Path) -> None:
    """S-09: what they lead to would be read, sent and restored."""
    (tmp_path / "precious").write_bytes(b"secret")

    def linking(directory: Directory) -> None:
        Path(os.fspath(directory)).joinpath("link").symlink_to(tmp_path / "precious")  # type: ignore[call-overload]

    def nesting(directory: Directory) -> None:
        Path(os.fspath(directory)).joinpath("folder").mkdir()  # type: ignore[call-overload]

    def piping(directory: Directory) -> None:
        os.mkfifo(Path(os.fspath(directory)) / "fifo")  # type: ignore[call-overload]

    for writer in (linking, nesting, piping):
        assert isinstance(kept.write_with(1, writer).error, StorageError)
    assert kept.found() == []
    assert (tmp_path / "precious").read_bytes() == b"secret"


def test_more_files_than_allowed_fail_the_snapshot(kept: Vaulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what would have to be changed."""
    monkeypatch.setattr(os, "fdatasync", lambda file: None)

    def writer(directory: Directory) -> None:
        for number in range(limits.SNAPSHOT_FILES + 1):
            directory.create(f"f{number}").close()

    assert "at most 1024 files" in str(kept.write_with(1, writer).error)


def test_a_backend_that_raises_fails_the_snapshot_alone(kept: Vaulted) -> None:
    """Its class is told; the vault goes on."""

    def writer(directory: Directory) -> None:
        directory.create("begun").write(b"x")
        raise KeyError("what?")

    error = kept.write_with(1, writer).error
    assert isinstance(error, BackendError)
    assert error.type == "KeyError"
    assert kept.names() == ["archive", "snapshots", "snapshots/a-0000000000000007"]
    assert kept.write(2).error is None


@pytest.mark.parametrize("name", ["zraft-machine", "dict", "MANIFEST"])
@pytest.mark.parametrize("at", [0, -1])
def test_bm_097_a_flipped_bit_is_found_before_the_machine_sees_a_byte(kept: Vaulted, name: str, at: int) -> None:
    """In any file: loading raises, an installation fails, and a machine that would have been filled is untouched."""
    kept.write(5)
    flip(kept.snapshot(5) / name, at)
    with pytest.raises(CorruptData, match=name):
        kept.loaded(5)
    replica = machine(DictBackend(PEER))
    error = kept.install(5, replica).error
    assert isinstance(error, CorruptData)
    assert replica.is_between_batches, "nothing was begun"
    fault = kept.all()[0].fault
    assert (fault is not None) == (name == "MANIFEST")


def test_missing_and_short_files_are_damage(kept: Vaulted) -> None:
    """BM-054: named, with what is wrong."""
    kept.write(5)
    (kept.snapshot(5) / "dict").write_bytes(b"")
    with pytest.raises(CorruptData, match=r"dict.*has 0 bytes where"):
        kept.loaded(5)
    (kept.snapshot(5) / "dict").unlink()
    with pytest.raises(CorruptData, match=r"dict.*is missing"):
        kept.loaded(5)
    (kept.snapshot(5) / "MANIFEST").unlink()
    with pytest.raises(CorruptData, match=r"MANIFEST.*is missing"):
        kept.loaded(5)
    with pytest.raises(CorruptData, match=r"6-1.*is missing"):
        kept.loaded(6)


def test_a_snapshot_in_the_place_of_another_is_damage(kept: Vaulted) -> None:
    """Whoever copied it there: state of one index under the number of another would skip entries (BM-078)."""
    kept.write(5)
    kept.snapshot(5).rename(kept.snapshot(6))
    (found,) = kept.all()
    assert "holds snapshot 5-1" in str(found.fault)
    with pytest.raises(CorruptData, match="holds snapshot 5-1"):
        kept.loaded(6)


def test_bm_117_a_newer_format_stops_the_start(kept: Vaulted) -> None:
    """It is never skipped as if it were not there."""
    kept.write(5)
    path = kept.snapshot(5) / "MANIFEST"
    newer = bytearray(path.read_bytes())
    newer[12] = 2
    newer[8:12] = google_crc32c.value(bytes(newer[12:])).to_bytes(4, "little")
    path.write_bytes(newer)
    with pytest.raises(StorageError, match="newer program"):
        kept.all()


# -- crash leftovers, and failures at every step


def test_bm_054_what_a_crash_left_half_done_is_removed(kept: Vaulted) -> None:
    """Being written, fetched, deleted; in both trees. What others put there stays."""
    kept.write(5, archive=True)
    for path in (kept.snapshot(7), kept.snapshot(6), kept.snapshot(4), kept.snapshot(9, archived=True)):
        for ending in (".writing", ".fetching", ".deleting"):
            half = path.with_name(path.name + ending)
            half.mkdir()
            (half / "dict").write_bytes(b"half")
    strange = kept.folder / "snapshots" / "lost+found"
    strange.mkdir()
    again = reopened(kept)
    assert again.found() == [("a", 5)]
    assert [name for name in again.names() if "." in name] == []
    assert strange.exists()
    again.vault.close()


class Broken:
    """The call number `at` of any of these functions of os fails, and where `lasting` each one after it."""

    CALLS = ("write", "fdatasync", "fsync", "rename", "mkdir", "open", "link", "unlink", "rmdir")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, number: int, *, lasting: bool) -> None:
        self.made = 0
        self.at, self.number, self.lasting = at, number, lasting
        for name in self.CALLS:
            call = getattr(os, name) if "sync" not in name else lambda file: None
            monkeypatch.setattr(os, name, self._failing(call))

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **named: Any) -> Any:
            if threading.current_thread().name.startswith("zraft-vault"):
                self.made += 1
                if self.made == self.at or (self.lasting and self.made > self.at):
                    raise OSError(self.number, os.strerror(self.number))
            return call(*arguments, **named)

        return instead


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_bm_098_whatever_step_fails_what_was_published_is_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, lasting: bool
) -> None:
    """Each call of the operating system during a write fails once, or from then on, as in a crash.

    The job says so; the older snapshot and its archive are as they were, now and after a restart; the new one is there
    whole, or not at all.
    """
    at, error = 0, True
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda file: None)
    while error:
        at += 1
        kept = Vaulted(tmp_path / f"{at}")
        assert kept.write(3, archive=True).error is None
        with monkeypatch.context() as broken:
            Broken(broken, at, number, lasting=lasting)
            done = kept.write(5, archive=True)
        error = done.error is not None
        if number == errno.ENOSPC and error:
            assert isinstance(done.error, DiskFull)
        assert value(kept.loaded(3), 3) == 3
        again = reopened(kept)
        found = again.found()
        assert found[0] == ("a", 3)
        assert value(again.loaded(3), 3) == 3
        assert (again.snapshot(3, archived=True) / "MANIFEST").exists()
        assert ("a", 5) not in found or value(again.loaded(5), 5) == 5
        if not error:
            assert found == [("a", 3), ("a", 5)]
        assert again.write(5, archive=True).error is None, "and it works again"
        assert value(again.loaded(5), 5) == 5
        again.vault.close()
    assert at > 20


@pytest.mark.parametrize("what", ["drop", "forget"])
def test_whatever_step_of_a_deletion_fails_nothing_half_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """What is found afterwards is whole; the deletion can be repeated."""
    at, error = 0, True
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda file: None)
    while error:
        at += 1
        kept = Vaulted(tmp_path / f"{at}")
        for index in (3, 5):
            kept.write(index, archive=True)
        with monkeypatch.context() as broken:
            Broken(broken, at, errno.EIO, lasting=True)
            done = kept.drop(5) if what == "drop" else kept.forget()
        error = done.error is not None
        again = reopened(kept)
        for found in again.all():
            assert found.fault is None
            assert value(again.loaded(found.mark.index), 3) == 3
        if what == "drop":
            assert again.drop(5).error is None
            assert again.found() == [("a", 5)]
        else:
            assert again.forget().error is None
            assert again.found() == []
        assert again.snapshot(3, archived=True).exists()
        again.vault.close()
    assert at > 4


# -- archive, drop, forget


def test_archives_survive_drop_forget_and_restarts(kept: Vaulted) -> None:
    """`snapshot_backup`: nothing that a node does deletes one."""
    for index in (3, 5):
        assert kept.write(index, archive=True).error is None
    assert kept.drop(5).error is None
    assert kept.found() == [("a", 5)]
    assert kept.forget().error is None
    again = reopened(kept)
    assert again.found() == []
    assert not (again.folder / "snapshots" / "a-0000000000000007").exists()
    for index in (3, 5):
        names = sorted(path.name for path in again.snapshot(index, archived=True).iterdir())
        assert names == ["MANIFEST", "dict", "zraft-machine", "zraft-sessions"]
    again.vault.close()


def test_where_there_are_no_hard_links_archives_are_copies(kept: Vaulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same content, durable as well."""

    def no_links(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    assert kept.write(3, archive=True).error is None
    one, other = kept.snapshot(3) / "dict", kept.snapshot(3, archived=True) / "dict"
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_ino != other.stat().st_ino


def test_an_archive_that_is_there_stays_and_a_broken_one_is_replaced(kept: Vaulted) -> None:
    """Also where the published one is taken again."""
    kept.write(3, archive=True)
    path = kept.snapshot(3, archived=True) / "MANIFEST"
    before = path.stat().st_ino
    kept.write(3, archive=True)
    assert path.stat().st_ino == before
    flip(path)
    kept.write(3, archive=True)
    assert decode_manifest(path.read_bytes(), "").mark == mark(3)


def test_drop_takes_what_is_older_and_not_kept(kept: Vaulted) -> None:
    """And nothing of another replica."""
    for index in (1, 2, 3, 4):
        kept.write(index)
    kept.write(1, meta("b", 8))
    kept.drop(4, keep=(2,))
    assert kept.found() == [("a", 2), ("a", 4), ("b", 1)]
    kept.forget()
    kept.forget()
    assert kept.found() == [("b", 1)]


def test_a_replica_that_is_forgotten_ends_its_write(kept: Vaulted) -> None:
    """However large it is; nothing of it is left, and other replicas are not touched."""
    began = threading.Event()

    def endless(directory: Directory) -> None:
        with directory.create("endless") as file:
            while True:
                file.write(bytes(1000))
                began.set()

    kept.write(1, meta("b", 8))
    kept.vault.submit(Write(100, meta(), mark(3), scripted(3, endless)))
    assert began.wait(PATIENCE_S)
    kept.vault.submit(Forget(101, meta()))
    assert "given up" in str(kept.done(100).error)
    assert kept.done(101).error is None
    assert kept.found() == [("b", 1)]
    assert kept.write(1).error is None, "one that is born under the name later"


# -- threads


def test_jobs_of_one_replica_are_done_in_order_and_others_pass_it(kept: Vaulted) -> None:
    """A long write of one replica holds up its own jobs only; no more than two are written at once."""
    go, running, most = threading.Event(), [0], [0]
    guard = threading.Lock()

    def slow(directory: Directory) -> None:
        with guard:
            running[0] += 1
            most[0] = max(most[0], running[0])
        assert go.wait(PATIENCE_S)
        with guard:
            running[0] -= 1

    kept.vault.submit(Write(101, meta(), mark(3), scripted(3, slow)))
    kept.vault.submit(Write(102, meta(), mark(4), state(4).capture()))
    kept.vault.submit(Write(103, meta("b", 8), mark(4), state(4).capture()))
    assert kept.done(103).error is None
    for number in range(5):
        kept.vault.submit(Write(110 + number, meta("c", 20 + number), mark(1), scripted(1, slow)))
    go.set()
    numbers = [kept.reported.get(timeout=PATIENCE_S).number for _ in range(7)]
    assert numbers.index(101) < numbers.index(102)
    assert sorted(numbers) == [101, 102, 110, 111, 112, 113, 114]
    assert most[0] <= limits.SNAPSHOT_WORKERS


def test_a_writer_rests_as_long_as_it_works(kept: Vaulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the interpreter's time is left to the event loop; a rest is short, so that a stop is noticed."""
    rests: list[float] = []
    monkeypatch.setattr(time, "sleep", rests.append)

    def busy(directory: Directory) -> None:
        with directory.create("busy") as file:
            for _ in range(20):
                until = time.thread_time() + 0.002
                while time.thread_time() < until:
                    file.crc ^= 0  # type: ignore[attr-defined]
                file.write(b"x")

    assert kept.write_with(1, busy).error is None
    assert len(rests) >= 20
    assert 0.002 <= max(rests) <= 0.005


def test_closing_ends_a_running_write_and_publishes_nothing(tmp_path: Path) -> None:
    """Promptly; what was queued behind it is not begun, and the next start finds what was there before."""
    kept = Vaulted(tmp_path / "data")
    kept.write(2)
    began = threading.Event()

    def endless(directory: Directory) -> None:
        with directory.create("endless") as file:
            while True:
                file.write(bytes(1000))
                began.set()

    kept.vault.submit(Write(100, meta(), mark(3), scripted(3, endless)))
    kept.vault.submit(Write(101, meta(), mark(4), state(4).capture()))
    assert began.wait(PATIENCE_S)
    kept.vault.close()
    kept.vault.close()
    assert not any(
        thread.name.startswith("zraft-vault") for thread in threading.enumerate() if str(tmp_path) in thread.name
    )
    assert kept.reported.empty()
    again = Vaulted(tmp_path / "data")
    assert again.found() == [("a", 2)]
    again.vault.close()


def test_a_writer_that_swallows_the_end_is_not_published(tmp_path: Path) -> None:
    """A backend may catch every OSError; what it wrote is not complete all the same."""
    kept = Vaulted(tmp_path / "data")
    began, ended = threading.Event(), threading.Event()

    def stubborn(directory: Directory) -> None:
        with directory.create("stubborn") as file:
            while not ended.is_set():
                try:
                    file.write(b"x")
                    began.set()
                except OSError:
                    ended.set()

    kept.vault.submit(Write(100, meta(), mark(3), scripted(3, stubborn)))
    assert began.wait(PATIENCE_S)
    kept.vault.close()
    assert ended.is_set()
    again = Vaulted(tmp_path / "data")
    assert again.found() == []
    again.vault.close()


# -- whose folder it is


def test_a_folder_of_its_own_is_locked(tmp_path: Path) -> None:
    """Two nodes in one folder would remove each other's work."""
    kept = Vaulted(tmp_path / "data")
    with pytest.raises(DataDirInUse, match="stop it, or name another folder"):
        Vaulted(tmp_path / "data")
    kept.vault.close()
    Vaulted(tmp_path / "data").vault.close()


def test_the_folder_of_the_journal_may_be_the_same(tmp_path: Path) -> None:
    """The node has locked it; under any name it is the same folder."""
    disk = RealDisk(tmp_path / "data", lambda _: None)
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    for folder in (tmp_path / "data", tmp_path / "alias"):
        RealVault(folder, lambda _: None, data_folder=tmp_path / "data").close()
    other = RealVault(tmp_path / "other", lambda _: None, data_folder=tmp_path / "data")
    with pytest.raises(DataDirInUse):
        RealVault(tmp_path / "other", lambda _: None, data_folder=tmp_path / "data")
    other.close()
    assert disk.names() == []
    disk.close()


def test_a_link_in_the_place_of_a_tree_is_refused(tmp_path: Path) -> None:
    """S-14: nothing is written elsewhere."""
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data" / "snapshots").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        Vaulted(tmp_path / "data")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_that_is_open_twice_is_one(tmp_path: Path) -> None:
    """Names are made once; a file that its backend leaves open is synced all the same."""
    kept = Vaulted(tmp_path / "data")
    left: list[Any] = []

    def careless(directory: Directory) -> None:
        left.append(directory.create("left"))
        left[0].write(memoryview(b"open"))
        with pytest.raises(FileExistsError):
            directory.create("left")
        assert directory.names() == ["left"]
        with directory.open("left") as file:
            assert file.read() == b"open"

    captured = msgspec.structs.replace(scripted(1, careless))
    assert kept.vault is not None
    kept.vault.submit(Write(1, meta(), mark(1), captured))
    done = kept.done(1)
    assert done.error is None or "left" in str(done.error)
    assert isinstance(left[0], SyncedFile)
    kept.vault.close()
