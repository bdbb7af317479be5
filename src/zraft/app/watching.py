"""`zraft watch`: what a key or a prefix is now, and every change of it. For the backends "dict" and "table".

What is there is read, and a stream goes on from the index of the answer: no change between the two is missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import click

from zraft import table
from zraft.app.options import json_option, of_any, peers_option, reach_options, run
from zraft.app.output import json_of, text_of
from zraft.client.client import Client
from zraft.client.session import Session
from zraft.client.streaming import Changed
from zraft.types import NOT_FOUND, Index, PeerId, Value
from zraft.wire.changes import Prefix

_TABLE: Final = "table"
_NONE: Final = "(no such key)"
_GONE: Final = {
    "absent": _NONE,
    "delete": _NONE,
    "session": f"{_NONE}: its session has ended",
    "expire": f"{_NONE}: its time has come",
}
"""What is printed for a key that is not there, by the kind of the change."""


@click.command()
@click.argument("key", required=False)
@click.option("--prefix", metavar="P", help="Watch every key that begins so, of the backend table.")
@click.option("--from-index", type=click.IntRange(min=0), metavar="N", help="Only what has changed after the index N.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many lines; by default at Ctrl-C.")
@peers_option
@reach_options
@json_option
def watch(
    key: str | None,
    prefix: str | None,
    from_index: int | None,
    count: int | None,
    peers: list[PeerId],
    timeout: float,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Print what KEY is, or what there is with --prefix, and every change, until Ctrl-C.

    Each change comes once, in order, whoever leads meanwhile. With --from-index what is there is not printed. Where
    changes are gone that were asked for, or nobody leads for longer than the timeout, it ends with an error.
    """
    if (key is None) == (prefix is None):
        raise click.UsageError("name a key, or a --prefix")
    watched: Value = key if prefix is None else Prefix(prefix)

    async def follow(client: Client) -> None:
        lines = 0
        async with client.start_session(peers, timeout) as session:
            is_table = from_index is None and await _is_table(client, peers, timeout)
            async for change in _changes(session, watched, from_index, is_table=is_table):
                line = _line(change, with_key=prefix is not None, as_json=as_json)
                await asyncio.to_thread(print, line, flush=True)
                lines += 1
                if lines == count:
                    return

    try:
        run(follow, cluster)
    except KeyboardInterrupt:
        return


async def _is_table(client: Client, peers: list[PeerId], timeout: float) -> bool:
    status = await of_any(peers, lambda peer: client.stat(peer, timeout=timeout))
    return status.backend == _TABLE


async def _changes(
    session: Session, watched: Value, from_index: Index | None, *, is_table: bool
) -> AsyncIterator[Changed]:
    """What is there, unless the stream begins at an index, and then what changes."""
    if from_index is None:
        present, from_index = await _present(session, watched, is_table=is_table)
        for change in present:
            yield change
    async for change in session.watch(watched, from_index):
        yield change


async def _present(session: Session, watched: Value, *, is_table: bool) -> tuple[list[Changed], Index]:
    """As changes, with the index of the state in which it was read."""
    if isinstance(watched, Prefix):
        # Where there are no prefixes this finds nothing, and the stream says why.
        answer = await session.query_entry(table.Prefix(watched.key), timeout=None)
        entries = answer.result or []
    else:
        answer = await session.query_entry(table.Get(watched) if is_table else watched, timeout=None)
        if answer.result is NOT_FOUND:
            return [Changed(watched, None, "absent", answer.index)], answer.index
        entries = [answer.result if is_table else {"key": watched, "value": answer.result}]
    return [Changed(entry["key"], entry["value"], "now", answer.index) for entry in entries], answer.index


def _line(change: Changed, *, with_key: bool, as_json: bool) -> str:
    if as_json:
        return json_of({"key": change.key, "value": change.value, "kind": change.kind, "index": change.index})
    text = _GONE.get(change.kind) or text_of(change.value)
    return f"{text_of(change.key)} {text}" if with_key else text
