"""`zraft dev`: a cluster of server processes on this machine, to try things with, until Ctrl-C.

A node that ends is reported and started again after `PAUSE_S`; one that ends `FALLS` times in a row within `YOUNG_S` of
its start would do so for ever, and ends the cluster with the reason. The data stays, with it the number of nodes and
their ports: started again, the cluster finds all of it. However this process ends, its nodes end with it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import click
import msgspec

from zraft import blocking
from zraft.app.devfile import DevFile
from zraft.app.options import PEERS_VARIABLE
from zraft.app.processes import ServerFailed, ServerProcess, is_free
from zraft.client.functions import SECRET_VARIABLE
from zraft.errors import StorageError, UsageError, ZraftError
from zraft.types import PeerId

GROUP: Final = "default"
NODES: Final = 3
BASE_PORT: Final = 7101
BACKEND: Final = "dict"
PAUSE_S: Final = 2.0
"""Longer than an election takes: who killed a node sees the others go on without it."""
YOUNG_S: Final = 5.0
FALLS: Final = 3
_LOOK_S: Final = 0.1
_GROUP_S: Final = 30.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LAYOUT_NAME: Final = "cluster.json"


class _Layout(msgspec.Struct, frozen=True):
    """What the data depends on: kept beside it."""

    nodes: int
    base_port: int
    backend: str = BACKEND


@click.command()
@click.option("--nodes", type=click.IntRange(1, 9), metavar="N", help=f"How many. [default: as in DIR, or {NODES}]")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("./data"),
    show_default="./data",
    metavar="DIR",
    help="Where the data and the logs live; it is made if missing.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, 65_527),
    metavar="PORT",
    help=f"Of the first node; the others have the next. [default: as in DIR, or {BASE_PORT}]",
)
@click.option("--backend", metavar="NAME", help=f"The group's state machine. [default: as in DIR, or {BACKEND}]")
def dev(nodes: int | None, folder: Path, base_port: int | None, backend: str | None) -> int:
    """Run a cluster of nodes on this machine, with a group named "default" on all of them, until Ctrl-C.

    With --backend table it can do more: sessions, recipes, zraft lock.

    Other commands that are run in the same folder find the group by themselves. The data is kept for the next time. A
    node that dies, because you killed it for instance, is started again.
    """
    with _interruptible(), DevFile() as file:
        layout = _layout(folder, nodes, base_port, backend)
        cluster = _Cluster(folder, layout)
        try:
            cluster.start()
            file.name(cluster.peers)
            cluster.greet(folder)
            cluster.watch()
        except KeyboardInterrupt:
            _say("stopping; the data is kept")
            return cluster.stop()
        except ZraftError:
            cluster.stop()
            raise
        finally:
            cluster.kill()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Each signal that asks for the end is a `KeyboardInterrupt`, also where a shell had Ctrl-C ignored."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _layout(folder: Path, nodes: int | None, base_port: int | None, backend: str | None) -> _Layout:
    """The one of the data that is there, or a new one. Raises `UsageError` where it is not what was asked for."""
    path = folder / _LAYOUT_NAME
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Layout) if path.exists() else None
        layout = kept or _Layout(nodes or NODES, base_port or BASE_PORT, backend or BACKEND)
        if _Layout(nodes or layout.nodes, base_port or layout.base_port, backend or layout.backend) != layout:
            of = "" if layout.backend == BACKEND else f', backend "{layout.backend}"'
            there = f"{folder} holds a cluster of {layout.nodes} nodes from port {layout.base_port}{of}"
            raise UsageError(
                f"{there}: leave --nodes, --base-port and --backend away, or choose another folder with --dir"
            )
        _see_that_ports_are_free(layout)
        if kept is None:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.encode(layout) + b"\n")
    except (OSError, msgspec.DecodeError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise StorageError(
            f"{folder} cannot be used, {_LAYOUT_NAME}: {text}; choose another folder with --dir"
        ) from error
    return layout


def _see_that_ports_are_free(layout: _Layout) -> None:
    for port in _ports(layout):
        if not is_free(port):
            way = "stop what listens there, or choose other ports with --base-port, and another folder with --dir"
            raise UsageError(f"port {port} is in use: {way}")


def _ports(layout: _Layout) -> range:
    return range(layout.base_port, layout.base_port + layout.nodes)


class _Cluster:
    """The processes. What ends one of them is said on stderr."""

    def __init__(self, folder: Path, layout: _Layout) -> None:
        self.servers = [
            ServerProcess(folder / f"n{number}", f"127.0.0.1:{port}") for number, port in enumerate(_ports(layout), 1)
        ]
        self.peers = [PeerId(GROUP, server.address) for server in self.servers]
        self._backend = layout.backend
        self._started: dict[str, float] = {}
        """When each node was started last, by address."""
        self._falls: Counter[str] = Counter()
        """How often in a row each node ended soon after its start."""

    def start(self) -> None:
        """Every node serves, and the group is there. Raises `ServerFailed`."""
        for server in self.servers:
            server.spawn()
        for server in self.servers:
            self._wait_ready(server)
        with blocking.Client(secret=os.environ.get(SECRET_VARIABLE) or None) as client:
            client.ensure(self.peers, self._backend, timeout=_GROUP_S)

    def _wait_ready(self, server: ServerProcess) -> None:
        server.wait_ready()
        self._started[server.address] = time.monotonic()

    def greet(self, folder: Path) -> None:
        """Say what runs, and how to reach it."""
        for number, server in enumerate(self.servers, 1):
            print(f"node {number}: {server.address}  pid {server.pid}  data {server.folder}  log {server.log}")
        print(f'group "{GROUP}" on {len(self.peers)} nodes; other commands find it when run in this folder, elsewhere:')
        print(f"  export {PEERS_VARIABLE}={','.join(map(str, self.peers))}")
        print(f"Ctrl-C stops it; the data stays in {folder}", flush=True)

    def watch(self) -> NoReturn:
        """Start again what ends. Raises `ServerFailed` where that does not help."""
        due: dict[str, float] = {}
        while True:
            time.sleep(_LOOK_S)
            now = time.monotonic()
            for server in self.servers:
                if server.address in due:
                    if now >= due[server.address]:
                        del due[server.address]
                        server.spawn()
                        self._wait_ready(server)
                        _say(f"node {server.address} serves again (pid {server.pid})")
                elif not server.is_running:
                    due[server.address] = now + PAUSE_S
                    self._report(server, age_s=now - self._started[server.address])

    def _report(self, server: ServerProcess, *, age_s: float) -> None:
        pid, status = server.pid, server.wait_ended()
        how = f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with exit status {status}"
        text = f"node {server.address} (pid {pid}) {how}"
        if status >= 0:
            text += f": {server.last_line()}"
        self._falls[server.address] = self._falls[server.address] + 1 if age_s < YOUNG_S else 0
        if self._falls[server.address] == FALLS:
            raise ServerFailed(f"{text}, soon after its start and {FALLS} times in a row: see {server.log}")
        _say(f"{text}; it is started again in {PAUSE_S:g} s")

    def stop(self) -> int:
        """All of them end cleanly, at once. The exit status: 0 where each did."""
        running = [server for server in self.servers if server.is_running]
        for server in running:
            server.tell_to_stop()
        failed = [server for server in running if server.wait_ended() != 0]
        for server in failed:
            _say(f"node {server.address} did not end cleanly: {server.last_line()}; see {server.log}")
        return 1 if failed else 0

    def kill(self) -> None:
        """None is left."""
        for server in self.servers:
            server.kill()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _say(text: str) -> None:
    print(f"zraft: {text}", file=sys.stderr, flush=True)
