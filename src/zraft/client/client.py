"""`Client`: the methods with which programs read, write and change groups."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

import msgspec

from zraft.client import changing, ensuring, groups
from zraft.client.caller import Caller, Make, ReplyT
from zraft.client.light_session import LightSession
from zraft.client.session import Session
from zraft.client.views import Answered, Configuration, PeerStatus, configuration_of, status_of
from zraft.client.waiting import Timeout, said, seconds_of
from zraft.errors import RequestError, RequestTimeout, UsageError
from zraft.types import Index, PeerId, Value
from zraft.wire.requests import Query, Result, Stat, Status, Transfer, Write
from zraft.wire.values import decode_value, encode_value

_LOOK_AGAIN_S: Final = 0.01
_LOOK_S: Final = 1.0
"""Pause between two looks at whether a peer leads."""


class Client:
    """Owns the connections to nodes: one to each, made when it is first needed. An async context manager.

    `secret` is what the nodes expect of clients (their `client_secret`), None where they expect none. With `cluster`
    only nodes of the cluster of that name are talked to. It belongs to the event loop that it is first used in. After
    `aclose`, which ends the context, it can be used no more. `tls` must be None: connections are not encrypted yet.
    """

    def __init__(
        self, *, secret: str | bytes | None = None, tls: ssl.SSLContext | None = None, cluster: str | None = None
    ) -> None:
        if tls is not None:
            raise UsageError("tls: not offered yet; use a tunnel, or leave it out")
        self._secret = secret.encode() if isinstance(secret, str) else secret
        if self._secret == b"":
            raise UsageError("a secret must not be empty; leave it out to have none")
        self._cluster = cluster
        self._caller: Caller | None = None

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _open(self) -> Caller:
        if self._caller is None:
            self._caller = Caller(secret=self._secret, cluster=self._cluster)
        return self._caller

    async def aclose(self) -> None:
        """Ends every connection. Raises the error that ended the client early, if one did."""
        if self._caller is not None:
            await self._caller.aclose()

    # -- reading and writing

    async def write(
        self, target: PeerId | str | LightSession, data: Value, *, timeout: Timeout = 5.0, redirect: bool = True
    ) -> Answered:
        """`(result, target)`: the backend has applied the command `data`, durable on a majority; `target` leads.

        With `redirect` the peer may be any of the group: the request follows the leader, and waits while there is
        none. It is sent again only while no earlier attempt may have run. Raises `UsageError` where `data` is no
        value, and a `RequestError`, whose `executed` says whether the command ran: `OutcomeUnknown` ("maybe") where
        the leader or the connection was lost, `RequestTimeout` ("no" where it was not sent), `NotLeader` without
        `redirect`, `PeerUnavailable`, `TooLarge`, `Overloaded`, `Rejected` ("no"), `BackendError` ("yes").
        """
        if isinstance(target, LightSession):
            written = await target.write_entry(data, timeout=timeout)
            return Answered(written.result, target, written.index)
        peer = target if type(target) is PeerId else peer_of(target)
        command = msgspec.Raw(encode_value(data))
        caller, seconds = self._caller or self._open(), seconds_of(timeout)
        reply, leader = await caller.call(
            peer,
            lambda number, name: Write(number, name, command),
            Result,
            deadline=caller.deadline(seconds),
            seconds=seconds,
            redirect=redirect,
        )
        return Answered(decode_value(reply.value), leader, reply.index)

    async def query(
        self, target: PeerId | str | LightSession, query: Value, *, timeout: Timeout = 5.0, redirect: bool = True
    ) -> Answered:
        """`(result, target)`: linearizable, it sees every write that was answered before it was asked (§6.4).

        Raises as `write`; `executed` is always "no", since a query changes nothing.
        """
        if isinstance(target, LightSession):
            found = await target.query_entry(query, timeout=timeout)
            return Answered(found.result, target, found.index)
        peer = target if type(target) is PeerId else peer_of(target)
        encoded = msgspec.Raw(encode_value(query))
        caller, seconds = self._caller or self._open(), seconds_of(timeout)
        reply, leader = await caller.call(
            peer,
            lambda number, name: Query(number, name, encoded),
            Result,
            deadline=caller.deadline(seconds),
            seconds=seconds,
            redirect=redirect,
            is_read=True,
        )
        return Answered(decode_value(reply.value), leader, reply.index)

    async def query_local(
        self, peer: PeerId | str, query: Value, *, min_index: Index = 0, timeout: Timeout = 5.0
    ) -> Value:
        """The result from this peer's own state, which may be old, but has applied at least `min_index`.

        With the `.index` of a write it sees that write. Raises a `RequestError` as `query`.
        """
        if type(min_index) is not int or min_index < 0:
            raise UsageError(f"not an index: {min_index!r} (a whole number, 0 for any state)")
        encoded = msgspec.Raw(encode_value(query))
        reply = await self._ask_peer(
            peer, lambda number, name: Query(number, name, encoded, True, min_index), Result, timeout
        )
        return decode_value(reply.value)

    def light_session(
        self,
        peer_or_peers: PeerId | str | Iterable[PeerId | str],
        *,
        fail_timeout: Timeout = None,
        election_timeout: Timeout = None,
        retry_unknown: bool = False,
        share: bool = False,
    ) -> LightSession:
        """Writes and queries that follow the leader: await it, or use it as an async context manager.

        One peer: it reads the configuration of the group. A list: it does not, and asks these; raises `NoPeers` where
        it is empty. `fail_timeout` is how long a peer that failed is not asked (1 second where None),
        `election_timeout` how long one that answered without leading is not (half a second). `retry_unknown` repeats
        writes of unknown outcome, which may then be applied twice. It has a connection of its own to each peer that it
        asks, unless `share`.
        """
        one_or_all = peer_of(peer_or_peers) if isinstance(peer_or_peers, PeerId | str) else peers_of(peer_or_peers)
        return LightSession(
            self._open(),
            one_or_all,
            fail_timeout=fail_timeout,
            election_timeout=election_timeout,
            retry_unknown=retry_unknown,
            share=share,
        )

    def start_session(
        self,
        peer_or_peers: PeerId | str | Iterable[PeerId | str],
        session_timeout: Timeout,
        *,
        resume: bytes | tuple[int, bytes] | None = None,
    ) -> Session:
        """A session: writes that run exactly once, temporary data, watches. Await it, or use it with `async with`.

        One peer: it reads the configuration of the group. A list: it asks these; raises `NoPeers` where it is empty.
        A client that is silent for `session_timeout` has lost it, with its temporary data; where no session is had
        within it, `ConnectionTimeout` is raised. `resume` takes the token of a session, or its id and its token: it
        goes on with that one, after a restart, with the timeout that it has; `SessionExpired` where it has ended.
        """
        one_or_all = peer_of(peer_or_peers) if isinstance(peer_or_peers, PeerId | str) else peers_of(peer_or_peers)
        return Session(self._open(), one_or_all, session_timeout, resume=resume)

    # -- about peers and groups

    async def stat(self, peer: PeerId | str, *, timeout: Timeout = 5.0) -> PeerStatus:
        """The peer as it sees itself, also where it has failed. Raises `PeerUnavailable`, `RequestTimeout`."""
        return status_of((await self._ask_peer(peer, Stat, Status, timeout)).status)

    async def get_conf(self, peer: PeerId | str, *, timeout: Timeout = 5.0) -> Configuration:
        """The configuration of the peer's group, committed and not about to change. Raises a `RequestError`."""
        return configuration_of(await groups.conf_of(self._open(), peer_of(peer), seconds_of(timeout)))

    async def create(
        self, peers: Iterable[PeerId | str], backend: str = "dict", *, timeout: Timeout = 5.0
    ) -> list[PeerId]:
        """A new group of these peers exists and has a leader; the peers, in the given order.

        Raises `CreateError` where a peer could not be made: `errors` says for each of them why, and what was made is
        removed again. Raises a `MembershipError` where they were made and the configuration was not applied.
        """
        return await groups.create(self._open(), peers_of(peers), backend, seconds_of(timeout))

    async def ensure(
        self, peers: Iterable[PeerId | str], backend: str = "dict", *, timeout: Timeout = 30.0
    ) -> list[PeerId]:
        """A group of these peers exists; the peers, in the given order. For start-up: say it on every node, always.

        Any caller, in any order, any number of times; it waits for the nodes to come up. A group is made only when
        every peer's node answers and none of the peers belongs to one; a group that is there is left alone, even where
        it has other members by now. Raises `RequestTimeout`, `CreateError` (different groups there, backend unknown),
        `BackendMismatch`.
        """
        return await ensuring.ensure(self._open(), peers_of(peers), backend, seconds_of(timeout))

    async def set_new_conf(
        self,
        peer: PeerId | str,
        new_peers: Iterable[PeerId | str],
        old_peers: Iterable[PeerId | str],
        *,
        timeout: Timeout = 5.0,
    ) -> list[PeerId]:
        """The group of `peer` consists of `new_peers`, whatever it consisted of, if that was `old_peers` (§4.3).

        New peers are started on their nodes, empty, with the backend of the group, and learn before they vote. The
        timeout bounds only the wait: the change goes on, and the same call again joins it. With the unchanged set it
        readmits members that lost their data. Raises `PeersChanged` where `old_peers` are not the present ones, other
        `MembershipError`s, and `CreateError` where a new peer could not be made.
        """
        return await changing.change(
            self._open(), peer_of(peer), peers_of(new_peers), peers_of(old_peers), seconds_of(timeout)
        )

    async def remove(self, peers: Iterable[PeerId | str], *, timeout: Timeout = 5.0) -> None:
        """These peers are deleted with their data; each must belong to no configuration (`MembershipError`)."""
        await groups.remove(self._open(), peers_of(peers), seconds_of(timeout))

    async def transfer_leadership(self, peer: PeerId | str, to: PeerId | str, *, timeout: Timeout = 5.0) -> PeerId:
        """The peer `to` leads the group of `peer` (§3.10). Returns `to`. Raises a `RequestError`.

        `RequestTimeout` with `executed` "maybe" where leadership was given away and `to` was not seen to have taken it.
        """
        caller, seconds, target = self._open(), seconds_of(timeout), peer_of(to)
        deadline = caller.deadline(seconds)
        await caller.call(
            peer_of(peer),
            lambda number, name: Transfer(number, name, target),
            Result,
            deadline=deadline,
            seconds=seconds,
        )
        while caller.loop.time() < deadline:
            try:
                if (await self.stat(target, timeout=min(seconds, _LOOK_S))).role == "leader":
                    return target
            except RequestError:
                pass  # that nobody can be asked who leads now does not say that nothing was done
            await asyncio.sleep(_LOOK_AGAIN_S)
        raise RequestTimeout(f"leadership was given away, and {target} did not take it within {said(seconds)}")

    async def _ask_peer(self, peer: PeerId | str, make: Make, kind: type[ReplyT], timeout: Timeout) -> ReplyT:
        """The answer of this very peer to a request that changes nothing."""
        caller, seconds = self._open(), seconds_of(timeout)
        deadline = caller.deadline(seconds)
        reply, _ = await caller.call(
            peer_of(peer), make, kind, deadline=deadline, seconds=seconds, redirect=False, is_read=True
        )
        return reply


def peer_of(peer: PeerId | str) -> PeerId:
    """The peer, also where it is written as text. Raises `UsageError`."""
    if isinstance(peer, str):
        return PeerId.parse(peer)
    if not isinstance(peer, PeerId):
        raise UsageError(f"not a peer: {peer!r} (a PeerId, or name@host:port)")
    return peer


def peers_of(peers: Iterable[PeerId | str]) -> list[PeerId]:
    """The peers of a list, which may hold texts. Raises `UsageError`, also for a bare text."""
    if isinstance(peers, str):
        raise UsageError(f"a list of peers, not the text {peers!r}")
    return [peer_of(peer) for peer in peers]
