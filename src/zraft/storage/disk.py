"""The Disk port: the only way in which storage touches the world. `node` performs it for real, `sim` with faults.

A disk is one folder of files; names are plain file names. Everything that changes it is a job: operations performed in
order, away from the event loop, answered by exactly one `Completion`. Jobs are performed in the order of submission,
one at a time. The first operation that fails ends its job; what the operations before it did stays done, durable or
not.

Only `SyncFile` makes a file's bytes durable and only `SyncFolder` makes creation, renaming and deletion durable. After
a power loss everything else is each 512-byte sector old, new or zero, and each name there or not (BM-100).

The synchronous methods serve recovery, before the node serves anybody, and offline tools.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec


class CreateFile(msgspec.Struct, frozen=True, gc=False):
    """A new file of `size` zero bytes, really written. Fails where the name exists."""

    name: str
    size: int


class WriteAt(msgspec.Struct, frozen=True, gc=False):
    """Write all of `data` at `offset`; a short write is an error."""

    name: str
    offset: int
    data: bytes


class SyncFile(msgspec.Struct, frozen=True, gc=False):
    """fdatasync: when it is done, every earlier write to the file is durable."""

    name: str


class SyncFolder(msgspec.Struct, frozen=True, gc=False):
    """fsync of the folder: when it is done, every earlier create, rename and delete is durable."""


class RenameFile(msgspec.Struct, frozen=True, gc=False):
    """Atomic; replaces `new` where it exists."""

    old: str
    new: str


class DeleteFile(msgspec.Struct, frozen=True, gc=False):
    """Fails where the name does not exist."""

    name: str


class ReadAt(msgspec.Struct, frozen=True, gc=False):
    """Read up to `length` bytes; fewer only at the end of the file. The bytes come back in `Completion.reads`."""

    name: str
    offset: int
    length: int


Operation: TypeAlias = CreateFile | WriteAt | SyncFile | SyncFolder | RenameFile | DeleteFile | ReadAt


class Job(msgspec.Struct, frozen=True, gc=False):
    """Operations to perform in order. `number` is the submitter's own and comes back.

    After a change that failed no job changes anything any more: what the file has is unknown. `forgives` names the
    errors, such as "ENOSPC", that do not matter so, because nothing that was promised lies in the files concerned.
    """

    number: int
    operations: tuple[Operation, ...]
    forgives: tuple[str, ...] = ()


class DiskError(msgspec.Struct, frozen=True):
    """What an operation failed with: `operation` is its class name and file, `errno_name` say "EIO" or "ENOSPC"."""

    operation: str
    errno_name: str
    text: str


class Completion(msgspec.Struct, frozen=True, gc=False):
    """`reads` has the bytes of the job's ReadAt operations in order; `error` None means that all of it was done."""

    number: int
    reads: tuple[bytes, ...] = ()
    error: DiskError | None = None


class Disk(Protocol):
    """One folder. A real one is locked while it is open."""

    def submit(self, job: Job) -> None:
        """Queue the job. Its completion reaches the owner of the store, never from within this call."""

    def names(self) -> list[str]:
        """The files there, sorted."""

    def size(self, name: str) -> int:
        """Bytes in the file. Raises FileNotFoundError."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes, fewer only at the end of the file. Raises OSError."""

    def perform(self, *operations: Operation) -> None:
        """Do the operations now, in order. Raises OSError. For recovery only, while no job is under way."""
