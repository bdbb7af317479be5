"""A new group out of what a folder of a broken one has: state and log, with one new peer as its only member.

As in `restoring`, nothing of the old group is continued but its data: group, incarnation and configuration are new, so
that no old member can ever take part, nor be taken for one that does (BM-043). The log is copied entry by entry with
its indexes, terms and times, so that everything in it, sessions too, means what it meant. Old configurations become
entries without effect; where the log begins at 1, the first one becomes the new group's.

What was in the log and not committed becomes committed: whoever wrote it was never told that it had not happened.
"""

from __future__ import annotations

import secrets as chance
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import msgspec

from zraft.core.entries import Batch, HardState, Kind, Membership, SnapshotMark
from zraft.core.memberships import encode_membership
from zraft.errors import StorageError, UsageError
from zraft.node.catalogue import Kept
from zraft.node.disk import RealDisk
from zraft.node.restoring import copy_files, renewed, wait_saved
from zraft.node.vault import storage_error
from zraft.storage.disk import Completion, Disk
from zraft.storage.doctor import Copy
from zraft.storage.reading import Wanted, read_batches, wanted_at
from zraft.storage.recovery import survey
from zraft.storage.replica import ReplicaMeta, Save
from zraft.storage.store import Store, StoreSettings
from zraft.types import GroupId, Index, Member, PeerId

_SLICE_BYTES: Final = 4 << 20
"""Of the log, read and written at once."""


def salvage(
    copy: Copy, source: Disk, base: Kept | None, peer: PeerId, *, into: Path, copied: Callable[[int], None]
) -> ReplicaMeta:
    """`into` has the new replica `peer`, the only member of a new group, with all that `copy` can be brought back to.

    `source` is the folder that the copy is in, `base` the snapshot that it begins with, None: there is none. `copied`
    is told the bytes of what is done. Raises StorageError: something there is damaged, or the disk failed; what was
    made by then must not be used.
    """
    if copy.end is None:
        raise StorageError(f"{copy.folder} has nothing of {copy.meta.name} that a group could begin with")
    reported: SimpleQueue[Completion] = SimpleQueue()
    disk = RealDisk(into, reported.put)
    try:
        store = Store.open(disk, StoreSettings()).store
        meta, mark = _begin(copy, base, peer, into, copied)
        term = max(copy.end[0], copy.term)
        store.create_replica(meta, 1, HardState(term))
        store.save(Save(meta.name, 2, reset_to=mark if mark.index else None))
        wait_saved(store, meta.name, 2, disk, reported)
        number = 2
        first = Membership((Member(peer, meta.incarnation),))
        for slice_ in _slices(_wanted(copy, source, mark.index)):
            batches = [_renamed(batch, first) for batch in read_batches(source, copy.meta.incarnation, slice_)]
            number += 1
            store.save(Save(meta.name, number, append=tuple(batches)))
            wait_saved(store, meta.name, number, disk, reported)
            copied(sum(item.size for item in slice_))
        return meta
    except OSError as error:
        raise storage_error(error, f"making {into} from {copy.folder}") from error
    finally:
        disk.close()


def _begin(
    copy: Copy, base: Kept | None, peer: PeerId, into: Path, copied: Callable[[int], None]
) -> tuple[ReplicaMeta, SnapshotMark]:
    """The new identity, and the snapshot published for it, if there is one."""
    if base is None:
        incarnation = 1 + chance.randbelow((1 << 64) - 1)
        return ReplicaMeta(peer.name, GroupId(chance.token_bytes(16)), incarnation, copy.meta.backend), SnapshotMark()
    if base.manifest is None or base.fault:
        raise StorageError(base.fault)
    made = renewed(base.manifest, peer)
    copy_files(base, made, into, into, copied)
    return made.meta, made.mark


def _wanted(copy: Copy, source: Disk, after: Index) -> list[Wanted]:
    """The batches of the log after the snapshot, up to the first gap."""
    owner = copy.meta.incarnation
    found = survey(source)
    if found.traces[owner].rotten_lsn:
        found = survey(source, [owner])
    index = found.traces[owner].index
    wanted = [wanted_at(index, position) for position in range(len(index))]
    wanted = [item for item in wanted if after < item.last <= copy.last_index]
    expected = after + 1
    for item in wanted:
        if item.first != expected:
            raise UsageError(f"batch {item.first} of {copy.folder} where {expected} is next")
        expected = item.last + 1
    return wanted


def _slices(wanted: Sequence[Wanted]) -> list[list[Wanted]]:
    slices: list[list[Wanted]] = []
    size = _SLICE_BYTES
    for item in wanted:
        if size >= _SLICE_BYTES:
            slices.append([])
            size = 0
        slices[-1].append(item)
        size += item.size
    return slices


def _renamed(batch: Batch, first: Membership) -> Batch:
    """The same batch in the new group: nobody but its founder ever belonged to that."""
    if batch.kind != Kind.CONFIGURATION:
        return batch
    if batch.first == 1:
        return msgspec.structs.replace(batch, payload=encode_membership(first))
    return msgspec.structs.replace(batch, kind=Kind.NOOP, payload=b"")
