"""`zraft put`, `get`, `delete`: the backends "dict" and "table" from the command line. Keys and values are texts.

Which of the two a group has, one of its peers says; a group of any other backend is spoken to as a dict.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

import click

from zraft import table
from zraft.app.options import json_option, of_any, peers_option, reach_options, run
from zraft.app.output import json_of, text_of
from zraft.client.client import Client
from zraft.client.views import Answered
from zraft.types import NOT_FOUND, PeerId, Value

_TABLE: Final = "table"


def _write(of_backend: Callable[[str], Value], peers: list[PeerId], timeout: float, cluster: str | None) -> Answered:
    async def ask(client: Client, peer: PeerId) -> Answered:
        backend = (await client.stat(peer, timeout=timeout)).backend
        return await client.write(peer, of_backend(backend), timeout=timeout)

    return run(lambda client: of_any(peers, lambda peer: ask(client, peer)), cluster)


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

    def command(backend: str) -> Value:
        return table.Put(key, value) if backend == _TABLE else (key, value)

    _print(_write(command, peers, timeout, cluster), as_json)


@click.command()
@click.argument("key")
@peers_option
@reach_options
@json_option
def get(key: str, peers: list[PeerId], timeout: float, cluster: str | None, as_json: bool) -> int:
    """Print the value of KEY: the newest, after every write that was answered. Exit status 1 where there is none.

    With --json also the history of the entry, where the backend keeps one.
    """

    async def ask(client: Client, peer: PeerId) -> tuple[Value, int]:
        is_table = (await client.stat(peer, timeout=timeout)).backend == _TABLE
        answer = await client.query(peer, table.Get(key) if is_table else key, timeout=timeout)
        found = answer.result
        return found if is_table or found is NOT_FOUND else {"key": key, "value": found}, answer.index

    entry, index = run(lambda client: of_any(peers, lambda peer: ask(client, peer)), cluster)
    if entry is NOT_FOUND:
        return _missing(key)
    print(json_of({**entry, "index": index}) if as_json else text_of(entry["value"]))
    return 0


@click.command()
@click.argument("key")
@peers_option
@reach_options
@json_option
def delete(key: str, peers: list[PeerId], timeout: float, cluster: str | None, as_json: bool) -> int:
    """Remove KEY with its value. Exit status 1 where there is none."""

    def command(backend: str) -> Value:
        return table.Delete(key) if backend == _TABLE else (key,)

    answer = _write(command, peers, timeout, cluster)
    if answer.result is NOT_FOUND:
        return _missing(key)
    _print(answer, as_json)
    return 0
