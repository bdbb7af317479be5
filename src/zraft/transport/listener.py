"""Accepts connections of peers and clients on one address and hands them over once they have proven who they are.

A stranger costs one of few places for at most the handshake's time, 4 KiB of memory for a frame, and nothing else. When
the places are taken the oldest stranger goes, not the newest: an honest handshake takes milliseconds, so whoever is
oldest is the one that stalls. Clients have a cap of their own, so that they never take the descriptors that peers and
the journal need (BM-115). Of two connections from one node the newer stays: the older is the one that broke unnoticed.
"""

from __future__ import annotations

import asyncio
import errno
import secrets as chance
from dataclasses import dataclass, replace
from typing import Final

from zraft import limits
from zraft.errors import AddressInUse, ConfigError, HandshakeRefused
from zraft.transport.address import join_address, split_address
from zraft.transport.counters import Counters
from zraft.transport.link import DEFAULT_BOUNDS, Link, LinkHandlers, LinkLimits
from zraft.wire.handshake import NONCE_BYTES, Accepting, Refusal, Role, Secrets


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """How many connections of which kind may exist at once."""

    unauthenticated: int = limits.UNAUTHENTICATED_CONNECTIONS
    clients: int = limits.CLIENT_CONNECTIONS
    peers: int = limits.PEER_CONNECTIONS
    link: LinkLimits = DEFAULT_BOUNDS


_DEFAULT_BOUNDS: Final = ListenerLimits()


class Listener:
    """One listening socket and every link that came through it.

    `listen` is where to listen (port 0: any free one), `node` the address that others know this node by; "" for `node`
    means that they are the same. `handlers.closed` is told only for links that were opened.
    """

    def __init__(
        self,
        *,
        listen: str,
        node: str = "",
        cluster: str,
        secrets: Secrets,
        handlers: LinkHandlers,
        counters: Counters,
        bounds: ListenerLimits = _DEFAULT_BOUNDS,
    ) -> None:
        self._listen, self._node, self._cluster, self._secrets = listen, node, cluster, secrets
        self._owner = handlers
        self._handlers = replace(handlers, opened=self._opened, closed=self._closed)
        self._counters, self._bounds = counters, bounds
        self._server: asyncio.Server | None = None
        self._strangers: dict[Link, None] = {}
        """Within the handshake, oldest first."""
        self._clients: dict[Link, None] = {}
        self._peers: dict[str, Link] = {}
        """By node."""
        self._replaced: dict[Link, None] = {}
        self._is_closing = False
        self.address = ""
        """Where it listens, with the real port; "" until started."""

    async def start(self) -> None:
        """It listens. Raises `AddressInUse`, or `ConfigError` where the address cannot be listened on at all."""
        host, port = split_address(self._listen)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._accept, host, port, backlog=1024, start_serving=False)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(f"another process listens on {self._listen}") from error
            raise ConfigError([f"listen: cannot listen on {self._listen}: {error.strerror or error}"]) from error
        self.address = join_address(host, self._server.sockets[0].getsockname()[1])
        self._node = self._node or self.address
        await self._server.start_serving()

    async def aclose(self) -> None:
        """Nobody is accepted any more and every link is closed, after what waited on it was written."""
        if self._server is None:
            return
        self._is_closing = True
        self._server.close()
        links = [*self._strangers, *self._clients, *self._peers.values(), *self._replaced]
        for link in links:
            link.close("this node stops")
        for link in links:
            await link.wait_closed()
        await self._server.wait_closed()

    def _accept(self) -> Link:
        handshake = Accepting(
            cluster=self._cluster,
            node=self._node,
            nonce=chance.token_bytes(NONCE_BYTES),
            secrets=self._secrets,
            admit=self._has_room,
            frame_bytes=self._bounds.link.frame_bytes,
        )
        link = Link(handshake, self._handlers, counters=self._counters, bounds=self._bounds.link)
        self._strangers[link] = None
        if self._is_closing:
            link.abort("this node stops")
        if len(self._strangers) > self._bounds.unauthenticated:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.refuse(HandshakeRefused(Refusal.BUSY, "too many others are within their handshake"))
        return link

    def _has_room(self, role: Role) -> bool:
        if role is Role.CLIENT:
            return len(self._clients) < self._bounds.clients
        return len(self._peers) + len(self._replaced) < self._bounds.peers

    def _opened(self, link: Link) -> None:
        self._strangers.pop(link, None)
        if link.role is Role.CLIENT:
            self._clients[link] = None
        else:
            older = self._peers.get(link.node)
            self._peers[link.node] = link
            if older is not None:
                self._replaced[older] = None
                older.abort("replaced by a newer connection of the same node")
        self._owner.opened(link)

    def _closed(self, link: Link, why: str) -> None:
        self._strangers.pop(link, None)
        self._clients.pop(link, None)
        self._replaced.pop(link, None)
        if self._peers.get(link.node) is link:
            del self._peers[link.node]
        if link.refusal is None:
            self._owner.closed(link, why)
