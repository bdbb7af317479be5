"""The snapshots below a folder, for people: found and checked without a node, and without changing anything.

A node may run there meanwhile: what is published is whole, and what goes while it is looked at is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from zraft.errors import StorageError
from zraft.node.shelves import ARCHIVE, SNAPSHOTS
from zraft.node.snapshot_files import Check, go_on, open_folder, read_manifest, wrong_with
from zraft.storage.manifest import (
    MANIFEST,
    Manifest,
    parse_replica_folder,
    parse_snapshot_folder,
    replica_folder,
    snapshot_folder,
)


class Kept(msgspec.Struct, frozen=True):
    """A snapshot in its folder. `manifest` None: it cannot be used, `fault` says why."""

    path: Path
    is_archived: bool
    manifest: Manifest | None
    fault: str = ""


def kept_below(folder: Path) -> list[Kept]:
    """What is in `folder`: a snapshot itself, or the snapshot_dir of a node; archived ones come last.

    Raises StorageError where nothing of the kind is there, or it cannot be read.
    """
    try:
        if (folder / MANIFEST).exists():
            return [_kept(folder.resolve())]
        if not any((folder / tree).is_dir() for tree in (SNAPSHOTS, ARCHIVE)):
            raise StorageError(f"{folder} holds no snapshots; name the snapshot_dir of a node, or one snapshot")
        return [_kept(path) for tree in (SNAPSHOTS, ARCHIVE) for path in _below(folder / tree) if path.is_dir()]
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror or error}") from error


def _below(tree: Path) -> Iterator[Path]:
    """The folders of published snapshots in one of the two trees, by replica and index."""
    replicas = [path for path in tree.iterdir() if parse_replica_folder(path.name)] if tree.is_dir() else []
    for replica in sorted(replicas, key=lambda path: parse_replica_folder(path.name) or ("", 0)):
        found = [path for path in replica.iterdir() if parse_snapshot_folder(path.name)]
        yield from sorted(found, key=lambda path: parse_snapshot_folder(path.name) or (0, 0))


def _kept(path: Path) -> Kept:
    is_archived = path.parent.parent.name == ARCHIVE
    try:
        folder = open_folder(path)
        try:
            manifest = read_manifest(folder, str(path))
        finally:
            os.close(folder)
    except StorageError as error:
        return Kept(path, is_archived, None, str(error))
    except OSError as error:
        return Kept(path, is_archived, None, f"{path} cannot be read: {error.strerror or error}")
    fault = ""
    is_at_home = parse_replica_folder(path.parent.name) is not None and parse_snapshot_folder(path.name) is not None
    if is_at_home and (path.parent.name, path.name) != (replica_folder(manifest.meta), snapshot_folder(manifest.mark)):
        fault = f"{path} holds snapshot {snapshot_folder(manifest.mark)} of {replica_folder(manifest.meta)}"
    return Kept(path, is_archived, manifest, fault)


def wrong_with_kept(kept: Kept, checked: Callable[[int], None], check: Check = go_on) -> list[str]:
    """Everything that is wrong with a snapshot, each with the file it is in; `checked` is told the bytes of each file.

    Files that the manifest does not know are wrong, too: nobody wrote them there who may.
    """
    if kept.manifest is None or kept.fault:
        return [kept.fault]
    found = []
    try:
        folder = open_folder(kept.path)
        try:
            for file in kept.manifest.files:
                problem = wrong_with(file, folder, check)
                if problem:
                    found.append(f"{kept.path / file.name} {problem}")
                checked(file.size)
            known = [MANIFEST, *(file.name for file in kept.manifest.files)]
            found += [
                f"{kept.path / name} is no file of the snapshot"
                for name in sorted(os.listdir(folder))
                if name not in known
            ]
        finally:
            os.close(folder)
    except OSError as error:
        found.append(f"{kept.path} cannot be read: {error.strerror or error}")
    return found
