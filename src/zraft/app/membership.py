"""`zraft create`, `status`, `conf`: groups and their peers."""

from __future__ import annotations

import sys

import click

from zraft.app.advice import line_of
from zraft.app.changes import print_peers, waits_for
from zraft.app.options import PeerType, json_option, of_any, peers_option, reach_options, run
from zraft.app.output import json_of, table
from zraft.client.caller import each
from zraft.client.client import Client
from zraft.client.views import PeerStatus
from zraft.errors import RequestError
from zraft.types import PeerId


@click.command()
@click.argument("peers", nargs=-1, required=True, type=PeerType(), metavar="PEER...")
@click.option("--backend", default="dict", show_default=True, metavar="NAME", help="The state machine to replicate.")
@reach_options
@json_option
def create(peers: tuple[PeerId, ...], backend: str, timeout: float, cluster: str | None, as_json: bool) -> None:
    """Make a new group of the PEERs, each written name@host:port of its node. The nodes must be running.

    Where it fails, what it made is removed again.
    """
    made = run(lambda client: client.create(dict.fromkeys(peers), backend, timeout=timeout), cluster)
    print_peers(made, as_json)


@click.command()
@peers_option
@reach_options
@json_option
def status(peers: list[PeerId], timeout: float, cluster: str | None, as_json: bool) -> int:
    """Show each of the peers as it sees itself. Exit status 1 where one does not answer."""
    found = run(lambda client: _statuses(client, peers, timeout), cluster)
    silent = {peer: line_of(what) for peer, what in found.items() if isinstance(what, RequestError)}
    if as_json:
        rows = [{"id": peer, "error": silent[peer]} if peer in silent else found[peer] for peer in peers]
        print(json_of(rows))
    else:
        print(_status_table(found))
        for text in (waits_for(what) for what in found.values() if isinstance(what, PeerStatus)):
            if text:
                print(f"the peers are changing: {text}")
        for line in transfers_of(found):
            print(line)
    for peer, why in silent.items():
        print(f"zraft: {peer} does not answer: {why}", file=sys.stderr)
    return 1 if silent else 0


async def _statuses(client: Client, peers: list[PeerId], timeout: float) -> dict[PeerId, PeerStatus | RequestError]:
    async def one(peer: PeerId) -> PeerStatus | RequestError:
        try:
            return await client.stat(peer, timeout=timeout)
        except RequestError as error:
            return error

    return dict(zip(peers, await each(one(peer) for peer in peers), strict=True))


def _status_table(found: dict[PeerId, PeerStatus | RequestError]) -> str:
    head = ("PEER", "ROLE", "TERM", "LEADER", "LAST", "COMMIT", "APPLIED", "SNAPSHOT", "FAULT")
    rows: list[tuple[object, ...]] = []
    for peer, what in found.items():
        if isinstance(what, PeerStatus):
            weaker = "" if what.sync_mode == "default" else f"log_sync_mode is {what.sync_mode}"
            leader, fault = what.leader or "-", what.fault or weaker
            numbers = (what.last_index, what.commit_index, what.last_applied, what.snapshot_index)
            rows.append((peer, what.role, what.term, leader, *numbers, fault))
        else:
            rows.append((peer, "unreachable", "-", "-", "-", "-", "-", "-", ""))
    return table(head, rows)


def transfers_of(found: dict[PeerId, PeerStatus | RequestError]) -> list[str]:
    """Snapshots on their way: as who gets one says, else as who sends it."""
    statuses = [what for what in found.values() if isinstance(what, PeerStatus)]
    lines = {
        status.id: f"{status.id} fetches snapshot {coming.index}: {coming.received} of {coming.total} bytes"
        for status in statuses
        if (coming := status.fetching) is not None
    }
    for status in statuses:
        for to, index in status.sending:
            lines.setdefault(to, f"{status.id} sends snapshot {index} to {to}")
    return list(lines.values())


@click.command()
@peers_option
@reach_options
@json_option
def conf(peers: list[PeerId], timeout: float, cluster: str | None, as_json: bool) -> None:
    """Show who belongs to the group and who leads it: the committed configuration, from the leader."""
    found = run(lambda client: of_any(peers, lambda peer: client.get_conf(peer, timeout=timeout)), cluster)
    if as_json:
        print(json_of(found))
        return
    for peer in found.peers:
        print(f"{peer}  {'leader' if peer == found.leader else 'voter'}")
    for peer in found.learners:
        print(f"{peer}  learner")
