"""`zraft replay`: the last steps of a peer that failed, out of the file that its node left in its data folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from zraft.errors import CorruptData, StorageError
from zraft.limits import RECORDING_BYTES
from zraft.peer.recording import MAGIC, Recording, decode
from zraft.peer.replaying import Replay


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def replay(file: Path) -> int:
    """Step through the last moments of a peer that failed, and print what it did.

    FILE is a .recording from the log_dir of its node. The same code runs again, so this shows a fault of this version
    only where this version has it: exit status 1 where the steps end otherwise than they did.
    """
    recording = _read(file)
    print(f"# peer {recording.peer}, backend {recording.backend}, group {recording.group.hex()}")
    print(f"# {len(recording.events)} events from term {recording.held.current_term} on, log up to {_end(recording)}")
    told = Replay(recording)
    for line in told.lines():
        print(line)
    if told.is_same:
        return 0
    ended = f"stops: {told.fault}" if told.fault else "does not stop"
    print(f"zraft: it ended otherwise: here it {ended}; then it stopped: {recording.fault}", file=sys.stderr)
    return 1


def _read(path: Path) -> Recording:
    try:
        with open(path, "rb") as file:
            data = file.read(RECORDING_BYTES + 1024)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}; name a .recording in a node's log_dir") from error
    if data[: len(MAGIC)] != MAGIC:
        raise CorruptData(str(path), 0, "not a recording; name a .recording in a node's log_dir")
    return decode(str(path), data)


def _end(recording: Recording) -> int:
    log = recording.log
    return log.lasts[log.count - 1] if log.count else log.base_index
