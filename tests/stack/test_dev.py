"""`zraft dev`: a cluster of processes that other commands find, that gets its nodes back, and keeps its data."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.clusters import CALM, WAIT_S, plain_environment
from zraft.app.devfile import NAME
from zraft.app.processes import PortLease


class Dev:
    """`zraft dev` in a folder, on ports that nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.leases = PortLease.in_a_row(3)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        """On stdout and stderr, since the last start."""
        return (self.folder / "said.txt").read_text()

    def start(self, *words: str) -> None:
        """The group is there."""
        with (self.folder / "said.txt").open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "zraft", "dev", *words],
                cwd=self.folder,
                env={**plain_environment(), **CALM},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        self.wait_said("Ctrl-C stops it")

    def start_new(self) -> None:
        """With ports of ours and without data."""
        self.start("--base-port", str(self.leases[0].port))

    def wait_said(self, text: str, times: int = 1) -> None:
        """Fails where it is not said in time."""
        deadline = time.monotonic() + WAIT_S
        while self.said.count(text) < times:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def pids(self) -> list[int]:
        """Of the nodes, in order, as they were first started."""
        return [int(pid) for pid in re.findall(r"pid (\d+)  data", self.said)]

    def end(self, number: int) -> int:
        """The exit status after a signal."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def zraft(self, *words: str) -> str:
        """What another command in this folder prints."""
        done = self.refused_or_not(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused_or_not(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "zraft", *words],
            cwd=self.folder,
            env={**plain_environment(), **CALM},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    made = Dev(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    for lease in made.leases:
        lease.release()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + WAIT_S
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, pids
        time.sleep(0.02)


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.counts_processes), signal.SIGTERM, signal.SIGHUP]
)
def test_it_ends_well_by_any_signal_and_keeps_its_data(dev: Dev, number: int) -> None:
    """Every node is gone then; started again without a word it finds its data and its ports."""
    dev.start_new()
    assert dev.zraft("put", "k", "v") == "ok\n"
    pids = dev.pids()
    assert dev.end(number) == 0, dev.said
    assert not (dev.folder / NAME).exists()
    assert len(pids) == 3
    assert not any(map(is_alive, pids))
    dev.start()
    assert dev.zraft("get", "k") == "v\n"
    assert dev.end(number) == 0, dev.said


def test_other_commands_find_the_group(dev: Dev) -> None:
    """In the same folder, without being told; a second cluster there is refused."""
    dev.start_new()
    statuses = json.loads(dev.zraft("status", "--json"))
    assert [status["id"] for status in statuses] == [f"default@{lease.address}" for lease in dev.leases]
    result = json.loads(dev.zraft("bench", "--clients", "5", "--total", "50", "--json"))
    assert (result["done"], result["failed"], result["problem"]) == (50, 0, "")
    assert "runs in this folder already" in dev.refused_or_not("dev").stderr


@pytest.mark.counts_processes
def test_a_node_that_dies_is_reported_and_comes_back(dev: Dev) -> None:
    """The others go on meanwhile."""
    dev.start_new()
    os.kill(dev.pids()[0], signal.SIGKILL)
    assert dev.zraft("put", "k", "v", "--timeout", "15") == "ok\n"
    dev.wait_said("serves again")
    assert "was ended by SIGKILL; it is started again in 2 s" in dev.said
    assert dev.zraft("get", "k", "--timeout", "15") == "v\n"
    assert dev.end(signal.SIGTERM) == 0, dev.said


def test_a_node_that_cannot_live_ends_it_with_the_reason(dev: Dev) -> None:
    """All others are stopped, and nothing is found any more."""
    dev.start_new()
    pids = dev.pids()
    folder = dev.folder / "data" / "n2"
    os.kill(pids[1], signal.SIGKILL)
    dev.wait_said("was ended by SIGKILL")
    folder.rename(dev.folder / "elsewhere")
    folder.touch()  # no folder: this node cannot run any more
    assert dev.process is not None
    assert dev.process.wait(WAIT_S) == 1
    assert "did not start: " in dev.said.splitlines()[-1]
    wait_gone(pids)
    assert not (dev.folder / NAME).exists()


def test_its_nodes_end_with_it(dev: Dev) -> None:
    """Even where it is killed; what it leaves is told to be of nobody, and the next one starts."""
    dev.start_new()
    pids = dev.pids()
    assert dev.zraft("put", "k", "v") == "ok\n"
    assert dev.end(signal.SIGKILL) == -signal.SIGKILL
    wait_gone(pids)
    assert "is left over" in dev.refused_or_not("get", "k").stderr
    dev.start()
    assert dev.zraft("get", "k") == "v\n"
    assert dev.end(signal.SIGTERM) == 0, dev.said
