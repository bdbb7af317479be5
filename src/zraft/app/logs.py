"""`zraft log inspect`, `zraft log verify`: what is in the data folder of a node that is stopped."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from zraft.app.options import json_option
from zraft.errors import DataDirInUse, StorageError, UsageError
from zraft.node.disk import LOCK_NAME
from zraft.storage.disk import Job, Operation
from zraft.storage.inspect import Report, describe_line, inspect_folder, verify_folder


class FolderReader:
    """The part of the Disk port that reads, over a folder that is left as it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """The files there, sorted, without the lock."""
        return sorted(entry.name for entry in os.scandir(self._folder) if entry.is_file() and entry.name != LOCK_NAME)

    def size(self, name: str) -> int:
        """Bytes in the file."""
        return os.stat(self._folder / name).st_size

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`."""
        with open(self._folder / name, "rb") as file:
            file.seek(offset)
            return file.read(length)

    def submit(self, job: Job) -> None:
        """Never: this only reads."""
        raise UsageError(f"job {job.number} on a folder that is only read")

    def perform(self, *operations: Operation) -> None:
        """Never: this only reads."""
        raise UsageError(f"{len(operations)} operations on a folder that is only read")


@contextmanager
def _opened(folder: Path) -> Iterator[FolderReader]:
    """The folder, while no node uses it. Raises `StorageError` where one does, or where it cannot be read."""
    reader = FolderReader(folder)
    try:
        if not reader.names():
            raise StorageError(f"{folder} holds no data of a node; name the folder given to its --data-dir")
        lock = folder / LOCK_NAME
        held = os.open(lock, os.O_RDONLY) if lock.exists() else -1
        try:
            if held >= 0:
                _hold(held, folder)
            yield reader
        finally:
            if held >= 0:
                os.close(held)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}; name the folder of a node's data") from error


def _hold(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirInUse(f"a node uses {folder}; stop it first, or look at a copy") from None


_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


@click.group(no_args_is_help=False)
def log() -> None:
    """Look into the data folder of a node that is stopped. Nothing in it is changed."""


@log.command()
@_FOLDER
@json_option
def inspect(folder: Path, as_json: bool) -> None:
    """Print the peers and every record of the journal in DIR, one on a line. Values are not shown, only their size."""
    with _opened(folder) as reader:
        for line in inspect_folder(reader):
            if as_json:
                print(msgspec.json.encode({"line": type(line).__name__, **msgspec.structs.asdict(line)}).decode())
            else:
                print(describe_line(line))


@log.command()
@_FOLDER
@json_option
def verify(folder: Path, as_json: bool) -> int:
    """Read every byte of DIR that counts and check it. Exit status 1 where something that was durable is lost."""
    with _opened(folder) as reader:
        report = verify_folder(reader)
    if as_json:
        print(msgspec.json.encode({"is_sound": report.is_sound, **msgspec.structs.asdict(report)}).decode())
    else:
        _print(report)
    if report.is_sound:
        return 0
    print(
        "zraft: data that was durable is lost: let the peer's group remove it and add it again empty (zraft set-conf)",
        file=sys.stderr,
    )
    return 1


def _print(report: Report) -> None:
    for replica in report.replicas:
        print(describe_line(replica))
    for note in report.notes:
        print(f"note: {note}")
    for lost in report.lost:
        print(f"LOST: {lost}")
    verdict = "sound" if report.is_sound else "DAMAGED"
    print(f"{report.records} records in {report.segments} segments: {verdict}")
