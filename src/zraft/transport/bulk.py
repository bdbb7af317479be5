"""Receives the files of snapshots: a listening socket of its own, one thread for its strangers, two for each transfer.

Blocking sockets in threads, because the kernel moves large files faster than an event loop does, and so that the loop
of this process goes on meanwhile. `bulk_send` is the other end, `bulk_landing` what happens to the bytes.

    receiver = Receiver("127.0.0.1", 0, "127.0.0.1")
    ticket = receiver.expect(new_token(), folder, files, on_done)     tell the sender: receiver.address, the token
    ...on_done(None): everything is there, verified and durable
    ...on_done(error) with error.is_resumable: ticket.renew(new_token()), tell the sender token and ticket.positions()
"""

from __future__ import annotations

import hmac
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final, TypeAlias

from zraft import limits
from zraft.errors import Overloaded, ProtocolError, StorageError, TransferError, UsageError, ZraftError
from zraft.transport.address import join_address
from zraft.transport.bulk_door import Door
from zraft.transport.bulk_landing import Landing, storage_error
from zraft.transport.bulk_stream import Stream
from zraft.transport.counters import TransferCounters
from zraft.wire.bulk import PART_BYTES, TOKEN_BYTES, End, FileEntry, Signal, opening, part_of

LOG: Final = logging.getLogger("zraft.transport")

OnDone: TypeAlias = Callable[[ZraftError | None], None]
OnProgress: TypeAlias = Callable[[int], None]

_SIGNALS: Final = {
    End.DONE: Signal.DONE,
    End.CUT: Signal.CUT,
    End.STALLED: Signal.CUT,
    End.DAMAGED: Signal.DAMAGED,
    End.PROTOCOL: Signal.REFUSED,
}
"""What the sender is told; of every other end that this side cannot store it."""
_LEVELS: Final = {
    End.PROTOCOL: logging.WARNING,
    End.DAMAGED: logging.WARNING,
    End.DISK: logging.ERROR,
}


def new_token() -> bytes:
    """What opens one transfer once. Secret: whoever knows it may send in the sender's place."""
    return secrets.token_bytes(TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class ReceiverLimits:
    """The bounds of a receiver; see the table of this package."""

    strangers: int = limits.BULK_STRANGERS
    tickets: int = limits.BULK_TRANSFERS
    opening_ms: int = limits.HANDSHAKE_MS
    stalled_ms: int = limits.STALLED_MS


_DEFAULT_BOUNDS: Final = ReceiverLimits()


class _State(Enum):
    WAITING = auto()
    """A sender may come."""
    RUNNING = auto()
    IDLE = auto()
    """A transfer ended too early: `renew` is possible."""
    OVER = auto()


class Ticket:
    """Files that are expected, what of them has arrived, and the token that admits a sender once."""

    __slots__ = ("_landing", "_on_done", "_on_progress", "_receiver", "_state")

    def __init__(self, receiver: Receiver, landing: Landing, on_done: OnDone, on_progress: OnProgress) -> None:
        """By `Receiver.expect`."""
        self._receiver, self._landing, self._on_done, self._on_progress = receiver, landing, on_done, on_progress
        self._state = _State.IDLE

    def positions(self) -> tuple[int, ...]:
        """How many bytes of each file, in order, need not be sent: they are in the file, and counted in its checksum.

        Exact and durable from `on_done` until `renew`; while a transfer runs it lags behind.
        """
        return tuple(self._landing.positions)

    def renew(self, token: bytes) -> None:
        """After an end with `is_resumable`: expect what is missing over one more connection, which brings `token`.

        `on_done` will be called once more. May be called from within it. Raises UsageError where the ticket is in use,
        done, or failed for good, and what `Receiver.expect` raises for tokens and numbers.
        """
        self._receiver._expect(self, token)


@dataclass(slots=True, eq=False)
class _Transfer:
    """One sender that was admitted, until its end is told."""

    token: bytes
    ticket: Ticket
    connection: socket.socket
    remote: str
    thread: threading.Thread | None = None
    is_cancelled: bool = False


class Receiver:
    """Where other nodes send files to. Made and closed by one owner; everything may be called from any thread."""

    def __init__(
        self,
        host: str,
        port: int,
        told_host: str = "",
        *,
        bounds: ReceiverLimits = _DEFAULT_BOUNDS,
        counters: TransferCounters | None = None,
    ) -> None:
        """Listens on `host`:`port` (0: any free port) at once. `told_host` "": the same as `host`.

        Raises `AddressInUse`, or `ConfigError` where it cannot listen there at all.
        """
        self.counters = TransferCounters() if counters is None else counters
        self._bounds = bounds
        self._lock = threading.Lock()
        self._waiting: dict[Ticket, bytes] = {}
        self._transfers: list[_Transfer] = []
        self._is_closed = False
        self._door = Door(
            host,
            port,
            strangers=bounds.strangers,
            opening_ms=bounds.opening_ms,
            admit=self._admit,
            counters=self.counters,
        )
        self.address = join_address(told_host or host, self._door.port)
        """"host:port" as senders are told it: the told host and the real port."""
        self._door.start()

    def expect(
        self,
        token: bytes,
        folder: Path,
        files: Sequence[FileEntry],
        on_done: OnDone,
        on_progress: OnProgress = lambda _arrived: None,
    ) -> Ticket:
        """From now on, whoever opens a connection with `token` (see `new_token`) may send `files` into `folder`, once.

        `folder` exists and is nobody else's. Files that are there already are read and count as begun (that blocks,
        about a second for a gigabyte); they may be short, damage in them is found at the end like any other. With
        nothing missing (no files, only empty ones, or all there) a sender has still to come: it sends nothing.

        `on_done` is called exactly once for each token, from a thread of the receiver or from within `forget` or
        `close`, when nobody writes to the folder any more: with None where every file has its size and checksum and
        files and folder are durable, else with a `TransferError`, or a `StorageError` where the disk refused. It must
        not wait for anything that the callers of `forget` or `close` hold. Without a sender it is never called by
        itself: a deadline for the sender's coming is the caller's. `on_progress` is told the bytes that have arrived of
        all files, after every piece, from the receiving thread.

        Raises UsageError for a token or a list of files that cannot be, or after `close`; Overloaded where too many are
        expected; StorageError where the folder cannot be used.
        """
        opening(token)
        landing = Landing(folder, files)
        try:
            landing.survey()
        except OSError as error:
            raise storage_error(error, f"snapshots cannot be received in {folder}") from error
        ticket = Ticket(self, landing, on_done, on_progress)
        self._expect(ticket, token)
        return ticket

    def forget(self, token: bytes) -> None:
        """Nobody is admitted with `token` any more. A transfer that it opened ends, and its `on_done` has returned.

        After it nobody writes to the folder. A token that is unknown, or whose transfer has ended, changes nothing.
        """
        self._forget(token)

    def close(self) -> None:
        """Everything that is expected or under way ends as `forget` ends it; nothing listens. May be called twice."""
        with self._lock:
            self._is_closed = True
        self._door.close()
        self._forget(None)

    def _expect(self, ticket: Ticket, token: bytes) -> None:
        opening(token)
        with self._lock:
            if self._is_closed:
                raise UsageError("the receiver is closed")
            if ticket._state is not _State.IDLE:
                raise UsageError(f"a ticket cannot be renewed while it is {ticket._state.name.lower()}")
            if token in self._waiting.values() or any(token == transfer.token for transfer in self._transfers):
                raise UsageError("a token is used once")
            if len(self._waiting) + len(self._transfers) >= self._bounds.tickets:
                raise Overloaded(reason="transfers", retry_after=1.0)
            ticket._state = _State.WAITING
            self._waiting[ticket] = token

    def _forget(self, token: bytes | None) -> None:
        """End what `token` admits or has admitted; None: everything."""
        with self._lock:
            waiting = [ticket for ticket, other in self._waiting.items() if token in (None, other)]
            for ticket in waiting:
                del self._waiting[ticket]
                ticket._state = _State.OVER
            under_way = [transfer for transfer in self._transfers if token in (None, transfer.token)]
            for transfer in under_way:
                transfer.is_cancelled = True
                try:
                    transfer.connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it has ended by itself
        for ticket in waiting:
            self._tell(ticket, _not_wanted())
        for transfer in under_way:
            if transfer.thread is not None and transfer.thread is not threading.current_thread():
                transfer.thread.join()

    def _admit(self, token: bytes, connection: socket.socket, remote: str) -> bool:
        """Whether the token is good; then it is used up, and the connection is a transfer's."""
        with self._lock:
            found: Ticket | None = None
            for ticket, expected in self._waiting.items():
                if hmac.compare_digest(expected, token):
                    found = ticket
            if found is None or self._is_closed:
                return False
            transfer = _Transfer(token, found, connection, remote)
            transfer.thread = threading.Thread(
                target=self._run, args=(transfer,), name=f"zraft-bulk {remote}", daemon=True
            )
            try:
                transfer.thread.start()
            except RuntimeError as error:
                LOG.warning("%s: no thread for a transfer: %s", remote, error)
                return False
            del self._waiting[found]
            found._state = _State.RUNNING
            self._transfers.append(transfer)
            return True

    # -- the thread of a transfer

    def _run(self, transfer: _Transfer) -> None:
        ticket = transfer.ticket
        stream = Stream(transfer.connection, stalled_ms=self._bounds.stalled_ms)
        try:
            error = self._receive(stream, transfer)
        except Exception as bug:
            LOG.critical("%s: receiving failed", transfer.remote, exc_info=bug)
            ticket._landing.abandon()
            error = TransferError(End.FAILURE, f"{type(bug).__name__}: {bug}", is_resumable=False)
        end = End.DONE if error is None else End(error.reason) if isinstance(error, TransferError) else End.DISK
        stream.say(_SIGNALS.get(end, Signal.FAILED))
        with self._lock:
            transfer.connection.close()
            self.counters.ended[end] += 1
            can_resume = isinstance(error, TransferError) and error.is_resumable
            ticket._state = _State.IDLE if can_resume else _State.OVER
        LOG.log(_LEVELS.get(end, logging.INFO), "%s: %s", transfer.remote, error or "transfer done")
        self._tell(ticket, error)
        with self._lock:
            self._transfers.remove(transfer)

    def _receive(self, stream: Stream, transfer: _Transfer) -> ZraftError | None:
        """Everything that the sender has to say. What came of it; nothing is open afterwards."""
        landing = transfer.ticket._landing
        try:
            try:
                landing.open()
                stream.accept()
                self._fill(stream, landing, transfer.ticket._on_progress)
            except (ProtocolError, TransferError) as error:
                landing.keep()
                if transfer.is_cancelled:
                    return _not_wanted()
                return error if isinstance(error, TransferError) else TransferError(End.PROTOCOL, str(error))
            damaged = landing.verify()
        except StorageError as error:
            landing.abandon()
            return error
        except OSError as error:
            landing.abandon()
            return storage_error(error, f"a snapshot cannot be received in {landing.folder}")
        if damaged:
            return TransferError(End.DAMAGED, f"wrong checksum: {', '.join(damaged)}", damaged=damaged)
        return None

    def _fill(self, stream: Stream, landing: Landing, on_progress: OnProgress) -> None:
        """Write what comes, until the sender has no more. Raises where that is too early, or not what is missing."""
        arrived = sum(landing.positions)
        while header := stream.take(PART_BYTES):
            if len(header) < PART_BYTES:
                raise TransferError(End.CUT, "the connection ended within a header")
            number, length = part_of(header, landing.files, landing.positions)
            landing.begin(number)
            while length:
                aligned = limits.BULK_PIECE_BYTES - landing.positions[number] % limits.BULK_PIECE_BYTES
                data = stream.take(min(length, aligned))
                if not data:
                    raise TransferError(End.CUT, f"the connection ended; {landing.missing} bytes are missing")
                landing.write(data)
                length -= len(data)
                arrived += len(data)
                self.counters.bytes_in += len(data)
                on_progress(arrived)
        if landing.missing:
            raise TransferError(End.CUT, f"the sender ended; {landing.missing} bytes are missing")

    def _tell(self, ticket: Ticket, error: ZraftError | None) -> None:
        try:
            ticket._on_done(error)
        except Exception as bug:
            LOG.critical("the owner of a transfer failed", exc_info=bug)


def _not_wanted() -> TransferError:
    return TransferError(End.CANCELLED, "not wanted any more", is_resumable=False)
