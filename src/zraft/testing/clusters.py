"""Clusters for tests: real nodes in this process, on free ports, with their data in a folder that goes with them.

    async with LocalCluster(3) as cluster:      for coroutines
        await cluster.client.write(cluster.peers[0], ("key", 1))

    with BlockingCluster(3) as cluster:         for everything else; the nodes run in a thread of their own
        cluster.client.write(cluster.peers[0], ("key", 1))

The nodes are those of production: sockets, disk, elections; only the timeouts are short. A node that stops by itself
fails the test: leaving the cluster raises what stopped it. `stop` ends a node as SIGTERM would. For power cuts and
kill -9 run `zraft server`.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from zraft import blocking
from zraft.app.processes import PortLease
from zraft.blocking.loops import LoopThread
from zraft.client.caller import each
from zraft.client.client import Client
from zraft.client.views import Configuration
from zraft.config import Config
from zraft.errors import UsageError
from zraft.machine.backend import Backend
from zraft.node.node import Node
from zraft.types import PeerId

T = TypeVar("T")

FAST: Final[Mapping[str, Any]] = {"election_timeout": 1.0, "max_segment_size": 1 << 20}
"""Settings of the nodes where a test gives no others: small files, and elections only where a leader is really gone.

A group is made, and a node stopped, without waiting for an election. A test of what a busy machine delays for a fifth
of a second shall not find another leader each time: a write that the old one took would be `OutcomeUnknown`.
"""
WAIT_S: Final = 60.0
"""How long anything here waits: far longer than it takes on a machine that is busy."""


class LocalCluster:
    """So many nodes in the running event loop, with a group on all of them. An async context manager.

    `backend` is the group's, from `backends` or built in, and `group` the name of its peers; with `group=None` there is
    none yet. The data is in `folder`, which stays, or in a temporary one, which goes. `settings` are those of
    `zraft.Config` and go to every node.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        backend: str = "dict",
        backends: Mapping[str, type[Backend]] | None = None,
        group: str | None = "test",
        folder: Path | None = None,
        **settings: Any,
    ) -> None:
        if size < 1:
            raise UsageError(f"not a size of a cluster: {size!r}")
        self.nodes: list[Node | None] = [None] * size
        """The nodes that run; None in the place of one that does not."""
        self.peers: list[PeerId] = []
        """The peers of the group that it was made with, one on each node, in the order of the nodes."""
        self.client: Client = Client(secret=settings.get("client_secret"))
        """A client for the test."""
        self._backend, self._backends, self._group = backend, backends, group
        self._given_folder, self._settings = folder, {**FAST, **settings}
        self._config("127.0.0.1:0", Path("data"))  # what is wrong with the settings is said here
        self._leases: list[PortLease] = []
        self._folder = Path()
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            if self._given_folder is None:
                self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="zraft-cluster-"))
                exits.push_async_callback(asyncio.to_thread, shutil.rmtree, self._folder)
            else:
                self._folder = self._given_folder
            self._leases = [PortLease() for _ in self.nodes]
            for lease in self._leases:
                exits.callback(lease.release)
            exits.push_async_callback(self._stop_all)
            await each(self.start(number) for number in range(len(self.nodes)))
            await exits.enter_async_context(self.client)
            if self._group is not None:
                self.peers = await self.create(self._group, self._backend)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    @property
    def addresses(self) -> list[str]:
        """host:port of every node; a node that is started again has its old one."""
        return [lease.address for lease in self._leases]

    async def start(self, number: int) -> None:
        """Node `number`, counted from 0, runs, with the data that it had."""
        if self.nodes[number] is not None:
            raise UsageError(f"node {number} is running")
        config = self._config(self.addresses[number], self._folder / f"n{number}")
        node = Node(config, backends=self._backends)
        await node.start()
        self.nodes[number] = node

    async def stop(self, number: int) -> None:
        """Node `number` has ended, as on SIGTERM. Raises what had stopped it before, if it was not this."""
        node, self.nodes[number] = self.nodes[number], None
        if node is not None:
            await node.stop()

    async def create(self, name: str, backend: str = "dict", *, on: Sequence[int] | None = None) -> list[PeerId]:
        """A further group: its peers, one on each node, or on those that `on` counts, in that order."""
        numbers = range(len(self.nodes)) if on is None else on
        return await self.client.create(
            [PeerId(name, self.addresses[number]) for number in numbers], backend, timeout=WAIT_S
        )

    async def leader(self, peers: Sequence[PeerId] | None = None) -> int:
        """The number of the node that leads the group, or the one of `peers`; waits until one does."""
        return self.number_of((await self._conf(peers)).leader)

    def number_of(self, peer: PeerId) -> int:
        """The number of the peer's node."""
        return self.addresses.index(peer.node)

    def _config(self, address: str, folder: Path) -> Config:
        return Config(**{"listen": address, "log_dir": folder, "snapshot_dir": folder, **self._settings})

    async def _conf(self, peers: Sequence[PeerId] | None) -> Configuration:
        """Asked of a peer whose node runs."""
        for peer in self.peers if peers is None else peers:
            if self.nodes[self.number_of(peer)] is not None:
                return await self.client.get_conf(peer, timeout=WAIT_S)
        raise UsageError("none of the group's nodes runs")

    async def _stop_all(self) -> None:
        """At once, or each would hand its leaderships to the next. Raises what the first of them raised."""
        stopping = [asyncio.create_task(self.stop(number), name=f"stop {number}") for number in range(len(self.nodes))]
        await asyncio.wait(stopping)
        for one in stopping:
            one.result()


class BlockingCluster:
    """A `LocalCluster` without `async`: its nodes run in a thread of their own. A context manager.

    The arguments are those of `LocalCluster`. Coroutines may use it too: its nodes are reached as any others are.
    """

    def __init__(self, size: int = 3, **arguments: Any) -> None:
        self._cluster = LocalCluster(size, **arguments)
        self._secret = arguments.get("client_secret")
        self._loop: LoopThread | None = None
        self._client: blocking.Client | None = None
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self._loop = LoopThread("zraft test cluster")
            exits.callback(self._loop.close)
            self._run(self._cluster.__aenter__())
            exits.callback(self._leave)
            self._client = exits.enter_context(blocking.Client(secret=self._secret))
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    @property
    def client(self) -> blocking.Client:
        """A client for the test."""
        if self._client is None:
            raise UsageError("enter the cluster first")
        return self._client

    @property
    def peers(self) -> list[PeerId]:
        """The peers of the group that it was made with, one on each node, in the order of the nodes."""
        return self._cluster.peers

    @property
    def addresses(self) -> list[str]:
        """host:port of every node; a node that is started again has its old one."""
        return self._cluster.addresses

    def start(self, number: int) -> None:
        """As `LocalCluster.start`."""
        self._run(self._cluster.start(number))

    def stop(self, number: int) -> None:
        """As `LocalCluster.stop`."""
        self._run(self._cluster.stop(number))

    def create(self, name: str, backend: str = "dict", *, on: Sequence[int] | None = None) -> list[PeerId]:
        """As `LocalCluster.create`."""
        return self._run(self._cluster.create(name, backend, on=on))

    def leader(self, peers: Sequence[PeerId] | None = None) -> int:
        """As `LocalCluster.leader`."""
        return self._run(self._cluster.leader(peers))

    def number_of(self, peer: PeerId) -> int:
        """The number of the peer's node."""
        return self._cluster.number_of(peer)

    def _leave(self) -> None:
        self._run(self._cluster.__aexit__(None, None, None))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise UsageError("enter the cluster first")
        return self._loop.run(work)
