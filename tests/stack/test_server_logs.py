"""`zraft server` and its logs: where they are, that it says so, and what a signal does to them."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stack.clusters import CALM, WAIT_S, plain_environment
from zraft.app.processes import PortLease

pytestmark = pytest.mark.counts_processes


class Server:
    """One `zraft server` in a folder, as an operator starts it."""

    def __init__(self, folder: Path, address: str, *words: str, **environment: str) -> None:
        self.folder, self.stderr = folder, folder / f"{address.rpartition(':')[2]}.stderr"
        command = [sys.executable, "-m", "zraft", "server", *words]
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**plain_environment(), **CALM, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        self.said = [self.process.stdout.readline(), self.process.stdout.readline()]
        assert "serves" in self.said[0], self.stderr.read_text()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


StartServer = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers in one folder."""
    started: list[Server] = []

    def one(address: str, *words: str, **environment: str) -> Server:
        started.append(Server(tmp_path, address, *words, **environment))
        return started[-1]

    yield one
    for server in started:
        server.close()


def wait_until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def test_a_server_says_where_it_logs(tmp_path: Path, lease: PortLease, start: StartServer) -> None:
    """Without settings for it: to stderr, and errors and tracebacks to files of its folder, which are private."""
    server = start(lease.address, "--listen", lease.address, "--data-dir", "data")
    wanted = f"info and above to stderr; errors to {tmp_path}/log/error.log; tracebacks to {tmp_path}/log/crash.log"
    assert server.said[1] == f"zraft: logs: {wanted}\n"
    assert server.stop() == 0
    assert sorted(os.listdir(tmp_path / "log")) == ["crash.log", "error.log"]
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "log").iterdir()} == {0o600}
    lines = server.stderr.read_text().splitlines()
    assert f"node {lease.address} listens" in lines[0]
    assert f"node {lease.address} has stopped" in lines[-1]


def test_two_servers_in_one_folder_have_files_of_their_own(
    tmp_path: Path, lease: PortLease, start: StartServer
) -> None:
    """The second finds the first one's locked, and names its own after itself."""
    other = PortLease()
    try:
        start(lease.address, "--listen", lease.address, "--data-dir", "n1")
        second = start(other.address, "--listen", other.address, "--data-dir", "n2")
        own = f"{tmp_path}/log/error.127.0.0.1_{other.port}.log"
        assert f"errors to {own}; " in second.said[1]
        assert len(os.listdir(tmp_path / "log")) == 4
    finally:
        other.release()


def test_a_file_of_settings_says_where(tmp_path: Path, lease: PortLease, start: StartServer) -> None:
    """`[log.*]` of the TOML file, and the environment above it; a hang-up opens the files again."""
    (tmp_path / "zraft.toml").write_text(
        f'listen = "{lease.address}"\nlog_dir = "data"\nsnapshot_dir = "data"\n'
        '[log.console]\noutput = "file"\nfile = "said/console.log"\n[log.crash]\nenabled = false\n'
    )
    server = start(lease.address, "--config", "zraft.toml", ZRAFT_LOG_ERROR_FILE="said/errors")
    console = tmp_path / "said/console.log"
    assert server.said[1] == f"zraft: logs: info and above to {console}; errors to {tmp_path}/said/errors\n"
    wait_until("the start is logged", lambda: "listens" in console.read_text())
    console.rename(tmp_path / "said/moved")
    server.process.send_signal(signal.SIGHUP)
    assert server.stop() == 0
    assert "has stopped" in (tmp_path / "said/moved").read_text() + console.read_text()
    assert re.search(r"listens.*was told to stop", (tmp_path / "said/moved").read_text(), re.DOTALL) is None
    assert sorted(os.listdir(tmp_path / "said")) == ["console.log", "errors", "moved"]
    assert server.stderr.read_text() == ""


def test_a_server_that_cannot_log_serves(tmp_path: Path, lease: PortLease, start: StartServer) -> None:
    """Loudly, on stderr."""
    (tmp_path / "log").write_text("not a folder")
    server = start(lease.address, "--listen", lease.address, "--data-dir", "data")
    wait_until("it is said", lambda: "log.crash: " in server.stderr.read_text())
    assert f"log.error: {tmp_path}/log/error.log cannot be written" in server.stderr.read_text()
    assert server.stop() == 0
