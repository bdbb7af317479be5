"""The methods of `Client` as functions of the package, with one client for each event loop.

The client of a loop is made when it is first needed, with the secret in `ZRAFT_CLIENT_SECRET`, and ends with the loop:
`asyncio.run` ends the tasks that are left, and the one that owns the connections closes them. `client=` takes another.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Final

from zraft.client.client import Client
from zraft.client.light_session import LightSession
from zraft.client.session import Session
from zraft.client.views import Answered, Configuration, PeerStatus
from zraft.client.waiting import Timeout
from zraft.types import Index, PeerId, Value

SECRET_VARIABLE: Final = "ZRAFT_CLIENT_SECRET"  # noqa: S105 - its name

_CLIENTS: Final[dict[asyncio.AbstractEventLoop, Client]] = {}


def default_client() -> Client:
    """The client of the running event loop."""
    loop = asyncio.get_running_loop()
    client = _CLIENTS.get(loop)
    if client is None:
        for ended in [other for other in _CLIENTS if other.is_closed()]:
            del _CLIENTS[ended]
        client = _CLIENTS[loop] = Client(secret=os.environ.get(SECRET_VARIABLE) or None)
    return client


async def write(
    target: PeerId | str | LightSession,
    data: Value,
    *,
    timeout: Timeout = 5.0,
    redirect: bool = True,
    client: Client | None = None,
) -> Answered:
    """`(result, target)`: the backend has applied the command `data`, durable on a majority; `target` leads.

    With `redirect` the peer may be any of the group: the request follows the leader, and waits while there is
    none. It is sent again only while no earlier attempt may have run. Raises `UsageError` where `data` is no
    value, and a `RequestError`, whose `executed` says whether the command ran: `OutcomeUnknown` ("maybe") where
    the leader or the connection was lost, `RequestTimeout` ("no" where it was not sent), `NotLeader` without
    `redirect`, `PeerUnavailable`, `TooLarge`, `Overloaded`, `Rejected` ("no"), `BackendError` ("yes").
    """
    return await (client or default_client()).write(target, data, timeout=timeout, redirect=redirect)


async def query(
    target: PeerId | str | LightSession,
    query: Value,
    *,
    timeout: Timeout = 5.0,
    redirect: bool = True,
    client: Client | None = None,
) -> Answered:
    """`(result, target)`: linearizable, it sees every write that was answered before it was asked (§6.4).

    Raises as `write`; `executed` is always "no", since a query changes nothing.
    """
    return await (client or default_client()).query(target, query, timeout=timeout, redirect=redirect)


async def query_local(
    peer: PeerId | str, query: Value, *, min_index: Index = 0, timeout: Timeout = 5.0, client: Client | None = None
) -> Value:
    """The result from this peer's own state, which may be old, but has applied at least `min_index`.

    With the `.index` of a write it sees that write. Raises a `RequestError` as `query`.
    """
    return await (client or default_client()).query_local(peer, query, min_index=min_index, timeout=timeout)


async def stat(peer: PeerId | str, *, timeout: Timeout = 5.0, client: Client | None = None) -> PeerStatus:
    """The peer as it sees itself, also where it has failed. Raises `PeerUnavailable`, `RequestTimeout`."""
    return await (client or default_client()).stat(peer, timeout=timeout)


async def get_conf(peer: PeerId | str, *, timeout: Timeout = 5.0, client: Client | None = None) -> Configuration:
    """The configuration of the peer's group, committed and not about to change. Raises a `RequestError`."""
    return await (client or default_client()).get_conf(peer, timeout=timeout)


async def create(
    peers: Iterable[PeerId | str], backend: str = "dict", *, timeout: Timeout = 5.0, client: Client | None = None
) -> list[PeerId]:
    """A new group of these peers exists and has a leader; the peers, in the given order.

    Raises `CreateError` where a peer could not be made: `errors` says for each of them why, and what was made is
    removed again. Raises a `MembershipError` where they were made and the configuration was not applied.
    """
    return await (client or default_client()).create(peers, backend, timeout=timeout)


async def ensure(
    peers: Iterable[PeerId | str], backend: str = "dict", *, timeout: Timeout = 30.0, client: Client | None = None
) -> list[PeerId]:
    """A group of these peers exists; the peers, in the given order. For start-up: say it on every node, always.

    Any caller, in any order, any number of times; it waits for the nodes to come up. A group is made only when every
    peer's node answers and none of the peers belongs to one; a group that is there is left alone, even where it has
    other members by now. Raises `RequestTimeout`, `CreateError` (different groups there, backend unknown),
    `BackendMismatch`.
    """
    return await (client or default_client()).ensure(peers, backend, timeout=timeout)


async def set_new_conf(
    peer: PeerId | str,
    new_peers: Iterable[PeerId | str],
    old_peers: Iterable[PeerId | str],
    *,
    timeout: Timeout = 5.0,
    client: Client | None = None,
) -> list[PeerId]:
    """The group of `peer` consists of `new_peers`, whatever it consisted of, if that was `old_peers` (§4.3).

    New peers are started on their nodes, empty, with the backend of the group, and learn before they vote. The
    timeout bounds only the wait: the change goes on, and the same call again joins it. With the unchanged set it
    readmits members that lost their data. Raises `PeersChanged` where `old_peers` are not the present ones, other
    `MembershipError`s, and `CreateError` where a new peer could not be made.
    """
    return await (client or default_client()).set_new_conf(peer, new_peers, old_peers, timeout=timeout)


async def remove(peers: Iterable[PeerId | str], *, timeout: Timeout = 5.0, client: Client | None = None) -> None:
    """These peers are deleted with their data; each must belong to no configuration (`MembershipError`)."""
    await (client or default_client()).remove(peers, timeout=timeout)


async def transfer_leadership(
    peer: PeerId | str, to: PeerId | str, *, timeout: Timeout = 5.0, client: Client | None = None
) -> PeerId:
    """The peer `to` leads the group of `peer` (§3.10). Returns `to`. Raises a `RequestError`.

    `RequestTimeout` with `executed` "maybe" where leadership was given away and `to` was not seen to have taken it.
    """
    return await (client or default_client()).transfer_leadership(peer, to, timeout=timeout)


def light_session(
    peer_or_peers: PeerId | str | Iterable[PeerId | str],
    *,
    fail_timeout: Timeout = None,
    election_timeout: Timeout = None,
    retry_unknown: bool = False,
    share: bool = False,
    client: Client | None = None,
) -> LightSession:
    """Writes and queries that follow the leader: await it, or use it as an async context manager.

    One peer: it reads the configuration of the group. A list: it does not, and asks these; raises `NoPeers` where it is
    empty. `fail_timeout` is how long a peer that failed is not asked (1 second where None), `election_timeout` how long
    one that answered without leading is not (half a second). `retry_unknown` repeats writes of unknown outcome, which
    may then be applied twice. It has a connection of its own to each peer that it asks, unless `share`.
    """
    return (client or default_client()).light_session(
        peer_or_peers,
        fail_timeout=fail_timeout,
        election_timeout=election_timeout,
        retry_unknown=retry_unknown,
        share=share,
    )


def start_session(
    peer_or_peers: PeerId | str | Iterable[PeerId | str],
    session_timeout: Timeout,
    *,
    resume: bytes | tuple[int, bytes] | None = None,
    client: Client | None = None,
) -> Session:
    """A session: writes that run exactly once, temporary data, watches. Await it, or use it with `async with`.

    One peer: it reads the configuration of the group. A list: it asks these; raises `NoPeers` where it is empty. A
    client that is silent for `session_timeout` has lost it, with its temporary data; where no session is had within it,
    `ConnectionTimeout` is raised. `resume` takes the token of a session, or its id and its token: it goes on with that
    one, after a restart, with the timeout that it has; `SessionExpired` where it has ended.
    """
    return (client or default_client()).start_session(peer_or_peers, session_timeout, resume=resume)
