"""`zraft log inspect`, `zraft log verify`: what is in the data folder of a node that is stopped."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from zraft.app.folders import opened
from zraft.app.options import json_option
from zraft.storage.inspect import Report, describe_line, inspect_folder, verify_folder

_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


@click.group(no_args_is_help=False)
def log() -> None:
    """Look into the data folder of a node that is stopped. Nothing in it is changed."""


@log.command()
@_FOLDER
@json_option
def inspect(folder: Path, as_json: bool) -> None:
    """Print the peers and every record of the journal in DIR, one on a line. Values are not shown, only their size."""
    with opened(folder) as reader:
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
    with opened(folder) as reader:
        report = verify_folder(reader)
    if as_json:
        print(msgspec.json.encode({"is_sound": report.is_sound, **msgspec.structs.asdict(report)}).decode())
    else:
        _print(report)
    if report.is_sound:
        return 0
    print(
        "zraft: data that was durable is lost: start its node, and the others of each group send it again; zraft "
        "status shows who waits for that",
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
