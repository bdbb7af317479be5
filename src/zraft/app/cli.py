"""`zraft`: finds the command, runs it, and turns every expected error into one line on stderr.

Exit status: 0 where the thing was done, 1 where it was not, 2 where the command line was wrong, 130 after Ctrl-C
(0 for `watch`, which ends so).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from zraft.errors import ZraftError

if TYPE_CHECKING:
    import click

NEEDS_CLICK: Final = "the command line needs click: pip install 'zraft[server]'"
_INTERRUPTED: Final = 130
_SHARED: Final = {"--peers": True, "--timeout": True, "--cluster": True, "--json": False}
"""Options that may stand before the command, and whether a value follows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default this process's, and return its exit status."""
    words = _command_first(list(sys.argv[1:] if arguments is None else arguments))
    try:
        status = _main(words)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough; nothing may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _command_first(words: list[str]) -> list[str]:
    """Options that several commands have may stand before the command, too."""
    end = 0
    while end < len(words) and (name := words[end].partition("=")[0]) in _SHARED:
        end += 1 if "=" in words[end] or not _SHARED[name] else 2
    return [*words[end : end + 1], *words[:end], *words[end + 1 :]]


def _main(words: list[str]) -> int:
    if words[:1] == ["sim"]:  # works without click, too
        from zraft.app.simulation import main as simulate

        return simulate(words[1:])
    try:
        import click
    except ImportError:
        return _say(NEEDS_CLICK, 2)
    from zraft.app.commands import root

    try:
        return _run(root, words)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return _INTERRUPTED
    except click.ClickException as error:
        return _say(_usage(error, words), 2)


def _run(root: click.Group, words: list[str]) -> int:
    from zraft.app.advice import line_of

    try:
        done = root.main(words, prog_name="zraft", standalone_mode=False)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except ZraftError as error:
        return _say(line_of(error), 1)
    return done if isinstance(done, int) else 0


def _usage(error: click.ClickException, words: list[str]) -> str:
    import click

    text = " ".join(error.format_message().split()).rstrip(".")
    param = error.param if isinstance(error, click.BadParameter) else None
    if param is not None and param.envvar and not any(word.startswith(param.opts[0]) for word in words):
        text += f", in the variable {param.envvar}"
    if isinstance(error, click.NoSuchOption) and error.option_name[1:2].isdigit():
        text += "; write -- before what begins with - and is no option"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{text}; see {error.ctx.command_path} --help"
    return text


def _say(text: str, status: int) -> int:
    print(f"zraft: {text}", file=sys.stderr)
    return status
