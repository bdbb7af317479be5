"""`zraft server`: one node in the foreground, until a signal or its own failure ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any, Final

import click

from zraft.app.loops import loop_factory
from zraft.config import Config
from zraft.errors import ConfigError, UsageError
from zraft.node.node import Node

LOG: Final = logging.getLogger("zraft")

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a busy thread may keep the others waiting: a save took 6 ms beside one at Python's default of 5 ms."""


@click.command()
@click.option("--config", "path", type=click.Path(dir_okay=False), help="Settings, a TOML file.")
@click.option("--listen", metavar="HOST:PORT", help="Where to accept peers and clients. [default: 127.0.0.1:7101]")
@click.option("--advertise", metavar="HOST:PORT", help="The address that others use. [default: as --listen]")
@click.option("--data-dir", metavar="DIR", help="Where the data lives; it is made if missing. [default: ./data]")
@click.option("--cluster", metavar="NAME", help="Only nodes of one name talk to each other. [default: default]")
def server(
    path: str | None, listen: str | None, advertise: str | None, data_dir: str | None, cluster: str | None
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
    _log_to_stderr(config)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(config))
    except (OSError, UsageError) as error:
        raise ConfigError([str(error)]) from error
    return 0


async def _serve(config: Config) -> None:
    """Until a signal comes or the node stops by itself; raises what stopped it."""
    node = Node(config)
    await node.start()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    print(f"zraft: node {node.address} of cluster {config.cluster} serves", flush=True)
    async with asyncio.TaskGroup() as tasks:
        stopping = tasks.create_task(_stop_when(ended, node), name="wait for a signal")
        try:
            await node.wait_closed()
        finally:
            stopping.cancel()


async def _stop_when(ended: asyncio.Event, node: Node) -> None:
    await ended.wait()
    LOG.info("node %s was told to stop", node.address)
    await node.stop()


def _log_to_stderr(config: Config) -> None:
    level = config.log.console.level if config.log is not None else "info"
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
