"""Folders with files, owners that wait for a transfer's end, and senders that do as they like."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from google_crc32c import value

from zraft.errors import ZraftError
from zraft.transport.address import split_address
from zraft.transport.bulk import Receiver, ReceiverLimits, Ticket, new_token
from zraft.transport.bulk_send import send_files
from zraft.wire.bulk import FileEntry, Signal, opening, part_header

PATIENCE_S = 40.0
"""How long a condition may take before the test fails; no test is right because of this number."""
PATIENT = ReceiverLimits(opening_ms=40_000, stalled_ms=40_000)


class Cargo:
    """Files in a folder, and an empty folder that they shall get to."""

    def __init__(self, folder: Path, sizes: Sequence[int], seed: int = 1) -> None:
        self.source, self.target = folder / "source", folder / "target"
        self.source.mkdir()
        self.target.mkdir()
        self.contents = [random.Random(f"{seed}/{number}").randbytes(size) for number, size in enumerate(sizes)]
        self.files: list[FileEntry] = [
            (f"file-{number}", len(content), value(content)) for number, content in enumerate(self.contents)
        ]
        for (name, _, _), content in zip(self.files, self.contents, strict=True):
            (self.source / name).write_bytes(content)

    @property
    def size(self) -> int:
        return sum(map(len, self.contents))

    def has_arrived(self) -> bool:
        """Whether the target has these files, with these bytes, and nothing else."""
        found = {path.name: path.read_bytes() for path in self.target.iterdir()}
        return found == {name: content for (name, _, _), content in zip(self.files, self.contents, strict=True)}

    def stream(self, positions: Sequence[int]) -> bytes:
        """What an honest sender sends after its opening."""
        return b"".join(
            part_header(number, at, len(content) - at) + content[at:]
            for number, (at, content) in enumerate(zip(positions, self.contents, strict=True))
            if at < len(content)
        )

    def positions_after(self, positions: Sequence[int], count: int) -> tuple[int, ...]:
        """Where the files stand after the first `count` bytes of `stream(positions)`."""
        result = list(positions)
        for number, content in enumerate(self.contents):
            if result[number] < len(content):
                header = len(part_header(0, 0, 0))
                taken = min(max(0, count - header), len(content) - result[number])
                result[number] += taken
                count -= header + taken
        return tuple(result)


class Owner:
    """What a transfer's owner is told."""

    def __init__(self) -> None:
        self.ends: list[ZraftError | None] = []
        self.progress: list[int] = []
        self._changed = threading.Condition()

    def on_done(self, error: ZraftError | None) -> None:
        with self._changed:
            self.ends.append(error)
            self._changed.notify_all()

    def on_progress(self, arrived: int) -> None:
        with self._changed:
            self.progress.append(arrived)
            self._changed.notify_all()

    def wait_end(self, count: int = 1) -> ZraftError | None:
        """The end of transfer number `count`."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ends) >= count, PATIENCE_S)
            assert len(self.ends) == count
            return self.ends[-1]

    def wait_progress(self, arrived: int) -> None:
        """So many bytes are there."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.progress and self.progress[-1] >= arrived, PATIENCE_S)


class Crossing:
    """A receiver that expects the cargo."""

    def __init__(self, cargo: Cargo, bounds: ReceiverLimits = PATIENT) -> None:
        self.cargo, self.owner = cargo, Owner()
        self.receiver = Receiver("127.0.0.1", 0, bounds=bounds)
        self.token = new_token()
        self.ticket: Ticket = self.receiver.expect(
            self.token, cargo.target, cargo.files, self.owner.on_done, self.owner.on_progress
        )

    def send(self) -> int:
        """Send what is missing, as an honest sender does."""
        return send_files(
            self.receiver.address, self.token, self.cargo.source, self.cargo.files, self.ticket.positions()
        )

    def renew(self) -> None:
        """Another sender may come."""
        self.token = new_token()
        self.ticket.renew(self.token)

    def dial(self, token: bytes | None = None) -> RawSender:
        """A sender that does as it likes."""
        return RawSender(self.receiver.address, self.token if token is None else token)


@contextlib.contextmanager
def crossing(cargo: Cargo, bounds: ReceiverLimits = PATIENT) -> Iterator[Crossing]:
    """It is closed at the end."""
    made = Crossing(cargo, bounds)
    try:
        yield made
    finally:
        made.receiver.close()


class RawSender:
    """A connection to a receiver, by hand. Its writes may fail where the receiver has closed: what counts is there."""

    def __init__(self, address: str, token: bytes | None = None) -> None:
        """With a token: says it, and waits until it is accepted."""
        self.socket = socket.create_connection(split_address(address), PATIENCE_S)
        if token is not None:
            self.write(opening(token))
            assert self.signal() is Signal.ACCEPTED

    def write(self, data: bytes) -> bool:
        """Whether all of it could be written."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def signal(self) -> Signal | None:
        """What the receiver says; None where it has ended the connection."""
        try:
            data = self.socket.recv(1)
        except ConnectionError:
            data = b""
        return Signal(data[0]) if data else None

    def end(self) -> None:
        """No more comes, in good order."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """The connection is gone, with what the other side has not read yet."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class CuttingProxy:
    """Passes a connection on to `address`, and cuts it after `after` bytes from the sender."""

    def __init__(self, address: str, after: int) -> None:
        self._target, self._after = address, after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._listening.getsockname())
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE_S)
        self._listening.close()

    def _run(self) -> None:
        self._listening.settimeout(PATIENCE_S)
        sender, _ = self._listening.accept()
        with sender, socket.create_connection(split_address(self._target), PATIENCE_S) as receiver:
            sender.settimeout(PATIENCE_S)
            back = threading.Thread(target=_pass_on, args=(receiver, sender))
            back.start()
            left = self._after
            while left and (data := sender.recv(min(left, 1 << 16))):
                receiver.sendall(data)
                left -= len(data)
            for each in (sender, receiver):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            back.join(PATIENCE_S)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
