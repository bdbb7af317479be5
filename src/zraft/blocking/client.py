"""`Client` without `async`: the methods of `zraft.Client`, each of which waits in the calling thread."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from zraft.blocking.light import LightSession
from zraft.blocking.loops import SHARED, LoopThread, close_at_exit, is_closed
from zraft.blocking.session import Session
from zraft.client import client as asynchronous
from zraft.client import light_session as light
from zraft.client import session
from zraft.client.views import Answered, Configuration, PeerStatus
from zraft.client.waiting import Timeout
from zraft.errors import UsageError
from zraft.types import Index, PeerId, Value

T = TypeVar("T")


class Client:
    """Owns the connections to nodes, in the loop that all clients share. A context manager; for any number of threads.

    The arguments are those of `zraft.Client`. To be closed; what is not is closed when the interpreter exits.
    """

    def __init__(
        self, *, secret: str | bytes | None = None, tls: ssl.SSLContext | None = None, cluster: str | None = None
    ) -> None:
        self._client = asynchronous.Client(secret=secret, tls=tls, cluster=cluster)
        self._guard = threading.Lock()
        self._loop: LoopThread | None = SHARED.lease()
        close_at_exit(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every connection; calls that wait fail. Raises the error that ended the client early, if one did."""
        with self._guard:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        is_closed(self)
        try:
            loop.run(self._client.aclose())
        finally:
            SHARED.release()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None:
            work.close()
            raise UsageError("this client is closed")
        return loop.run(work)

    # -- reading and writing

    def write(
        self, target: PeerId | str | LightSession, data: Value, *, timeout: Timeout = 5.0, redirect: bool = True
    ) -> Answered:
        """As `zraft.write`."""
        if isinstance(target, LightSession):
            written = target.write_entry(data, timeout=timeout)
            return Answered(written.result, target, written.index)
        return self._run(self._client.write(target, data, timeout=timeout, redirect=redirect))

    def query(
        self, target: PeerId | str | LightSession, query: Value, *, timeout: Timeout = 5.0, redirect: bool = True
    ) -> Answered:
        """As `zraft.query`."""
        if isinstance(target, LightSession):
            found = target.query_entry(query, timeout=timeout)
            return Answered(found.result, target, found.index)
        return self._run(self._client.query(target, query, timeout=timeout, redirect=redirect))

    def query_local(self, peer: PeerId | str, query: Value, *, min_index: Index = 0, timeout: Timeout = 5.0) -> Value:
        """As `zraft.query_local`."""
        return self._run(self._client.query_local(peer, query, min_index=min_index, timeout=timeout))

    def light_session(
        self,
        peer_or_peers: PeerId | str | Iterable[PeerId | str],
        *,
        fail_timeout: Timeout = None,
        election_timeout: Timeout = None,
        retry_unknown: bool = False,
        share: bool = False,
    ) -> LightSession:
        """As `zraft.light_session`; it is ready when this returns."""

        async def ready() -> light.LightSession:
            return await self._client.light_session(
                peer_or_peers,
                fail_timeout=fail_timeout,
                election_timeout=election_timeout,
                retry_unknown=retry_unknown,
                share=share,
            )

        return LightSession(self._run(ready()), self._run)

    def start_session(
        self,
        peer_or_peers: PeerId | str | Iterable[PeerId | str],
        session_timeout: Timeout,
        *,
        resume: bytes | tuple[int, bytes] | None = None,
    ) -> Session:
        """As `zraft.start_session`; it is connected when this returns."""

        async def connected() -> session.Session:
            return await self._client.start_session(peer_or_peers, session_timeout, resume=resume)

        return Session(self._run(connected()), self._run)

    # -- about peers and groups

    def stat(self, peer: PeerId | str, *, timeout: Timeout = 5.0) -> PeerStatus:
        """As `zraft.stat`."""
        return self._run(self._client.stat(peer, timeout=timeout))

    def get_conf(self, peer: PeerId | str, *, timeout: Timeout = 5.0) -> Configuration:
        """As `zraft.get_conf`."""
        return self._run(self._client.get_conf(peer, timeout=timeout))

    def create(self, peers: Iterable[PeerId | str], backend: str = "dict", *, timeout: Timeout = 5.0) -> list[PeerId]:
        """As `zraft.create`."""
        return self._run(self._client.create(peers, backend, timeout=timeout))

    def ensure(self, peers: Iterable[PeerId | str], backend: str = "dict", *, timeout: Timeout = 30.0) -> list[PeerId]:
        """As `zraft.ensure`."""
        return self._run(self._client.ensure(peers, backend, timeout=timeout))

    def set_new_conf(
        self,
        peer: PeerId | str,
        new_peers: Iterable[PeerId | str],
        old_peers: Iterable[PeerId | str],
        *,
        timeout: Timeout = 5.0,
    ) -> list[PeerId]:
        """As `zraft.set_new_conf`."""
        return self._run(self._client.set_new_conf(peer, new_peers, old_peers, timeout=timeout))

    def remove(self, peers: Iterable[PeerId | str], *, timeout: Timeout = 5.0) -> None:
        """As `zraft.remove`."""
        self._run(self._client.remove(peers, timeout=timeout))

    def transfer_leadership(self, peer: PeerId | str, to: PeerId | str, *, timeout: Timeout = 5.0) -> PeerId:
        """As `zraft.transfer_leadership`."""
        return self._run(self._client.transfer_leadership(peer, to, timeout=timeout))
