"""Real nodes for tests: processes on leased ports, with their data in the test's folder, ended whatever happens."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from zraft.app.processes import PortLease, ServerProcess
from zraft.client.client import Client
from zraft.types import PeerId

T = TypeVar("T")

ELECTION = {"ZRAFT_ELECTION_TIMEOUT": "300ms"}
"""For nodes of which one is killed, or might as well be: another leads soon."""
CALM = {"ZRAFT_ELECTION_TIMEOUT": "2s", "ZRAFT_HEARTBEAT_INTERVAL": "50ms"}
"""For nodes of which none is killed: no leader is lost because the machine is busy."""
WAIT_S = 60.0


def plain_environment(*hidden: str) -> dict[str, str]:
    """This process's environment as it is now, without variables that begin with ZRAFT_ or one of `hidden`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ZRAFT_", *hidden))}


class Cluster:
    """Nodes on this machine and the peer "t" of each."""

    def __init__(
        self,
        folder: Path,
        size: int,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        ensure: bool = False,
    ) -> None:
        self.folder = folder
        self.leases = [PortLease() for _ in range(size)]
        addresses = [lease.address for lease in self.leases]
        if ensure:
            options = [*options, "--peers", ",".join(f"t@{address}" for address in addresses)]
        self.environment = {**ELECTION, **(environment or {})}
        self.servers = {
            PeerId("t", address): ServerProcess(
                folder / f"n{number}", address, options=options, environment=self.environment
            )
            for number, address in enumerate(addresses, 1)
        }

    @property
    def peers(self) -> list[PeerId]:
        """One on each node."""
        return list(self.servers)

    @property
    def peers_text(self) -> str:
        """As the command line wants them."""
        return ",".join(map(str, self.peers))

    def start(self) -> None:
        """Every node serves."""
        for server in self.servers.values():
            server.spawn()
        for server in self.servers.values():
            server.wait_ready()

    def close(self) -> None:
        """Every process is gone, and the ports are anybody's."""
        for server in self.servers.values():
            server.kill()
        for lease in self.leases:
            lease.release()

    def cli(self, *words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """One command line of `zraft` about these peers."""
        return cli(*words, environment={"ZRAFT_PEERS": self.peers_text, **(environment or {})})


def cli(*words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """One command line of `zraft`, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "zraft", *words],
        env={**plain_environment(), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def run(work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` returns, given a client."""

    async def with_client() -> T:
        async with Client() as client:
            return await work(client)

    return asyncio.run(with_client())


async def wait_until(what: str, is_so: Callable[[], bool], *, pause_s: float = 0.01) -> None:
    """Returns once the condition holds, which is asked every `pause_s`; fails where it does not within `WAIT_S`."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(pause_s)


def printed(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed that went well; else its words on stderr are seen."""
    assert done.returncode == 0, done.stderr
    return done.stdout


async def wait_settled(client: Client, peers: Sequence[PeerId]) -> None:
    """One of the peers leads, and all others know that they follow."""
    roles: list[str] = []
    async with asyncio.timeout(WAIT_S):
        while roles != [*["follower"] * (len(peers) - 1), "leader"]:
            roles = sorted([(await client.stat(peer, timeout=WAIT_S)).role for peer in peers])


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that failed."""
    assert done.returncode != 0
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]
