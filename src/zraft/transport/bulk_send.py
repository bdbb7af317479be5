"""Sends files to a `bulk.Receiver` from a worker thread, by the kernel where it can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from zraft import limits
from zraft.wire.bulk import FileEntry


def send_files(
    address: str,
    token: bytes,
    folder: Path,
    files: Sequence[FileEntry],
    positions: Sequence[int],
    *,
    rate: int | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int], None] | None = None,
    stalled_ms: int = limits.STALLED_MS,
) -> int:
    """Blocks until the receiver at `address` has said that it has everything, verified and durable.

    Sends `files` of `folder`, each from its place in `positions` on; returns how many bytes that were. `rate`: at most
    so many bytes a second. `is_cancelled` is asked after every piece, at least twice a second. `on_progress` is told
    the bytes sent so far.

    Raises UsageError for arguments that cannot be, ProtocolError where `positions` are not of these files (they come
    from another node), StorageError where a file cannot be read or is shorter than it should be, and otherwise
    TransferError: its `is_resumable` says whether trying again makes sense, where the receiver then stands only it
    knows. A file must stay until this returns.
    """
    raise NotImplementedError
