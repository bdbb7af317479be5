"""`zraft conform`: the exam of a backend of one's own, from the command line."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint
from typing import Any

import click

from zraft.app.options import SecondsType, json_option
from zraft.app.output import json_of
from zraft.machine.backend import Backend
from zraft.machine.registry import Backends
from zraft.sim import conform as examine


class Named(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases
    """`module:name`, imported as Python would import it in this folder."""

    name = "module:name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        module, _, name = value.partition(":")
        if not module or not name:
            self.fail(f"{value!r} is not written module:name", param, ctx)
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        try:
            return EntryPoint(name, value, "zraft.named").load()
        except (ImportError, AttributeError) as error:
            self.fail(f"{value}: {error}", param, ctx)


class BackendType(Named):
    """The same, or a backend that is built in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> type[Backend]:
        built_in = Backends()
        found = built_in.named(value) if value in built_in else super().convert(value, param, ctx)
        if not (isinstance(found, type) and issubclass(found, Backend)):
            self.fail(f"{value} is not a subclass of zraft.Backend", param, ctx)
        return found


@click.command()
@click.argument("backend", metavar="MODULE:CLASS", type=BackendType())
@click.option(
    "--commands",
    type=Named(),
    metavar="MODULE:NAME",
    required=True,
    help="A list of commands, or a function that returns one.",
)
@click.option("--queries", type=Named(), metavar="MODULE:NAME", default=(), help="The same of queries.")
@click.option(
    "--timeout", type=SecondsType(), default=60.0, show_default=True, metavar="SECONDS", help="For all commands."
)
@json_option
def conform(backend: type[Backend], commands: Any, queries: Any, timeout: float, as_json: bool) -> int:
    r"""Say what is wrong with a backend: by giving it commands again and again, here and in other processes.

    \b
      zraft conform counters:Counter --commands counters:examples --queries counters:QUESTIONS

    Modules are imported as from this folder. Of docs/testing.md the chapter on backends has the rules. Exit status 1
    where one is broken.
    """
    report = examine(backend, commands, queries=queries, timeout=timeout)
    print(json_of(report) if as_json else report)
    return 1 if report else 0
