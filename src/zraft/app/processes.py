"""`zraft server` as child processes, on ports that nobody else takes: for demonstrations and tests.

A port is leased with a lock on a file in the folder for temporary files, for as long as this process lives, and lies
below the range from which systems draw ports for outgoing connections: a node that is restarted finds its port free,
and two runs at once never meet.

A child's standard input is a pipe from this process: when this process ends, however it ends, the node stops cleanly.
"""

from __future__ import annotations

import fcntl
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from zraft.errors import ZraftError

_PORTS: Final = range(12_000, 32_000)
_READY_S: Final = 60.0
_STOP_S: Final = 60.0


class ServerFailed(ZraftError):
    """A child process did not do what it should. The text has the last line of its log."""


class PortLease:
    """One free port of the loopback interface, ours until `release` or the end of this process.

    Without `port` it is any; raises `ServerFailed` where that one, or every one, is taken.
    """

    def __init__(self, port: int | None = None) -> None:
        for one in random.sample(_PORTS, 1000) if port is None else (port,):
            lock = lock_file(Path(tempfile.gettempdir(), f"zraft-port-{one}.lock"))
            if lock is not None:
                if is_free(one):
                    self.port, self._lock = one, lock
                    return
                unlock_file(lock)
        raise ServerFailed("no free port was found" if port is None else f"port {port} is taken")

    @classmethod
    def in_a_row(cls, count: int) -> list[PortLease]:
        """So many, each the successor of the one before."""
        while True:
            leases = [cls()]
            try:
                for _ in range(count - 1):
                    leases.append(cls(leases[-1].port + 1))
            except ServerFailed:
                for lease in leases:
                    lease.release()
            else:
                return leases

    @property
    def address(self) -> str:
        """The port on the loopback interface."""
        return f"127.0.0.1:{self.port}"

    def release(self) -> None:
        """The port is anybody's again."""
        unlock_file(self._lock)


def lock_file(path: Path) -> IO[bytes] | None:
    """The file, made if missing and locked until `unlock_file` or the end of this process; None: somebody has it."""
    try:
        file = path.open("ab")
    except OSError:  # another user's
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(file.fileno()).st_ino:  # not one that its last owner has just removed
            return file
    except OSError:
        pass
    file.close()
    return None


def unlock_file(file: IO[bytes]) -> None:
    """The file is gone."""
    Path(file.name).unlink(missing_ok=True)
    file.close()


def is_free(port: int) -> bool:
    """Nobody listens on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class ServerProcess:
    """One node on `address` with its data in `folder`. Started, killed and started again as often as wanted."""

    def __init__(
        self,
        folder: Path,
        address: str,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "zraft"),
    ) -> None:
        """`program`: what Python runs; it takes the words of the command line."""
        self.folder, self.address = folder, address
        self.log = folder.with_name(f"{folder.name}.log")
        """What it writes to stderr, of all its lives. Its other logs lie beside it, unless told otherwise."""
        self._program, self._options = list(program), list(options)
        own = {f"ZRAFT_LOG_{kind}_FILE": f"{folder}.{kind.lower()}.log" for kind in ("CONSOLE", "ERROR", "CRASH")}
        self._environment = {**own, **os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """Of the running process. Raises `ServerFailed` where there is none."""
        if self._process is None:
            raise ServerFailed(f"{self.address} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """It was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_ended(self) -> bool:
        """It was started, and has ended without `stop` or `kill`; `wait_ended` says how."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """It serves when this returns. Raises `ServerFailed` where it does not."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start the process without waiting for it."""
        command = [sys.executable, *self._program, "server", "--listen", self.address, "--data-dir", str(self.folder)]
        command.append("--until-eof")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*command, *self._options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
                start_new_session=True,  # Ctrl-C is for whoever runs it
            )

    def wait_ready(self, timeout_s: float = _READY_S) -> None:
        """Returns once it says that it serves. Raises `ServerFailed`, and kills it, where it does not."""
        process = self._process
        if process is None or process.stdout is None:
            raise ServerFailed(f"{self.address} was not started")
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            is_there = selector.select(timeout_s)
        line = process.stdout.readline() if is_there else ""
        if "serves" not in line:
            self.kill()
            raise ServerFailed(f"{self.address} did not start: {self.last_line() or 'it said nothing'}")

    def last_line(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return lines[-1].removeprefix("zraft: ") if lines else ""

    def wait_ended(self, timeout_s: float = _STOP_S) -> int:
        """Its exit status. Raises `ServerFailed`, and kills it, where it does not end."""
        process = self._process
        if process is None:
            raise ServerFailed(f"{self.address} is not running")
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"{self.address} did not end within {timeout_s:g} s") from None
        self._forget(process)
        return status

    def stop(self) -> int:
        """End it cleanly (SIGTERM); its exit status."""
        if self._process is None:
            return 0
        self.tell_to_stop()
        return self.wait_ended()

    def tell_to_stop(self) -> None:
        """SIGTERM, without waiting for the end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a power cut would, except that the system keeps what was written."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
            self._forget(process)

    def _forget(self, process: subprocess.Popen[str]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None
