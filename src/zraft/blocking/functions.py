"""The functions of `zraft` without `async`, with one client for the process.

The client is made when it is first needed, with the secret in `ZRAFT_CLIENT_SECRET`, and closed when the interpreter
exits; a fork's child makes its own. `client=` takes another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Final

from zraft.blocking.client import Client
from zraft.blocking.light import LightSession
from zraft.blocking.loops import after_fork
from zraft.blocking.session import Session
from zraft.client.functions import SECRET_VARIABLE
from zraft.client.views import Answered, Configuration, PeerStatus
from zraft.client.waiting import Timeout
from zraft.types import Index, PeerId, Value


class _Default:
    """The client of the process, and the lock around its making."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._client: Client | None = None

    def get(self) -> Client:
        with self._guard:
            if self._client is None:
                self._client = Client(secret=os.environ.get(SECRET_VARIABLE) or None)
            return self._client

    def forget(self) -> None:
        self._guard, self._client = threading.Lock(), None


_DEFAULT: Final = _Default()
after_fork(_DEFAULT.forget)


def write(
    target: PeerId | str | LightSession,
    data: Value,
    *,
    timeout: Timeout = 5.0,
    redirect: bool = True,
    client: Client | None = None,
) -> Answered:
    """As `zraft.write`."""
    return (client or _DEFAULT.get()).write(target, data, timeout=timeout, redirect=redirect)


def query(
    target: PeerId | str | LightSession,
    query: Value,
    *,
    timeout: Timeout = 5.0,
    redirect: bool = True,
    client: Client | None = None,
) -> Answered:
    """As `zraft.query`."""
    return (client or _DEFAULT.get()).query(target, query, timeout=timeout, redirect=redirect)


def query_local(
    peer: PeerId | str, query: Value, *, min_index: Index = 0, timeout: Timeout = 5.0, client: Client | None = None
) -> Value:
    """As `zraft.query_local`."""
    return (client or _DEFAULT.get()).query_local(peer, query, min_index=min_index, timeout=timeout)


def stat(peer: PeerId | str, *, timeout: Timeout = 5.0, client: Client | None = None) -> PeerStatus:
    """As `zraft.stat`."""
    return (client or _DEFAULT.get()).stat(peer, timeout=timeout)


def get_conf(peer: PeerId | str, *, timeout: Timeout = 5.0, client: Client | None = None) -> Configuration:
    """As `zraft.get_conf`."""
    return (client or _DEFAULT.get()).get_conf(peer, timeout=timeout)


def create(
    peers: Iterable[PeerId | str], backend: str = "dict", *, timeout: Timeout = 5.0, client: Client | None = None
) -> list[PeerId]:
    """As `zraft.create`."""
    return (client or _DEFAULT.get()).create(peers, backend, timeout=timeout)


def ensure(
    peers: Iterable[PeerId | str], backend: str = "dict", *, timeout: Timeout = 30.0, client: Client | None = None
) -> list[PeerId]:
    """As `zraft.ensure`."""
    return (client or _DEFAULT.get()).ensure(peers, backend, timeout=timeout)


def set_new_conf(
    peer: PeerId | str,
    new_peers: Iterable[PeerId | str],
    old_peers: Iterable[PeerId | str],
    *,
    timeout: Timeout = 5.0,
    client: Client | None = None,
) -> list[PeerId]:
    """As `zraft.set_new_conf`."""
    return (client or _DEFAULT.get()).set_new_conf(peer, new_peers, old_peers, timeout=timeout)


def remove(peers: Iterable[PeerId | str], *, timeout: Timeout = 5.0, client: Client | None = None) -> None:
    """As `zraft.remove`."""
    (client or _DEFAULT.get()).remove(peers, timeout=timeout)


def transfer_leadership(
    peer: PeerId | str, to: PeerId | str, *, timeout: Timeout = 5.0, client: Client | None = None
) -> PeerId:
    """As `zraft.transfer_leadership`."""
    return (client or _DEFAULT.get()).transfer_leadership(peer, to, timeout=timeout)


def light_session(
    peer_or_peers: PeerId | str | Iterable[PeerId | str],
    *,
    fail_timeout: Timeout = None,
    election_timeout: Timeout = None,
    retry_unknown: bool = False,
    share: bool = False,
    client: Client | None = None,
) -> LightSession:
    """As `zraft.light_session`; it is ready when this returns."""
    return (client or _DEFAULT.get()).light_session(
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
    """As `zraft.start_session`; it is connected when this returns."""
    return (client or _DEFAULT.get()).start_session(peer_or_peers, session_timeout, resume=resume)
