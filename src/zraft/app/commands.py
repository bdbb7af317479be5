"""The table of commands: which there are, what each is for in one line, and where it is found."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Final, NamedTuple

import click


def _entries(name: str) -> click.Command:
    from zraft.app import entries

    return {"put": entries.put, "get": entries.get, "delete": entries.delete}[name]


def _watch(_name: str) -> click.Command:
    from zraft.app.watching import watch

    return watch


def _locking(name: str) -> click.Command:
    from zraft.app import locking

    return {"lock": locking.lock, "elect": locking.elect}[name]


def _membership(name: str) -> click.Command:
    from zraft.app import membership

    return {
        "create": membership.create,
        "status": membership.status,
        "conf": membership.conf,
    }[name]


def _changes(name: str) -> click.Command:
    from zraft.app import changes

    return {"set-conf": changes.set_conf, "transfer": changes.transfer, "remove": changes.remove}[name]


def _dev(_name: str) -> click.Command:
    from zraft.app.dev import dev

    return dev


def _server(_name: str) -> click.Command:
    from zraft.app.server import server

    return server


def _log(_name: str) -> click.Command:
    from zraft.app.logs import log

    return log


def _snapshot(_name: str) -> click.Command:
    from zraft.app.snapshots import snapshot

    return snapshot


def _doctor(_name: str) -> click.Command:
    from zraft.app.doctor import doctor

    return doctor


def _replay(_name: str) -> click.Command:
    from zraft.app.replaying import replay

    return replay


def _bench(_name: str) -> click.Command:
    from zraft.app.bench import bench

    return bench


def _conform(_name: str) -> click.Command:
    from zraft.app.conforming import conform

    return conform


def _sim(_name: str) -> click.Command:
    """Only listed here: `cli.main` runs it without click."""
    return click.Command("sim")


class _Row(NamedTuple):
    short: str
    load: Callable[[str], click.Command]


COMMANDS: Final[dict[str, dict[str, _Row]]] = {
    "Run nodes": {
        "dev": _Row("Run a local cluster, to try things with.", _dev),
        "server": _Row("Run one node in the foreground.", _server),
    },
    "Groups": {
        "create": _Row("Make a new group of peers.", _membership),
        "status": _Row("Show how each peer is.", _membership),
        "conf": _Row("Show who belongs to the group.", _membership),
        "set-conf": _Row("Change who belongs to the group.", _changes),
        "transfer": _Row("Hand leadership to a peer.", _changes),
        "remove": _Row("Delete what is left of peers that left their group.", _changes),
    },
    "Data": {
        "put": _Row("Store a value under a key.", _entries),
        "get": _Row("Print the value of a key.", _entries),
        "delete": _Row("Remove a key.", _entries),
        "watch": _Row("Print the value of a key whenever it changes.", _watch),
    },
    "Run commands": {
        "lock": _Row("Run a command while a lock is held.", _locking),
        "elect": _Row("Run a command while this process leads.", _locking),
    },
    "Look inside": {
        "log": _Row("Look into the data folder of a node that is stopped.", _log),
        "snapshot": _Row("List, check and restore the snapshots of a node.", _snapshot),
        "doctor": _Row("Say what is left of a broken group, and make a new one of it.", _doctor),
        "replay": _Row("Step through the last moments of a peer that failed.", _replay),
        "bench": _Row("Measure how fast a group is.", _bench),
        "sim": _Row("Run seeds of the simulator.", _sim),
        "conform": _Row("Say what is wrong with a backend of your own.", _conform),
    },
}


class _Root(click.Group):
    """Loads a command when it is called, and lists all of them without loading any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for section in COMMANDS.values():
            if cmd_name in section:
                return section[cmd_name].load(cmd_name)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        close = get_close_matches(args[0], self.list_commands(ctx), 1)
        if close and close != args[:1]:
            ctx.fail(f"No such command '{args[0]}', did you mean {close[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, row.short) for name, row in section.items()], col_spacing=4)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("A first cluster, on this machine"):
            for line in _EXAMPLE:
                formatter.write(f"{' ' * formatter.current_indent}{line}\n")


_EXAMPLE: Final = (
    "zraft dev                         until Ctrl-C; then, in a second terminal, in the same folder:",
    "zraft put greeting hello",
    "zraft get greeting",
    "zraft status",
)


@click.group(cls=_Root, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zraft", message="zraft %(version)s")
def root() -> None:
    """Replicated state machines by the Raft protocol: run nodes, make groups of peers, read and write.

    A node is a process, a peer is one replica on a node and is written name@host:port, and the peers that replicate one
    log are a group. Commands that talk to a group take its peers from --peers, else from the variable ZRAFT_PEERS, else
    from the zraft dev that runs in the same folder.
    """
