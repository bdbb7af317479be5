"""`Node`: runs a `Host` in an event loop, over a listener, a dialer per other node, and the real disk.

Everything that arrives in one pass of the loop is one turn of the host; its duties are carried out at once. Every task
and thread has this object as its owner: a failure in any of them stops the node and is raised by `wait_closed`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets as chance
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from zraft.config import Config
from zraft.core.messages import AppendEntries, AppendReply, InstallSnapshot
from zraft.errors import PeerUnavailable, StorageError, UsageError, ZraftError
from zraft.machine.backend import Backend
from zraft.machine.registry import Backends
from zraft.node.disk import RealDisk
from zraft.peer.duties import Duties, Note
from zraft.peer.host import Host, HostSettings
from zraft.storage.disk import Completion
from zraft.storage.store import StoreSettings
from zraft.transport.counters import Counters
from zraft.transport.dialer import Dialer, Target
from zraft.transport.link import Link, LinkHandlers, LinkLimits
from zraft.transport.listener import Listener, ListenerLimits
from zraft.types import Millis, PeerId
from zraft.wire.failures import error_to_failed
from zraft.wire.frames import FrameKind
from zraft.wire.handshake import Role, Secrets
from zraft.wire.peering import decode_messages, encode_message
from zraft.wire.requests import PeerStatus, decode_requests, encode_item

LOG: Final = logging.getLogger("zraft")

_BULK: Final = (AppendEntries, AppendReply, InstallSnapshot)
"""Messages that votes and heartbeats overtake."""

_LATE_MS: Final[Millis] = 20
"""A timer that fires later than this lets the sockets be read once more before time is believed."""


class Node:
    """One process of a cluster. An async context manager; several may live in one process.

        async with zraft.Node(zraft.Config(listen="127.0.0.1:7101", log_dir="data/n1")) as node: ...

    `backends` are state machines by name, beside the built-in ones. Raises `UsageError` for a malformed one.
    """

    def __init__(self, config: Config, *, backends: Mapping[str, type[Backend]] | None = None) -> None:
        self.config = config
        self.counters = Counters()
        self._backends = Backends(backends)
        self._host: Host | None = None
        self._disk: RealDisk | None = None
        self._listener: Listener | None = None
        self._dialers: dict[str, Dialer] = {}
        self._touched: dict[Link, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_turn_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms: Millis = 0
        self._stopping: asyncio.Task[None] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self._turn_ended = asyncio.Event()

    # -- life

    async def start(self) -> None:
        """Recover what is on disk, run every replica found, then listen.

        Raises `StorageError` (data in use, unsafe, corrupt as a whole), `AddressInUse` or `ConfigError`.
        """
        if self._loop is not None:
            raise UsageError("a node is started once; make a new one")
        self._loop = loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        config = self.config
        listener = Listener(
            listen=config.listen,
            node=_advertised(config),
            cluster=config.cluster,
            secrets=Secrets(cluster=_key(config.cluster_secret), client=_key(config.client_secret)),
            handlers=self._handlers(self._opened, self._client_gone),
            counters=self.counters,
            bounds=ListenerLimits(link=LinkLimits(frame_bytes=config.frame_bytes)),
        )
        try:
            self._disk = RealDisk(Path(config.log_dir), self._report)
            if config.listen.endswith(":0"):
                await listener.start()  # any free port: it is the node's name, so it comes first
                self._listener = listener
            self._open_host(_advertised(config) or listener.address)
            if self._listener is None:
                await listener.start()
                self._listener = listener
        except BaseException:
            await self._release()
            raise
        if config.log_sync_mode != "default":
            LOG.warning("log_sync_mode is %s: a power loss may lose acknowledged writes", config.log_sync_mode)
        LOG.info("node %s listens, cluster %s, %d peers", self.address, config.cluster, len(self.peers()))
        self._schedule_turn()

    def _open_host(self, address: str) -> None:
        if self._disk is None:
            raise UsageError("the disk is opened first")
        settings = HostSettings(
            raft=self.config.raft_settings(),
            store=StoreSettings(segment_bytes=self.config.max_segment_size, sync=self.config.log_sync_mode != "dirty"),
            max_command_bytes=self.config.max_command_size,
        )
        seed = int.from_bytes(chance.token_bytes(8), "big")
        self._host = Host(address, self._disk, self._backends, settings, seed=seed, now=_now_ms())

    async def stop(self) -> None:
        """Hand leadership over (for at most 2 × election_timeout), then close everything. May be called twice.

        Raises what stopped the node, where it had stopped by itself.
        """
        if self._loop is None or self._closed is None:
            return
        self._begin_stop(None)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Returns once the node has stopped; raises what stopped it, if it was not `stop`."""
        if self._closed is None:
            raise UsageError("the node was not started")
        await asyncio.shield(self._closed)
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Node:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _begin_stop(self, failure: BaseException | None) -> None:
        if self._stopping is None and self._loop is not None:
            self._failure = failure
            if failure is not None:
                LOG.critical("node %s stops: %s", self.address, failure, exc_info=not isinstance(failure, ZraftError))
            self._stopping = self._loop.create_task(self._stop(), name="zraft-stop")

    async def _stop(self) -> None:
        """The only way down. What goes wrong here is the node's failure too."""
        try:
            if self._failure is None and self._host is not None:
                await self._hand_over(self._host)
                self._host.stop()
                self._turn()
            await self._release()
            LOG.info("node %s has stopped", self.config.listen)
        except BaseException as error:
            self._failure = self._failure or error
            raise
        finally:
            if self._closed is not None and not self._closed.done():
                self._closed.set_result(None)

    async def _hand_over(self, host: Host) -> None:
        deadline = _now_ms() + 2 * self.config.election_timeout_ms
        host.hand_over(_now_ms())
        self._schedule_turn()
        while host.leads_others and (left := deadline - _now_ms()) > 0:
            self._turn_ended.clear()
            try:
                async with asyncio.timeout(left / 1000):
                    await self._turn_ended.wait()
            except TimeoutError:
                LOG.warning("node %s stops without having handed over leadership everywhere", self.address)
                return

    async def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            await self._listener.aclose()
        for dialer in list(self._dialers.values()):
            await dialer.aclose()
        self._host = None
        if self._disk is not None:
            await asyncio.to_thread(self._disk.close)

    # -- inspection

    @property
    def address(self) -> str:
        """The node part of its peers' ids."""
        return self._host.node if self._host is not None else _advertised(self.config) or self.config.listen

    def peers(self) -> list[PeerId]:
        """The replicas here, also those that have failed, sorted."""
        return [entry.member.peer for entry in self._host.entries()] if self._host is not None else []

    def status(self, name: str) -> PeerStatus:
        """The replica `name` as it sees itself. Raises `PeerUnavailable`."""
        status = self._host.status(name) if self._host is not None else None
        if status is None:
            raise PeerUnavailable(f"no peer {name} on {self.address}")
        return status

    # -- the turn

    def _schedule_turn(self) -> None:
        if not self._is_turn_due and self._loop is not None:
            self._is_turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """One turn of the host; an unexpected error in it stops the node rather than be printed and forgotten."""
        self._is_turn_due = False
        host = self._host
        if host is None:
            return
        try:
            duties = host.turn(_now_ms(), int(time.time() * 1000))
            self._carry_out(duties)
        except Exception as error:
            self._begin_stop(error)
            return
        self._turn_ended.set()
        if duties.has_more:
            self._schedule_turn()
        if duties.fatal is not None:
            self._begin_stop(duties.fatal)
        elif duties.wake_at_ms is not None:
            self._arm(duties.wake_at_ms)

    def _carry_out(self, duties: Duties) -> None:
        for group, message in duties.messages:
            dialer = self._dialer(message.to.peer.node)
            dialer.send(encode_message(group, message), urgent=type(message) not in _BULK)
            if dialer.link is not None:
                self._touched[dialer.link] = None
        for client, reply in duties.replies:
            self._reply(client, encode_item(reply))
        touched, self._touched = self._touched, {}
        for link in touched:
            link.flush()
        for note in duties.notes:
            self._log(note)
        for change in duties.changes:
            leader = change.change.leader
            LOG.info(
                "peer %s: %s in term %d, leader %s",
                change.peer,
                change.change.role.value,
                change.change.term,
                leader.peer if leader is not None else "unknown",
            )

    def _reply(self, client: Link, reply: bytes) -> None:
        if client.send(reply):
            self._touched[client] = None
        elif client.is_open:
            client.abort("its replies are not read")

    def _log(self, note: Note) -> None:
        LOG.log(logging.WARNING if note.is_alarm else logging.INFO, "%s: %s", note.peer or self.address, note.text)

    def _arm(self, wake_at_ms: Millis) -> None:
        if self._timer is not None:
            if not self._timer.cancelled() and self._timer_ms == wake_at_ms:
                return
            self._timer.cancel()
        if self._loop is not None:
            self._timer_ms = wake_at_ms
            delay = max(wake_at_ms - _now_ms(), 0) / 1000
            self._timer = self._loop.call_later(delay, self._time_passed)

    def _time_passed(self) -> None:
        """A deadline has come. A loop that was held up reads its sockets first: they may hold what refutes it."""
        self._timer = None
        if self._loop is None:
            return
        if _now_ms() - self._timer_ms > _LATE_MS:
            self._timer = self._loop.call_later(0, self._schedule_turn)
        else:
            self._schedule_turn()

    # -- disk

    def _report(self, completion: Completion) -> None:
        """From the writer thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._completed, completion)

    def _completed(self, completion: Completion) -> None:
        if self._host is None:
            return
        try:
            self._host.completed(_now_ms(), completion)
        except StorageError as error:
            self._begin_stop(error)
        self._schedule_turn()

    # -- connections

    def _handlers(self, opened: Any, closed: Any) -> LinkHandlers:
        return LinkHandlers(opened=opened, received=self._received, closed=closed, failed=self._begin_stop)

    def _opened(self, link: Link) -> None:
        """Somebody dialed us. A node that can reach us can be reached: end the pause of our own dialer."""
        if link.role is Role.PEER:
            dialer = self._dialers.get(link.node)
            if dialer is not None:
                dialer.nudge()

    def _received(self, link: Link, kind: int, payload: bytes) -> None:
        host = self._host
        if host is None:
            return
        now = _now_ms()
        if kind == FrameKind.PEER:
            for group, message in decode_messages(payload, sender_node=link.node, own_node=host.node):
                host.receive(now, group, message)
        elif self._stopping is not None:
            unavailable = PeerUnavailable(f"node {host.node} is stopping")
            for request in decode_requests(payload):
                self._reply(link, encode_item(error_to_failed(request.id, unavailable)))
        else:
            for request in decode_requests(payload):
                host.request(now, link, request)
        self._schedule_turn()

    def _client_gone(self, link: Link, why: str) -> None:
        if self._host is not None and link.role is Role.CLIENT:
            self._host.forget(link)

    def _dialer(self, node: str) -> Dialer:
        dialer = self._dialers.get(node)
        if dialer is None:
            config = self.config
            target = Target(
                to=node,
                role=Role.PEER,
                cluster=config.cluster,
                node=self.address,
                secret=_key(config.cluster_secret),
            )
            dialer = Dialer(
                target,
                self._handlers(self._node_back, self._node_lost),
                counters=self.counters,
                bounds=LinkLimits(frame_bytes=config.frame_bytes),
            )
            self._dialers[node] = dialer
            dialer.start()
        return dialer

    def _node_back(self, link: Link) -> None:
        LOG.info("node %s is connected", link.node)
        if self._host is not None:
            self._host.node_back(_now_ms(), link.node)
            self._schedule_turn()

    def _node_lost(self, link: Link, why: str) -> None:
        LOG.info("node %s is lost: %s", link.node, why)
        if self._host is not None:
            self._host.node_lost(_now_ms(), link.node)
            self._schedule_turn()


def _now_ms() -> Millis:
    return time.monotonic_ns() // 1_000_000


def _key(secret: str | None) -> bytes | None:
    return secret.encode() if secret is not None else None


def _advertised(config: Config) -> str:
    """The address that others use; "" where the port is yet to be chosen."""
    return "" if config.advertise.endswith(":0") else config.advertise
