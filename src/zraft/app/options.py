"""What commands have in common: which peers, how to reach them, how to print."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import click

from zraft.app.devfile import running_peers
from zraft.client.client import Client, peer_of
from zraft.client.functions import SECRET_VARIABLE
from zraft.errors import PeerUnavailable, RequestError
from zraft.types import PeerId

T = TypeVar("T")
CommandT = TypeVar("CommandT", bound=Callable[..., Any])

PEERS_VARIABLE: Final = "ZRAFT_PEERS"


class PeerType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases
    """`name@host:port`."""

    name = "peer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> PeerId:
        try:
            return peer_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class PeersType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases
    """Peers with commas between them."""

    name = "peers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[PeerId]:
        if isinstance(value, list):
            return value
        one = PeerType()
        peers = [one.convert(part.strip(), param, ctx) for part in value.split(",") if part.strip()]
        if not peers:
            self.fail("names no peer", param, ctx)
        return list(dict.fromkeys(peers))


class SecondsType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases
    """A number above 0."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} is no number of seconds above 0", param, ctx)
        return seconds


def peers_option(command: CommandT) -> CommandT:
    """`--peers`, required; also from the environment, or of the cluster that `zraft dev` runs in this folder."""
    return click.option(
        "--peers",
        type=PeersType(),
        envvar=PEERS_VARIABLE,
        callback=_named,
        metavar="PEER,...",
        help=f"Peers of the group, as name@host:port with commas between them; by default those in {PEERS_VARIABLE}, "
        "or of the zraft dev that runs in this folder.",
    )(command)


def _named(ctx: click.Context, _param: click.Parameter, value: list[PeerId] | None) -> list[PeerId]:
    if value:
        return value
    found, why_none = running_peers()
    if not found:
        ways = (
            f"run zraft dev in this folder, or name the group's peers with --peers a@host:port,... or {PEERS_VARIABLE}"
        )
        raise click.UsageError(f"{why_none}; {ways}" if why_none else f"which group? {ways}", ctx)
    return found


def reach_options(command: CommandT) -> CommandT:
    """How to reach nodes: `--timeout`, `--cluster`."""
    return click.option(
        "--timeout", type=SecondsType(), default=5.0, show_default=True, metavar="SECONDS", help="How long to wait."
    )(cluster_option(command))


def cluster_option(command: CommandT) -> CommandT:
    """`--cluster`."""
    return click.option(
        "--cluster",
        envvar="ZRAFT_CLUSTER",
        metavar="NAME",
        help="Talk only to nodes of the cluster of this name; by default to any.",
    )(command)


def json_option(command: CommandT) -> CommandT:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def run(work: Callable[[Client], Awaitable[T]], cluster: str | None) -> T:
    """What `work` returns, in an event loop of its own."""
    return asyncio.run(with_client(work, cluster))


async def with_client(work: Callable[[Client], Awaitable[T]], cluster: str | None) -> T:
    """What `work` returns, given a client with the secret of the environment."""
    async with Client(secret=os.environ.get(SECRET_VARIABLE) or None, cluster=cluster) as client:
        return await work(client)


async def of_any(peers: list[PeerId], ask: Callable[[PeerId], Awaitable[T]]) -> T:
    """What the first of the peers that is there answers. Raises what the last one said, if none is."""
    unreached: RequestError | None = None
    for peer in peers:
        try:
            return await ask(peer)
        except PeerUnavailable as error:
            unreached = unreached or error
    raise unreached or PeerUnavailable("no peer was named")
