"""`zraft put`, `get`, `delete`: the backend "dict" from the command line. Keys and values are texts."""

from __future__ import annotations

import sys

import click

from zraft.app.options import json_option, of_any, peers_option, reach_options, run
from zraft.app.output import json_of, text_of
from zraft.client.views import Answered
from zraft.types import NOT_FOUND, PeerId, Value


def _write(command: Value, peers: list[PeerId], timeout: float, cluster: str | None) -> Answered:
    return run(
        lambda client: of_any(peers, lambda peer: client.write(peer, command, timeout=timeout)),
        cluster,
    )


def _print(answer: Answered, as_json: bool) -> None:
    result, leader = answer
    if as_json:
        print(json_of({"result": result, "leader": leader, "index": answer.index}))
    else:
        print(text_of(result))


def _missing(key: str) -> int:
    print(f"zraft: no such key: {key}", file=sys.stderr)
    return 1


@click.command()
@click.argument("key")
@click.argument("value")
@peers_option
@reach_options
@json_option
def put(key: str, value: str, peers: list[PeerId], timeout: float, cluster: str | None, as_json: bool) -> None:
    """Store VALUE under KEY. When it returns, a majority of the group has it on disk."""
    _print(_write((key, value), peers, timeout, cluster), as_json)


@click.command()
@click.argument("key")
@peers_option
@reach_options
@json_option
def get(key: str, peers: list[PeerId], timeout: float, cluster: str | None, as_json: bool) -> int:
    """Print the value of KEY: the newest, after every write that was answered. Exit status 1 where there is none."""
    answer = run(lambda client: of_any(peers, lambda peer: client.query(peer, key, timeout=timeout)), cluster)
    value, _ = answer
    if value is NOT_FOUND:
        return _missing(key)
    print(json_of({"key": key, "value": value, "index": answer.index}) if as_json else text_of(value))
    return 0


@click.command()
@click.argument("key")
@peers_option
@reach_options
@json_option
def delete(key: str, peers: list[PeerId], timeout: float, cluster: str | None, as_json: bool) -> int:
    """Remove KEY with its value. Exit status 1 where there is none."""
    answer = _write((key,), peers, timeout, cluster)
    if answer.result is NOT_FOUND:
        return _missing(key)
    _print(answer, as_json)
    return 0
