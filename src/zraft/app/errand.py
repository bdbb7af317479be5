"""A command that runs while something is held: a child process that is told signals, and ended in time.

Where standard input is a terminal the child stays in its foreground: it is told Ctrl-C by the terminal, and only itself
by us. Elsewhere it has a process group of its own, and all of that is told and ended, what a shell has started, too.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Final, Self

CANNOT_RUN_STATUS: Final = 126
NOT_FOUND_STATUS: Final = 127
_SIGNAL_STATUS: Final = 128
TOKEN_VARIABLE: Final = "ZRAFT_TOKEN"  # noqa: S105  # the name of a variable
_FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)
_PASSED_ON: Final = (*_FROM_TERMINAL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def is_there(command: str) -> bool:
    """It can be run."""
    return shutil.which(command) is not None


class Errand:
    """One command, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process, *, is_group: bool) -> None:
        self._process, self._is_group = process, is_group

    @classmethod
    async def start(cls, words: Sequence[str], token: int) -> Self:
        """It runs, with the token in its environment. Raises `OSError`."""
        is_group = not os.isatty(0)
        process = await asyncio.create_subprocess_exec(
            *words, env={**os.environ, TOKEN_VARIABLE: str(token)}, process_group=0 if is_group else None
        )
        return cls(process, is_group=is_group)

    async def wait(self) -> int:
        """Its exit status, as a shell tells it: 128 and the number of the signal that ended it."""
        status = await self._process.wait()
        return status if status >= 0 else _SIGNAL_STATUS - status

    def pass_on(self, number: int) -> None:
        """A signal that came to this process."""
        if self._is_group or number not in _FROM_TERMINAL:
            self._tell(number)

    async def end(self, at: float) -> int:
        """Its exit status: it is told to end, and at the time `at` of `time.monotonic` it is ended."""
        self._tell(signal.SIGTERM)
        waiting = asyncio.create_task(self.wait())
        await asyncio.wait([waiting], timeout=max(0.0, at - monotonic()))
        self._tell(signal.SIGKILL)  # also what it has left behind
        return await waiting

    def _tell(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it has ended, and nothing is left of its group
            if self._is_group:
                os.killpg(self._process.pid, number)
            elif self._process.returncode is None:
                self._process.send_signal(number)


class Signals:
    """Signals go to the command once there is one; before that the first of them ends the waiting for it."""

    def __init__(self) -> None:
        self.first: int | None = None
        """That came before there was a command."""
        self._errand: Errand | None = None
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        for number in _PASSED_ON:
            self._loop.add_signal_handler(number, self._came, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()

    def go_to(self, errand: Errand) -> None:
        """From now on they are the command's."""
        self._errand = errand

    @property
    def status(self) -> int | None:
        """The exit status where one came before there was a command."""
        return None if self.first is None else _SIGNAL_STATUS + self.first

    def _came(self, number: int) -> None:
        if self._errand is not None:
            self._errand.pass_on(number)
        elif self.first is None and self._task is not None:
            self.first = number
            self.let_go()
            self._task.cancel()

    def let_go(self) -> None:
        """The next one ends this process: the command has ended, or there will be none."""
        for number in _PASSED_ON:
            self._loop.remove_signal_handler(number)
