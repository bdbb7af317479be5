"""Folders of snapshots below `snapshot_dir`: each becomes a published one, whole and durably, or none.

    snapshots/<name>-<incarnation>/<index>-<term>/            published: its MANIFEST was written last
    snapshots/<name>-<incarnation>/<index>-<term>.writing/    being written; removed by the next start
                                                 .fetching/   coming from another node; likewise
                                                 .deleting/   being deleted; likewise
    archive/<name>-<incarnation>/<index>-<term>/              what `snapshot_backup` keeps

A name without an ending appears by renaming a folder in which everything is durable, and goes by renaming, too. So
whatever a crash leaves, what has such a name is whole. See docs/formats/snapshots.md.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from zraft.core.entries import SnapshotMark
from zraft.node.snapshot_files import make_folder, open_folder
from zraft.storage.manifest import parse_replica_folder, parse_snapshot_folder, replica_folder, snapshot_folder
from zraft.storage.replica import ReplicaMeta
from zraft.types import Index

SNAPSHOTS: Final = "snapshots"
ARCHIVE: Final = "archive"
WRITING: Final = ".writing"
FETCHING: Final = ".fetching"
_DELETING: Final = ".deleting"
_ENDINGS: Final = (WRITING, FETCHING, _DELETING)


class Draft:
    """A snapshot's folder before it is published. `folder` is its descriptor, `path` where it is for now."""

    def __init__(self, parent: int, path: Path, mark: SnapshotMark, ending: str) -> None:
        """It is there, and empty. Takes the descriptor `parent` over. Raises OSError."""
        self._parent, self._final = parent, snapshot_folder(mark)
        self._name = self._final + ending
        self.path = path / self._name
        self._is_published = False
        try:
            shutil.rmtree(self._name, ignore_errors=True, dir_fd=parent)
            os.mkdir(self._name, 0o700, dir_fd=parent)
            self.folder = open_folder(self._name, parent)
        except OSError:
            os.close(parent)
            raise

    def publish(self) -> None:
        """It is published, durably. Its files and itself were synced, and nothing has its name. Raises OSError.

        Where the last step failed it is taken back: whether it would be there after a crash is unknown.
        """
        os.rename(self._name, self._final, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        try:
            os.fsync(self._parent)
        except OSError:
            os.rename(self._final, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
            raise
        self._is_published = True

    def close(self) -> None:
        """Let go of it; where it was not published it is removed."""
        if not self._is_published:
            shutil.rmtree(self._name, ignore_errors=True, dir_fd=self._parent)
        os.close(self.folder)
        os.close(self._parent)


class Shelf:
    """One of the two trees. Not used for one replica from two threads at once."""

    def __init__(self, root: int, path: Path, name: str) -> None:
        """It exists, durably. Raises OSError."""
        self.path = path / name
        self._folder = make_folder(name, root)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._folder)

    def draft(self, meta: ReplicaMeta, mark: SnapshotMark, ending: str) -> Draft:
        """A new folder for a snapshot, to be filled and published. Raises OSError."""
        name = replica_folder(meta)
        return Draft(make_folder(name, self._folder), self.path / name, mark, ending)

    def open(self, meta: ReplicaMeta, mark: SnapshotMark) -> int | None:
        """The descriptor of a published snapshot; None where there is none. Raises OSError."""
        try:
            parent = open_folder(replica_folder(meta), self._folder)
        except FileNotFoundError:
            return None
        try:
            return open_folder(snapshot_folder(mark), parent)
        except FileNotFoundError:
            return None
        finally:
            os.close(parent)

    def path_of(self, meta: ReplicaMeta, mark: SnapshotMark) -> Path:
        """Where a published snapshot is."""
        return self.path / replica_folder(meta) / snapshot_folder(mark)

    def settle(self, meta: ReplicaMeta) -> None:
        """What has been published of the replica stays after a crash. Raises OSError."""
        parent = open_folder(replica_folder(meta), self._folder)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def marks(self, meta: ReplicaMeta) -> list[tuple[Index, int]]:
        """Index and term of each published snapshot of the replica, sorted. Raises OSError."""
        return sorted(self._marks(replica_folder(meta)))

    def _marks(self, replica: str) -> list[tuple[Index, int]]:
        try:
            names = _listed(replica, self._folder)
        except FileNotFoundError:
            return []
        return [found for name in names if (found := parse_snapshot_folder(name)) is not None]

    def delete(self, meta: ReplicaMeta, marks: list[tuple[Index, int]]) -> None:
        """These published snapshots are gone: first their names, durably, then their files. Raises OSError."""
        if not marks:
            return
        parent = open_folder(replica_folder(meta), self._folder)
        try:
            names = [f"{index}-{term}" for index, term in marks]
            for name in names:
                shutil.rmtree(name + _DELETING, ignore_errors=True, dir_fd=parent)
                os.rename(name, name + _DELETING, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)
            for name in names:
                shutil.rmtree(name + _DELETING, dir_fd=parent)
        finally:
            os.close(parent)

    def forget(self, meta: ReplicaMeta) -> None:
        """Nothing of the replica is here any more. Raises OSError."""
        self.delete(meta, self.marks(meta))
        name = replica_folder(meta)
        try:
            shutil.rmtree(name, dir_fd=self._folder)
        except FileNotFoundError:
            return
        os.fsync(self._folder)

    def clean(self) -> list[str]:
        """What a crash left half done is removed, what is published stays after the next one. Raises OSError.

        Returns what was removed, as paths within this tree.
        """
        removed = []
        for replica in sorted(_listed(".", self._folder)):
            if parse_replica_folder(replica) is None:
                continue
            parent = open_folder(replica, self._folder)
            try:
                names = sorted(os.listdir(parent))
                for name in names:
                    if name.endswith(_ENDINGS) and parse_snapshot_folder(name.rpartition(".")[0]) is not None:
                        shutil.rmtree(name, dir_fd=parent)
                        removed.append(f"{replica}/{name}")
                os.fsync(parent)
            finally:
                os.close(parent)
            if not self._marks(replica) and not _listed(replica, self._folder):
                os.rmdir(replica, dir_fd=self._folder)
        os.fsync(self._folder)
        return removed

    def published(self) -> Iterator[tuple[str, int, Index, int, int]]:
        """Peer name, incarnation, index, term and descriptor of every published snapshot, sorted. Raises OSError.

        Each descriptor is open until the next one is asked for.
        """
        replicas = [(found, name) for name in _listed(".", self._folder) if (found := parse_replica_folder(name))]
        for (peer, incarnation), replica in sorted(replicas):
            for index, term in sorted(self._marks(replica)):
                parent = open_folder(replica, self._folder)
                try:
                    folder = open_folder(f"{index}-{term}", parent)
                finally:
                    os.close(parent)
                try:
                    yield peer, incarnation, index, term, folder
                finally:
                    os.close(folder)


def _listed(name: str, parent: int) -> list[str]:
    folder = open_folder(name, parent)
    try:
        return os.listdir(folder)
    finally:
        os.close(folder)
