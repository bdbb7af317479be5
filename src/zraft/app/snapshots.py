"""`zraft snapshot list`, `verify`, `restore`: the snapshots and archives of a node, and a new group out of one."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from zraft.app.options import PeerType, json_option
from zraft.app.output import json_of, table
from zraft.app.progress import Progress
from zraft.errors import StorageError
from zraft.node.catalogue import Kept, kept_below, wrong_with_kept
from zraft.node.restoring import restore as restored_from
from zraft.types import PeerId


@click.group(no_args_is_help=False)
def snapshot() -> None:
    """List and check the snapshots of a node, and make a new group out of one.

    A node keeps the snapshots of its peers in its snapshot_dir (zraft server: --data-dir), below snapshots/; with
    snapshot_backup = true it keeps each one that it takes in archive/ as well, and never deletes those.
    """


_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


@snapshot.command("list")
@_FOLDER
@json_option
def list_(folder: Path, as_json: bool) -> None:
    """List the snapshots in DIR, the snapshot_dir of a node, which may run; archived ones come last."""
    rows = [_row(kept) for kept in kept_below(folder)]
    if as_json:
        print(json_of(rows))
        return
    head = ("KIND", "PEER", "GROUP", "INDEX", "TERM", "WRITTEN", "BYTES", "BACKEND", "PATH")
    print(table(head, [[_shown(row[name.lower()]) for name in head] for row in rows]))


def _row(kept: Kept) -> dict[str, Any]:
    """A snapshot for a program; of one that cannot be read, its path and why."""
    row: dict[str, Any] = dict.fromkeys(
        ("peer", "incarnation", "group", "index", "term", "time", "written", "bytes", "backend", "backend_version")
    )
    manifest = kept.manifest
    if manifest is not None:
        meta, mark = manifest.meta, manifest.mark
        row |= {"peer": meta.name, "incarnation": meta.incarnation, "group": meta.group.hex(), "backend": meta.backend}
        row |= {"index": mark.index, "term": mark.term, "time": mark.time, "bytes": manifest.size}
        row |= {"written": _date(manifest.written_ms), "backend_version": manifest.backend_version}
    kind = "archived" if kept.is_archived else "published"
    return {"kind": kind, **row, "path": str(kept.path), "fault": kept.fault or None}


def _shown(cell: Any) -> Any:
    return "?" if cell is None else cell


def _date(written_ms: int) -> str | None:
    """UTC, to the second; None where no calendar has it."""
    try:
        return datetime.fromtimestamp(written_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None


@snapshot.command()
@_FOLDER
@json_option
def verify(folder: Path, as_json: bool) -> int:
    """Read every file of the snapshots in DIR and check it. Exit status 1 where anything is damaged.

    DIR is the snapshot_dir of a node, which may run, or one snapshot.
    """
    found = kept_below(folder)
    progress = Progress("checked", sum(kept.manifest.size for kept in found if kept.manifest is not None))
    damaged = 0
    for kept in found:
        problems = [problem for problem in wrong_with_kept(kept, progress.add) if kept.path.exists()]
        damaged += bool(problems)
        if as_json:
            print(json_of({"path": str(kept.path), "is_sound": not problems, "problems": problems}))
            continue
        print(f"{'DAMAGED' if problems else 'sound'}  {kept.path}")
        for problem in problems:
            print(f"    {problem}")
    progress.end()
    if not damaged:
        return 0
    print(
        f"zraft: {damaged} of {len(found)} snapshots are damaged: a node that needs such a one gets another from its "
        "group; delete the folder of an archived one",
        file=sys.stderr,
    )
    return 1


@snapshot.command()
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Of the node to be.")
@click.option("--peer", type=PeerType(), required=True, metavar="PEER", help="The new peer, as name@host:port.")
@click.option(
    "--snapshot-dir", type=click.Path(path_type=Path), metavar="DIR", help="Of that node. [default: as --data-dir]"
)
@json_option
def restore(source: Path, data_dir: Path, peer: PeerId, snapshot_dir: Path | None, as_json: bool) -> None:
    r"""Make a new group out of the snapshot in DIR, with PEER as its only member.

    DIR is the folder of one snapshot (zraft snapshot list shows its path), or holds no other. The node of PEER must not
    run; its data folder may hold other peers, and is made if missing. Then start the node, and let the group grow:

    \b
      zraft snapshot restore backup/archive/a-…/5000-3 --data-dir n1 --peer b@127.0.0.1:7101
      zraft server --listen 127.0.0.1:7101 --data-dir n1
      zraft set-conf b@127.0.0.1:7101 b@127.0.0.1:7102 b@127.0.0.1:7103 --peers b@127.0.0.1:7101

    The old group is not touched, and its peers never take the new one for their own: clients have to be told the new
    peers. What was written after the snapshot is not in it.
    """
    kept = _only(source)
    size = kept.manifest.size if kept.manifest is not None else 0
    progress = Progress("copied", size)
    made = restored_from(kept, peer, data_dir=data_dir, snapshot_dir=snapshot_dir or data_dir, copied=progress.add)
    progress.end()
    if as_json:
        answer = {"peer": str(peer), "group": made.meta.group.hex(), "index": made.mark.index, "bytes": made.size}
        print(json_of({**answer, "backend": made.meta.backend, "data_dir": str(data_dir)}))
        return
    print(f"{peer} is a new group with the state at index {made.mark.index}, {made.size} bytes")
    print(f"start its node: zraft server --listen {peer.node} --data-dir {data_dir}")
    print(f"then let it grow: zraft set-conf {peer} PEER... --peers {peer}")


def _only(source: Path) -> Kept:
    found = kept_below(source)
    if len(found) == 1:
        return found[0]
    if not found:
        raise StorageError(f"{source} holds no snapshots yet")
    raise StorageError(
        f"{source} holds {len(found)} snapshots: name the folder of one, which zraft snapshot list shows"
    )
