"""`Node` without `async`, in a thread of its own: whatever the application does, heartbeats go out in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from zraft.blocking.loops import LoopThread, close_at_exit, is_closed
from zraft.config import Config
from zraft.errors import UsageError
from zraft.machine.backend import Backend
from zraft.node import node as asynchronous
from zraft.node.events import Feed, PeerEvent
from zraft.types import PeerId, Timeout
from zraft.wire.requests import PeerStatus


class Node:
    """One process of a cluster, beside the application. A context manager; for any number of threads.

    A backend's methods run in the node's thread. A busy thread of Python keeps the others waiting for as long as
    `sys.getswitchinterval()` says: an application that computes a lot sets it to a millisecond or less.
    """

    def __init__(self, config: Config, *, backends: Mapping[str, type[Backend]] | None = None) -> None:
        self.config = config
        self._node = asynchronous.Node(config, backends=backends)
        self._guard = threading.Lock()
        self._loop: LoopThread | None = None
        self._is_over = False
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Recover what is on disk, run every replica found, then listen. Raises as `zraft.Node.start`."""
        with self._guard:
            if self._loop is not None or self._is_over:
                raise UsageError("a node is started once; make a new one")
            self._is_over = True  # unless all goes well
            with ExitStack() as exits:
                loop = LoopThread(f"zraft node {self.config.listen}")
                exits.callback(loop.close)
                loop.run(self._node.start())
                exits.pop_all()
            self._loop, self._is_over = loop, False
        close_at_exit(self)

    def stop(self) -> None:
        """Hand leadership over, then close everything and end the thread. May be called twice.

        Raises what stopped the node, where it had stopped by itself.
        """
        with self._guard:
            loop, self._loop = self._loop, None
            if loop is not None:
                self._is_over = True
                is_closed(self)
                try:
                    loop.run(self._node.stop())
                except BaseException as error:
                    self._failure = error
                    raise
                finally:
                    loop.close()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """As `stop`, when the interpreter exits."""
        self.stop()

    def wait_closed(self) -> None:
        """Returns once the node has stopped; raises what stopped it, if it was not `stop`."""
        loop = self._loop
        if loop is not None:
            loop.run(self._node.wait_closed())
        elif not self._is_over:
            raise UsageError("the node was not started")
        if self._failure is not None:
            raise self._failure

    # -- inspection

    @property
    def address(self) -> str:
        """The node part of its peers' ids."""
        return self._node.address

    def peers(self) -> list[PeerId]:
        """The replicas here, also those that have failed, sorted."""

        async def peers() -> list[PeerId]:
            return self._node.peers()

        loop = self._loop
        return loop.run(peers()) if loop is not None else []

    def status(self, name: str) -> PeerStatus:
        """The replica `name` as it sees itself. Raises `PeerUnavailable`."""

        async def status() -> PeerStatus:
            return self._node.status(name)

        loop = self._loop
        return loop.run(status()) if loop is not None else self._node.status(name)

    def events(self) -> Iterator[PeerEvent]:
        """As `zraft.Node.events`: an iterator that waits for the next event, and ends when the node has stopped."""

        async def feed() -> Feed:
            return self._node.events()

        loop = self._running()
        return self._each_of(loop, loop.run(feed()))

    def _each_of(self, loop: LoopThread, feed: Feed) -> Iterator[PeerEvent]:
        while True:
            try:
                event = loop.run(_next_of(feed))
            except UsageError:
                if self._is_over:
                    return
                raise
            if event is None:
                return
            yield event

    def wait_role(self, name: str, role: str, *, timeout: Timeout) -> None:
        """As `zraft.Node.wait_role`."""
        self._running().run(self._node.wait_role(name, role, timeout=timeout))

    # -- one replica

    def start_peer(self, name: str) -> None:
        """As `zraft.Node.start_peer`."""
        self._running().run(self._node.start_peer(name))

    def stop_peer(self, name: str) -> None:
        """As `zraft.Node.stop_peer`."""
        self._running().run(self._node.stop_peer(name))

    def remove_peer(self, name: str) -> None:
        """As `zraft.Node.remove_peer`."""
        self._running().run(self._node.remove_peer(name))

    def _running(self) -> LoopThread:
        loop = self._loop
        if loop is None:
            raise UsageError("the node does not run")
        return loop


async def _next_of(feed: Feed) -> PeerEvent | None:
    """The next event; None: there will be none."""
    async for event in feed:
        return event
    return None
