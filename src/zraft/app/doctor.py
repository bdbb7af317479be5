"""`zraft doctor`: what the data folders that are left of a broken cluster have, and a new group out of the best one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click

from zraft.app.folders import FolderReader, opened
from zraft.app.options import json_option
from zraft.app.output import json_of, table
from zraft.app.progress import Progress
from zraft.errors import CorruptData, StorageError, UsageError
from zraft.node.catalogue import Kept, kept_below, wrong_with_kept
from zraft.node.salvaging import salvage
from zraft.node.shelves import ARCHIVE, SNAPSHOTS
from zraft.storage.doctor import Copy, Plan, Shot, copies_in, plans
from zraft.types import PeerId

_LISTEN: Final = "127.0.0.1:7101"
_DRAFT: Final = ".making"


@click.command()
@click.argument("folders", metavar="DIR...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--snapshot-dir",
    "snapshot_dirs",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Where a node of these kept its snapshots, if not in DIR. May be repeated.",
)
@click.option("--plan/--apply", "only_plan", default=True, help="Only say what could be done [default], or do it.")
@click.option("--into", type=click.Path(path_type=Path), metavar="DIR", help="The data folder to be made.")
@click.option("--listen", default=_LISTEN, show_default=True, metavar="ADDRESS", help="Of the node that will have it.")
@click.option("--group", "wanted", default="", metavar="ID", help="Only this group; the beginning of its id will do.")
@json_option
def doctor(
    folders: tuple[Path, ...],
    snapshot_dirs: tuple[Path, ...],
    only_plan: bool,
    into: Path | None,
    listen: str,
    wanted: str,
    as_json: bool,
) -> int:
    r"""Say what is left of a cluster of which a majority is gone, and make new groups out of it.

    DIR are the data folders of its nodes that can still be read; no node may run on them, and nothing in them is
    changed. For each group it says how far each folder goes, which one is the most complete, and what may be lost. Give
    it every folder that there is: one that is left out may have what the others lack.

    \b
      zraft doctor n1 n3
      zraft doctor n1 n3 --apply --into new --listen 127.0.0.1:7101
      zraft server --listen 127.0.0.1:7101 --data-dir new

    With --apply each group becomes a new one, with one peer in the folder --into. Members of the old group can never
    join that, and have to stay down: what they still accept is not in it. Exit status 1 where no group can be made.
    """
    if not only_plan:
        _check_target(folders, into, listen)
    with ExitStack() as held:
        readers = {str(folder): held.enter_context(opened(folder)) for folder in folders}
        kept = _snapshots((*folders, *snapshot_dirs))
        found = [plan for plan in _plans(readers, kept) if plan.group.hex().startswith(wanted)]
        if not found:
            raise StorageError(
                "there is no group in these folders" + (f" whose id begins with {wanted}" * bool(wanted))
            )
        made = {} if only_plan or into is None else _apply(found, readers, kept, into, listen)
    if as_json:
        print(json_of([_row(plan, made.get(plan.group)) for plan in found]))
    else:
        for plan in found:
            _print(plan, made.get(plan.group))
        _print_next(made, into, listen)
    return 0 if any(plan.best is not None for plan in found) else 1


def _check_target(folders: Sequence[Path], into: Path | None, listen: str) -> None:
    if into is None:
        raise UsageError("--apply makes a new data folder: say where, with --into DIR")
    try:
        PeerId("p", listen)
    except ValueError as error:
        raise UsageError(f"--listen {listen}: {error}") from error
    if into.resolve() in [folder.resolve() for folder in folders]:
        raise UsageError(f"{into} is one of the old folders, which are not changed: name a new one")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise UsageError(f"{into} is there already, and not empty: name a new folder")


def _snapshots(folders: Sequence[Path]) -> dict[str, Kept]:
    """Every snapshot below the folders, archived ones too, by its path."""
    with_any = [folder for folder in folders if (folder / SNAPSHOTS).is_dir() or (folder / ARCHIVE).is_dir()]
    return {str(kept.path): kept for folder in with_any for kept in kept_below(folder)}


def _plans(readers: dict[str, FolderReader], kept: dict[str, Kept]) -> list[Plan]:
    shots: dict[int, list[Shot]] = {}
    progress = Progress("checked", sum(one.manifest.size for one in kept.values() if one.manifest is not None))
    for path, one in kept.items():
        manifest = one.manifest
        if manifest is None:
            continue
        problem = "; ".join(wrong_with_kept(one, progress.add))
        shot = Shot(manifest.mark.index, manifest.mark.term, path, problem)
        shots.setdefault(manifest.meta.incarnation, []).append(shot)
    progress.end()
    copies: list[Copy] = []
    for folder, reader in readers.items():
        try:
            copies += copies_in(folder, reader, shots)
        except CorruptData as error:
            raise StorageError(f"{folder}: {error}; leave this folder out to go on without it") from error
    return plans(copies)


def _apply(
    found: Sequence[Plan], readers: dict[str, FolderReader], kept: dict[str, Kept], into: Path, listen: str
) -> dict[bytes, tuple[PeerId, str]]:
    """The new peer and the id of its group, by the old group's."""
    best = [plan.best for plan in found if plan.best is not None]
    names = [copy.meta.name for copy in best]
    if len(dict.fromkeys(names)) < len(names):
        raise UsageError(f"peers of two groups have one name ({', '.join(sorted(names))}): say which, with --group ID")
    made: dict[bytes, tuple[PeerId, str]] = {}
    draft = into.with_name(into.name + _DRAFT)  # half a log must never run as a group of one
    shutil.rmtree(draft, ignore_errors=True)
    for copy in best:
        base = kept[copy.base.path] if copy.base is not None else None
        progress = Progress("copied", base.manifest.size if base is not None and base.manifest is not None else 0)
        peer = PeerId(copy.meta.name, listen)
        meta = salvage(copy, readers[copy.folder], base, peer, into=draft, copied=progress.add)
        progress.end()
        made[copy.meta.group] = (peer, meta.group.hex())
    if made:
        _rename(draft, into)
    return made


def _rename(draft: Path, into: Path) -> None:
    """The whole folder appears, durably."""
    try:
        os.rename(draft, into)
        parent = os.open(into.resolve().parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    except OSError as error:
        raise StorageError(f"{draft} cannot become {into}: {error.strerror}") from error


def _row(plan: Plan, made: tuple[PeerId, str] | None) -> dict[str, Any]:
    """For a program."""
    best = plan.best
    return {
        "group": plan.group.hex(),
        "best": None if best is None else best.folder,
        "index": None if best is None or best.end is None else best.end[1],
        "term": None if best is None or best.end is None else best.end[0],
        "is_complete": plan.is_complete,
        "committed_at_least": plan.committed,
        "voters": [str(member.peer) for member in plan.voters],
        "missing": [str(member.peer) for member in plan.missing],
        "copies": [
            {
                "folder": copy.folder,
                "peer": copy.meta.name,
                "backend": copy.meta.backend,
                "term": copy.term,
                "log_from": copy.log_after + 1,
                "last_index": copy.last_index,
                "last_term": copy.last_term,
                "known_index": copy.known_index,
                "end": None if copy.end is None else copy.end[1],
                "snapshots": [
                    {"index": shot.index, "term": shot.term, "path": shot.path, "problem": shot.problem or None}
                    for shot in copy.shots
                ],
                "fault": copy.fault or None,
                "has_left": copy.has_left,
            }
            for copy in plan.copies
        ],
        "made": None if made is None else {"peer": str(made[0]), "group": made[1]},
    }


def _print(plan: Plan, made: tuple[PeerId, str] | None) -> None:
    print(f"group {plan.group.hex()}, voters {', '.join(str(member.peer) for member in plan.voters) or 'unknown'}")
    head = ("FOLDER", "PEER", "TERM", "SNAPSHOT", "LOG", "ENDS AT", "STATE")
    print(table(head, [_line(copy) for copy in plan.copies]))
    for copy in plan.copies:
        if copy.fault:
            print(f"{copy.folder}: {copy.fault}")
    best = plan.best
    if best is None or best.end is None:
        print("nothing of it can be brought back")
        return
    print(f"the most complete one is {best.folder}, up to index {best.end[1]} of term {best.end[0]}")
    print(_loss(plan, best.end[1]))
    if made is not None:
        print(f"made of it: {made[0]}, the only member of group {made[1]}")


def _line(copy: Copy) -> tuple[object, ...]:
    base, end = copy.base, copy.end
    state = "left the group" if copy.has_left else "sound" if copy.is_sound else "DAMAGED"
    log = f"{copy.log_after + 1} to {copy.last_index}" if copy.last_index > copy.log_after else "-"
    shown = "-" if end is None else f"{end[1]} (term {end[0]})"
    return (copy.folder, copy.meta.name, copy.term, "-" if base is None else base.index, log, shown, state)


def _loss(plan: Plan, end: int) -> str:
    if plan.is_complete:
        return "nothing that was acknowledged is lost: a majority of the voters is here, and sound"
    known = max((copy.known_index for copy in plan.copies), default=0)
    more = f"; entries up to {known} were there once" if known > end else ""
    names = ", ".join(str(member.peer) for member in plan.missing)
    return (
        f"what was acknowledged after that may be lost{more}: no majority is here, and nobody can tell how much the "
        f"missing ones had ({names or 'the voters are unknown'})"
    )


def _print_next(made: dict[bytes, tuple[PeerId, str]], into: Path | None, listen: str) -> None:
    if made:
        print(f"start its node: zraft server --listen {listen} --data-dir {into}")
        peer = next(iter(made.values()))[0]
        print(f"then let it grow: zraft set-conf {peer} PEER... --peers {peer}")
