"""`zraft watch`: the value of a key, now and whenever it changes. For the backends "dict" and "table".

A trigger says that something has changed and not what: the value is asked for again. Of changes in quick succession
the last one is seen, the others may not be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import click

from zraft import table
from zraft.app.options import json_option, of_any, peers_option, reach_options, run
from zraft.app.output import json_of, text_of
from zraft.client.client import Client
from zraft.client.session import Session
from zraft.types import NOT_FOUND, PeerId, Value

_TABLE: Final = "table"
_REF: Final = "key"
_NONE: Final = "(no such key)"


@click.command()
@click.argument("key")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many lines; by default at Ctrl-C.")
@peers_option
@reach_options
@json_option
def watch(key: str, count: int | None, peers: list[PeerId], timeout: float, cluster: str | None, as_json: bool) -> None:
    """Print the value of KEY, and again whenever it has changed, until Ctrl-C.

    Where nobody leads for longer than the timeout it ends with an error, for changes may then have been missed.
    """

    async def follow(client: Client) -> None:
        status = await of_any(peers, lambda peer: client.stat(peer, timeout=timeout))
        is_table = status.backend == _TABLE
        query = table.Get(key) if is_table else key
        show = partial(_line, key, is_table=is_table, as_json=as_json)
        async with client.start_session(peers, timeout) as session:
            await _follow(session, query, show, count)

    run(follow, cluster)


async def _follow(session: Session, query: Value, show: Callable[[Value, int], str], count: int | None) -> None:
    shown: Value = None
    is_due, lines = True, 0
    while True:
        answer = await session.query_entry(query, watch=_REF, timeout=None)
        if is_due or answer.result != shown:
            shown, lines = answer.result, lines + 1
            await asyncio.to_thread(print, show(shown, answer.index), flush=True)
        if lines == count:
            return
        is_due = (await session.wait_trigger(_REF)).reason == "change"


def _line(key: str, found: Value, index: int, *, is_table: bool, as_json: bool) -> str:
    """`found` is a value, the entry of a table, or `NOT_FOUND`."""
    is_entry = is_table and found is not NOT_FOUND
    if as_json:
        return json_of({**(found if is_entry else {"key": key, "value": found}), "index": index})
    if found is NOT_FOUND:
        return _NONE
    return text_of(found["value"] if is_entry else found)
