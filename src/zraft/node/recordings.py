"""The last steps of a replica that failed, as a file in the data folder: for `zraft replay`, and whoever asks why.

Written once, when the replica has stopped; never read, changed or deleted by a node. What goes wrong here is logged,
and nothing more: the reason why the replica stopped is in its status anyway.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from zraft.limits import RECORDINGS
from zraft.peer.duties import Recorded

LOG: Final = logging.getLogger("zraft")

SUFFIX: Final = ".recording"


def keep_recordings(folder: Path, recordings: Iterable[Recorded]) -> None:
    """Each gets a file `<peer>-<incarnation>-<time>.recording`, private as all files there; at most `RECORDINGS`."""
    for recorded in recordings:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = folder / f"{recorded.peer}-{recorded.incarnation:016x}-{stamp}{SUFFIX}"
        try:
            if sum(entry.name.endswith(SUFFIX) for entry in os.scandir(folder)) >= RECORDINGS:
                LOG.warning("%s: its last steps are not kept: %s holds %d already", recorded.peer, folder, RECORDINGS)
                continue
            _write(path, recorded.data)
        except OSError as error:
            LOG.warning("%s: its last steps are not kept: %s: %s", recorded.peer, path, error.strerror)
        else:
            LOG.warning("%s: its last steps are in %s; zraft replay shows them", recorded.peer, path)


def _write(path: Path, data: bytes) -> None:
    """A new file: nothing is overwritten, and no link is followed."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
