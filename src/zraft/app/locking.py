"""`zraft lock`, `zraft elect`: a command that runs while this process has a lock, or leads.

The command ends before anybody else can have what it needs, as long as this process runs: where the leader of the group
is not reached it is told to end before the session can expire, and is ended when it does. A process that was stopped
for longer ends it late. So what has to be safe against that compares tokens: the command has its own in ZRAFT_TOKEN.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, TypeVar

import click

from zraft import recipes
from zraft.app.errand import CANNOT_RUN_STATUS, NOT_FOUND_STATUS, Errand, Signals, is_there
from zraft.app.options import SecondsType, cluster_option, of_any, peers_option, run
from zraft.client.client import Client
from zraft.client.session import Session
from zraft.errors import RequestTimeout, SessionClosed, SessionExpired, UsageError
from zraft.recipes.holding import Holding, Loss
from zraft.types import PeerId

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_TABLE: Final = "table"
_SESSION_S: Final = 10.0
_GRACE_SHARE: Final = 4
"""A quarter of the session's timeout is left, at least, when it turns out that nobody answers."""
_LOST: Final[dict[Loss, str]] = {
    "suspended": "no leader is reached, and the session may expire",
    "expired": "the session has expired",
    "closed": "the session was closed",
    "released": "it was released",
    "removed": "somebody has removed it",
}


@dataclass(frozen=True, slots=True)
class _Task:
    """What the command line asks for."""

    name: str
    words: tuple[str, ...]
    peers: list[PeerId]
    session_s: float
    grace_s: float


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is to be held, and how it is taken and given back."""

    holding: Holding
    take: Callable[[], Awaitable[int]]
    give_back: Callable[[], Awaitable[None]]


def _options(command: CommandT) -> CommandT:
    for option in (
        click.option(
            "--grace",
            type=SecondsType(),
            metavar="SECONDS",
            help="How long the command may take to end. [default: a quarter of --session-timeout]",
        ),
        click.option(
            "--session-timeout",
            type=SecondsType(),
            default=_SESSION_S,
            show_default=True,
            metavar="SECONDS",
            help="So long after this process is lost somebody else may go on.",
        ),
        click.option(
            "--timeout", type=SecondsType(), metavar="SECONDS", help="How long to wait for it; by default for ever."
        ),
        peers_option,
        cluster_option,
        click.argument("words", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED),
        click.argument("name"),
    ):
        command = option(command)
    return command


@click.command()
@_options
def lock(
    name: str,
    words: tuple[str, ...],
    peers: list[PeerId],
    timeout: float | None,
    session_timeout: float,
    grace: float | None,
    cluster: str | None,
) -> int:
    """Run COMMAND while the lock NAME is held, in a group of the backend "table".

    It waits until everybody who came before is done. The command finds the token of its turn in ZRAFT_TOKEN, which is
    higher than those of all turns before: what it writes to should refuse lower ones. Signals go to the command, and
    its exit status is that of this process. Where the lock is lost the command is told to end, and ended after the
    grace; so it is where no leader is reached, before the session can expire.
    """

    def turn(session: Session) -> _Turn:
        its = recipes.Lock(session, name, _identity())
        return _Turn(its, lambda: its.acquire(timeout=timeout), its.release)

    return _run(_task(name, words, peers, session_timeout, grace), turn, cluster)


@click.command()
@click.option("--value", metavar="TEXT", help="What others are told of the leader. [default: host:pid]")
@_options
def elect(
    name: str,
    words: tuple[str, ...],
    peers: list[PeerId],
    timeout: float | None,
    session_timeout: float,
    grace: float | None,
    cluster: str | None,
    value: str | None,
) -> int:
    """Run COMMAND while this process leads the election NAME, in a group of the backend "table".

    As zraft lock; programs learn who leads by zraft.recipes.Election(session, NAME).leader().
    """

    def turn(session: Session) -> _Turn:
        its = recipes.Election(session, name)
        return _Turn(its, lambda: its.campaign(value or _identity(), timeout=timeout), its.resign)

    return _run(_task(name, words, peers, session_timeout, grace), turn, cluster)


def _task(name: str, words: tuple[str, ...], peers: list[PeerId], session_s: float, grace_s: float | None) -> _Task:
    return _Task(name, words, peers, session_s, session_s / _GRACE_SHARE if grace_s is None else grace_s)


def _identity() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _say(text: str) -> None:
    print(f"zraft: {text}", file=sys.stderr, flush=True)


def _run(task: _Task, turn_of: Callable[[Session], _Turn], cluster: str | None) -> int:
    """The exit status."""
    if not is_there(task.words[0]):
        _say(f"no such command: {task.words[0]}")
        return NOT_FOUND_STATUS
    return run(lambda client: _with_signals(client, task, turn_of), cluster)


async def _with_signals(client: Client, task: _Task, turn_of: Callable[[Session], _Turn]) -> int:
    with Signals() as signals:
        try:
            return await _while_held(client, task, turn_of, signals)
        except asyncio.CancelledError:
            if signals.status is None:
                raise
            return signals.status


async def _while_held(client: Client, task: _Task, turn_of: Callable[[Session], _Turn], signals: Signals) -> int:
    status = await of_any(task.peers, lambda peer: client.stat(peer, timeout=task.session_s))
    if status.backend != _TABLE:
        ways = "zraft create --backend table or zraft dev --backend table makes one"
        raise UsageError(f'the group has the backend "{status.backend}", and this needs one with "{_TABLE}": {ways}')
    async with client.start_session(task.peers, task.session_s) as session:
        turn = turn_of(session)
        try:
            token = await turn.take()
        except RequestTimeout as error:
            _say(f"{error}: others have it")
            return 1
        try:
            errand = await Errand.start(task.words, token)
        except OSError as error:
            _say(f"{task.words[0]} does not run: {error.strerror}")
            return CANNOT_RUN_STATUS
        signals.go_to(errand)
        return await _guard(session, turn, errand, task, signals)


async def _guard(session: Session, turn: _Turn, errand: Errand, task: _Task, signals: Signals) -> int:
    """The exit status of the command, which has ended when this returns."""
    running = asyncio.create_task(errand.wait(), name="the command")
    losing = asyncio.create_task(_lost(session, turn.holding, task.grace_s), name="what it needs")
    await asyncio.wait([running, losing], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        signals.let_go()
        losing.cancel()
        with suppress(SessionExpired, SessionClosed):  # it was lost at the same time
            await turn.give_back()
        return running.result()
    loss = losing.result()
    _say(f"{task.name!r} is lost: {_LOST[loss]}; the command is ended")
    status = await errand.end(session.expires_at if loss == "suspended" else monotonic() + task.grace_s)
    return status or 1


async def _lost(session: Session, holding: Holding, grace_s: float) -> Loss:
    """Why it is lost. "suspended": it will be in so many seconds, unless somebody answers until then."""
    while True:
        loss = await holding.wait_lost(in_doubt=True)
        if loss != "suspended":
            return loss
        try:
            left = session.expires_at - monotonic() - grace_s
            await session.wait_state("connected", "expired", "closed", timeout=max(0.0, left))
        except RequestTimeout:
            return loss
