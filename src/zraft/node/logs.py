"""Where a process logs that was asked to: handlers for the settings `[log.*]`, behind a queue with a thread of its own.

    LOG.info(...) ─> Funnel ─> queue (bounded: what does not fit is counted) ─> the thread ─┬> stderr
    in any thread,                                                                          ├> console.file
    never waits for a disk                                                                  ├> error.file
                                                                                            └> crash.file

Until `open` the queue holds what is said: whoever never gets to serve leaves no files. An embedded node that was given
no `log` has none of this: it logs to `logging.getLogger("zraft")` and leaves the rest to the application.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from logging.handlers import QueueHandler
from queue import Empty, Full, Queue
from typing import Final, TypeAlias

from zraft.config import LogConfig
from zraft.node.log_files import CRASH, LINE, Clock, CrashFile, ErrorFile, LogFile, note

LOG: Final = logging.getLogger("zraft")

HELD_RECORDS: Final = 10_000
"""What waits for the thread; some megabytes."""
_IDLE_S: Final = 1.0
_CLOSE_S: Final = 5.0
"""How long the end waits for a disk, or a terminal, that takes nothing."""

_Queue: TypeAlias = Queue[logging.LogRecord | None]


class Logs:
    """The logs of one node, or of the whole process where `logger` is the root. From now on, until `close`."""

    def __init__(
        self,
        config: LogConfig,
        *,
        logger: logging.Logger = LOG,
        clock: Clock = time.time,
        held_records: int = HELD_RECORDS,
    ) -> None:
        self._config, self._logger, self._clock = config, logger, clock
        self._queue: _Queue = Queue(held_records)
        self._console = logging.StreamHandler(sys.stderr)
        self._console.setFormatter(logging.Formatter(LINE))
        self._handlers: list[logging.Handler] = []
        self._files: list[LogFile] = []
        self._wants_reopen = threading.Event()
        self._thread = threading.Thread(target=self._run, name="zraft-logs", daemon=True)
        self._funnel = Funnel(self._queue, _least_level(config))
        _attach(logger, self._funnel)

    def open(self, node: str) -> None:
        """The files are opened, and everything said so far is written. `node` names those that have to be told apart.

        Never raises: what cannot be opened is said on stderr.
        """
        config, level = self._config, self._config.console.level.upper()
        if config.console.output in ("console", "both"):
            self._console.setLevel(level)
            self._handlers.append(self._console)
        instead = logging.StreamHandler(sys.stderr)
        instead.setFormatter(logging.Formatter(LINE))
        if config.console.output in ("file", "both"):
            self._files.append(LogFile("console", config.console, clock=self._clock, instead=instead))
            self._files[0].setLevel(level)
        self._files.append(ErrorFile(config.error, clock=self._clock, instead=instead))
        if config.crash.enabled:
            self._files.append(CrashFile(config.crash, clock=self._clock, instead=instead))
        for file in self._files:
            file.open(node)
        self._handlers += self._files
        self._thread.start()

    def places(self) -> str:
        """Where what is logged, for a reader."""
        words = {"console": f"{self._config.console.level} and above", "error": "errors", "crash": "tracebacks"}
        console = [f"{words['console']} to stderr"] if self._console in self._handlers else []
        return "; ".join([*console, *(f"{words[file.name or '']} to {file.baseFilename}" for file in self._files)])

    def reopen(self) -> None:
        """Each file is opened again by its name, before the next message: somebody may have moved it away."""
        self._wants_reopen.set()

    def close(self) -> None:
        """Everything said so far is written, and nothing more is taken. Takes seconds at most. May be repeated."""
        _detach(self._logger, self._funnel)
        if not self._thread.is_alive():
            return
        try:
            self._queue.put(None, timeout=_CLOSE_S)
        except Full:
            self._console.emit(note("the log takes nothing any more: its last messages are lost", self._clock()))
            return
        self._thread.join(_CLOSE_S)

    # -- the thread

    def _run(self) -> None:
        looked_at = time.monotonic()
        is_open = True
        while is_open:
            try:
                record = self._queue.get(timeout=_IDLE_S)
            except Empty:
                pass
            else:
                self._reopen_if_wanted()
                is_open = record is not None
                if record is not None:
                    self._write(record)
            if time.monotonic() - looked_at >= _IDLE_S:
                looked_at = time.monotonic()
                self._look_after()
        self._look_after()
        for handler in self._handlers:
            handler.close()

    def _reopen_if_wanted(self) -> None:
        if self._wants_reopen.is_set():
            self._wants_reopen.clear()
            for file in self._files:
                file.reopen()

    def _look_after(self) -> None:
        """Once a second or so: what was dropped is told, and files whose time has come are rotated."""
        self._tell_dropped()
        for file in self._files:
            file.tick()

    def _write(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            if record.levelno >= handler.level:
                handler.handle(record)

    def _tell_dropped(self) -> None:
        dropped = self._funnel.take_dropped()
        if dropped:
            record = note(f"{dropped} messages dropped: they came faster than they could be written", self._clock())
            record.levelno, record.levelname = logging.ERROR, "ERROR"
            self._write(record)


class Funnel(QueueHandler):
    """Puts records into the queue, with their texts made; counts those for which there is no room."""

    queue: _Queue

    def __init__(self, queue: _Queue, level: int) -> None:
        super().__init__(queue)
        self.setLevel(level)
        self.dropped = 0
        self.level_before = logging.NOTSET
        """Of the logger, before the first funnel was attached to it."""

    def take_dropped(self) -> int:
        """How many since the last call."""
        self.acquire()
        dropped, self.dropped = self.dropped, 0
        self.release()
        return dropped

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """A copy that names nothing of the program any more: neither arguments, which may change, nor frames."""
        error = getattr(record, CRASH, None)
        if error is None and record.levelno >= logging.CRITICAL and record.exc_info:
            error = record.exc_info[1]
        crash = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
        exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip() if record.exc_info else None
        fields = {"msg": record.getMessage(), "args": None, "exc_info": None, "exc_text": exc_text, CRASH: crash}
        return logging.makeLogRecord({**record.__dict__, **fields})

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never waits."""
        try:
            self.queue.put_nowait(record)
        except Full:
            self.dropped += 1


def _least_level(config: LogConfig) -> int:
    if config.console.output == "off":
        return logging.ERROR
    return min(logging.ERROR, logging.getLevelNamesMapping()[config.console.level.upper()])


def _attach(logger: logging.Logger, funnel: Funnel) -> None:
    """The logger lets through what its funnels want."""
    others = [handler for handler in logger.handlers if isinstance(handler, Funnel)]
    funnel.level_before = others[0].level_before if others else logger.level
    logger.addHandler(funnel)
    logger.setLevel(min(handler.level for handler in (*others, funnel)))


def _detach(logger: logging.Logger, funnel: Funnel) -> None:
    """Without funnels it is as it was."""
    if funnel in logger.handlers:
        logger.removeHandler(funnel)
        others = [handler.level for handler in logger.handlers if isinstance(handler, Funnel)]
        logger.setLevel(min(others) if others else funnel.level_before)
