"""Log files that rotate by size and by the clock, whichever comes first, and that never stop who logs.

    error.log     being written, locked (two nodes never mix their lines)
    error.log.1   the newest of `keep` old ones; .2 is older

A file that cannot be written, or a folder that cannot be, is said once on stderr; its messages go there instead, and it
is tried again every `RETRY_S`. Files are 0600, folders that have to be made 0700. Used from one thread.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from zraft.config import ConsoleLog, CrashLog, ErrorLog
from zraft.config.rotation import parse_rotation
from zraft.node.disk import make_folder

LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
RETRY_S: Final = 60.0
CRASH: Final = "crash"
"""The attribute of a record that holds the traceback of what stopped a peer or a node."""

Clock = Callable[[], float]
"""Seconds since 1970."""


class LogFile(RotatingFileHandler):
    """One log file, as its section of the settings has it. `instead` gets what cannot be written."""

    def __init__(
        self, name: str, section: ConsoleLog | ErrorLog | CrashLog, *, clock: Clock, instead: logging.Handler
    ) -> None:
        super().__init__(
            section.file,
            maxBytes=section.size,
            backupCount=section.keep,
            encoding="utf-8",
            errors="backslashreplace",
            delay=True,
        )
        self.setFormatter(logging.Formatter(LINE))
        self.name = name
        self._rotation = parse_rotation(section.rotation)
        self._clock, self._instead = clock, instead
        self._due = math.inf
        """When the clock says that it is to be rotated."""
        self._retry_at: float | None = None
        """None: it is written."""

    def open(self, node: str) -> None:
        """Open it now; where another node has it, one beside it with this node's name in its own."""
        try:
            for path in (Path(self.baseFilename), *_beside(Path(self.baseFilename), node)):
                self.baseFilename = str(path)
                with suppress(BlockingIOError):
                    self.stream = self._open()
                    return
            raise BlockingIOError(f"{path} and others beside it belong to other nodes")
        except OSError as error:
            self._suspend(error)

    def emit(self, record: logging.LogRecord) -> None:
        """Written, or said on stderr."""
        if self._retry_at is not None and self._clock() < self._retry_at:
            self._instead.emit(record)
            return
        was_suspended, self._retry_at = self._retry_at is not None, None
        super().emit(record)
        if was_suspended and self._retry_at is None:
            self._say(f"{self.baseFilename} is written again")

    def tick(self) -> None:
        """Nothing was logged for a while."""
        try:
            if self.stream is not None and self._is_due(os.fstat(self.stream.fileno()).st_size):
                self.doRollover()
                self._begin()
        except OSError as error:
            self._suspend(error)

    def reopen(self) -> None:
        """Somebody moved the file away: the next message goes to one of its name again."""
        self._close_stream()

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802
        """It has reached its size, counted in bytes, or its time has come; an empty one stays."""
        size = os.fstat(self._begin().fileno()).st_size
        line = len(self.format(record).encode("utf-8", "backslashreplace")) + 1
        return self._is_due(size) or (size > 0 and size + line > self.maxBytes)

    def doRollover(self) -> None:  # noqa: N802
        """The next message begins a new file."""
        if self.backupCount:
            super().doRollover()
        elif self.stream is not None:
            self.stream.truncate(0)
            self._see_to_time(self._clock())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A file that cannot be written is no reason to stop; what cannot be formatted is a bug, and printed."""
        error = sys.exception()
        if isinstance(error, OSError):
            self._suspend(error)
            self._instead.emit(record)
        else:
            super().handleError(record)

    def close(self) -> None:
        """Nothing is lost: each message was flushed when it was written."""
        self._close_stream()
        super().close()

    def _begin(self) -> TextIOWrapper:
        if self.stream is None:
            self.stream = self._open()
        return self.stream

    def _open(self) -> TextIOWrapper:
        make_folder(Path(self.baseFilename).parent)
        file = open(self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=_private)  # noqa: SIM115
        try:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise
        self._see_to_time(found.st_mtime if found.st_size else self._clock())
        return file

    def _see_to_time(self, last_written: float) -> None:
        self._due = math.inf if self._rotation is None else self._rotation.after(last_written)

    def _is_due(self, size: int) -> bool:
        is_due = self._clock() >= self._due
        if is_due and not size:
            self._see_to_time(self._clock())
        return is_due and size > 0

    def _suspend(self, error: OSError) -> None:
        if self._retry_at is None:
            where = f"{self.baseFilename} cannot be written: {error.strerror or error}"
            self._say(f"{where}; its messages come here, and it is tried again every {RETRY_S:g} s")
        self._retry_at = self._clock() + RETRY_S
        self._close_stream()

    def _close_stream(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):  # what could not be written before cannot be now
                stream.close()

    def _say(self, text: str) -> None:
        self._instead.emit(note(f"log.{self.name}: {text}", self._clock()))


class ErrorFile(LogFile):
    """Errors only, and so many per second: the others are counted."""

    def __init__(self, section: ErrorLog, *, clock: Clock, instead: logging.Handler) -> None:
        super().__init__("error", section, clock=clock, instead=instead)
        self.setLevel(logging.ERROR)
        self._at_most = section.messages_per_second
        self._second = self._count = self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Written, or counted."""
        self._begin_second()
        if self._count >= self._at_most:
            self._dropped += 1
            return
        self._count += 1
        super().emit(record)

    def tick(self) -> None:
        """Nothing was logged for a while."""
        self._begin_second()
        super().tick()

    def close(self) -> None:
        """What was dropped last is told, too."""
        self._tell_dropped()
        super().close()

    def _begin_second(self) -> None:
        second = int(self._clock())
        if second != self._second:
            self._tell_dropped()
            self._second, self._count = second, 0

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            text = f"{dropped} messages dropped: more than {self._at_most} came within a second"
            super().emit(note(text, self._clock()))


class CrashFile(LogFile):
    """Whole tracebacks of what stopped a peer or a node."""

    def __init__(self, section: CrashLog, *, clock: Clock, instead: logging.Handler) -> None:
        super().__init__("crash", section, clock=clock, instead=instead)
        self.setLevel(logging.ERROR)
        self.addFilter(lambda record: bool(getattr(record, CRASH, "")))
        self._at_most = section.maximum_message_size

    def format(self, record: logging.LogRecord) -> str:
        """The line and the traceback; of one that is too large the two ends: where it began, and what it was."""
        head = record.getMessage()
        line = logging.makeLogRecord({**record.__dict__, "msg": head, "args": None, "exc_text": None})
        text = f"{super().format(line)}\n{getattr(record, CRASH, '')}".rstrip("\n")
        return _cut(text, self._at_most)


def note(text: str, at: float) -> logging.LogRecord:
    """What the log has to say about itself."""
    fields = {"name": "zraft.logs", "levelno": logging.WARNING, "levelname": "WARNING", "msg": text, "created": at}
    return logging.makeLogRecord(fields)


def _cut(text: str, at_most: int) -> str:
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= at_most:
        return text
    left_out = f"\n... {len(data)} bytes, cut to {at_most} ...\n"
    kept = at_most - len(left_out)
    head, tail = data[: kept // 2], data[-(kept - kept // 2) :]
    return head.decode("utf-8", "ignore") + left_out + tail.decode("utf-8", "ignore")


def _beside(path: Path, node: str) -> list[Path]:
    """Names for who finds `path` taken: error.log, error.127.0.0.1_7102.log, error.127.0.0.1_7102-2.log and on."""
    own = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in node)
    return [path.with_name(f"{path.stem}.{own}{more}{path.suffix}") for more in ("", *(f"-{n}" for n in range(2, 10)))]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
