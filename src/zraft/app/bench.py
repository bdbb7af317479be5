"""`zraft bench`: how fast a running group is, seen by its clients."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import click
import msgspec

from zraft.app.load import Operation, run_load
from zraft.app.loops import loop_factory
from zraft.app.options import json_option, peers_option, reach_options, with_client
from zraft.client.client import Client
from zraft.types import PeerId

_CLEAR: Final = "\r\x1b[K"


@click.command()
@peers_option
@click.option("--clients", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Clients at once.")
@click.option("--connections", type=click.IntRange(1, 4096), help="Connections they share. [default: up to 100]")
@click.option("--size", type=click.IntRange(0, 1 << 20), default=256, show_default=True, help="Bytes of a value.")
@click.option("--op", type=click.Choice(["put", "get"]), default="put", show_default=True, help="What they do.")
@click.option("--total", type=click.IntRange(1, 100_000_000), help="Requests. [default: 2000, or 100 a client]")
@json_option
@reach_options
def bench(
    peers: list[PeerId],
    clients: int,
    connections: int | None,
    size: int,
    op: Operation,
    total: int | None,
    as_json: bool,
    timeout: float,
    cluster: str | None,
) -> int:
    """Measure the group: every client asks, waits for the answer, and asks again.

    Writes go to 10,000 keys named key-00000000 and so on, in a group of the backend "dict"; queries are linearizable.
    Exit status 1 where a request failed.
    """
    count, asked = min(clients, connections or 100), total or max(2000, 100 * clients)

    progress = Progress(asked) if sys.stderr.isatty() else None

    async def measure(client: Client) -> int:
        result = await run_load(
            client,
            peers,
            op,
            clients=clients,
            connections=count,
            size=size,
            total=asked,
            tell=progress.tell if progress is not None else None,
        )
        if progress is not None:
            progress.clear()
        if as_json:
            click.echo(msgspec.json.encode(result).decode())
        else:
            click.echo(
                f"{op}: {result.per_second:.0f}/s, p50 {result.p50_ms:.2f} ms, p99 {result.p99_ms:.2f} ms; "
                f"{result.done} done, {result.failed} failed, {clients} clients on {count} connections"
            )
        if result.failed:
            print(f"zraft: {result.failed} of {asked} requests failed, the first: {result.problem}", file=sys.stderr)
        return 1 if result.failed else 0

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(with_client(measure, cluster))


class Progress:
    """A line on a terminal that is written over and over, and gone at the end."""

    def __init__(self, total: int) -> None:
        self._total = total

    def tell(self, done: int, seconds: float) -> None:
        """So many are done."""
        text = f"{done:,} of {self._total:,} ({100 * done // self._total} %), {done / seconds:,.0f}/s"
        print(f"{_CLEAR}{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """The line is gone."""
        print(_CLEAR, end="", file=sys.stderr, flush=True)
