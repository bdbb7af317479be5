"""The logs of a process: what goes where, what waits for nobody, and that nothing is left behind."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.node.scene import WAIT_S, config, group_of_one, within
from tests.stack.transport.world import tell
from zraft.errors import AddressInUse
from zraft.node.log_files import LogFile
from zraft.node.logs import Funnel, Logs
from zraft.node.node import Node
from zraft.testing import LocalCluster

LOGGER = logging.getLogger("zraft.test of logs")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger that hands nothing on, and is left as it was found."""
    LOGGER.propagate = False
    yield LOGGER
    assert not [handler for handler in LOGGER.handlers if isinstance(handler, Funnel)]
    assert LOGGER.level == logging.NOTSET
    LOGGER.propagate = True


def settings(folder: Path, **console: Any) -> zraft.LogConfig:
    """Every file in `folder`."""
    return zraft.LogConfig(
        console={"output": "both", "file": str(folder / "console.log"), **console},
        error={"file": str(folder / "error.log")},
        crash={"file": str(folder / "crash.log")},
    )


def failed() -> ZeroDivisionError:
    """An exception with a traceback."""
    try:
        raise ZeroDivisionError("in a test")
    except ZeroDivisionError as error:
        return error


def wait_until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


def texts(path: Path) -> list[str]:
    """Level, logger and message of each line."""
    return [line.split(" ", 2)[2] for line in path.read_text().splitlines()]


def test_each_message_goes_where_it_belongs(
    tmp_path: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything from its level on to the console and its file, errors to theirs, tracebacks to theirs."""
    logs = Logs(settings(tmp_path, level="info"), logger=logger)
    logger.debug("not wanted")
    logger.info("before it is open: %s", 1)
    assert os.listdir(tmp_path) == []
    logs.open("h:1")
    logger.error("an error %r", "x")
    logger.critical("stops", extra={"crash": failed()})
    logger.critical("stops, too", exc_info=failed())
    logs.close()
    logs.close()
    logger.error("after the end")
    name = logger.name
    console = [f"INFO {name}: before it is open: 1", f"ERROR {name}: an error 'x'", f"CRITICAL {name}: stops"]
    assert texts(tmp_path / "console.log")[:4] == [*console, f"CRITICAL {name}: stops, too"]
    assert capsys.readouterr().err == (tmp_path / "console.log").read_text()
    assert texts(tmp_path / "error.log")[:3] == [*console[1:], f"CRITICAL {name}: stops, too"]
    crash = (tmp_path / "crash.log").read_text()
    assert crash.count("Traceback (most recent call last)") == crash.count("ZeroDivisionError: in a test") == 2
    assert "an error" not in crash


def test_places_are_named(tmp_path: Path, logger: logging.Logger) -> None:
    """For who reads what the server prints; nothing is named that is off."""
    logs = Logs(settings(tmp_path, level="warning"), logger=logger)
    logs.open("h:1")
    files = f"errors to {tmp_path}/error.log; tracebacks to {tmp_path}/crash.log"
    console = "warning and above to"
    assert logs.places() == f"{console} stderr; {console} {tmp_path}/console.log; {files}"
    logs.close()
    off = zraft.LogConfig(
        console={"output": "off"}, error={"file": str(tmp_path / "e")}, crash={"enabled": False, "file": "never"}
    )
    logs = Logs(off, logger=logger)
    logs.open("h:1")
    assert logs.places() == f"errors to {tmp_path}/e"
    logger.warning("unheard")
    logs.close()
    assert (tmp_path / "e").read_text() == ""


def test_logging_waits_for_no_disk(
    tmp_path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that takes nothing: what has no room is counted, and the count is written when it does again."""
    free, stuck = threading.Event(), threading.Event()
    write = LogFile.emit

    def emit(self: LogFile, record: logging.LogRecord) -> None:
        stuck.set()
        assert free.wait(WAIT_S)
        write(self, record)

    monkeypatch.setattr(LogFile, "emit", emit)
    logs = Logs(settings(tmp_path, output="file"), logger=logger, held_records=10)
    logs.open("h:1")
    logger.info("0")
    assert stuck.wait(WAIT_S)
    for number in range(1, 101):
        logger.info("%d", number)
    free.set()
    logs.close()
    told = "ERROR zraft.logs: 90 messages dropped: they came faster than they could be written"
    assert texts(tmp_path / "error.log") == [told]
    found = texts(tmp_path / "console.log")
    found.remove(told)  # when it is told depends on how long the disk took
    assert found == [f"INFO {logger.name}: {number}" for number in range(11)]
    assert capsys.readouterr().err == ""


def test_files_are_opened_again_on_demand(tmp_path: Path, logger: logging.Logger) -> None:
    """As who moves log files away wants it."""
    logs = Logs(settings(tmp_path, output="file"), logger=logger)
    logs.open("h:1")
    logger.info("1")
    wait_until("1 is written", lambda: "1" in (tmp_path / "console.log").read_text())
    (tmp_path / "console.log").rename(tmp_path / "moved")
    logs.reopen()
    logger.info("2")
    logs.close()
    assert [text.rpartition(": ")[2] for text in texts(tmp_path / "console.log")] == ["2"]


def test_a_folder_that_cannot_be_written_stops_nobody(
    tmp_path: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said loudly, and what belongs there is on stderr."""
    (tmp_path / "log").write_text("not a folder")
    logs = Logs(settings(tmp_path / "log", output="off"), logger=logger)
    logs.open("h:1")
    logger.error("an error")
    logs.close()
    lines = capsys.readouterr().err
    assert f"log.error: {tmp_path}/log/error.log cannot be written" in lines
    assert f"log.crash: {tmp_path}/log/crash.log cannot be written" in lines
    assert lines.endswith(f"ERROR {logger.name}: an error\n")


def test_a_node_logs_to_files_where_it_was_told_to(tmp_path: Path) -> None:
    """From its start to its end; afterwards the logger is as it was."""
    before = logging.getLogger("zraft").level

    async def story() -> None:
        log = settings(tmp_path / "log", output="file")
        async with Node(config(tmp_path / "data", log=log)) as node, zraft.Client() as client:
            await group_of_one(node, client)
        assert f"node {node.address} has stopped" in (tmp_path / "log/console.log").read_text()
        lines = (tmp_path / "log/console.log").read_text()
        assert f"INFO zraft: node {node.address} listens" in lines
        assert "leader in term" not in lines.partition("listens")[0]
        assert (tmp_path / "log/error.log").read_text() == (tmp_path / "log/crash.log").read_text() == ""

    tell(story)
    assert logging.getLogger("zraft").level == before
    assert not [handler for handler in logging.getLogger("zraft").handlers if isinstance(handler, Funnel)]


def test_a_node_that_was_not_told_to_makes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It logs to the logger of its application, and creates nothing but its data; nor does one that cannot start."""
    monkeypatch.chdir(tmp_path)

    async def story() -> None:
        async with Node(config(Path("data"))) as node:
            other = Node(config(Path("other"), node.address, log=zraft.LogConfig()))
            with pytest.raises(AddressInUse):
                await other.start()

    tell(story)
    assert sorted(os.listdir()) == ["data", "other"]


class Broken(zraft.Backend):
    """Runs out of memory with each command."""

    name = "broken"

    def apply(self, command: Any, ctx: Any) -> None:
        raise MemoryError("far too large")

    def query(self, query: Any) -> None:
        return None


def test_what_stopped_a_peer_is_in_the_crash_file(tmp_path: Path) -> None:
    """The whole traceback, down to the line of the backend; the error is in its file, the node goes on."""

    async def story() -> None:
        log = settings(tmp_path / "log", output="file")
        async with (
            Node(config(tmp_path / "data", log=log), backends={"broken": Broken}) as node,
            zraft.Client() as client,
        ):
            peer = await group_of_one(node, client, "broken")
            with pytest.raises(zraft.RequestError):
                await client.write(peer, 1, timeout=WAIT_S)
            await within(node.wait_role("p", "failed", timeout=None))

    tell(story)
    crash = (tmp_path / "log/crash.log").read_text()
    assert 'raise MemoryError("far too large")' in crash
    assert "in apply" in crash
    (line,) = texts(tmp_path / "log/error.log")
    assert "failed: apply raised MemoryError" in line


def test_what_stopped_a_node_is_in_the_crash_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is: the last thing that the node says."""

    async def story() -> None:
        node = Node(config(tmp_path / "data", log=settings(tmp_path / "log", output="off")))
        await node.start()
        monkeypatch.setattr(node._outlet, "carry_out", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await within(node.wait_closed())

    tell(story)
    crash = (tmp_path / "log/crash.log").read_text()
    assert crash.count("ZeroDivisionError: ") == 1
    assert "in _turn" in crash


def test_nobody_left_to_take_over_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A cluster that stops as a whole, and a last node whose others are gone."""

    async def story() -> None:
        async with LocalCluster(2, folder=tmp_path) as cluster:
            leads = await cluster.leader()
            await cluster.stop(1 - leads)

    with caplog.at_level(logging.INFO, "zraft"):
        tell(story)
    found = [record for record in caplog.records if "nobody took over" in record.getMessage()]
    assert [record.levelno for record in found] == [logging.INFO]


@pytest.mark.parametrize("mode", ["leader_dirty", "dirty"])
def test_a_weaker_mode_is_warned_about_and_shown(tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    """At the start, and in the status of each peer; it works."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path, log_sync_mode=mode, election_timeout=2) as cluster:
            for number in range(20):
                await cluster.client.write(cluster.peers[0], (number, number), timeout=WAIT_S)
            answer, _ = await cluster.client.query(cluster.peers[1], 19, timeout=WAIT_S)
            assert answer == 19
            statuses = [await cluster.client.stat(peer, timeout=WAIT_S) for peer in cluster.peers]
            assert [status.sync_mode for status in statuses] == [mode] * 3

    with caplog.at_level(logging.WARNING, "zraft"):
        tell(story)
    assert sum(f"log_sync_mode is {mode}" in record.getMessage() for record in caplog.records) == 3
