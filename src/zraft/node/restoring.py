"""A new group out of a snapshot: its only peer begins with that state. Never a member of the group it was taken from.

A replica that came back from an archive would have forgotten its votes and what it had acknowledged since, and could
help to decide twice (BM-043). So a group, an incarnation and a configuration of one are made anew; index, term and
replicated time go on from the snapshot, because the state knows them.

The order is that of a first start: the snapshot is published, then the state files name the replica. What a crash in
between leaves is a snapshot of nobody, which the next start of the node deletes.
"""

from __future__ import annotations

import os
import secrets as chance
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from zraft.core.entries import HardState, Membership, SnapshotMark
from zraft.errors import CorruptData, StorageError, UsageError
from zraft.node.archiving import copy
from zraft.node.catalogue import Kept
from zraft.node.disk import RealDisk
from zraft.node.shelves import SNAPSHOTS, WRITING, Shelf
from zraft.node.snapshot_files import open_folder, write_manifest
from zraft.node.vault import open_root, storage_error
from zraft.storage.disk import Completion
from zraft.storage.manifest import Manifest
from zraft.storage.replica import ReplicaMeta, Save, SaveDone, StoreFailed
from zraft.storage.store import Store, StoreSettings
from zraft.types import GroupId, Member, PeerId


def restore(kept: Kept, peer: PeerId, *, data_dir: Path, snapshot_dir: Path, copied: Callable[[int], None]) -> Manifest:
    """The data folder has a new replica `peer`, the only member of a new group with the state of `kept`.

    `data_dir` and `snapshot_dir` are those of the node `peer.node`, which does not run; they are made where they are
    missing. `copied` is told the bytes of each file. Returns the manifest of what was made.

    Raises StorageError: the snapshot is damaged (CorruptData), a node uses the folder (DataDirInUse), a peer of that
    name is there (then nothing was changed), or the disk failed.
    """
    if kept.manifest is None or kept.fault:
        raise StorageError(kept.fault)
    reported: SimpleQueue[Completion] = SimpleQueue()
    disk = RealDisk(data_dir, reported.put)
    try:
        opened = Store.open(disk, StoreSettings())
        if any(replica.meta.name == peer.name for replica in opened.replicas):
            raise StorageError(f"{data_dir} holds a peer named {peer.name} already: choose another name, or folder")
        made = renewed(kept.manifest, peer)
        copy_files(kept, made, snapshot_dir, data_dir, copied)
        born(opened.store, made, disk, reported)
        return made
    except OSError as error:
        raise storage_error(error, f"restoring {kept.path}") from error
    finally:
        disk.close()


def renewed(manifest: Manifest, peer: PeerId) -> Manifest:
    """The same state, as that of the new replica."""
    incarnation = 1 + chance.randbelow((1 << 64) - 1)
    meta = ReplicaMeta(peer.name, GroupId(chance.token_bytes(16)), incarnation, manifest.meta.backend)
    old = manifest.mark
    membership = Membership((Member(peer, incarnation),))
    mark = SnapshotMark(old.index, old.term, old.time, old.index, membership)
    return Manifest(meta, manifest.backend_version, mark, int(time.time() * 1000), manifest.files)


def copy_files(kept: Kept, made: Manifest, snapshot_dir: Path, data_dir: Path, copied: Callable[[int], None]) -> None:
    """The snapshot is published for the new replica, every byte checked on the way."""
    root, lock = open_root(snapshot_dir, data_dir)
    try:
        shelf = Shelf(root, snapshot_dir, SNAPSHOTS)
        source = open_folder(kept.path)
        draft = shelf.draft(made.meta, made.mark, WRITING)
        try:
            for file in made.files:
                found = copy(file.name, source, draft.folder)
                if (found.size, found.crc) != (file.size, file.crc):
                    raise CorruptData(str(kept.path / file.name), 0, "does not match its checksum")
                copied(file.size)
            write_manifest(made, draft.folder)
            draft.publish()
        finally:
            draft.close()
            os.close(source)
            shelf.close()
    finally:
        for descriptor in (lock, root):
            if descriptor >= 0:
                os.close(descriptor)


def born(store: Store, made: Manifest, disk: RealDisk, reported: SimpleQueue[Completion]) -> None:
    """The journal and the state files have the replica, durably."""
    store.create_replica(made.meta, 1, HardState(made.mark.term))
    store.save(Save(made.meta.name, 2, reset_to=made.mark))
    wait_saved(store, made.meta.name, 2, disk, reported)


def wait_saved(store: Store, name: str, number: int, disk: RealDisk, reported: SimpleQueue[Completion]) -> None:
    """Save `number` of the replica, and all before it, are durable. Raises StorageError."""
    is_saved = False
    while not is_saved:
        job = store.next_job()
        if job is None:
            raise UsageError("the store has nothing to do, and has not saved")
        disk.submit(job)
        for done in store.completed(reported.get()):
            if isinstance(done, StoreFailed):
                raise done.error
            is_saved = is_saved or (isinstance(done, SaveDone) and (done.name, done.number) == (name, number))
