"""Log files on a real disk, by a clock that the test moves: when they rotate, what is left, and when they cannot."""

from __future__ import annotations

import logging
import os
import stat
from datetime import datetime
from pathlib import Path

import pytest

from zraft.config import ConsoleLog, CrashLog, ErrorLog
from zraft.node.log_files import CRASH, RETRY_S, CrashFile, ErrorFile, LogFile

NODE = "127.0.0.1:7102"
START = datetime(2024, 2, 28, 12, 30).timestamp()  # noqa: DTZ001 - files rotate by the local clock


class Clock:
    """The time, moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Instead(logging.Handler):
    """What came instead of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Scene:
    """A folder, a clock, and what went elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.instead = folder, Clock(), Instead()
        self.file: LogFile = self.console()

    def console(self, **settings: object) -> LogFile:
        """A console file with these settings."""
        section = ConsoleLog(**{"file": str(self.folder / "a.log"), **settings})  # type: ignore[arg-type]  # any of them
        return LogFile("console", section, clock=self.clock, instead=self.instead)

    def log(self, text: str, crash: str = "") -> None:
        """One error, perhaps with what it crashed with."""
        fields = {"name": "t", "levelno": logging.ERROR, "levelname": "ERROR", "msg": text, CRASH: crash}
        self.file.handle(logging.makeLogRecord(fields))

    def texts(self, name: str = "a.log") -> list[str]:
        """The messages in a file, without times."""
        lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
        return [line.partition(": ")[2] or line for line in lines]

    def names(self) -> list[str]:
        return sorted(os.listdir(self.folder))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_file_rotates_before_it_grows_above_its_size(scene: Scene) -> None:
    """In bytes, not letters; and `keep` old ones stay, the newest with the smallest number."""
    scene.file = scene.console(size=300, keep=2, rotation="")
    for number in range(12):
        scene.log(f"{number:02} {'ä' * 50}")
    scene.file.close()
    assert scene.names() == ["a.log", "a.log.1", "a.log.2"]
    assert all((scene.folder / name).stat().st_size <= 300 for name in scene.names())
    kept = [text[:2] for name in ("a.log.2", "a.log.1", "a.log") for text in scene.texts(name)]
    assert kept == ["06", "07", "08", "09", "10", "11"]


def test_a_message_above_the_size_has_a_file_for_itself(scene: Scene) -> None:
    """It is written whole."""
    scene.file = scene.console(size=100, keep=5, rotation="")
    for text in ("first", "x" * 500, "last"):
        scene.log(text)
    scene.file.close()
    assert [scene.texts(name) for name in ("a.log.2", "a.log.1", "a.log")] == [["first"], ["x" * 500], ["last"]]


def test_a_file_rotates_when_its_time_has_come(scene: Scene) -> None:
    """At midnight, with the first message after it; an empty file stays, however often midnight comes."""
    scene.file = scene.console(rotation="$D0")
    scene.file.open(NODE)
    scene.clock.now += 5 * 86_400
    scene.file.tick()
    scene.log("day 1")
    scene.clock.now += 11 * 3600
    scene.log("day 1, too")
    scene.clock.now += 3600
    scene.log("day 2")
    scene.clock.now += 86_400
    scene.file.tick()
    scene.file.close()
    assert scene.names() == ["a.log", "a.log.1", "a.log.2"]
    assert (scene.texts("a.log.2"), scene.texts("a.log.1")) == (["day 1", "day 1, too"], ["day 2"])
    assert scene.texts() == []


def test_a_file_of_yesterday_rotates_when_the_node_starts(scene: Scene) -> None:
    """What counts is when it was last written; one of the same day is continued."""
    path = scene.folder / "a.log"
    path.write_text("E t: yesterday\n")
    os.utime(path, (START - 86_400, START - 86_400))
    scene.log("today")
    scene.file.close()
    os.utime(path, (START, START))
    scene.file = scene.console()
    scene.clock.now += 60
    scene.log("again")
    scene.file.close()
    assert (scene.texts("a.log.1"), scene.texts()) == (["yesterday"], ["today", "again"])


def test_with_nothing_to_keep_the_file_begins_anew(scene: Scene) -> None:
    """By size and by time: there is one file at any moment."""
    scene.file = scene.console(size=100, keep=0, rotation="$H0")
    for number in range(10):
        scene.log(f"{number} {'x' * 60}")
    assert [text[0] for text in scene.texts()] == ["9"]
    scene.clock.now += 3600
    scene.log("later")
    scene.file.close()
    assert (scene.names(), scene.texts()) == (["a.log"], ["later"])


def test_files_and_folders_are_private(scene: Scene) -> None:
    """Also where folders have to be made, and after a rotation."""
    scene.file = scene.console(file=str(scene.folder / "deep/er/a.log"), size=100, rotation="")
    for _ in range(3):
        scene.log("x" * 80)
    scene.file.close()
    folder = scene.folder / "deep/er"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder)] == [0o700, 0o700]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_two_nodes_never_write_one_file(scene: Scene) -> None:
    """The second finds it locked, and takes one beside it with its own name; the third one with a number."""
    files = [scene.console() for _ in range(3)]
    for number, file in enumerate(files):
        file.open(NODE)
        scene.file = file
        scene.log(str(number))
    names = ["a.log", "a.127.0.0.1_7102.log", "a.127.0.0.1_7102-2.log"]
    assert [scene.texts(name) for name in names] == [["0"], ["1"], ["2"]]
    for file in files:
        file.close()
    assert scene.instead.lines == []


def test_a_file_that_was_moved_away_is_made_again_when_it_is_reopened(scene: Scene) -> None:
    """Until then the old one is written, wherever it is now."""
    scene.log("1")
    (scene.folder / "a.log").rename(scene.folder / "moved")
    scene.log("2")
    scene.file.reopen()
    scene.log("3")
    scene.file.close()
    assert (scene.texts("moved"), scene.texts()) == (["1", "2"], ["3"])


def test_what_cannot_be_written_goes_elsewhere_and_is_tried_again(scene: Scene) -> None:
    """A folder that cannot be made, here: it is said once, nothing raises, nothing is lost, and later it works."""
    (scene.folder / "log").write_text("no folder")
    scene.file = scene.console(file=str(scene.folder / "log/a.log"))
    scene.file.open(NODE)
    scene.log("1")
    scene.log("2")
    told, *rest = scene.instead.lines
    assert f"{scene.folder}/log/a.log cannot be written" in told
    assert rest == ["1", "2"]
    (scene.folder / "log").unlink()
    scene.log("3")
    scene.clock.now += RETRY_S
    scene.log("4")
    scene.file.close()
    assert rest + scene.instead.lines[3:] == ["1", "2", "3", f"log.console: {scene.folder}/log/a.log is written again"]
    assert scene.texts("log/a.log") == ["4"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_stops_nobody(scene: Scene) -> None:
    """The message that found it full, and those after it, go elsewhere."""
    scene.file = scene.console(file="/dev/full")
    scene.file.open(NODE)
    scene.log("1")
    scene.log("2")
    scene.file.tick()
    scene.file.close()
    assert "No space left" in scene.instead.lines[0]
    assert scene.instead.lines[1:] == ["1", "2"]


def test_a_rotation_that_fails_stops_nobody(scene: Scene) -> None:
    """A folder in the place of an old file: nothing is lost."""
    scene.file = scene.console(keep=1, rotation="$H0")
    scene.log("1")
    (scene.folder / "a.log.1").mkdir()
    (scene.folder / "a.log.1/x").touch()
    scene.clock.now += 3600
    scene.file.tick()
    scene.log("2")
    scene.file.close()
    assert (scene.texts(), scene.instead.lines[1:]) == (["1"], ["2"])


def test_errors_beyond_so_many_a_second_are_counted(scene: Scene) -> None:
    """The count is written with the next second's first message, or when nothing comes for a while, or at the end."""
    section = ErrorLog(file=str(scene.folder / "a.log"), messages_per_second=3)
    scene.file = ErrorFile(section, clock=scene.clock, instead=scene.instead)
    told = "messages dropped: more than 3 came within a second"
    for number in range(10):
        scene.log(str(number))
    scene.clock.now += 1
    for number in range(4):
        scene.log(str(number))
    scene.clock.now += 1
    scene.file.tick()
    assert scene.texts() == ["0", "1", "2", f"7 {told}", "0", "1", "2", f"1 {told}"]
    for number in range(5):
        scene.log(str(number))
    scene.file.close()
    assert scene.texts()[8:] == ["0", "1", "2", f"2 {told}"]
    assert scene.file.level == logging.ERROR


def test_a_crash_is_a_whole_traceback(scene: Scene) -> None:
    """And nothing else is in that file."""
    scene.file = CrashFile(CrashLog(file=str(scene.folder / "a.log")), clock=scene.clock, instead=scene.instead)
    scene.log("an error without one")
    scene.log("t@h:1: failed", "Traceback\n  ...\nValueError: x\n")
    scene.file.close()
    text = (scene.folder / "a.log").read_text()
    assert text.partition(" ERROR ")[2] == "t: t@h:1: failed\nTraceback\n  ...\nValueError: x\n"


def test_a_crash_is_cut_at_its_size(scene: Scene) -> None:
    """In bytes; its two ends stay: where it began, and what it was."""
    section = CrashLog(file=str(scene.folder / "a.log"), maximum_message_size=300)
    scene.file = CrashFile(section, clock=scene.clock, instead=scene.instead)
    scene.log("failed", "ä" * 5000 + "\nValueError: the end\n")
    scene.file.close()
    text = (scene.folder / "a.log").read_bytes()
    assert 250 < len(text) <= 301
    assert b" ERROR t: failed\n" in text
    assert b"cut to 300" in text
    assert text.endswith(b"\nValueError: the end\n")
