"""`zraft server`: one node in the foreground, until a signal or its own failure ends it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from zraft.app import collector
from zraft.app.advice import line_of
from zraft.app.loops import loop_factory
from zraft.app.options import PeersType
from zraft.client.client import Client
from zraft.config import Config, LogConfig
from zraft.errors import ConfigError, DiskFull, ReplicaFault, StorageError, UsageError, ZraftError
from zraft.node.descriptors import allow_as_many_as_possible
from zraft.node.logs import Logs
from zraft.node.node import Node
from zraft.types import PeerId

LOG: Final = logging.getLogger("zraft")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_WAY_BACK: Final = (
    "look at it with zraft log verify; where its group lives, move the data folder away, start the node again, and "
    "readmit the peer with zraft set-conf"
)
SWITCH_INTERVAL_S: Final = 0.0005
"""How long a busy thread may keep the others waiting: a save took 6 ms beside one at Python's default of 5 ms."""


@click.command()
@click.option("--config", "path", type=click.Path(dir_okay=False), help="Settings, a TOML file.")
@click.option("--listen", metavar="HOST:PORT", help="Where to accept peers and clients. [default: 127.0.0.1:7101]")
@click.option("--advertise", metavar="HOST:PORT", help="The address that others use. [default: as --listen]")
@click.option("--data-dir", metavar="DIR", help="Where the data lives; it is made if missing. [default: ./data]")
@click.option("--cluster", metavar="NAME", help="Only nodes of one name talk to each other. [default: default]")
@click.option(
    "--peers",
    type=PeersType(),
    metavar="PEER,...",
    help="A group that is to exist: it is made once all its nodes run. Give every one of them the same.",
)
@click.option(
    "--backend", default="dict", show_default=True, metavar="NAME", help="The state machine of the group of --peers."
)
@click.option("--until-eof", is_flag=True, hidden=True, help="Stop when standard input ends, as with its parent.")
def server(
    path: str | None,
    listen: str | None,
    advertise: str | None,
    data_dir: str | None,
    cluster: str | None,
    peers: list[PeerId] | None,
    backend: str,
    until_eof: bool,
) -> int:
    """Run one node in the foreground, until Ctrl-C or SIGTERM. It runs the peers that it finds in its data.

    Give a settings file, or at least --listen and --data-dir; what is given here overrides the file, and so does the
    variable ZRAFT_<KEY> for each key of it. Secrets come from the file or from ZRAFT_CLUSTER_SECRET and
    ZRAFT_CLIENT_SECRET. Other commands make groups on the node: see zraft create.
    """
    if path is None and (listen is None or data_dir is None):
        raise click.UsageError("give --config, or both --listen and --data-dir", click.get_current_context())
    given = {"listen": listen, "advertise": advertise, "cluster": cluster, "log_dir": data_dir}
    arguments: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if data_dir is not None:
        arguments["snapshot_dir"] = data_dir
    config = Config.load(path, **arguments)
    logs = Logs(config.log or LogConfig(), logger=logging.getLogger())
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    allow_as_many_as_possible()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(replace(config, log=None), _Group(peers or [], backend), logs, until_eof=until_eof))
    except (OSError, UsageError) as error:
        raise ConfigError([str(error)]) from error
    finally:
        logs.close()
    return 0


@dataclass(frozen=True, slots=True)
class _Group:
    """What is to exist; nothing where it has no peers."""

    peers: list[PeerId]
    backend: str


async def _serve(config: Config, group: _Group, logs: Logs, *, until_eof: bool) -> None:
    """Until a signal comes or the node stops by itself; raises what stopped it, or why no peer is left."""
    node = Node(config)
    await node.start()
    logs.open(node.address)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, ended.set)
    if not any(map(os.isatty, range(3))):  # where a terminal closes, the node ends
        loop.add_signal_handler(signal.SIGHUP, logs.reopen)
    if until_eof:
        loop.add_reader(sys.stdin.fileno(), _end_at_eof, loop, ended)
    left = _Left()
    print(f"zraft: node {node.address} of cluster {config.cluster} serves", flush=True)
    print(f"zraft: logs: {logs.places()}", flush=True)
    async with asyncio.TaskGroup() as tasks:
        helping = [
            tasks.create_task(_stop_when(ended, node), name="wait for a signal"),
            tasks.create_task(_stop_without_peers(node, left), name="see that a peer is left"),
            tasks.create_task(collector.tend(), name="tend the garbage collector"),
        ]
        if group.peers:
            helping.append(tasks.create_task(_ensure(config, group), name="ensure the group"))
        try:
            await node.wait_closed()
        except ZraftError as error:  # raised below, as it is: out of here it would come in a group
            left.fault = _with_way_back(error, node)
        finally:
            for task in helping:
                task.cancel()
    if left.fault is not None:
        raise left.fault


def _end_at_eof(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        ended.set()


@dataclass(slots=True)
class _Left:
    """Why the node stopped by itself, or was stopped because none of its peers runs any more."""

    fault: ZraftError | None = None


def _with_way_back(error: ZraftError, node: Node) -> ZraftError:
    """The same, with what to do where it was the disk. It had to end: what a file then has is unknown."""
    if not isinstance(error, StorageError):
        return error
    ended = f"node {node.address} has stopped: {error}"
    if isinstance(error, DiskFull):
        return DiskFull(f"{ended}; make room in {node.config.log_dir}, then start it again")
    again = "then start it again: what it cannot read any more the others send"
    return StorageError(f"{ended}; look at the disk of {node.config.log_dir}, {again}")


async def _stop_without_peers(node: Node, left: _Left) -> None:
    """Stops the node once each of its peers has failed. One that has none yet goes on: groups may come."""
    async for event in node.events():
        if event.role != "failed":
            continue
        faults = [
            (status.id, status.fault)
            for status in (node.status(peer.name) for peer in node.peers())
            if status.role == "failed"
        ]
        if faults and len(faults) == len(node.peers()):
            told = "; ".join(f"{peer} has failed: {fault}" for peer, fault in faults)
            left.fault = ReplicaFault(f"no peer of {node.address} is left running: {told}; {_WAY_BACK}")
            await node.stop()
            return


async def _stop_when(ended: asyncio.Event, node: Node) -> None:
    """Stops the node at the first signal; a second one ends the process at once."""
    await ended.wait()
    for number in _SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)
    LOG.info("node %s was told to stop", node.address)
    await node.stop()


async def _ensure(config: Config, group: _Group) -> None:
    """The group exists, sooner or later. Where it cannot, the node serves on and its log says why."""
    named = ", ".join(map(str, group.peers))
    async with Client(secret=config.client_secret, cluster=config.cluster) as client:
        try:
            await client.ensure(group.peers, group.backend, timeout=None)
        except ZraftError as error:
            LOG.error("the group of %s is not made: %s", named, line_of(error))
        else:
            LOG.info("the group of %s is there", named)
