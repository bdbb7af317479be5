"""Crowds at the door: connections that say nothing and want nothing."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from tests.stack.transport.world import Recorder, house, tell
from zraft.errors import HandshakeRefused
from zraft.transport.listener import ListenerLimits
from zraft.wire.handshake import Role

CLIENTS, PEERS, STRANGERS = 20, 4, 8


@pytest.fixture
def few_files() -> Iterator[None]:
    """So few descriptors that a hundred connections would take them all; both ends of each are in this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2 * (CLIENTS + PEERS + STRANGERS) + 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_bm_115_idle_clients_take_no_descriptor_from_peers_and_files(few_files: None) -> None:
    """Two hundred try: as many stay as were allowed; then a peer comes in and a file can be opened."""

    async def story() -> None:
        bounds = ListenerLimits(clients=CLIENTS, peers=PEERS, unauthenticated=STRANGERS)
        async with house(bounds=bounds) as there:
            admitted = 0
            for number in range(200):
                try:
                    await there.visit(Recorder(), Role.CLIENT, node=f"client {number}")
                    admitted += 1
                except HandshakeRefused as refusal:
                    assert refusal.reason == "busy"  # noqa: PT017 - counted, not expected each time
            assert admitted == CLIENTS
            assert there.counters.refused["busy"] == 200 - CLIENTS
            await there.visit(Recorder())
            os.close(os.open(os.devnull, os.O_RDONLY))

    tell(story)
