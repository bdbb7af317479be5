"""`zraft lock` and `zraft elect`: a command that runs while it may, and no longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import zraft
from tests.stack.recipes.playing import WAIT_S, in_line, play
from zraft.app import cli
from zraft.recipes import Election
from zraft.testing import BlockingCluster

STAYS = "echo $$; trap 'exit 5' TERM; sleep 60 & wait"
"""Says its process id, and ends when it is told to."""
STUBBORN = "trap '' TERM; echo $$; sleep 60; echo on"


@pytest.fixture(autouse=True)
def _peers(cluster: BlockingCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZRAFT_PEERS", ",".join(map(str, cluster.peers)))


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A command line of `zraft`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zraft", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    """The next one that its command says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_gone(pid: int) -> None:
    """No such process is there any more."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < deadline, pid
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["lock", "elect"])
def test_the_command_has_its_token_and_its_exit_status_counts(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Each turn has a higher token than those before."""
    tokens = []
    for _ in range(2):
        assert cli.main([name, "job", "--", "sh", "-c", "echo $ZRAFT_TOKEN; exit 7"]) == 7
        out, err = capfd.readouterr()
        tokens.append(int(out))
        assert err == ""
    assert 0 < tokens[0] < tokens[1]
    assert cli.main([name, "job", "true"]) == 0
    assert cli.main([name, "job", "--", "sh", "-c", "kill -9 $$"]) == 128 + signal.SIGKILL


def test_it_is_had_by_one_at_a_time_and_signals_are_the_commands(
    cluster: BlockingCluster, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who waits gives up in time, or when it is told to; the command ends as it wants to."""

    async def leaders(sessions: list[zraft.Session]) -> list[object]:
        return await Election(sessions[0], "chief").contenders()

    with running("elect", "chief", "--value", "me", "--", "sh", "-c", STAYS) as first:
        pid = int(line(first))
        assert cli.main(["elect", "chief", "--timeout", "0.1", "--", "true"]) == 1
        assert "'chief' was not had within 0.1 s: others have it" in capfd.readouterr().err
        with running("elect", "chief", "--value", "you", "--", "true") as second:
            play(cluster, lambda sessions: in_line(sessions[0], "zraft.election", "chief", 2))
            assert play(cluster, leaders) == ["me", "you"]
            second.send_signal(signal.SIGINT)
            assert second.wait(WAIT_S) == 128 + signal.SIGINT
        first.send_signal(signal.SIGTERM)
        assert first.wait(WAIT_S) == 5
        wait_gone(pid)
    assert play(cluster, leaders) == []


def test_the_command_is_gone_before_the_session_is(cluster: BlockingCluster) -> None:
    """No leader is reached: what does not want to end is ended, and all that it has started."""
    with running("lock", "lost", "--session-timeout", "4", "--", "sh", "-c", STUBBORN) as process:
        pid = int(line(process))
        for number in (0, 1):
            cluster.stop(number)
        assert process.wait(WAIT_S) == 128 + signal.SIGKILL
        assert process.stderr is not None
        assert "'lost' is lost: " in process.stderr.read()
        wait_gone(pid)
    for number in (0, 1):
        cluster.start(number)
    cluster.leader()


def test_a_command_that_cannot_run_or_a_group_without_a_table_is_one_line(
    cluster: BlockingCluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It says what to do."""
    assert cli.main(["lock", "job", "--", "no-such-command"]) == 127
    assert capfd.readouterr().err == "zraft: no such command: no-such-command\n"
    assert cli.main(["lock", "", "--", "true"]) == 1
    assert "not a name: ''" in capfd.readouterr().err
    monkeypatch.setenv("ZRAFT_PEERS", str(cluster.create("plain", "dict", on=[0])[0]))
    assert cli.main(["lock", "job", "--", "true"]) == 1
    assert 'this needs one with "table": zraft create --backend table' in capfd.readouterr().err
