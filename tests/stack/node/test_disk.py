"""The real disk: what the kernel may answer, and whom it lets near the data."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from zraft.errors import DataDirInUse, DataDirUnsafe
from zraft.node.disk import _OPEN_FILES, LOCK_NAME, RealDisk
from zraft.node.promptness import Promptness
from zraft.storage.disk import (
    Completion,
    CreateFile,
    DeleteFile,
    Job,
    Operation,
    ReadAt,
    RenameFile,
    SyncFile,
    SyncFolder,
    WriteAt,
)


class Writer:
    """A disk, and what it reports."""

    def __init__(self, folder: Path, *, deferring: Promptness | None = None) -> None:
        self.reported: SimpleQueue[Completion] = SimpleQueue()
        self.disk = RealDisk(folder, self.reported.put, deferring=deferring)
        self.jobs = 0

    def submit(self, *operations: Operation, forgives: tuple[str, ...] = ()) -> int:
        self.jobs += 1
        self.disk.submit(Job(self.jobs, operations, forgives))
        return self.jobs

    def do(self, *operations: Operation, forgives: tuple[str, ...] = ()) -> Completion:
        number = self.submit(*operations, forgives=forgives)
        completion = self.reported.get(timeout=60)
        assert completion.number == number
        return completion

    def fails(self, *operations: Operation, forgives: tuple[str, ...] = ()) -> str:
        """The errno of a job that fails."""
        error = self.do(*operations, forgives=forgives).error
        assert error is not None
        return error.errno_name


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path / "data")
    yield made
    made.disk.close()


def failing(number: int, times: int = 1 << 30, *, call: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Instead of a call of os: an error so many times, then the call."""
    left = [times]

    def fail(*arguments: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        assert call is not None
        return call(*arguments, **named)

    return fail


def test_jobs_are_done_in_order_and_each_is_reported(writer: Writer, tmp_path: Path) -> None:
    """Create, write, read, rename, delete and both syncs; a read that reaches beyond the end brings less."""
    numbers = [
        writer.submit(CreateFile("a", 10), SyncFolder()),
        writer.submit(WriteAt("a", 2, b"hello"), SyncFile("a"), ReadAt("a", 0, 100), ReadAt("a", 2, 5)),
        writer.submit(RenameFile("a", "b"), CreateFile("c", 0), DeleteFile("c"), SyncFolder()),
        writer.submit(ReadAt("b", 5, 2), ReadAt("b", 50, 2)),
    ]
    completions = [writer.reported.get(timeout=60) for _ in numbers]
    assert [completion.number for completion in completions] == numbers
    assert all(completion.error is None for completion in completions)
    assert completions[1].reads == (b"\0\0hello\0\0\0", b"hello")
    assert completions[3].reads == (b"lo", b"")
    disk = writer.disk
    assert disk.names() == ["b"]
    assert disk.size("b") == 10
    assert disk.read("b", 2, 3) == b"hel"
    disk.perform(WriteAt("b", 0, b"__"), SyncFile("b"))
    assert (tmp_path / "data" / "b").read_bytes() == b"__hello\0\0\0"


class AlwaysPrompt(Promptness):
    """However long the disk takes: this one may be busy with other things."""

    def took(self, seconds: float, *, in_loop: bool) -> None:
        return


def test_a_small_save_is_left_to_the_caller_and_nothing_overtakes_it(tmp_path: Path) -> None:
    """While the thread is idle and the disk quick; what comes meanwhile sends both to the thread, in their order."""
    writer = Writer(tmp_path / "data", deferring=AlwaysPrompt(row=0))
    disk = writer.disk
    writer.do(CreateFile("a", 10), SyncFile("a"), SyncFolder())
    unheard = writer.submit(WriteAt("a", 0, b"0"), SyncFile("a"))
    assert not disk.has_deferred, "a report that was not heard yet comes first"
    assert writer.reported.get(timeout=60).number == unheard
    for _ in range(2):
        disk.heard()
    first = writer.submit(WriteAt("a", 0, b"1"), SyncFile("a"))
    completion = disk.do_deferred(in_thread=False)
    assert completion is not None
    assert (completion.number, completion.error) == (first, None)
    assert writer.reported.empty()
    assert disk.read("a", 0, 1) == b"1"

    disk._deferred = Job(100, (WriteAt("a", 0, b"2"),))
    disk.submit(Job(101, (WriteAt("a", 0, b"3"), SyncFile("a"))))
    assert disk.do_deferred(in_thread=False) is None
    assert [writer.reported.get(timeout=60).number for _ in range(2)] == [100, 101]
    assert disk.read("a", 0, 1) == b"3"

    disk._deferred = Job(102, (WriteAt("a", 0, b"4"),))
    assert disk.do_deferred(in_thread=True) is None
    assert writer.reported.get(timeout=60).number == 102
    disk._deferred = Job(103, (WriteAt("a", 0, b"5"),))
    disk.close()
    assert writer.reported.get(timeout=60).number == 103
    assert (tmp_path / "data" / "a").read_bytes()[:1] == b"5"


def test_files_are_private_and_so_is_the_folder(writer: Writer, tmp_path: Path) -> None:
    """S-14: 0700 and 0600, whatever the umask."""
    writer.do(CreateFile("a", 3 << 20))
    folder = tmp_path / "data"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert (folder / "a").stat().st_blocks * 512 >= 3 << 20, "its blocks exist"


def test_a_short_write_is_finished(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel took a part: the rest is written too."""
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: pwrite(file, memoryview(data)[:3], offset))
    writer.do(CreateFile("a", 0))
    assert writer.do(WriteAt("a", 1, b"0123456789"), ReadAt("a", 0, 20)).reads == (b"\x000123456789",)


def test_a_write_that_makes_no_progress_is_an_error(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it try for ever."""
    writer.do(CreateFile("a", 0))
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: 0)
    assert writer.fails(WriteAt("a", 0, b"x")) == "EIO"


def test_what_follows_a_short_write_says_why_it_was_short(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Usually no space is left: that is what the operator must hear."""
    writer.do(CreateFile("a", 0))
    pwrite, calls = os.pwrite, [0]

    def short(file: int, data: Any, offset: int) -> int:
        calls[0] += 1
        if calls[0] > 1:
            raise OSError(errno.ENOSPC, "no space left on device")
        return pwrite(file, memoryview(data)[:1], offset)

    monkeypatch.setattr(os, "pwrite", short)
    assert writer.fails(WriteAt("a", 0, b"xyz")) == "ENOSPC"


@pytest.mark.parametrize(
    ("name", "number", "operation"),
    [
        ("fdatasync", errno.EIO, SyncFile("a")),
        ("fsync", errno.EIO, SyncFolder()),
        ("pwrite", errno.ENOSPC, WriteAt("a", 0, b"x")),
        ("pwrite", errno.EIO, CreateFile("b", 5)),
        ("rename", errno.EIO, RenameFile("a", "b")),
        ("unlink", errno.EROFS, DeleteFile("a")),
    ],
)
def test_after_an_error_nothing_is_changed_any_more(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, name: str, number: int, operation: Operation
) -> None:
    """BM-093: the error comes once; later writes and syncs are not even tried. Reading goes on."""
    writer.do(CreateFile("a", 4), SyncFile("a"), SyncFolder())
    with monkeypatch.context() as broken:
        broken.setattr(os, name, failing(number, 1, call=getattr(os, name)))
        assert writer.fails(ReadAt("a", 0, 1), operation, WriteAt("a", 0, b"!")) == errno.errorcode[number]
    assert writer.fails(WriteAt("a", 0, b"!")) == errno.errorcode[number]
    assert writer.fails(SyncFile("a")) == errno.errorcode[number]
    assert writer.do(ReadAt("a", 0, 4)).reads == (b"\0" * 4,)
    assert writer.disk.names() == ["a"]


def test_an_error_that_the_job_forgives_stops_nothing_else(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space to prepare the next segment: what is there can be written on. Any other error counts."""
    writer.do(CreateFile("a", 4), SyncFile("a"), SyncFolder())
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", failing(errno.ENOSPC, 1, call=os.pwrite))
        assert writer.fails(CreateFile("b", 5), WriteAt("a", 0, b"!"), forgives=("ENOSPC",)) == "ENOSPC"
    assert writer.do(WriteAt("a", 0, b"xxxx"), ReadAt("a", 0, 4)).reads == (b"xxxx",)
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", failing(errno.EIO, 1, call=os.pwrite))
        assert writer.fails(CreateFile("b", 5), forgives=("ENOSPC",)) == "EIO"
    assert writer.fails(WriteAt("a", 0, b"!")) == "EIO"


def test_a_read_that_fails_stops_nothing_else(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written later is written."""
    writer.do(CreateFile("a", 4), SyncFile("a"))
    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", failing(errno.EIO))
        assert writer.fails(ReadAt("a", 0, 4)) == "EIO"
    assert writer.fails(ReadAt("nobody", 0, 4)) == "ENOENT"
    assert writer.do(WriteAt("a", 0, b"xxxx"), ReadAt("a", 0, 4)).reads == (b"xxxx",)


def test_an_error_that_nobody_expected_is_reported_too(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread that dies unheard would look like a disk that stands still for ever."""
    writer.do(CreateFile("a", 4))

    def surprise(*_: object) -> None:
        raise ValueError("what?")

    monkeypatch.setattr(os, "pwrite", surprise)
    caplog.set_level(logging.CRITICAL)
    assert writer.fails(WriteAt("a", 0, b"x")) == "EIO"
    assert "WriteAt a failed" in caplog.text


def test_a_file_that_cannot_be_made_whole_is_not_there(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a segment would be found by the next start."""
    pwrite, calls = os.pwrite, [0]

    def full(file: int, data: Any, offset: int) -> int:
        calls[0] += 1
        if calls[0] > 2:
            raise OSError(errno.ENOSPC, "no space left on device")
        return pwrite(file, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    assert writer.fails(CreateFile("a", 5 << 20)) == "ENOSPC"
    assert writer.disk.names() == []


def test_a_name_is_made_once(writer: Writer) -> None:
    """An existing file is never made anew."""
    writer.do(CreateFile("a", 1), WriteAt("a", 0, b"x"))
    assert writer.fails(CreateFile("a", 1)) == "EEXIST"
    assert writer.disk.read("a", 0, 1) == b"x"


def test_descriptors_are_bounded_and_unsynced_files_keep_theirs(writer: Writer) -> None:
    """The kernel tells an error of writing back through a descriptor that was open then: so it stays open."""
    for number in range(_OPEN_FILES + 20):
        writer.do(CreateFile(f"f{number:03}", 1), SyncFile(f"f{number:03}"))
    assert len(writer.disk._files) == _OPEN_FILES
    writer.do(WriteAt("f000", 0, b"x"))
    for number in range(1, _OPEN_FILES + 5):
        writer.do(ReadAt(f"f{number:03}", 0, 1))
    assert "f000" in writer.disk._files
    assert len(writer.disk._files) == _OPEN_FILES
    writer.do(SyncFile("f000"))
    for number in range(1, _OPEN_FILES + 1):
        writer.do(ReadAt(f"f{number:03}", 0, 1))
    assert "f000" not in writer.disk._files


def test_many_unsynced_files_are_all_kept_open(writer: Writer) -> None:
    """Safety before thrift."""
    names = [f"f{number:03}" for number in range(_OPEN_FILES + 5)]
    for name in names:
        writer.do(CreateFile(name, 1))
    assert list(writer.disk._files) == names


def test_close_finishes_what_was_submitted(tmp_path: Path) -> None:
    """And may be called twice; the folder is free afterwards."""
    writer = Writer(tmp_path / "data")
    for number in range(20):
        writer.submit(CreateFile(f"f{number}", 1000), SyncFile(f"f{number}"))
    writer.disk.close()
    writer.disk.close()
    assert writer.reported.qsize() == 20
    again = Writer(tmp_path / "data")
    assert len(again.disk.names()) == 20
    again.disk.close()


# -- whom it lets near


def test_one_folder_one_process(writer: Writer, tmp_path: Path) -> None:
    """The lock holds within a process and between processes, and says what to do."""
    with pytest.raises(DataDirInUse, match="stop it, or name another folder"):
        Writer(tmp_path / "data")
    code = (
        "import sys; from pathlib import Path; from zraft.node.disk import RealDisk\n"
        "try: RealDisk(Path(sys.argv[1]), print)\n"
        "except Exception as error: print(type(error).__name__)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")], capture_output=True, text=True, timeout=30, check=True
    )
    assert other.stdout == "DataDirInUse\n"


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """S-14: before anything in it is touched."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(DataDirUnsafe, match="chmod go-w"):
        Writer(folder)
    assert list(folder.iterdir()) == []


def test_a_file_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    """S-14, for each file; the folder is free afterwards."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "state-a").touch()
    (folder / "state-a").chmod(0o620)
    with pytest.raises(DataDirUnsafe, match=r"state-a: chmod go-w"):
        Writer(folder)
    (folder / "state-a").chmod(0o600)
    Writer(folder).disk.close()


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    """S-14: a link in the folder would make the node write somewhere else; so would a lock that is one."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (folder / "state-a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataDirUnsafe, match="is a symbolic link"):
        Writer(folder)
    (folder / "state-a").unlink()
    (folder / LOCK_NAME).unlink()
    (folder / LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataDirUnsafe, match="LOCK cannot be opened"):
        Writer(folder)
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_a_link_that_appears_later_is_not_followed(writer: Writer, tmp_path: Path) -> None:
    """Neither opened nor overwritten."""
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere")
    assert writer.fails(WriteAt("a", 0, b"x")) == "ELOOP"
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_the_folder_stays_the_one_that_was_opened(writer: Writer, tmp_path: Path) -> None:
    """Renaming it under a running node moves its data, and a new folder in its place stays empty."""
    writer.do(CreateFile("a", 1))
    (tmp_path / "data").rename(tmp_path / "moved")
    (tmp_path / "data").mkdir()
    assert writer.do(CreateFile("b", 1), SyncFile("b"), SyncFolder(), RenameFile("a", "c")).error is None
    assert writer.disk.names() == ["b", "c"]
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "below a file", "broken link"])
def test_what_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    """With the path in the text."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    path = {"file": tmp_path / "file", "below a file": tmp_path / "file" / "data", "broken link": tmp_path / "link"}
    with pytest.raises(DataDirUnsafe, match=str(tmp_path)):
        Writer(path[kind])


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    """All of them private."""
    writer = Writer(tmp_path / "a" / "b" / "c")
    writer.disk.close()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_somebody_elses_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as the user whose data it is."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(DataDirUnsafe, match="another user"):
        Writer(tmp_path / "data")


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not said to be in use: nobody would ever stop using it."""
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    with pytest.raises(DataDirUnsafe, match="use a local disk"):
        Writer(tmp_path / "data")
