"""`zraft set-conf`, `transfer`, `remove`: who belongs to a group, who leads it, and what is left of those that went."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import click

from zraft.app.options import PeerType, json_option, of_any, peers_option, reach_options, run
from zraft.app.output import json_of
from zraft.client.client import Client
from zraft.client.views import PeerStatus
from zraft.errors import (
    CatchUpTimeout,
    ChangeInProgress,
    LeaderChanged,
    MembershipError,
    NewerExists,
    NotStable,
    OutcomeUnknown,
    PeersChanged,
    RequestError,
    RequestTimeout,
)
from zraft.types import PeerId

T = TypeVar("T")
Tell = Callable[[str], None]

_LOOK_S: Final = 0.3
"""How often it is looked how far a change is."""
_PAUSE_S: Final = 0.1
_PASSING: Final = (ChangeInProgress, LeaderChanged, NewerExists, NotStable, OutcomeUnknown, PeersChanged)
"""What is over as soon as one has looked again; the change itself goes on, or was not begun."""


def print_peers(peers: list[PeerId], as_json: bool) -> None:
    """One a line, or as JSON."""
    print(json_of(peers) if as_json else "\n".join(map(str, peers)))


@click.command("set-conf")
@click.argument("new_peers", nargs=-1, required=True, type=PeerType(), metavar="PEER...")
@click.option(
    "--progress/--no-progress",
    default=None,
    help="Say on stderr who still catches up; by default where that is a terminal.",
)
@peers_option
@reach_options
@json_option
def set_conf(
    new_peers: tuple[PeerId, ...],
    progress: bool | None,
    peers: list[PeerId],
    timeout: float,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Make the PEERs the members of the group, whoever the members are now.

    New peers are made on their nodes, which must be running, and learn before they vote; one that lost its data is
    admitted anew where the PEERs are the present ones. Peers that are no longer members stop by themselves, and their
    data is kept until zraft remove deletes it.

    Where the time is up before the change is done it goes on; the same command again waits further. Where a new peer
    makes no progress the old members stay.
    """
    wanted = list(dict.fromkeys(new_peers))
    is_told = sys.stderr.isatty() if progress is None else progress
    tell: Tell | None = (lambda text: print(f"zraft: {text}", file=sys.stderr, flush=True)) if is_told else None
    print_peers(run(lambda client: _change(client, peers, wanted, timeout, tell), cluster), as_json)


async def _change(
    client: Client, peers: list[PeerId], wanted: list[PeerId], timeout: float, tell: Tell | None
) -> list[PeerId]:
    """Until the group consists of `wanted`; whatever comes between is looked at again. Raises a RequestError."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout

    async def once(peer: PeerId) -> list[PeerId]:
        present = await client.get_conf(peer, timeout=deadline - clock())
        return await client.set_new_conf(peer, wanted, present.peers, timeout=max(deadline - clock(), _PAUSE_S))

    async with _told(client, peers, wanted, tell):
        while True:
            try:
                return await of_any(peers, once)
            except CatchUpTimeout:
                raise
            except RequestTimeout as error:
                if error.executed == "no":
                    raise
                raise _goes_on(timeout) from error
            except _PASSING as error:
                if clock() + _PAUSE_S >= deadline:
                    raise (error if error.executed == "no" else _goes_on(timeout)) from error
                await asyncio.sleep(_PAUSE_S)


def _goes_on(timeout: float) -> MembershipError:
    text = (
        f"not done after {timeout:g} s, and goes on: the same command waits further, zraft status shows how far it is"
    )
    return MembershipError(text, executed="maybe")


@asynccontextmanager
async def _told(client: Client, peers: list[PeerId], wanted: list[PeerId], tell: Tell | None) -> AsyncIterator[None]:
    """Within the block `tell` hears, whenever that changes, what the change waits for."""
    if tell is None:
        yield
        return
    watching = asyncio.get_running_loop().create_task(_watch(client, list(dict.fromkeys((*peers, *wanted))), tell))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _watch(client: Client, peers: list[PeerId], tell: Tell) -> None:
    said = ""
    while True:
        await asyncio.sleep(_LOOK_S)
        for peer in peers:
            try:
                status = await client.stat(peer, timeout=_LOOK_S)
            except RequestError:
                continue
            text = waits_for(status)
            if text and text != said:
                said = text
                tell(text)


def waits_for(status: PeerStatus) -> str:
    """What a change waits for, as the leader knows; empty where this peer does not lead, or none is under way."""
    if status.role != "leader" or not status.target:
        return ""
    behind = [f"{peer} has {index} of {status.last_index} entries" for peer, index in status.joining]
    return "; ".join(behind) or f"a majority of {', '.join(map(str, status.target))} has to agree"


@click.command()
@click.argument("to", type=PeerType(), metavar="PEER")
@peers_option
@reach_options
@json_option
def transfer(to: PeerId, peers: list[PeerId], timeout: float, cluster: str | None, as_json: bool) -> None:
    """Hand the leadership of the group to PEER, which must be one of its voters.

    The group takes no writes meanwhile, usually for some milliseconds. Where PEER does not take over within an election
    timeout, the present leader goes on.
    """

    def ask(client: Client) -> Awaitable[PeerId]:
        return of_any(peers, lambda peer: client.transfer_leadership(peer, to, timeout=timeout))

    leader = run(ask, cluster)
    print(json_of({"leader": leader}) if as_json else str(leader))


@click.command()
@click.argument("peers", nargs=-1, required=True, type=PeerType(), metavar="PEER...")
@reach_options
@json_option
def remove(peers: tuple[PeerId, ...], timeout: float, cluster: str | None, as_json: bool) -> None:
    """Delete the PEERs with their data. They must belong to no group any more: see zraft set-conf.

    A peer that left its group has stopped, and its data is kept: this deletes it, under the name that the peer had.
    """
    gone = list(dict.fromkeys(peers))
    run(lambda client: client.remove(gone, timeout=timeout), cluster)
    print_peers(gone, as_json)
