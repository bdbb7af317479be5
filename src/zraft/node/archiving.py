"""Archived snapshots: a second name for the files of a published one, which nothing that a node does ever deletes.

Files of a snapshot are never changed, so a hard link is as good as a copy and costs nothing; where the file system has
none, they are copied.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from zraft.errors import CorruptData
from zraft.node.shelves import WRITING, Shelf
from zraft.node.snapshot_files import PIECE_BYTES, Check, SyncedFile, go_on, open_file, read_manifest, write_manifest
from zraft.storage.manifest import Manifest

_NO_LINKS: Final = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


def archive(shelf: Shelf, manifest: Manifest, folder: int, check: Check = go_on) -> None:
    """The snapshot in `folder`, whose files are durable, is archived, durably. Raises OSError.

    One that is there already stays; what is there and cannot be read makes way.
    """
    there = shelf.open(manifest.meta, manifest.mark)
    if there is not None:
        try:
            if read_manifest(there, "archive") == manifest:
                return
        except CorruptData:
            pass
        finally:
            os.close(there)
        shelf.delete(manifest.meta, [(manifest.mark.index, manifest.mark.term)])
    draft = shelf.draft(manifest.meta, manifest.mark, WRITING)
    try:
        for file in manifest.files:
            check()
            link_or_copy(file.name, folder, draft.folder, check)
        write_manifest(manifest, draft.folder, check)
        draft.publish()
    finally:
        draft.close()


def link_or_copy(name: str, source: int, target: int, check: Check = go_on) -> None:
    """The file is in the other folder, too. Raises OSError."""
    try:
        os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        copy(name, source, target, check)


def copy(name: str, source: int, target: int, check: Check = go_on) -> SyncedFile:
    """A durable copy of the file is in the other folder. Raises OSError."""
    file, offset = open_file(name, source), 0
    try:
        with SyncedFile(name, target, check) as made:
            while data := os.pread(file, PIECE_BYTES, offset):
                made.write(data)
                offset += len(data)
    finally:
        os.close(file)
    return made
