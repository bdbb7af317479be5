"""Whoever connects and is neither node nor client costs the cluster nothing."""

from __future__ import annotations

import random
import socket

from tests.stack.clusters import Cluster


def stranger(cluster: Cluster) -> socket.socket:
    """A connection to the first node."""
    host, _, port = cluster.peers[0].node.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def is_closed(connection: socket.socket) -> bool:
    """The node hangs up."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


def test_random_bytes_leave_the_cluster_serving(group: Cluster) -> None:
    """Noise, a right beginning with noise behind it, and a request of the web: each is hung up on."""
    chance = random.Random(1)
    noises = [chance.randbytes(size) for size in (1, 64, 4096, 100_000)]
    noises += [b"ZRAFT\x01\x01" + chance.randbytes(5000), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
    for noise in noises:
        with stranger(group) as connection:
            try:
                connection.sendall(noise)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it hung up already
            assert is_closed(connection)
    assert group.cli("put", "after", "noise").returncode == 0
    assert group.cli("get", "after").stdout == "noise\n"


def test_silent_connections_leave_the_cluster_serving(group: Cluster) -> None:
    """More of them than the node has places for strangers."""
    silent = [stranger(group) for _ in range(200)]
    assert group.cli("put", "among", "the silent").returncode == 0
    for connection in silent:
        connection.close()
