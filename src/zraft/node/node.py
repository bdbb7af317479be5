"""`Node`: runs a `Host` in an event loop, over a listener, a dialer per other node, and the real disk.

Everything that arrives in one pass of the loop is one turn of the host; its duties are carried out at once. Every task
and thread has this object as its owner: a failure in any of them stops the node and is raised by `wait_closed`.

The way down, in this order, whatever the reason: leadership is handed over and what waits is answered (not after a
failure); no replica runs any more; the connections are closed; the journal says what is durable; the disk is closed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets as chance
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from zraft import limits
from zraft.config import Config
from zraft.errors import PeerUnavailable, RequestTimeout, UsageError, ZraftError
from zraft.machine.backend import Backend
from zraft.machine.registry import Backends
from zraft.node.descriptors import clients_allowed
from zraft.node.disk import RealDisk
from zraft.node.events import Announcer, Feed
from zraft.node.installed import with_installed
from zraft.node.keeper import Keeper, snapshot_settings
from zraft.node.log_files import CRASH
from zraft.node.logs import Logs
from zraft.node.neighbours import Neighbours
from zraft.node.outlet import Outlet
from zraft.node.promptness import Promptness
from zraft.node.recordings import keep_recordings
from zraft.node.timekeeper import Timekeeper, now_ms
from zraft.peer.host import Host, HostSettings
from zraft.peer.peer import APPLY_ENTRIES
from zraft.peer.vault import VaultDone
from zraft.storage.disk import Completion
from zraft.storage.store import StoreSettings
from zraft.transport.counters import Counters
from zraft.transport.dialer import Dialer, Target
from zraft.transport.link import Link, LinkHandlers, LinkLimits
from zraft.transport.listener import Listener, ListenerLimits
from zraft.types import FOREVER, Millis, PeerId, Timeout, seconds_of
from zraft.wire.failures import Failed, error_to_failed, failed_to_error
from zraft.wire.frames import FrameKind
from zraft.wire.handshake import Role, Secrets
from zraft.wire.peering import decode_messages
from zraft.wire.requests import PeerStatus, RemovePeer, Reply, Request, decode_requests

LOG: Final = logging.getLogger("zraft")

ROLES: Final = ("loading", "blank", "follower", "candidate", "leader", "learner", "failed", "removed")

_TIDY_S: Final = 60.0
"""How often connections that nobody needs any more are looked for."""

_LOSES: Final[Mapping[str, str]] = {
    "leader_dirty": "acknowledged writes may be lost where the leader's process or machine dies",
    "dirty": "acknowledged writes may be lost where several machines lose power",
}

_SLOW_TURN_MS: Final[Millis] = 10
"""A turn that takes longer halves what replicas apply in the next; a full one of less than a third doubles it."""
_LEAST_APPLIED: Final = 16


class Node:
    """One process of a cluster. An async context manager; several may live in one process.

    `backends` are state machines by name, beside the built-in ones and those that installed packages offer as entry
    points of the group `zraft.backends`. Raises `UsageError` for a malformed one.
    """

    def __init__(self, config: Config, *, backends: Mapping[str, type[Backend]] | None = None) -> None:
        self.config = config
        self.counters = Counters()
        Backends(backends)  # what is wrong with them is said here
        self._given_backends = dict(backends or {})
        self._address = _advertised(config) or config.listen
        self._host: Host | None = None
        """None before the start, and as soon as the node has failed."""
        self._disk: RealDisk | None = None
        self._keeper: Keeper | None = None
        self._listener: Listener | None = None
        self._neighbours = Neighbours(self._make_dialer)
        self._outlet = Outlet(self._neighbours)
        self._announcer = Announcer()
        self._logs: Logs | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timekeeper: Timekeeper | None = None
        self._tidying: asyncio.TimerHandle | None = None
        self._is_running = False
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
        self._timekeeper = Timekeeper(loop, self._turns)
        self._logs = Logs(self.config.log) if self.config.log is not None else None
        try:
            await self._open()
            if self._failure is not None:
                raise self._failure
        except BaseException as error:
            if isinstance(error, Exception):
                self._failure = error
            try:
                await self._release()
            finally:
                await self._close_logs()
                self._closed.set_result(None)
            raise
        config = self.config
        self._is_running = True
        if self._logs is not None:
            self._logs.open(self.address)
        if config.log_sync_mode in _LOSES:
            LOG.warning("log_sync_mode is %s: %s", config.log_sync_mode, _LOSES[config.log_sync_mode])
        LOG.info("node %s listens, cluster %s, %d peers", self.address, config.cluster, len(self.peers()))
        self._tidy()
        self._schedule_turn()

    async def _open(self) -> None:
        config = self.config
        listener = Listener(
            listen=config.listen,
            node=_advertised(config),
            cluster=config.cluster,
            secrets=Secrets(cluster=_key(config.cluster_secret), client=_key(config.client_secret)),
            handlers=self._handlers(self._opened, self._client_gone),
            counters=self.counters,
            bounds=ListenerLimits(clients=clients_allowed(), link=LinkLimits().with_frames(config.frame_bytes)),
        )
        self._disk = disk = RealDisk(Path(config.log_dir), self._report, deferring=Promptness())
        self._keeper = keeper = Keeper(config, self._report, self._speak, self._begin_stop)
        if config.listen.endswith(":0"):
            # Any free port: it is the node's name, so it comes first. Whoever asks at once is told to wait.
            self._listener = listener
            await listener.start()
        self._address = _advertised(config) or listener.address
        settings = HostSettings(
            raft=config.raft_settings(),
            store=StoreSettings(segment_bytes=config.max_segment_size, sync=config.log_sync_mode != "dirty"),
            snapshots=snapshot_settings(config),
            max_command_bytes=config.max_command_size,
            max_result_bytes=config.frame_bytes - limits.KIB,
            alarm_entries=limits.ALARM_ENTRIES if config.divergence_alarm else 0,
            sync_mode=config.log_sync_mode,
        )
        seed = int.from_bytes(chance.token_bytes(8), "big")
        backends = with_installed(self._given_backends)
        self._host = host = Host(self._address, disk, backends, settings, seed=seed, now=now_ms(), vault=keeper.vault)
        if self._listener is None:
            self._listener = listener
            await listener.start()
        for node in host.neighbours():
            self._neighbours.dial(node, now_ms())

    async def stop(self) -> None:
        """Hand leadership over (for at most 2 × election_timeout), then close everything. May be called twice.

        Raises what stopped the node, where it had stopped by itself.
        """
        if self._loop is None or self._closed is None:
            return
        if self._is_running:
            self._begin_stop(None)
        elif not self._closed.done():
            raise UsageError("the node is starting: cancel that")
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
        """Go down. With a failure, at once: what the host is then is unknown, so nothing more is asked of it."""
        if failure is not None:
            LOG.critical(
                "node %s stops: %s",
                self.address,
                failure,
                exc_info=None if isinstance(failure, ZraftError) else failure,
                extra={CRASH: failure},
            )
            self._failure = self._failure or failure
            self._host = None
            self._turn_ended.set()
        if self._stopping is None and self._is_running and self._loop is not None:
            self._stopping = self._loop.create_task(self._stop(), name="zraft-stop")

    async def _stop(self) -> None:
        """The only way down. What goes wrong here is the node's failure too, and keeps nothing open."""
        try:
            if self._host is not None:
                await self._wind_down(self._host)
        except Exception as error:
            self._begin_stop(error)
        try:
            await self._release()
        except Exception as error:
            self._begin_stop(error)
        finally:
            await self._close_logs()
            if self._closed is not None and not self._closed.done():
                self._closed.set_result(None)

    async def _close_logs(self) -> None:
        if self._logs is not None:
            await asyncio.to_thread(self._logs.close)

    async def _wind_down(self, host: Host) -> None:
        """Nothing new is begun, leadership goes to others, and what was begun is answered. Bounded."""
        deadline = now_ms() + 2 * self.config.election_timeout_ms
        await self._hand_over(host, host.leading(), deadline)
        while self._host is not None and host.has_unanswered and await self._next_turn(deadline):
            continue
        if self._host is not None:
            host.stop()
            self._turns()  # the last answers leave before the connections are closed

    async def _hand_over(self, host: Host, names: list[str], deadline: Millis) -> None:
        """Others lead the groups of these replicas, where somebody could take over in time."""
        while names := host.hand_over(now_ms(), names):
            self._schedule_turn()
            if not self._is_anybody_there(host, names) or not await self._next_turn(deadline):
                break
        still = [name for name in host.leading() if name in names]
        if still:
            # Where a whole cluster stops there is nobody, and nothing is wrong.
            level = logging.WARNING if self._is_anybody_there(host, still) else logging.INFO
            LOG.log(level, "node %s: nobody took over from %s", self.address, ", ".join(still))

    def _is_anybody_there(self, host: Host, names: list[str]) -> bool:
        """Another node is connected that could lead a group of these replicas."""
        return any(self._neighbours.is_connected(node) for name in names for node in host.neighbours(name))

    async def _next_turn(self, deadline: Millis | None) -> bool:
        """A turn has ended since this was called. False: not by the deadline, or there will be none."""
        if self._host is None:
            return False
        self._turn_ended.clear()
        seconds = None if deadline is None else max(deadline - now_ms(), 0) / 1000
        try:
            async with asyncio.timeout(seconds):
                await self._turn_ended.wait()
        except TimeoutError:
            return False
        return self._host is not None

    async def _release(self) -> None:
        """Let go of everything, the disk last."""
        if self._tidying is not None:
            self._tidying.cancel()
        try:
            if self._listener is not None:
                await self._listener.aclose()
            await self._neighbours.aclose()
            if self._host is not None:
                await self._settle(self._host)
        finally:
            self._host = None
            if self._timekeeper is not None:
                self._timekeeper.cancel()
            self._turn_ended.set()
            self._announcer.close()
            if self._keeper is not None:
                await self._keeper.aclose()
            if self._disk is not None:
                await asyncio.to_thread(self._disk.close)
            LOG.info("node %s has stopped", self.address)

    async def _settle(self, host: Host) -> None:
        """Every save is durable, and the last record says so."""
        host.stop()
        self._turns()
        deadline = now_ms() + 2 * self.config.election_timeout_ms
        while not host.is_settled and await self._next_turn(deadline):
            continue
        if not host.is_settled:
            LOG.warning("node %s stops before its disk has finished", self.address)

    # -- inspection

    @property
    def address(self) -> str:
        """The node part of its peers' ids."""
        return self._address

    def peers(self) -> list[PeerId]:
        """The replicas here, also those that are down, sorted."""
        return [entry.member.peer for entry in self._host.entries()] if self._host is not None else []

    def status(self, name: str) -> PeerStatus:
        """The replica `name` as it sees itself. Raises `PeerUnavailable`."""
        status = self._host.status(name) if self._host is not None else None
        if status is None:
            raise PeerUnavailable(f"no peer {name} on {self.address}")
        return status

    def events(self) -> Feed:
        """An async iterator of `PeerEvent`: changes of role, term, leader and configuration of the replicas here.

        It begins with every replica as it is, and ends when the node has stopped. What becomes of configurations is
        told when they are committed and stable.
        """
        host = self._serving()
        return self._announcer.feed(host.view(entry.member.peer.name) for entry in host.entries())

    async def wait_role(self, name: str, role: str, *, timeout: Timeout) -> None:
        """Replica `name` has this role, one of `PeerStatus.role`; "removed": there is none of that name.

        `timeout` None waits for ever. Raises `RequestTimeout`, `PeerUnavailable` where the replica has failed or the
        node stops meanwhile, and `UsageError` for an unknown role.
        """
        if role not in ROLES:
            raise UsageError(f"not a role: {role!r} (one of {', '.join(ROLES)})")
        seconds = seconds_of(timeout)
        deadline = None if seconds == FOREVER else now_ms() + round(seconds * 1000)
        while (found := self._serving().view(name).role) != role:
            if found == "failed":
                raise PeerUnavailable(f"peer {name} of {self.address} does not run: {self.status(name).fault}")
            if not await self._next_turn(deadline):
                self._serving()
                text = f"peer {name} of {self.address} is {found} and not {role} after {seconds:g} s"
                raise RequestTimeout(text, executed="no")

    # -- one replica

    async def start_peer(self, name: str) -> None:
        """Replica `name`, which `stop_peer` had stopped, runs, with the data that it had; it may run already.

        Raises `PeerUnavailable` where there is no such replica, or it has failed: that one is tried at the next start.
        """
        while not self._serving().start_peer(name, now_ms()):
            await self._next_turn(None)
        self._schedule_turn()

    async def stop_peer(self, name: str) -> None:
        """Replica `name` does not run, until `start_peer` or the next start of the node; its data stays.

        It hands leadership over first, for at most 2 × election_timeout. Raises `PeerUnavailable` where there is no
        such replica, or it has failed.
        """
        host = self._serving()
        if name not in host.stopped:
            led = [name] if name in host.leading() else []
            await self._hand_over(host, led, now_ms() + 2 * self.config.election_timeout_ms)
            self._serving().stop_peer(name)
            self._schedule_turn()

    async def remove_peer(self, name: str) -> None:
        """Replica `name` is deleted with its data. Raises `PeerUnavailable` where there is none.

        Raises `MembershipError` while a configuration names it that it knows of: change that first, and where it was
        not told of the change, let `zraft.remove` ask the others.
        """
        host = self._serving()
        entry = host.entry(name)
        if entry is None:
            raise PeerUnavailable(f"no peer {name} on {self.address}")
        reply = await self._ask(RemovePeer(0, entry.member.peer.name, entry.group))
        if isinstance(reply, Failed):
            raise failed_to_error(reply)

    async def _ask(self, request: Request) -> Reply:
        """What the host answers the node itself. Raises `PeerUnavailable` where the node stops meanwhile."""
        host = self._serving()
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        host.request(now_ms(), answer, request)
        self._schedule_turn()
        while not answer.done():
            if not await self._next_turn(None) and not answer.done():
                raise PeerUnavailable(f"node {self.address} has stopped", executed="maybe")
        return answer.result()

    def _serving(self) -> Host:
        """The host. Raises `UsageError` before the start, `PeerUnavailable` when the node stops."""
        if self._loop is None:
            raise UsageError("the node was not started")
        if self._host is None or self._stopping is not None:
            raise PeerUnavailable(f"node {self.address} has stopped or is stopping")
        return self._host

    # -- the turn

    def _schedule_turn(self) -> None:
        if self._timekeeper is not None:
            self._timekeeper.schedule_turn()

    def _turns(self) -> None:
        """A turn, and where it leaves a small save to the loop, that save and the turn that follows from it.

        Only where nothing was sent: whoever has sent something goes on listening while the thread writes.
        """
        has_sent = self._turn()
        while self._disk is not None and self._disk.has_deferred:
            completion = self._disk.do_deferred(in_thread=has_sent)
            has_sent = completion is not None and self._tell(completion) and self._turn()

    def _turn(self) -> bool:
        """One turn of the host; an unexpected error in it stops the node rather than be printed and forgotten.

        True where something was sent.
        """
        host, timekeeper = self._host, self._timekeeper
        if host is None or timekeeper is None:
            return False
        began = time.monotonic()
        try:
            duties = host.turn(timekeeper.believed_ms(), int(time.time() * 1000))
            has_sent = self._outlet.carry_out(duties, self._address)
            if duties.recordings:
                keep_recordings(Path(self.config.log_dir), duties.recordings)
            for name in duties.altered:
                self._announcer.tell(host.view(name))
                for node in host.neighbours(name):
                    # A candidate's first words shall not be lost because nobody is connected yet.
                    if node not in self._neighbours:
                        self._neighbours.dial(node, now_ms())
        except Exception as error:
            self._begin_stop(error)
            return False
        self._turn_ended.set()
        self._pace(host, 1000 * (time.monotonic() - began), is_full=duties.has_more)
        timekeeper.turn_ended(duties.wake_at_ms)
        if duties.has_more:
            timekeeper.schedule_turn()
        if duties.fatal is not None:
            self._begin_stop(duties.fatal)
        return has_sent

    def _pace(self, host: Host, took_ms: float, *, is_full: bool) -> None:
        """A backend that is slow shall cost others a moment, not their leader: smaller slices."""
        if took_ms > _SLOW_TURN_MS:
            host.apply_entries = max(host.apply_entries // 2, _LEAST_APPLIED)
        elif is_full and 3 * took_ms < _SLOW_TURN_MS:
            host.apply_entries = min(2 * host.apply_entries, APPLY_ENTRIES)

    def _tidy(self) -> None:
        """Close what leads to nodes that no replica here has anything to do with any more."""
        if self._host is not None and self._loop is not None:
            self._neighbours.keep(self._host.neighbours(), now_ms())
            self._tidying = self._loop.call_later(_TIDY_S, self._tidy)

    # -- disk

    def _report(self, done: Completion | VaultDone) -> None:
        """From the writer thread, or one of the vault's."""
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._completed, done)
            except RuntimeError:
                return  # the loop was closed without stopping the node; nobody is left to tell

    def _completed(self, done: Completion | VaultDone) -> None:
        if self._disk is not None and isinstance(done, Completion):
            self._disk.heard()
        if self._tell(done):
            self._schedule_turn()

    def _tell(self, done: Completion | VaultDone) -> bool:
        """The host knows of it; False where there is none any more."""
        if self._host is None:
            return False
        try:
            if isinstance(done, VaultDone):
                self._host.vault_done(now_ms(), done)
            else:
                self._host.completed(now_ms(), done)
        except Exception as error:
            self._begin_stop(error)
        return self._host is not None

    # -- connections

    def _handlers(self, opened: Callable[[Link], None], closed: Callable[[Link, str], None]) -> LinkHandlers:
        return LinkHandlers(opened=opened, received=self._received, closed=closed, failed=self._begin_stop)

    def _opened(self, link: Link) -> None:
        """Somebody dialed us. A node that can reach us can be reached: end the pause of our own dialer."""
        if link.role is Role.PEER:
            self._neighbours.nudge(link.node)

    def _received(self, link: Link, kind: int, payload: bytes) -> None:
        host = self._host
        if kind == FrameKind.PEER:
            if host is not None and self._timekeeper is not None:
                self._timekeeper.peer_frames += 1
                now = now_ms()
                for group, message in decode_messages(payload, sender_node=link.node, own_node=host.node):
                    host.receive(now, group, message)
        elif kind == FrameKind.SNAPSHOTS:
            if self._keeper is not None:
                self._keeper.transfers.take(link.node, payload)
        elif host is None or self._stopping is not None:
            unavailable = PeerUnavailable(f"node {self.address} does not serve now: it starts or stops")
            for request in decode_requests(payload):
                self._outlet.reply(link, error_to_failed(request.id, unavailable))
            self._outlet.flush()
        else:
            now = now_ms()
            for request in decode_requests(payload):
                host.request(now, link, request)
        self._schedule_turn()

    def _speak(self, node: str, payload: bytes) -> None:
        """A word about a snapshot to another node, or to this one. Where there is no way it is lost, like any other."""
        if node == self._address and self._keeper is not None:
            self._keeper.transfers.take(node, payload)
        elif (link := self._neighbours.dial(node, now_ms()).link) is not None:
            link.send_beside(payload)

    def _client_gone(self, link: Link, why: str) -> None:
        if self._host is not None and link.role is Role.CLIENT:
            self._host.forget(link)

    def _make_dialer(self, node: str) -> Dialer:
        config = self.config
        target = Target(
            to=node,
            role=Role.PEER,
            cluster=config.cluster,
            node=self.address,
            secret=_key(config.cluster_secret),
        )
        return Dialer(
            target,
            self._handlers(self._node_back, self._node_lost),
            counters=self.counters,
            bounds=LinkLimits().with_frames(config.frame_bytes),
        )

    def _node_back(self, link: Link) -> None:
        LOG.info("node %s is connected", link.node)
        if self._host is not None:
            self._host.node_back(now_ms(), link.node)
            self._schedule_turn()

    def _node_lost(self, link: Link, why: str) -> None:
        LOG.info("node %s is lost: %s", link.node, why)
        if self._host is not None:
            self._host.node_lost(now_ms(), link.node)
            self._schedule_turn()


def _key(secret: str | None) -> bytes | None:
    return secret.encode() if secret is not None else None


def _advertised(config: Config) -> str:
    """The address that others use; "" where the port is yet to be chosen."""
    return "" if config.advertise.endswith(":0") else config.advertise
