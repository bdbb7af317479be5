"""Receives the files of snapshots: a listening socket of its own, one thread for its strangers, two for each transfer.

Blocking sockets in threads, because the kernel moves large files faster than an event loop does, and so that the loop
of this process goes on meanwhile. `bulk_send` is the other end, `bulk_landing` what happens to the bytes.

    receiver = Receiver("127.0.0.1", 0, "127.0.0.1")
    ticket = receiver.expect(new_token(), folder, files, on_done)     tell the sender: receiver.address, the token
    ...on_done(None): everything is there, verified and durable
    ...on_done(error) with error.is_resumable: ticket.renew(new_token()), tell the sender token and ticket.positions()
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from zraft import limits
from zraft.errors import ZraftError
from zraft.wire.bulk import TOKEN_BYTES, FileEntry

OnDone: TypeAlias = Callable[[ZraftError | None], None]
OnProgress: TypeAlias = Callable[[int], None]


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


class Ticket:
    """Files that are expected, what of them has arrived, and the token that admits a sender once."""

    def positions(self) -> tuple[int, ...]:
        """How many bytes of each file, in order, need not be sent: they are in the file, and counted in its checksum.

        Exact between `on_done` and `renew`; while a transfer runs it lags behind.
        """
        raise NotImplementedError

    def renew(self, token: bytes) -> None:
        """After an end with `is_resumable`: expect what is missing over one more connection, which brings `token`.

        `on_done` will be called once more. Raises UsageError where the ticket is in use, done, or failed for good,
        Overloaded where too many transfers are expected, StorageError where the folder is gone.
        """
        raise NotImplementedError


class Receiver:
    """Where other nodes send files to. Made and closed by one owner; everything may be called from any thread."""

    address: str
    """"host:port" as senders are told it: the told host and the real port."""

    def __init__(self, host: str, port: int, told_host: str = "", *, bounds: ReceiverLimits = ReceiverLimits()) -> None:
        """Listens on `host`:`port` (0: any free port) at once. `told_host` "": the same as `host`.

        Raises `AddressInUse`, or `ConfigError` where it cannot listen there at all.
        """
        raise NotImplementedError

    def expect(
        self,
        token: bytes,
        folder: Path,
        files: Sequence[FileEntry],
        on_done: OnDone,
        on_progress: OnProgress | None = None,
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
        all files, about once a MiB, from the receiving thread.

        Raises UsageError for a token or a list of files that cannot be, Overloaded where too many are expected,
        StorageError where the folder cannot be used.
        """
        raise NotImplementedError

    def forget(self, token: bytes) -> None:
        """Nobody is admitted with `token` any more. A transfer that it opened ends, and its `on_done` has returned.

        After it nobody writes to the folder. A token that is unknown, or whose transfer has ended, changes nothing.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Everything that is expected or under way ends as `forget` ends it; nothing listens. May be called twice."""
        raise NotImplementedError
