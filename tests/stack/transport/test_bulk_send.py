"""The sending end of the snapshot channel: its rate, its ways of moving bytes, and receivers that misbehave."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stack.transport.carrying import PATIENCE_S, Cargo, crossing
from zraft import limits
from zraft.app.processes import PortLease
from zraft.errors import CorruptData, ProtocolError, StorageError, TransferError, UsageError
from zraft.transport.bulk import new_token
from zraft.transport.bulk_send import Pace, send_files
from zraft.wire.bulk import End, Signal


class Clock:
    """Time that passes only while somebody pauses."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def read(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.mark.parametrize("rate", [limits.BULK_RATE_MIN, 100_000, 3_000_000, 500_000_000])
def test_a_rate_is_kept(tmp_path: Path, rate: int) -> None:
    """By the clock that is given: so many bytes take so many seconds, in steps of about a twentieth."""
    cargo, clock = Cargo(tmp_path, [700_000, 300_000]), Clock()
    with crossing(cargo) as there:
        send_files(
            there.receiver.address,
            there.token,
            cargo.source,
            cargo.files,
            [0, 0],
            rate=rate,
            clock=clock.read,
            pause=clock.pause,
        )
        assert there.owner.wait_end() is None
    assert clock.now - 1000 == pytest.approx(cargo.size / rate)
    assert max(clock.pauses) <= max(0.07, limits.BULK_PIECE_BYTES / rate)


def test_what_a_pace_has_missed_is_not_made_up_for() -> None:
    """After a stall of ten seconds there is no burst of ten seconds' bytes."""
    clock = Clock()
    pace = Pace(1000, clock=clock.read, pause=clock.pause)
    clock.now += 10
    for _ in range(5):
        pace.sent(1000)
    assert sum(clock.pauses) == pytest.approx(4)


def test_without_a_rate_nobody_pauses(tmp_path: Path) -> None:
    """As fast as the receiver takes it."""
    cargo, clock = Cargo(tmp_path, [700_000]), Clock()
    with crossing(cargo) as there:
        send_files(there.receiver.address, there.token, cargo.source, cargo.files, [0], pause=clock.pause)
    assert not clock.pauses


def test_a_rate_that_would_look_like_a_stall_is_refused(tmp_path: Path) -> None:
    """Before anything is dialed."""
    cargo = Cargo(tmp_path, [1])
    with pytest.raises(UsageError, match="rate"):
        send_files("127.0.0.1:1", new_token(), cargo.source, cargo.files, [0], rate=limits.BULK_RATE_MIN - 1)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_kernel_cannot_carry_a_file_it_is_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Some file systems have no sendfile."""
    cargo = Cargo(tmp_path, [limits.MIB + 1, 0, 10])

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "sendfile", refuse)
    with crossing(cargo) as there:
        assert there.send() == cargo.size
        assert there.owner.wait_end() is None
        assert cargo.has_arrived()


def test_without_sendfile_files_are_read_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems have none."""
    cargo = Cargo(tmp_path, [limits.MIB + 1, 0, 10])
    monkeypatch.delattr(os, "sendfile")
    with crossing(cargo) as there:
        assert there.send() == cargo.size
        assert there.owner.wait_end() is None
        assert cargo.has_arrived()


@pytest.mark.parametrize("has_sendfile", [True, False])
def test_a_file_that_shrinks_while_it_is_sent_is_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_sendfile: bool
) -> None:
    """The sender says so, the receiver keeps what it has."""
    cargo = Cargo(tmp_path, [4 * limits.MIB])
    if not has_sendfile:
        monkeypatch.delattr(os, "sendfile")

    def shrink(_sent: int) -> None:
        os.truncate(cargo.source / "file-0", 10)

    with crossing(cargo) as there:
        with pytest.raises(CorruptData, match="file-0"):
            send_files(there.receiver.address, there.token, cargo.source, cargo.files, [0], on_progress=shrink)
        error = there.owner.wait_end()
        assert isinstance(error, TransferError)
        assert error.reason == End.CUT


def test_a_file_of_another_size_is_not_sent(tmp_path: Path) -> None:
    """It is not the one of the manifest."""
    cargo = Cargo(tmp_path, [100])
    (cargo.source / "file-0").write_bytes(b"other")
    with crossing(cargo) as there, pytest.raises(CorruptData, match="5 bytes, where 100 were promised"):
        there.send()


@pytest.mark.parametrize("what", ["file", "folder", "link", "pipe"])
def test_a_file_that_is_not_there_is_an_error_of_the_disk(tmp_path: Path, what: str) -> None:
    """Or is no file, or lies elsewhere."""
    cargo = Cargo(tmp_path, [100])
    path = cargo.source / "file-0"
    path.rename(tmp_path / "elsewhere")
    if what == "folder":
        cargo.source.rmdir()
    elif what == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif what == "pipe":
        os.mkfifo(path)
    with crossing(cargo) as there, pytest.raises(StorageError):
        there.send()


def test_a_disk_that_cannot_be_read_is_not_a_broken_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying again would not help."""
    cargo = Cargo(tmp_path, [100])

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "sendfile", fail)
    with crossing(cargo) as there, pytest.raises(StorageError, match="cannot be read"):
        there.send()


def test_positions_that_are_not_of_these_files_are_refused(tmp_path: Path) -> None:
    """They come from the other node. Nothing is dialed."""
    cargo = Cargo(tmp_path, [100])
    for positions in ([], [101], [-1], [0, 0]):
        with pytest.raises(ProtocolError):
            send_files("127.0.0.1:1", new_token(), cargo.source, cargo.files, positions)


def test_a_cancelled_sender_stops_and_the_receiver_may_go_on(tmp_path: Path) -> None:
    """In the middle of a file."""
    cargo = Cargo(tmp_path, [4 * limits.MIB])
    sent: list[int] = []
    with crossing(cargo) as there:
        with pytest.raises(TransferError) as told:
            send_files(
                there.receiver.address,
                there.token,
                cargo.source,
                cargo.files,
                [0],
                is_cancelled=lambda: len(sent) >= 2,
                on_progress=sent.append,
            )
        assert (told.value.reason, told.value.is_resumable) == (End.CANCELLED, False)
        error = there.owner.wait_end()
        assert isinstance(error, TransferError)
        assert (error.reason, error.is_resumable) == (End.CUT, True)
        assert there.ticket.positions() == (sent[-1],)
        assert sent[-1] < cargo.size
        there.renew()
        there.send()
        assert there.owner.wait_end(2) is None


def test_who_is_cancelled_before_it_begins_sends_nothing(tmp_path: Path) -> None:
    """The token is not spent."""
    cargo = Cargo(tmp_path, [100])
    with crossing(cargo) as there:
        with pytest.raises(TransferError, match="not wanted"):
            send_files(there.receiver.address, there.token, cargo.source, cargo.files, [0], is_cancelled=lambda: True)
        there.send()
        assert there.owner.wait_end() is None


def test_where_nobody_listens_is_said(tmp_path: Path, lease: PortLease) -> None:
    """It may be tried again."""
    cargo = Cargo(tmp_path, [100])
    with pytest.raises(TransferError, match="cannot be reached") as told:
        send_files(f"127.0.0.1:{lease.port}", new_token(), cargo.source, cargo.files, [0])
    assert (told.value.reason, told.value.is_resumable) == (End.CUT, True)


@contextlib.contextmanager
def stub(act: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a receiver that does `act` with its one connection, then ends it when the test does."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(PATIENCE_S)
    over = threading.Event()

    def run() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            act(connection)
            over.wait(PATIENCE_S)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield "{}:{}".format(*listening.getsockname())
    finally:
        over.set()
        thread.join()
        listening.close()


def accept(connection: socket.socket) -> None:
    """The token is good, whatever it is; nothing more is read."""
    connection.sendall(bytes((Signal.ACCEPTED,)))


def take_all(connection: socket.socket) -> None:
    """Everything is read, and nothing is said."""
    accept(connection)
    while connection.recv(1 << 16):
        pass


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda _connection: None, "says nothing"),
        (accept, "took nothing"),
        (take_all, "says nothing"),
    ],
    ids=["silent", "deaf", "mute at the end"],
)
def test_a_receiver_that_stalls_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[socket.socket], None], why: str
) -> None:
    """At the token, within the files, at the verdict; it may be tried again."""
    cargo = Cargo(tmp_path, [24 * limits.MIB])
    monkeypatch.setattr(limits, "BULK_VERDICT_MS", 150)
    with stub(act) as address, pytest.raises(TransferError, match=why) as told:
        send_files(address, new_token(), cargo.source, cargo.files, [0], stalled_ms=150)
    assert (told.value.reason, told.value.is_resumable) == (End.STALLED, True)


@pytest.mark.parametrize(
    ("said", "reason", "is_resumable"),
    [
        (Signal.CUT, End.CUT, True),
        (Signal.DAMAGED, End.DAMAGED, True),
        (Signal.REFUSED, End.PROTOCOL, True),
        (Signal.FAILED, End.REFUSED, False),
        (Signal.ACCEPTED, End.CUT, True),
        (99, End.CUT, True),
    ],
)
def test_what_the_receiver_says_at_the_end_is_what_the_sender_tells(
    tmp_path: Path, said: int, reason: End, is_resumable: bool
) -> None:
    """A signal that nobody knows is no success."""
    cargo = Cargo(tmp_path, [1000])

    def act(connection: socket.socket) -> None:
        take_all(connection)
        connection.sendall(bytes((said,)))

    with stub(act) as address, pytest.raises(TransferError) as told:
        send_files(address, new_token(), cargo.source, cargo.files, [0])
    assert (told.value.reason, told.value.is_resumable) == (reason, is_resumable)


def test_a_receiver_that_says_why_it_ends_is_heard_though_the_connection_breaks(tmp_path: Path) -> None:
    """Its disk is full: that is the reason, not the broken pipe."""
    cargo = Cargo(tmp_path, [24 * limits.MIB])

    def act(connection: socket.socket) -> None:
        accept(connection)
        connection.recv(1000)
        connection.sendall(bytes((Signal.FAILED,)))
        connection.close()

    with stub(act) as address, pytest.raises(TransferError, match="cannot store it") as told:
        send_files(address, new_token(), cargo.source, cargo.files, [0])
    assert (told.value.reason, told.value.is_resumable) == (End.REFUSED, False)
